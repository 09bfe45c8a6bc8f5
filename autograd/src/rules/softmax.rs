//! Softmax and the loss made of it.

use kiln_tensor_core::{Backend, Tensor};
use smallvec::smallvec;

use super::{Context, Gradients, Rule, name, only};

/// The rule of `softmax`; saves the result.
pub(crate) struct Softmax {
    pub(crate) dim: usize,
}

impl Rule for Softmax {
    name!("softmax");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        smallvec![Some(T::softmax_grad(only(grads), &cx.saved[0], self.dim))]
    }
}

/// The rule of `log_softmax`; saves the result.
pub(crate) struct LogSoftmax {
    pub(crate) dim: usize,
}

impl Rule for LogSoftmax {
    name!("log_softmax");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        smallvec![Some(T::log_softmax_grad(only(grads), &cx.saved[0], self.dim))]
    }
}

/// The rule of `cross_entropy`; saves logits and targets.
pub(crate) struct CrossEntropy {
    pub(crate) ignore: i64,
}

impl Rule for CrossEntropy {
    name!("cross_entropy");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let (logits, target) = (&cx.saved[0], &cx.saved[1]);
        smallvec![Some(T::cross_entropy_grad(only(grads), logits, target, self.ignore))]
    }
}
