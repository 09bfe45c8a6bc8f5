//! What colours pixels have.

use kiln_tensor_core::{Error, raise};

use super::on_images;
use crate::Rng;

/// To one channel of luma: `torchvision.transforms.Grayscale`.
#[derive(Clone, Copy, Debug)]
pub struct Grayscale;

/// To gray with a chance, in as many channels as before: `torchvision.transforms.RandomGrayscale`.
#[derive(Clone, Copy, Debug)]
pub struct RandomGrayscale {
    p: f64,
}

impl RandomGrayscale {
    /// The chance, 0.1 in PyTorch.
    pub fn new(p: f64) -> Self {
        RandomGrayscale { p }
    }
}

/// Brightness, contrast, saturation and hue changed by chance, in random order:
/// `torchvision.transforms.ColorJitter`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ColorJitter {
    brightness: f64,
    contrast: f64,
    saturation: f64,
    hue: f64,
}

impl ColorJitter {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A factor from 1 − `by` (at least 0) to 1 + `by`.
    pub fn brightness(mut self, by: f64) -> Self {
        self.brightness = by;
        self
    }

    /// A factor from 1 − `by` (at least 0) to 1 + `by`.
    pub fn contrast(mut self, by: f64) -> Self {
        self.contrast = by;
        self
    }

    /// A factor from 1 − `by` (at least 0) to 1 + `by`.
    pub fn saturation(mut self, by: f64) -> Self {
        self.saturation = by;
        self
    }

    /// A turn from −`by` to `by`, in shares of the circle.
    ///
    /// # Panics
    /// If it is not from 0 to 0.5.
    #[track_caller]
    pub fn hue(mut self, by: f64) -> Self {
        if !(0.0..=0.5).contains(&by) {
            let why = format!("hues turn by 0 to 0.5 of the circle, not {by}");
            raise(Error::Argument { op: "ColorJitter::hue", why });
        }
        self.hue = by;
        self
    }
}

/// Blurred by a Gauss curve of random width: `torchvision.transforms.GaussianBlur`.
#[derive(Clone, Copy, Debug)]
pub struct GaussianBlur {
    size: [usize; 2],
    sigma: (f64, f64),
}

impl GaussianBlur {
    /// A curve over so many pixels, whose standard deviation is from 0.1 to 2 pixels.
    ///
    /// # Panics
    /// If the size is even.
    #[track_caller]
    pub fn new(size: usize) -> Self {
        if size.is_multiple_of(2) {
            let why = format!("the middle of {size} pixels is none of them; take an odd size");
            raise(Error::Argument { op: "GaussianBlur", why });
        }
        GaussianBlur { size: [size; 2], sigma: (0.1, 2.0) }
    }

    /// The standard deviations to choose from (0.1 to 2).
    ///
    /// # Panics
    /// If `least` is not above 0.
    #[track_caller]
    pub fn sigma(mut self, least: f64, most: f64) -> Self {
        if least <= 0.0 || most < least {
            let why = format!("the condition is 0 < least <= most, and these are {least}, {most}");
            raise(Error::Argument { op: "GaussianBlur::sigma", why });
        }
        self.sigma = (least, most);
        self
    }
}

fn factor(by: f64, rng: &mut Rng) -> f32 {
    rng.between((1.0 - by).max(0.0), 1.0 + by) as f32
}

on_images! {
    Grayscale: |_this, image, _rng| image.into_gray();
    RandomGrayscale: |this, image, rng| {
        let gray = rng.uniform() < this.p && image.channels() >= 3;
        if gray { image.into_gray().into_rgb() } else { image }
    };
    ColorJitter: |this, image, rng| {
        let mut image = image;
        for change in rng.permutation(4) {
            image = match change {
                0 if this.brightness > 0.0 => image.brightness(factor(this.brightness, rng)),
                1 if this.contrast > 0.0 => image.contrast(factor(this.contrast, rng)),
                2 if this.saturation > 0.0 => image.saturation(factor(this.saturation, rng)),
                3 if this.hue > 0.0 => image.hue(rng.between(-this.hue, this.hue)),
                _ => image,
            };
        }
        image
    };
    GaussianBlur: |this, image, rng| {
        let sigma = rng.between(this.sigma.0, this.sigma.1);
        image.gaussian_blur(this.size, sigma)
    };
}
