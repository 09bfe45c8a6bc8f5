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

use kiln_tensor_core::{Backend, Error, Result, Tensor, raise};

use crate::{Dataset, Image, Rng};

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

/// The image at another size, bilinear, averaging where it shrinks: `torchvision.transforms.Resize`.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    height: usize,
    width: usize,
}

impl Resize {
    /// Both sizes; the image is stretched where its proportions differ.
    pub fn new(height: usize, width: usize) -> Self {
        Resize { height, width }
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

/// To one channel of luma: `torchvision.transforms.Grayscale`.
#[derive(Clone, Copy, Debug)]
pub struct Grayscale;

macro_rules! on_images {
    ($($name:ident: |$this:ident, $image:ident, $rng:ident| $body:expr;)*) => {$(
        impl Transform for $name {
            type Input = Image;
            type Output = Image;

            fn apply(&self, $image: Image, $rng: &mut Rng) -> Image {
                let $this = self;
                $body
            }
        }
    )*};
}

on_images! {
    Resize: |this, image, _rng| image.resize(this.height, this.width);
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
    Grayscale: |_this, image, _rng| image.into_gray();
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
