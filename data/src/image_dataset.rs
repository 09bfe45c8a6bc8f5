//! Labelled images of one size, all in memory.

use std::fmt;
use std::sync::Arc;

use kiln_tensor_core::{Backend, Error, Result, Tensor, raise};

use crate::{Dataset, Image};

/// Labelled images of one size, all in memory. Clones share the pixels.
#[derive(Clone)]
pub struct ImageDataset {
    pixels: Arc<[u8]>,
    /// Count, height, width, channels.
    shape: [usize; 4],
    white: u8,
    labels: Arc<[i64]>,
    classes: Arc<[String]>,
}

impl ImageDataset {
    /// Images of shape `[count, height, width, channels]`, values from 0 to 255, with one label each;
    /// `classes[i]` names label `i`.
    ///
    /// # Panics
    /// If the counts do not fit or a label has no class.
    #[track_caller]
    pub fn new(pixels: Vec<u8>, shape: [usize; 4], labels: Vec<i64>, classes: Vec<String>) -> Self {
        let refuse = |why| raise(Error::Argument { op: "ImageDataset::new", why });
        let values = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
        if values != Some(pixels.len()) || !(1..=4).contains(&shape[3]) {
            refuse(format!("{} values cannot have the shape {shape:?}", pixels.len()));
        }
        if labels.len() != shape[0] {
            refuse(format!("{} images want as many labels, not {}", shape[0], labels.len()));
        }
        if let Some(label) = labels.iter().find(|&&l| l < 0 || l as usize >= classes.len()) {
            refuse(format!("label {label} is none of the {} classes", classes.len()));
        }
        ImageDataset {
            pixels: pixels.into(),
            shape,
            white: 255,
            labels: labels.into(),
            classes: classes.into(),
        }
    }

    /// The same values where `white` means white.
    ///
    /// # Panics
    /// If `white` is 0.
    #[track_caller]
    pub fn with_white(mut self, white: u8) -> Self {
        assert!(white > 0, "with_white: white must be more than 0");
        self.white = white;
        self
    }

    /// Count, height, width and channels.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// The label of each image.
    pub fn labels(&self) -> &[i64] {
        &self.labels
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Image `index`.
    ///
    /// # Panics
    /// If there is no such image.
    #[track_caller]
    pub fn image(&self, index: usize) -> Image {
        let [_, height, width, channels] = self.shape;
        let size = height * width * channels;
        let pixels = self.pixels[index * size..][..size].to_vec();
        Image::new(height, width, channels, pixels).with_white(self.white)
    }

    /// All images as an `f32` tensor `[count, channels, height, width]` of values from 0 to 1, and
    /// all labels as an `i64` tensor `[count]`.
    pub fn tensors<B: Backend>(&self, device: &B::Device) -> (Tensor<B>, Tensor<B>) {
        let [count, height, width, channels] = self.shape;
        let white = f32::from(self.white);
        let mut values = Vec::with_capacity(self.pixels.len());
        for image in self.pixels.chunks_exact((height * width * channels).max(1)) {
            for c in 0..channels {
                let channel = image[c..].iter().step_by(channels);
                values.extend(channel.map(|&v| f32::from(v) / white));
            }
        }
        (
            Tensor::from_slice(&values, [count, channels, height, width], device),
            Tensor::from_slice(&self.labels, [count], device),
        )
    }
}

/// An item is an image and its label.
impl Dataset for ImageDataset {
    type Item = (Image, i64);

    fn len(&self) -> usize {
        self.shape[0]
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        Ok((self.image(index), self.labels[index]))
    }
}

impl fmt::Debug for ImageDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [count, height, width, channels] = self.shape;
        write!(
            f,
            "ImageDataset({count} images of {height}×{width}×{channels}, {} classes)",
            self.classes.len()
        )
    }
}
