//! Many images as one: `torchvision.utils`.

use std::path::Path;

use kiln_tensor_core::{Backend, DType, Error, Result, Tensor, raise};

use crate::Image;

/// How [`make_grid`] lays images out; the methods change the defaults of torchvision.
///
/// ```
/// use kiln_conformance::{Reference, ReferenceDevice};
/// use kiln_data::Grid;
/// use kiln_tensor_core::Tensor;
/// let images = Tensor::<Reference>::ones([5, 1, 8, 8], &ReferenceDevice);
/// let grid = Grid::new().nrow(3).padding(1).make(&images);
/// assert_eq!(grid.dims(), [3, 2 * 9 + 1, 3 * 9 + 1]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    nrow: usize,
    padding: usize,
    pad_value: f32,
    normalize: bool,
    value_range: Option<(f32, f32)>,
}

impl Default for Grid {
    fn default() -> Self {
        Self::new()
    }
}

impl Grid {
    /// Eight images in a row, two black pixels between them.
    pub const fn new() -> Self {
        Grid { nrow: 8, padding: 2, pad_value: 0.0, normalize: false, value_range: None }
    }

    /// How many images are in a row (8).
    pub fn nrow(mut self, images: usize) -> Self {
        self.nrow = images.max(1);
        self
    }

    /// How many pixels are around each image (2).
    pub fn padding(mut self, pixels: usize) -> Self {
        self.padding = pixels;
        self
    }

    /// The value of those pixels (0).
    pub fn pad_value(mut self, value: f32) -> Self {
        self.pad_value = value;
        self
    }

    /// Whether to stretch the values of all images together to 0..1 (no).
    pub fn normalize(mut self, yes: bool) -> Self {
        self.normalize = yes;
        self
    }

    /// The values that `normalize` makes 0 and 1, instead of the smallest and the largest.
    pub fn value_range(mut self, low: f32, high: f32) -> Self {
        self.value_range = Some((low, high));
        self
    }

    /// One image `[channels, height, width]` of images `[n, channels, height, width]`; gray becomes RGB.
    ///
    /// # Panics
    /// If the tensor has another rank, or no images.
    #[track_caller]
    pub fn make<B: Backend>(&self, images: &Tensor<B>) -> Tensor<B> {
        let &[n, c, height, width] = images.dims() else { refuse(images) };
        if images.numel() == 0 {
            refuse(images);
        }
        let mut values: Vec<f32> = images.detach().to_dtype(DType::F32).to_vec();
        if self.normalize {
            let ends = |(low, high): (f32, f32), v: &f32| (low.min(*v), high.max(*v));
            let found = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), ends);
            let (low, high) = self.value_range.unwrap_or(found);
            let span = (high - low).max(1e-5);
            values.iter_mut().for_each(|v| *v = (v.clamp(low, high) - low) / span);
        }
        // torchvision gives a single image back without a border.
        let padding = if n == 1 { 0 } else { self.padding };
        let columns = self.nrow.min(n);
        let rows = n.div_ceil(columns);
        let (down, across) = (height + padding, width + padding);
        let (tall, wide) = (rows * down + padding, columns * across + padding);
        let channels = if c == 1 { 3 } else { c };
        let mut grid = vec![self.pad_value; channels * tall * wide];
        for (at, image) in values.chunks_exact(c * height * width).enumerate() {
            let (top, left) = (at / columns * down + padding, at % columns * across + padding);
            for channel in 0..channels {
                for (y, row) in image[channel.min(c - 1) * height * width..][..height * width]
                    .chunks_exact(width)
                    .enumerate()
                {
                    let start = (channel * tall + top + y) * wide + left;
                    grid[start..start + width].copy_from_slice(row);
                }
            }
        }
        Tensor::from_slice(&grid, [channels, tall, wide], images.device()).to_dtype(images.dtype())
    }

    /// Writes such a grid to a PNG file: `torchvision.utils.save_image`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written, [`Error::Argument`] if its name does not end in `.png`.
    ///
    /// # Panics
    /// As [`Grid::make`].
    #[track_caller]
    pub fn save<B: Backend>(&self, images: &Tensor<B>, path: impl AsRef<Path>) -> Result<()> {
        Image::from_tensor(&self.make(images)).save(path)
    }
}

#[track_caller]
fn refuse<B: Backend>(images: &Tensor<B>) -> ! {
    raise(Error::Shape {
        op: "make_grid",
        shapes: vec![images.shape().clone()],
        why: "images are wanted as [n, channels, height, width], at least one".into(),
    })
}

/// Images `[n, channels, height, width]` as one, eight in a row: `torchvision.utils.make_grid`. [`Grid`] has
/// the options.
///
/// # Panics
/// As [`Grid::make`].
#[track_caller]
pub fn make_grid<B: Backend>(images: &Tensor<B>) -> Tensor<B> {
    Grid::new().make(images)
}

/// Writes an image `[channels, height, width]`, or a grid of images `[n, channels, height, width]`, of values
/// from 0 to 1 to a PNG file: `torchvision.utils.save_image`. [`Grid`] has the options.
///
/// # Errors
/// As [`Grid::save`].
///
/// # Panics
/// As [`Grid::make`].
#[track_caller]
pub fn save_image<B: Backend>(images: &Tensor<B>, path: impl AsRef<Path>) -> Result<()> {
    if images.rank() == 3 {
        return Image::from_tensor(images).save(path);
    }
    Grid::new().save(images, path)
}
