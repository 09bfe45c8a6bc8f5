//! Parts of tensors overwritten by chance.

use std::marker::PhantomData;

use kiln_tensor_core::{Backend, Error, Tensor, raise};

use super::Transform;
use crate::Rng;

/// Overwrites a random rectangle of an image tensor with a chance: `torchvision.transforms.RandomErasing`.
#[derive(Clone, Copy, Debug)]
pub struct RandomErasing<B> {
    p: f64,
    scale: (f64, f64),
    ratio: (f64, f64),
    value: f64,
    backend: PhantomData<fn(B)>,
}

impl<B: Backend> RandomErasing<B> {
    /// The chance, 0.5 in PyTorch.
    pub fn new(p: f64) -> Self {
        let (scale, ratio) = ((0.02, 0.33), (0.3, 3.3));
        RandomErasing { p, scale, ratio, value: 0.0, backend: PhantomData }
    }

    /// Which share of the image's area the rectangle has (0.02 to 0.33).
    pub fn scale(mut self, least: f64, most: f64) -> Self {
        self.scale = (least, most);
        self
    }

    /// Its height over its width (0.3 to 3.3).
    pub fn ratio(mut self, least: f64, most: f64) -> Self {
        self.ratio = (least, most);
        self
    }

    /// What it is filled with (0).
    pub fn value(mut self, value: f64) -> Self {
        self.value = value;
        self
    }
}

impl<B: Backend> Transform for RandomErasing<B> {
    type Input = Tensor<B>;
    type Output = Tensor<B>;

    fn apply(&self, x: Tensor<B>, rng: &mut Rng) -> Tensor<B> {
        let &[.., height, width] = x.dims() else {
            raise(Error::Shape {
                op: "RandomErasing",
                shapes: vec![x.shape().clone()],
                why: "an image is [channels, height, width]".into(),
            });
        };
        if rng.uniform() >= self.p {
            return x;
        }
        let logs = (self.ratio.0.ln(), self.ratio.1.ln());
        for _ in 0..10 {
            let area = (height * width) as f64 * rng.between(self.scale.0, self.scale.1);
            let aspect = rng.between(logs.0, logs.1).exp();
            let h = (area * aspect).sqrt().round_ties_even() as usize;
            let w = (area / aspect).sqrt().round_ties_even() as usize;
            if h >= height || w >= width || h == 0 || w == 0 {
                continue;
            }
            let (top, left) = (rng.below(height - h + 1), rng.below(width - w + 1));
            // The dataset's tensor stays as it is.
            let x = x.copy();
            x.narrow(-2, top, h).narrow(-1, left, w).fill_(self.value);
            return x;
        }
        x
    }
}
