//! The affine map of a linear layer.

use crate::{Backend, Error, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// `x · weightᵀ + bias` for `x` `[…, in]`, `weight` `[out, in]` (or `[in]`, which removes the last
    /// dimension) and `bias` `[out]`: `torch.nn.functional.linear`.
    ///
    /// # Panics
    /// If the sizes do not fit together, or dtypes or devices differ.
    #[track_caller]
    pub fn linear(&self, weight: &Self, bias: Option<&Self>) -> Self {
        let operands = [Some(self), Some(weight), bias];
        let shapes = || operands.iter().flatten().map(|x| x.shape().clone()).collect();
        for other in operands.iter().flatten() {
            self.same_device("linear", other);
            if other.dtype() != self.dtype() {
                raise(Error::DType {
                    op: "linear",
                    dtypes: vec![self.dtype(), other.dtype()],
                    why: "all operands must have one dtype; convert one with `to_dtype`".into(),
                });
            }
        }
        let out = match *weight.dims() {
            [_] => {
                let rows = weight.unsqueeze(0);
                let bias = bias.map(|b| b.reshape([1]));
                return self.linear(&rows, bias.as_ref()).squeeze(-1);
            }
            [out, input] if self.rank() > 0 && self.size(-1) == input => out,
            _ => raise(Error::Shape {
                op: "linear",
                shapes: shapes(),
                why: "x […, in] and a weight [out, in] are wanted".into(),
            }),
        };
        if bias.is_some_and(|bias| *bias.shape() != [out]) {
            raise(Error::Shape {
                op: "linear",
                shapes: shapes(),
                why: format!("the bias must be [{out}], as long as the weight's first dim"),
            });
        }
        B::linear(self, weight, bias)
    }
}
