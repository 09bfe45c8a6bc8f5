//! Images turned, moved, scaled and sheared by chance.

use super::on_images;
use crate::Image;

/// Which pixels make one that lies between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest one.
    #[default]
    Nearest,
    /// The nearest four, by distance.
    Bilinear,
}

/// Turns by a random angle: `torchvision.transforms.RandomRotation`.
#[derive(Clone, Copy, Debug)]
pub struct RandomRotation {
    degrees: (f64, f64),
    interpolation: Interpolation,
    fill: u8,
}

impl RandomRotation {
    /// An angle from `-degrees` to `degrees`.
    pub fn new(degrees: f64) -> Self {
        Self::range(-degrees, degrees)
    }

    /// An angle from `least` to `most` degrees, counter-clockwise.
    pub fn range(least: f64, most: f64) -> Self {
        RandomRotation { degrees: (least, most), interpolation: Interpolation::Nearest, fill: 0 }
    }

    /// Which pixels make a new one (the nearest).
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }

    /// The value of what was outside the image (0).
    pub fn fill(mut self, value: u8) -> Self {
        self.fill = value;
        self
    }
}

/// Turns, moves, scales and shears by chance: `torchvision.transforms.RandomAffine`.
#[derive(Clone, Copy, Debug)]
pub struct RandomAffine {
    degrees: (f64, f64),
    translate: (f64, f64),
    scale: (f64, f64),
    shear: [(f64, f64); 2],
    interpolation: Interpolation,
    fill: u8,
}

impl RandomAffine {
    /// An angle from `-degrees` to `degrees`; nothing else.
    pub fn new(degrees: f64) -> Self {
        RandomAffine {
            degrees: (-degrees, degrees),
            translate: (0.0, 0.0),
            scale: (1.0, 1.0),
            shear: [(0.0, 0.0); 2],
            interpolation: Interpolation::Nearest,
            fill: 0,
        }
    }

    /// Moves by up to these shares of width and height, either way.
    pub fn translate(mut self, across: f64, down: f64) -> Self {
        self.translate = (across, down);
        self
    }

    /// Scales by a factor from `least` to `most`.
    pub fn scale(mut self, least: f64, most: f64) -> Self {
        self.scale = (least, most);
        self
    }

    /// Shears along x by an angle from `least` to `most` degrees.
    pub fn shear(mut self, least: f64, most: f64) -> Self {
        self.shear[0] = (least, most);
        self
    }

    /// Shears along y, too.
    pub fn shear_y(mut self, least: f64, most: f64) -> Self {
        self.shear[1] = (least, most);
        self
    }

    /// Which pixels make a new one (the nearest).
    pub fn interpolation(mut self, interpolation: Interpolation) -> Self {
        self.interpolation = interpolation;
        self
    }

    /// The value of what was outside the image (0).
    pub fn fill(mut self, value: u8) -> Self {
        self.fill = value;
        self
    }
}

on_images! {
    RandomRotation: |this, image, rng| {
        let angle = rng.between(this.degrees.0, this.degrees.1);
        let matrix = inverse(&image, -angle, [0.0; 2], 1.0, [0.0; 2]);
        image.affine(&matrix, this.interpolation == Interpolation::Bilinear, this.fill)
    };
    RandomAffine: |this, image, rng| {
        let angle = rng.between(this.degrees.0, this.degrees.1);
        // Whole pixels, as torchvision moves.
        let mut shift = |share: f64, size: usize| {
            let most = share * size as f64;
            rng.between(-most, most).round_ties_even()
        };
        let moved = [shift(this.translate.0, image.width()), shift(this.translate.1, image.height())];
        let scale = rng.between(this.scale.0, this.scale.1);
        let shear = this.shear.map(|(least, most)| rng.between(least, most));
        let matrix = inverse(&image, angle, moved, scale, shear);
        image.affine(&matrix, this.interpolation == Interpolation::Bilinear, this.fill)
    };
}

/// Where each pixel of the result comes from, for an image that is sheared, turned clockwise, scaled around
/// its middle and then moved: the inverse of M = T · C · R · S · H · C⁻¹, as torchvision writes it.
fn inverse(image: &Image, angle: f64, moved: [f64; 2], scale: f64, shear: [f64; 2]) -> [f64; 6] {
    let (angle, [sx, sy]) = (angle.to_radians(), shear.map(f64::to_radians));
    let (cx, cy) = (0.5 * image.width() as f64, 0.5 * image.height() as f64);
    let a = (angle - sy).cos() / sy.cos();
    let b = -(angle - sy).cos() * sx.tan() / sy.cos() - angle.sin();
    let c = (angle - sy).sin() / sy.cos();
    let d = -(angle - sy).sin() * sx.tan() / sy.cos() + angle.cos();
    let [a, b, c, d] = [d / scale, -b / scale, -c / scale, a / scale];
    let (x, y) = (-cx - moved[0], -cy - moved[1]);
    [a, b, a * x + b * y + cx, c, d, c * x + d * y + cy]
}
