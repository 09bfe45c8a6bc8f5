//! Products of matrices.

use kiln_tensor_core::{Activation, Backend, Tensor, compose};
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
        linear(&cx, only(grads))
    }
}

/// The rule of `linear_act`; saves input, weight and what the activation's gradient looks at. What the activation was
/// applied to is the second output, where it is kept.
pub(crate) struct LinearAct(pub(crate) Activation);

impl Rule for LinearAct {
    name!("linear_act");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let through = grads[0].as_ref().map(|g| compose::activation_grad(g, &cx.saved[2], self.0));
        let before = grads.get(1).cloned().flatten();
        let grad = match (through, before) {
            (Some(through), Some(before)) => through + before,
            (through, before) => through.or(before).expect("an output has a gradient"),
        };
        linear(&cx, &grad)
    }
}

/// The gradients of a linear map, from its input and weight.
fn linear<T: Backend>(cx: &Context<'_, T>, grad: &Tensor<T>) -> Gradients<T> {
    let (x, weight, rows) = (&cx.saved[0], &cx.saved[1], compose::rows::<T>);
    let input = cx.when(0, || grad.matmul(weight));
    if cx.needs(1) && cx.needs(2) {
        let [weight, bias] = T::linear_grad_weight(grad, x);
        return smallvec![input, Some(weight), Some(bias)];
    }
    let weight = cx.when(1, || T::matmul(&rows(grad).t(), &rows(x)));
    smallvec![input, weight, cx.when(2, || rows(grad).sum_dims([0], false))]
}
