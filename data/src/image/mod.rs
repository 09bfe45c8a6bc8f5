//! Images in memory: 8-bit pixels, and what can be done to them before they become tensors.

mod codec;
mod colour;
mod resize;
mod warp;

use std::fmt;

use kiln_tensor_core::{Backend, DType, Error, Tensor, raise};

/// An image of 8-bit pixels, row by row, the channels of a pixel side by side. 1 channel is gray, 3
/// are RGB.
#[derive(Clone, PartialEq, Eq)]
pub struct Image {
    width: usize,
    height: usize,
    channels: usize,
    white: u8,
    pixels: Vec<u8>,
}

impl Image {
    /// An image of `height · width · channels` values from 0 (black) to 255 (white).
    ///
    /// # Panics
    /// If there are not that many values, or not 1 to 4 channels.
    #[track_caller]
    pub fn new(height: usize, width: usize, channels: usize, pixels: Vec<u8>) -> Self {
        if height * width * channels != pixels.len() || !(1..=4).contains(&channels) {
            raise(Error::Argument {
                op: "Image::new",
                why: format!(
                    "{height}×{width} pixels of {channels} channels cannot be {} values",
                    pixels.len()
                ),
            });
        }
        Image { width, height, channels, white: 255, pixels }
    }

    /// The same values where `white` means white, as in files whose pixels are 0–16.
    ///
    /// # Panics
    /// If `white` is 0.
    #[track_caller]
    pub fn with_white(mut self, white: u8) -> Self {
        assert!(white > 0, "with_white: white must be more than 0");
        self.white = white;
        self
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Values per pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The value that means white, 255 for most images.
    pub fn white(&self) -> u8 {
        self.white
    }

    /// The values, row by row, channels innermost.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The values as a PyTorch image: channels outermost, from 0 to 1.
    pub fn to_chw(&self) -> Vec<f32> {
        let white = f32::from(self.white);
        (0..self.channels)
            .flat_map(|c| self.pixels[c..].iter().step_by(self.channels))
            .map(|&v| f32::from(v) / white)
            .collect()
    }

    /// The image of a tensor `[channels, height, width]`: of values from 0 to 1, rounded, or of `u8`.
    ///
    /// # Panics
    /// If it has another rank, or not 1 to 4 channels.
    #[track_caller]
    pub fn from_tensor<B: Backend>(tensor: &Tensor<B>) -> Self {
        let &[channels @ 1..=4, height, width] = tensor.dims() else {
            raise(Error::Shape {
                op: "Image::from_tensor",
                shapes: vec![tensor.shape().clone()],
                why: "an image is [channels, height, width] with 1 to 4 channels".into(),
            });
        };
        let rows = tensor.detach().permute([1, 2, 0]);
        let pixels = if tensor.dtype() == DType::U8 {
            rows.to_vec()
        } else {
            let values: Vec<f32> = rows.to_dtype(DType::F32).to_vec();
            // As torchvision's save_image.
            values.iter().map(|v| (v * 255.0 + 0.5).clamp(0.0, 255.0) as u8).collect()
        };
        Image::new(height, width, channels, pixels)
    }

    /// Three channels; gray is repeated, transparency is dropped.
    pub fn into_rgb(self) -> Self {
        self.with_channels(3, |p| if p.len() < 3 { [p[0]; 3] } else { [p[0], p[1], p[2]] })
    }

    /// One channel: luma after ITU-R BT.601 (299 R + 587 G + 114 B) / 1000, as PIL and torchvision have it.
    pub fn into_gray(self) -> Self {
        self.with_channels(1, |p| match *p {
            [r, g, b, ..] => {
                let luma = 19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b);
                [((luma + 0x8000) >> 16) as u8]
            }
            _ => [p[0]],
        })
    }

    fn with_channels<const N: usize>(self, channels: usize, f: impl Fn(&[u8]) -> [u8; N]) -> Self {
        if self.channels == channels {
            return self;
        }
        let pixels = self.pixels.chunks_exact(self.channels).flat_map(f).collect();
        Image { channels, pixels, ..self }
    }

    /// The rectangle that starts at (`top`, `left`). What lies outside the image is black; offsets may
    /// be negative.
    pub fn crop(&self, top: isize, left: isize, height: usize, width: usize) -> Self {
        self.crop_with(top, left, height, width, 0)
    }

    /// As [`Image::crop`], with another value for what lies outside.
    pub fn crop_with(
        &self,
        top: isize,
        left: isize,
        height: usize,
        width: usize,
        fill: u8,
    ) -> Self {
        let mut pixels = vec![fill; height * width * self.channels];
        let from = left.clamp(0, self.width as isize);
        let to = (left + width as isize).clamp(from, self.width as isize);
        let row = (to - from) as usize * self.channels;
        for y in 0..height {
            let source = top + y as isize;
            if row > 0 && (0..self.height as isize).contains(&source) {
                let src = (source as usize * self.width + from as usize) * self.channels;
                let dst = (y * width + (from - left) as usize) * self.channels;
                pixels[dst..dst + row].copy_from_slice(&self.pixels[src..src + row]);
            }
        }
        Image { width, height, pixels, ..*self }
    }

    /// The image mirrored top to bottom.
    pub fn flip_vertical(mut self) -> Self {
        let row = (self.width * self.channels).max(1);
        self.pixels = self.pixels.chunks_exact(row).rev().flatten().copied().collect();
        self
    }

    /// The image mirrored left to right.
    pub fn flip_horizontal(mut self) -> Self {
        let channels = self.channels;
        for row in self.pixels.chunks_exact_mut((self.width * channels).max(1)) {
            row.reverse();
            row.chunks_exact_mut(channels).for_each(<[u8]>::reverse);
        }
        self
    }

    /// The values with white at 255.
    pub(crate) fn full_range(&self) -> Vec<u8> {
        let white = u32::from(self.white);
        let scale = |&v: &u8| ((u32::from(v) * 255 + white / 2) / white).min(255) as u8;
        self.pixels.iter().map(scale).collect()
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}×{}×{})", self.height, self.width, self.channels)
    }
}
