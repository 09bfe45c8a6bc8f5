//! Images at another size, as PIL and so torchvision scale them.

use kiln_tensor_core::{Error, raise};

use super::Image;

/// Bits after the point of a weight: 32, less 8 of a pixel and 2 for sums.
const BITS: u32 = 22;

impl Image {
    /// The image scaled to another size: bilinear, averaging over the source pixels where it shrinks.
    /// Bit for bit what PIL's `resize` with `BILINEAR` gives, and so `torchvision.transforms.Resize`.
    ///
    /// # Panics
    /// If a size is 0 or the image is empty.
    #[track_caller]
    pub fn resize(&self, height: usize, width: usize) -> Self {
        if height == 0 || width == 0 || self.pixels.is_empty() {
            raise(Error::Argument {
                op: "Image::resize",
                why: format!("{self:?} cannot become {height}×{width}"),
            });
        }
        let mut image = Image::new(self.height, self.width, self.channels, self.full_range());
        if width != image.width {
            image = image.resized_across(width);
        }
        if height != image.height {
            image = image.resized_down(height);
        }
        image
    }

    fn resized_across(self, width: usize) -> Self {
        let channels = self.channels;
        let taps = taps(self.width, width);
        let mut pixels = Vec::with_capacity(self.height * width * channels);
        for row in self.pixels.chunks_exact(self.width * channels) {
            for (first, weights) in &taps {
                let source = &row[first * channels..];
                for c in 0..channels {
                    pixels.push(weighted(weights, source[c..].iter().step_by(channels)));
                }
            }
        }
        Image { width, pixels, ..self }
    }

    fn resized_down(self, height: usize) -> Self {
        let row = self.width * self.channels;
        let mut pixels = Vec::with_capacity(height * row);
        for (first, weights) in taps(self.height, height) {
            let source = &self.pixels[first * row..];
            pixels.extend((0..row).map(|x| weighted(&weights, source[x..].iter().step_by(row))));
        }
        Image { height, pixels, ..self }
    }
}

/// For each place of the result the first source pixel that counts, and the weights from there on.
fn taps(from: usize, to: usize) -> Vec<(usize, Vec<i32>)> {
    let scale = from as f64 / to as f64;
    // A triangle as wide as a pixel of the coarser of the two grids.
    let support = scale.max(1.0);
    let tap = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        let first = (centre - support + 0.5).max(0.0) as usize;
        let end = ((centre + support + 0.5) as usize).min(from);
        let triangle = |x: usize| {
            let distance = ((x as f64 - centre + 0.5) * (1.0 / support)).abs();
            (1.0 - distance).max(0.0)
        };
        let weights: Vec<f64> = (first..end).map(triangle).collect();
        let sum: f64 = weights.iter().sum();
        let fixed = |w: &f64| (0.5 + w / sum * f64::from(1u32 << BITS)) as i32;
        (first, weights.iter().map(fixed).collect())
    };
    (0..to).map(tap).collect()
}

fn weighted<'a>(weights: &[i32], pixels: impl Iterator<Item = &'a u8>) -> u8 {
    let sum: i32 = weights.iter().zip(pixels).map(|(w, &p)| w * i32::from(p)).sum();
    ((sum + (1 << (BITS - 1))) >> BITS).clamp(0, 255) as u8
}
