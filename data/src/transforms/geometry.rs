//! Where pixels go: sizes, crops, flips, borders.

use kiln_tensor_core::{Error, raise};

use super::on_images;
use crate::{Image, Rng};

/// The image at another size, bilinear, averaging where it shrinks: `torchvision.transforms.Resize`.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    height: usize,
    /// None: the shorter edge gets the height, and proportions stay.
    width: Option<usize>,
}

impl Resize {
    /// Both sizes; the image is stretched where its proportions differ.
    pub fn new(height: usize, width: usize) -> Self {
        Resize { height, width: Some(width) }
    }

    /// The size of the shorter edge; proportions stay. What `Resize(size)` with one number is.
    pub fn shorter(size: usize) -> Self {
        Resize { height: size, width: None }
    }

    /// Height and width of what becomes of an image.
    fn size(&self, image: &Image) -> (usize, usize) {
        let (height, width) = (image.height(), image.width());
        match self.width {
            Some(width) => (self.height, width),
            None if width <= height => (self.height * height / width.max(1), self.height),
            None => (self.height, self.height * width / height.max(1)),
        }
    }
}

/// The middle of the image: `torchvision.transforms.CenterCrop`. A smaller image gets black edges.
#[derive(Clone, Copy, Debug)]
pub struct CenterCrop {
    height: usize,
    width: usize,
}

impl CenterCrop {
    /// The size to keep.
    pub fn new(height: usize, width: usize) -> Self {
        CenterCrop { height, width }
    }
}

/// A rectangle at a random place: `torchvision.transforms.RandomCrop`.
#[derive(Clone, Copy, Debug)]
pub struct RandomCrop {
    height: usize,
    width: usize,
    padding: usize,
}

impl RandomCrop {
    /// The size to keep.
    pub fn new(height: usize, width: usize) -> Self {
        RandomCrop { height, width, padding: 0 }
    }

    /// Black pixels to add on each side first.
    pub fn padding(mut self, pixels: usize) -> Self {
        self.padding = pixels;
        self
    }
}

/// Mirrors left to right with a chance: `torchvision.transforms.RandomHorizontalFlip`.
#[derive(Clone, Copy, Debug)]
pub struct RandomHorizontalFlip {
    p: f64,
}

impl RandomHorizontalFlip {
    /// The chance, 0.5 in PyTorch.
    pub fn new(p: f64) -> Self {
        RandomHorizontalFlip { p }
    }
}

/// Mirrors top to bottom with a chance: `torchvision.transforms.RandomVerticalFlip`.
#[derive(Clone, Copy, Debug)]
pub struct RandomVerticalFlip {
    p: f64,
}

impl RandomVerticalFlip {
    /// The chance, 0.5 in PyTorch.
    pub fn new(p: f64) -> Self {
        RandomVerticalFlip { p }
    }
}

/// Pixels of one value on each side: `torchvision.transforms.Pad`.
#[derive(Clone, Copy, Debug)]
pub struct Pad {
    /// Left, top, right, bottom.
    sides: [usize; 4],
    fill: u8,
}

impl Pad {
    /// So many black pixels on every side.
    pub fn new(pixels: usize) -> Self {
        Pad { sides: [pixels; 4], fill: 0 }
    }

    /// So many black pixels on each side.
    pub fn sides(left: usize, top: usize, right: usize, bottom: usize) -> Self {
        Pad { sides: [left, top, right, bottom], fill: 0 }
    }

    /// Their value in every channel (0).
    pub fn fill(mut self, value: u8) -> Self {
        self.fill = value;
        self
    }
}

/// A part of random size, proportions and place, scaled to one size:
/// `torchvision.transforms.RandomResizedCrop`.
#[derive(Clone, Copy, Debug)]
pub struct RandomResizedCrop {
    height: usize,
    width: usize,
    scale: (f64, f64),
    ratio: (f64, f64),
}

impl RandomResizedCrop {
    /// The size of the result.
    pub fn new(height: usize, width: usize) -> Self {
        RandomResizedCrop { height, width, scale: (0.08, 1.0), ratio: (3.0 / 4.0, 4.0 / 3.0) }
    }

    /// Which share of the image's area the part has (0.08 to 1).
    pub fn scale(mut self, least: f64, most: f64) -> Self {
        self.scale = (least, most);
        self
    }

    /// Its width over its height (3/4 to 4/3).
    pub fn ratio(mut self, least: f64, most: f64) -> Self {
        self.ratio = (least, most);
        self
    }

    /// Top, left, height and width of the part.
    fn part(&self, image: &Image, rng: &mut Rng) -> [usize; 4] {
        let (height, width) = (image.height(), image.width());
        let logs = (self.ratio.0.ln(), self.ratio.1.ln());
        for _ in 0..10 {
            let area = (height * width) as f64 * rng.between(self.scale.0, self.scale.1);
            let aspect = rng.between(logs.0, logs.1).exp();
            let w = (area * aspect).sqrt().round_ties_even() as usize;
            let h = (area / aspect).sqrt().round_ties_even() as usize;
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                return [rng.below(height - h + 1), rng.below(width - w + 1), h, w];
            }
        }
        // None fits: the largest part of allowed proportions in the middle.
        let aspect = (width as f64 / height as f64).clamp(self.ratio.0, self.ratio.1);
        let w = width.min((height as f64 * aspect).round_ties_even() as usize).max(1);
        let h = height.min((width as f64 / aspect).round_ties_even() as usize).max(1);
        [(height - h) / 2, (width - w) / 2, h, w]
    }
}

on_images! {
    Resize: |this, image, _rng| {
        let (height, width) = this.size(&image);
        image.resize(height, width)
    };
    RandomVerticalFlip: |this, image, rng| {
        if rng.uniform() < this.p { image.flip_vertical() } else { image }
    };
    Pad: |this, image, _rng| {
        let [left, top, right, bottom] = this.sides;
        let (height, width) = (image.height() + top + bottom, image.width() + left + right);
        image.crop_with(-(top as isize), -(left as isize), height, width, this.fill)
    };
    RandomResizedCrop: |this, image, rng| {
        let [top, left, height, width] = this.part(&image, rng);
        image.crop(top as isize, left as isize, height, width).resize(this.height, this.width)
    };
    CenterCrop: |this, image, _rng| {
        // As torchvision: an odd pixel is cut to the even offset, and padded at the end.
        let middle = |outer: usize, inner: usize| match outer.checked_sub(inner) {
            Some(extra) => (extra as f64 / 2.0).round_ties_even() as isize,
            None => -(((inner - outer) / 2) as isize),
        };
        let top = middle(image.height(), this.height);
        image.crop(top, middle(image.width(), this.width), this.height, this.width)
    };
    RandomCrop: |this, image, rng| {
        let mut place = |outer: usize, inner: usize| {
            let padded = outer + 2 * this.padding;
            if padded < inner {
                raise(Error::Argument {
                    op: "RandomCrop",
                    why: format!("{inner} pixels do not fit into {padded}; pad or resize first"),
                });
            }
            rng.below(padded - inner + 1) as isize - this.padding as isize
        };
        let top = place(image.height(), this.height);
        let left = place(image.width(), this.width);
        image.crop(top, left, this.height, this.width)
    };
    RandomHorizontalFlip: |this, image, rng| {
        if rng.uniform() < this.p { image.flip_horizontal() } else { image }
    };
}
