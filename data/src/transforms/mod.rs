//! From images to tensors: what `torchvision.transforms` does.
//!
//! ```
//! use kiln_conformance::{Reference, ReferenceDevice};
//! use kiln_data::transforms::{Normalize, RandomCrop, RandomHorizontalFlip, ToTensor};
//! use kiln_data::{Dataset, Transform, digits};
//!
//! let device = ReferenceDevice;
//! let augment = RandomCrop::new(8, 8)
//!     .padding(1)
//!     .then(RandomHorizontalFlip::new(0.5))
//!     .then(ToTensor::<Reference>::new(&device))
//!     .then(Normalize::new(&[0.3], &[0.4], &device));
//! let (x, label) = digits().transform(augment).seed(7).get(0)?;
//! assert_eq!((x.dims(), label), (&[1, 8, 8][..], 0));
//! # Ok::<(), kiln_tensor_core::Error>(())
//! ```

mod chance;
mod colour;
mod erase;
mod geometry;
mod warp;

use kiln_tensor_core::{Backend, Error, Result, Tensor, raise};

use crate::{Dataset, Image, Rng};

pub use chance::{Lambda, RandomApply, RandomChoice};
pub use colour::{ColorJitter, GaussianBlur, Grayscale, RandomGrayscale};
pub use erase::RandomErasing;
pub use geometry::{
    CenterCrop, Pad, RandomCrop, RandomHorizontalFlip, RandomResizedCrop, RandomVerticalFlip,
    Resize,
};
pub use warp::{Interpolation, RandomAffine, RandomRotation};

/// Implements transforms from images to images.
macro_rules! on_images {
    ($($name:ident: |$this:ident, $image:ident, $rng:ident| $body:expr;)*) => {$(
        impl crate::transforms::Transform for $name {
            type Input = crate::Image;
            type Output = crate::Image;

            fn apply(&self, $image: crate::Image, $rng: &mut crate::Rng) -> crate::Image {
                let $this = self;
                $body
            }
        }
    )*};
}
use on_images;

/// A change to an input, with random numbers where it wants them.
pub trait Transform: Send + Sync {
    /// What it takes.
    type Input;
    /// What it gives.
    type Output;

    /// Changes `x`.
    fn apply(&self, x: Self::Input, rng: &mut Rng) -> Self::Output;

    /// This transform, then `next`.
    fn then<T: Transform<Input = Self::Output>>(self, next: T) -> Compose<Self, T>
    where
        Self: Sized,
    {
        Compose(self, next)
    }
}

/// One transform after another; chains of any length are nested pairs. See [`Transform::then`].
#[derive(Clone, Copy, Debug)]
pub struct Compose<A, B>(
    /// The first.
    pub A,
    /// The second.
    pub B,
);

impl<A: Transform, B: Transform<Input = A::Output>> Transform for Compose<A, B> {
    type Input = A::Input;
    type Output = B::Output;

    fn apply(&self, x: A::Input, rng: &mut Rng) -> B::Output {
        let x = self.0.apply(x, rng);
        self.1.apply(x, rng)
    }
}

/// A dataset whose images go through a transform: see [`Dataset::transform`].
#[derive(Clone, Debug)]
pub struct Transformed<D, T> {
    dataset: D,
    transform: T,
    seed: u64,
}

impl<D, T> Transformed<D, T> {
    pub(crate) fn new(dataset: D, transform: T) -> Self {
        Transformed { dataset, transform, seed: 0 }
    }

    /// The seed of the random numbers (0). An item's numbers follow from it, the epoch and the item's
    /// position, so they do not depend on workers or order.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

impl<D: Dataset<Item = (T::Input, L)>, T: Transform, L> Dataset for Transformed<D, T> {
    type Item = (T::Output, L);

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        self.get_in_epoch(index, 0)
    }

    fn get_in_epoch(&self, index: usize, epoch: u64) -> Result<Self::Item> {
        let (x, label) = self.dataset.get_in_epoch(index, epoch)?;
        let mut rng = Rng::for_item(self.seed, epoch, index);
        Ok((self.transform.apply(x, &mut rng), label))
    }
}

/// An image as an `f32` tensor `[channels, height, width]` of values from 0 to 1:
/// `torchvision.transforms.ToTensor`.
#[derive(Clone, Debug)]
pub struct ToTensor<B: Backend> {
    device: B::Device,
}

impl<B: Backend> ToTensor<B> {
    /// Tensors on `device`.
    pub fn new(device: &B::Device) -> Self {
        ToTensor { device: device.clone() }
    }
}

impl<B: Backend> Transform for ToTensor<B> {
    type Input = Image;
    type Output = Tensor<B>;

    fn apply(&self, image: Image, _rng: &mut Rng) -> Tensor<B> {
        let shape = [image.channels(), image.height(), image.width()];
        Tensor::from_slice(&image.to_chw(), shape, &self.device)
    }
}

/// `(x − mean) / std` for each channel of `[…, channels, height, width]`:
/// `torchvision.transforms.Normalize`.
#[derive(Clone, Debug)]
pub struct Normalize<B: Backend> {
    mean: Tensor<B>,
    std: Tensor<B>,
}

impl<B: Backend> Normalize<B> {
    /// One mean and one standard deviation per channel.
    ///
    /// # Panics
    /// If there are not as many of one as of the other, or a deviation is 0.
    #[track_caller]
    pub fn new(mean: &[f32], std: &[f32], device: &B::Device) -> Self {
        if mean.len() != std.len() || std.contains(&0.0) {
            raise(Error::Argument {
                op: "Normalize",
                why: format!("means {mean:?} want as many deviations other than 0, not {std:?}"),
            });
        }
        let upload = |values: &[f32]| Tensor::from_slice(values, [values.len(), 1, 1], device);
        Normalize { mean: upload(mean), std: upload(std) }
    }
}

impl<B: Backend> Transform for Normalize<B> {
    type Input = Tensor<B>;
    type Output = Tensor<B>;

    fn apply(&self, x: Tensor<B>, _rng: &mut Rng) -> Tensor<B> {
        (&x - &self.mean) / &self.std
    }
}
