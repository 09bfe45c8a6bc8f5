//! The affine map of a linear layer.

use crate::autocast::cast_given;
use crate::{Activation, Backend, Error, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// `x · weightᵀ + bias` for `x` `[…, in]`, `weight` `[out, in]` (or `[in]`, which removes the last
    /// dimension) and `bias` `[out]`: `torch.nn.functional.linear`.
    ///
    /// # Panics
    /// If the sizes do not fit together, or dtypes or devices differ.
    #[track_caller]
    pub fn linear(&self, weight: &Self, bias: Option<&Self>) -> Self {
        if let Some((_inside, [x, weight], [bias])) = cast_given("linear", [self, weight], [bias]) {
            return x.linear(&weight, bias.as_ref());
        }
        self.mapped("linear", weight, bias, |x, weight, bias| B::linear(x, weight, bias))
    }

    /// `linear(weight, bias)` and then an activation. It is the same as calling one after the other, and the
    /// result is not written to memory in between where a backend can do both at once: cuBLASLt on NVIDIA's
    /// devices, for which PyTorch has `torch._addmm_activation`. Where gradients of `GeluTanh` are recorded, what
    /// it was applied to is kept.
    ///
    /// ```
    /// use kiln_tensor_core::{Activation, Backend, Tensor};
    /// fn hidden<B: Backend>(x: &Tensor<B>, weight: &Tensor<B>, bias: &Tensor<B>) -> Tensor<B> {
    ///     x.linear_act(weight, Some(bias), Activation::Relu)
    /// }
    /// ```
    ///
    /// # Panics
    /// As `linear`, and if the dtype is not a float.
    #[track_caller]
    pub fn linear_act(&self, weight: &Self, bias: Option<&Self>, activation: Activation) -> Self {
        if let Some((_inside, [x, weight], [bias])) =
            cast_given("linear_act", [self, weight], [bias])
        {
            return x.linear_act(&weight, bias.as_ref(), activation);
        }
        if !self.dtype().is_float() {
            raise(Error::DType {
                op: "linear_act",
                dtypes: vec![self.dtype()],
                why: "floats are wanted; convert with `to_dtype`".into(),
            });
        }
        self.mapped("linear_act", weight, bias, |x, weight, bias| {
            B::linear_act(x, weight, bias, activation, false).0
        })
    }

    /// Checks the operands of a linear map.
    #[track_caller]
    fn mapped(
        &self,
        op: &'static str,
        weight: &Self,
        bias: Option<&Self>,
        run: impl FnOnce(&Self, &Self, Option<&Self>) -> Self,
    ) -> Self {
        let operands = [Some(self), Some(weight), bias];
        let shapes = || operands.iter().flatten().map(|x| x.shape().clone()).collect();
        for other in operands.iter().flatten() {
            self.same_device(op, other);
            if other.dtype() != self.dtype() {
                raise(Error::DType {
                    op,
                    dtypes: vec![self.dtype(), other.dtype()],
                    why: "all operands must have one dtype; convert one with `to_dtype`".into(),
                });
            }
        }
        let out = match *weight.dims() {
            [_] => {
                let rows = weight.unsqueeze(0);
                let bias = bias.map(|b| b.reshape([1]));
                return self.mapped(op, &rows, bias.as_ref(), run).squeeze(-1);
            }
            [out, input] if self.rank() > 0 && self.size(-1) == input => out,
            _ => raise(Error::Shape {
                op,
                shapes: shapes(),
                why: "x […, in] and a weight [out, in] are wanted".into(),
            }),
        };
        if bias.is_some_and(|bias| *bias.shape() != [out]) {
            raise(Error::Shape {
                op,
                shapes: shapes(),
                why: format!("the bias must be [{out}], as long as the weight's first dim"),
            });
        }
        run(self, weight, bias)
    }
}
