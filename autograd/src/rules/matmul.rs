//! Products of matrices.

use kiln_tensor_core::{Backend, Tensor};
use smallvec::smallvec;

use super::{Context, Gradients, Rule, name, only};

/// The rule of `matmul`; saves both operands.
pub(crate) struct Matmul;

impl Rule for Matmul {
    name!("matmul");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let (grad, a, b) = (only(grads), &cx.saved[0], &cx.saved[1]);
        smallvec![
            cx.when(0, || T::matmul(grad, &b.transpose(-2, -1))),
            cx.when(1, || T::matmul(&a.transpose(-2, -1), grad)),
        ]
    }
}

/// The rule of `linear`; saves input and weight.
pub(crate) struct Linear;

impl Rule for Linear {
    name!("linear");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let (grad, x, weight) = (only(grads), &cx.saved[0], &cx.saved[1]);
        let rows = |t: &Tensor<T>| {
            let cols = t.dims()[t.rank() - 1];
            t.reshape([(t.numel() / cols.max(1)) as isize, cols as isize])
        };
        smallvec![
            cx.when(0, || grad.matmul(weight)),
            cx.when(1, || T::matmul(&rows(grad).t(), &rows(x))),
            cx.when(2, || rows(grad).sum_dims([0], false)),
        ]
    }
}
