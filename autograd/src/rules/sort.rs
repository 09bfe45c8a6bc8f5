//! Sorted values hand their gradient back to where they came from.

use kiln_tensor_core::{Backend, ScatterOp, Shape, Tensor};
use smallvec::smallvec;

use super::{Context, Gradients, Rule, backward_name, only, zeros};

/// The rule of `sort` and `topk`; saves the positions.
pub(crate) struct Sort {
    pub(crate) op: &'static str,
    pub(crate) dim: usize,
    pub(crate) input: Shape,
}

impl Rule for Sort {
    fn name(&self) -> String {
        backward_name(self.op)
    }

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        let zeros = zeros(grad, &self.input);
        smallvec![Some(T::scatter(ScatterOp::Set, &zeros, self.dim, &cx.saved[0], grad))]
    }
}
