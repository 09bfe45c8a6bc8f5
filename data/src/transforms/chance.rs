//! Transforms of the user's, and by chance.

use std::fmt;
use std::marker::PhantomData;

use super::Transform;
use crate::Rng;

/// A transform of your own: `torchvision.transforms.Lambda`.
///
/// ```
/// use kiln_data::transforms::{Lambda, Transform};
/// use kiln_data::{Image, Rng};
/// let negative = Lambda::new(|image: Image| {
///     let pixels = image.pixels().iter().map(|v| 255 - v).collect();
///     Image::new(image.height(), image.width(), image.channels(), pixels)
/// });
/// let image = negative.apply(Image::new(1, 2, 1, vec![0, 200]), &mut Rng::new(0, 0));
/// assert_eq!(image.pixels(), [255, 55]);
/// ```
pub struct Lambda<F, A> {
    f: F,
    input: PhantomData<fn(A)>,
}

impl<F: Fn(A) -> C + Send + Sync, A, C> Lambda<F, A> {
    /// What `f` does.
    pub fn new(f: F) -> Self {
        Lambda { f, input: PhantomData }
    }
}

impl<F: Fn(A) -> C + Send + Sync, A, C> Transform for Lambda<F, A> {
    type Input = A;
    type Output = C;

    fn apply(&self, x: A, _rng: &mut Rng) -> C {
        (self.f)(x)
    }
}

impl<F, A> fmt::Debug for Lambda<F, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lambda")
    }
}

/// A transform with a chance: `torchvision.transforms.RandomApply`.
#[derive(Clone, Copy, Debug)]
pub struct RandomApply<T> {
    transform: T,
    p: f64,
}

impl<X, T: Transform<Input = X, Output = X>> RandomApply<T> {
    /// The transform and its chance, 0.5 in PyTorch.
    pub fn new(transform: T, p: f64) -> Self {
        RandomApply { transform, p }
    }
}

impl<X, T: Transform<Input = X, Output = X>> Transform for RandomApply<T> {
    type Input = X;
    type Output = X;

    fn apply(&self, x: X, rng: &mut Rng) -> X {
        if rng.uniform() < self.p { self.transform.apply(x, rng) } else { x }
    }
}

/// One of several transforms, each with the same chance: `torchvision.transforms.RandomChoice`.
///
/// ```
/// use kiln_data::transforms::{RandomChoice, RandomHorizontalFlip, RandomVerticalFlip};
/// let mirror = RandomChoice::new(RandomHorizontalFlip::new(1.0)).or(RandomVerticalFlip::new(1.0));
/// ```
pub struct RandomChoice<X> {
    transforms: Vec<Box<dyn Transform<Input = X, Output = X>>>,
}

impl<X> RandomChoice<X> {
    /// One transform; see [`RandomChoice::or`].
    pub fn new(first: impl Transform<Input = X, Output = X> + 'static) -> Self {
        RandomChoice { transforms: vec![Box::new(first)] }
    }

    /// One more to choose from.
    pub fn or(mut self, other: impl Transform<Input = X, Output = X> + 'static) -> Self {
        self.transforms.push(Box::new(other));
        self
    }
}

impl<X> Transform for RandomChoice<X> {
    type Input = X;
    type Output = X;

    fn apply(&self, x: X, rng: &mut Rng) -> X {
        self.transforms[rng.below(self.transforms.len())].apply(x, rng)
    }
}

impl<X> fmt::Debug for RandomChoice<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RandomChoice of {}", self.transforms.len())
    }
}
