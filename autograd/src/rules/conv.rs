//! Convolution is linear in each operand, so its gradients are each other's gradients.

use kiln_tensor_core::{Backend, ConvSpec, Tensor};
use smallvec::smallvec;

use super::{Context, Gradients, Rule, name, only};

/// The rule of `conv`; saves input and weight.
pub(crate) struct Conv(pub(crate) ConvSpec);

impl Rule for Conv {
    name!("conv");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let (grad, x, weight) = (only(grads), &cx.saved[0], &cx.saved[1]);
        smallvec![
            cx.when(0, || T::conv_grad_input(grad, weight, x.shape(), &self.0)),
            cx.when(1, || T::conv_grad_weight(grad, x, weight.shape(), &self.0)),
        ]
    }
}

/// The rule of `conv_grad_input`; saves the gradient and the weight.
pub(crate) struct ConvGradInput(pub(crate) ConvSpec);

impl Rule for ConvGradInput {
    name!("conv_grad_input");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let (image, grad, weight) = (only(grads), &cx.saved[0], &cx.saved[1]);
        smallvec![
            cx.when(0, || T::conv(image, weight, &self.0)),
            cx.when(1, || T::conv_grad_weight(grad, image, weight.shape(), &self.0)),
        ]
    }
}

/// The rule of `conv_grad_weight`; saves the gradient and the input.
pub(crate) struct ConvGradWeight(pub(crate) ConvSpec);

impl Rule for ConvGradWeight {
    name!("conv_grad_weight");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let (kernel, grad, x) = (only(grads), &cx.saved[0], &cx.saved[1]);
        smallvec![
            cx.when(0, || T::conv(x, kernel, &self.0)),
            cx.when(1, || T::conv_grad_input(grad, kernel, x.shape(), &self.0)),
        ]
    }
}
