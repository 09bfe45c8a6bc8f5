//! Activation functions of more than one tensor. The rest are rows of `pointwise`.

use crate::autocast::cast;
use crate::{Backend, Error, Fused, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// `x` above 0, else `weight · x`, with one weight for all or one for each channel (dim 1)
    /// (He et al. 2015).
    ///
    /// # Panics
    /// If the weight fits neither, or dtypes or devices differ.
    #[track_caller]
    pub fn prelu(&self, weight: &Self) -> Self {
        if let Some((_inside, [x, weight])) = cast("prelu", [self, weight]) {
            return x.prelu(&weight);
        }
        static ROW: Fused<2> = Fused::new("prelu", |[x, w]| x.gt(0.0).select(x, x * w));
        self.floats("prelu");
        self.alike("prelu", std::iter::once(weight));
        let channels = if self.rank() < 2 { 1 } else { self.dims()[1] };
        if weight.rank() > 1 || (weight.numel() != 1 && weight.numel() != channels) {
            raise(Error::Shape {
                op: "prelu",
                shapes: vec![self.shape().clone(), weight.shape().clone()],
                why: format!("a weight of 1 or {channels} elements is wanted"),
            });
        }
        let weight = match weight.numel() {
            1 => weight.reshape_to(&Shape::scalar()),
            _ => weight.per_channel(self.rank()),
        };
        ROW.call([self, &weight])
    }

    /// `a · sigmoid(b)` for the two halves of `dim` (Dauphin et al. 2017).
    ///
    /// # Panics
    /// If there is no such dimension or its size is odd.
    #[track_caller]
    pub fn glu(&self, dim: isize) -> Self {
        static ROW: Fused<2> = Fused::new("glu", |[a, b]| a * b.sigmoid());
        self.floats("glu");
        let size = self.size(dim);
        if !size.is_multiple_of(2) {
            raise(Error::Shape {
                op: "glu",
                shapes: vec![self.shape().clone()],
                why: format!("the size of dim {dim} must be even"),
            });
        }
        let half = |start| self.narrow(dim, start, size / 2);
        ROW.call([&half(0), &half(size / 2)])
    }
}
