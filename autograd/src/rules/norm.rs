//! Normalisation layers. Gradients do not flow through the mean and deviation that they also give.

use kiln_tensor_core::{Backend, Tensor};
use smallvec::SmallVec;

use super::{Context, Gradients, Rule, name, only};

/// The rule of `layer_norm`; saves input, mean, rstd and, if there is one, the weight. The gradients
/// belong to input, weight (if any) and bias (if any).
pub(crate) struct LayerNorm {
    pub(crate) dims: usize,
    pub(crate) eps: f64,
    pub(crate) weight: bool,
    pub(crate) bias: bool,
}

impl Rule for LayerNorm {
    name!("layer_norm");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let [x, mean, rstd] = [0, 1, 2].map(|i| &cx.saved[i]);
        let (dims, eps) = (self.dims, self.eps);
        let made = T::layer_norm_grad(only(grads), x, mean, rstd, cx.saved.get(3), dims, eps);
        present(made, self.weight, self.bias)
    }
}

/// The rule of `rms_norm`; saves input, rstd and, if there is one, the weight.
pub(crate) struct RmsNorm {
    pub(crate) dims: usize,
    pub(crate) eps: f64,
}

impl Rule for RmsNorm {
    name!("rms_norm");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let [x, rstd] = [0, 1].map(|i| &cx.saved[i]);
        let weight = cx.saved.get(2);
        let made = T::rms_norm_grad(only(grads), x, rstd, weight, self.dims, self.eps);
        made.into_iter().take(1 + usize::from(weight.is_some())).map(Some).collect()
    }
}

/// The rule of `batch_norm`; saves input, mean, variance and, if there is one, the weight.
pub(crate) struct BatchNorm {
    pub(crate) eps: f64,
    pub(crate) weight: bool,
    pub(crate) bias: bool,
}

impl Rule for BatchNorm {
    name!("batch_norm");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let [x, mean, var] = [0, 1, 2].map(|i| &cx.saved[i]);
        let made = T::batch_norm_grad(only(grads), x, mean, var, cx.saved.get(3), self.eps);
        present(made, self.weight, self.bias)
    }
}

/// The gradients of the operands that were there.
fn present<T: Backend>([x, w, b]: [Tensor<T>; 3], weight: bool, bias: bool) -> Gradients<T> {
    let mut grads: Gradients<T> = SmallVec::new();
    grads.push(Some(x));
    if weight {
        grads.push(Some(w));
    }
    if bias {
        grads.push(Some(b));
    }
    grads
}
