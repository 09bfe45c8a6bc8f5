//! Users' own operations with their own backward.

use kiln_tensor_core::{Backend, Error, Tensor, raise};
use smallvec::SmallVec;

use crate::Autograd;
use crate::meta::{constant, inner};
use crate::node::{Saved, node, recording, results};
use crate::rules::{Context, Gradients, Rule, backward_name};

/// An operation with a backward of its own: `torch.autograd.Function`.
///
/// Both directions are generic over the backend, so the same code runs forward without a record,
/// backward on the plain backend, and recorded where derivatives of higher order are asked for.
///
/// ```
/// use kiln_autograd::{Autograd, Backward, Function, apply};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_tensor_core::{Backend, Tensor};
///
/// struct Cube;
/// impl Function for Cube {
///     fn name(&self) -> &'static str {
///         "cube"
///     }
///     fn forward<T: Backend>(&self, inputs: &[&Tensor<T>]) -> (Vec<Tensor<T>>, Vec<Tensor<T>>) {
///         let x = inputs[0];
///         (vec![x * x * x], vec![x.clone()])
///     }
///     fn backward<T: Backend>(
///         &self,
///         saved: &[Tensor<T>],
///         grads: &[Option<Tensor<T>>],
///     ) -> Vec<Option<Tensor<T>>> {
///         let x = &saved[0];
///         vec![grads[0].as_ref().map(|g| g * 3.0 * x * x)]
///     }
/// }
///
/// let x = Tensor::<Autograd<Cpu>>::from_slice(&[2.0], [1], &CpuDevice).requires_grad_(true);
/// apply(Cube, &[&x]).remove(0).backward();
/// assert_eq!(x.grad().unwrap().to_vec::<f64>(), [12.0]);
/// ```
pub trait Function: Send + Sync + 'static {
    /// The operation's name in messages and graphs.
    fn name(&self) -> &'static str;

    /// The outputs, and what backward needs. Inputs and outputs that are saved keep their place in the
    /// graph for derivatives of higher order; anything else that is saved counts as constant.
    fn forward<T: Backend>(&self, inputs: &[&Tensor<T>]) -> (Vec<Tensor<T>>, Vec<Tensor<T>>);

    /// One gradient per input (`None`: nothing flows), given those of the outputs (`None`: unused).
    fn backward<T: Backend>(
        &self,
        saved: &[Tensor<T>],
        grads: &[Option<Tensor<T>>],
    ) -> Vec<Option<Tensor<T>>>;
}

struct Custom<F> {
    function: F,
    inputs: Vec<(kiln_tensor_core::Shape, kiln_tensor_core::DType)>,
}

impl<F: Function> Rule for Custom<F> {
    fn name(&self) -> String {
        backward_name(self.function.name())
    }

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let made = self.function.backward(cx.saved, grads);
        if made.len() != self.inputs.len() {
            raise(Error::Autograd {
                op: self.name(),
                why: format!("gave {} gradients for {} inputs", made.len(), self.inputs.len()),
            });
        }
        for (i, (grad, (shape, dtype))) in made.iter().zip(&self.inputs).enumerate() {
            if let Some(grad) = grad
                && (grad.shape() != shape || grad.dtype() != *dtype)
            {
                raise(Error::Autograd {
                    op: self.name(),
                    why: format!(
                        "gave a gradient of shape {} and dtype {} for input {i} of shape {shape} and \
                         dtype {dtype}",
                        grad.shape(),
                        grad.dtype()
                    ),
                });
            }
        }
        made.into_iter().collect()
    }
}

/// Runs a function and records it with its own backward.
///
/// # Panics
/// What the function's `forward` raises.
#[track_caller]
pub fn apply<B: Backend, F: Function>(
    function: F,
    inputs: &[&Tensor<Autograd<B>>],
) -> Vec<Tensor<Autograd<B>>> {
    let plain: Vec<&Tensor<B>> = inputs.iter().map(|x| inner(x)).collect();
    let (outputs, saved) = function.forward::<B>(&plain);
    if !recording(inputs) || !outputs.iter().any(|x| x.dtype().is_float()) {
        return outputs.into_iter().map(constant).collect();
    }
    let same = |a: &Tensor<B>, b: &Tensor<B>| B::shares_storage(a, b) && a.layout() == b.layout();
    let save = |kept: &Tensor<B>| {
        let input = plain.iter().position(|x| same(x, kept));
        let output = outputs.iter().position(|x| same(x, kept));
        match (input, output) {
            (Some(i), _) => Saved::input(inputs[i]),
            (None, Some(i)) => Saved::output(&outputs[i], i),
            (None, None) => Saved::plain(kept),
        }
    };
    let saved: SmallVec<[Saved<B>; 3]> = saved.iter().map(save).collect();
    let inputs_like = inputs.iter().map(|x| (x.shape().clone(), x.dtype())).collect();
    let rule = Custom { function, inputs: inputs_like };
    let node = node(rule, inputs, outputs.len(), saved);
    results(&node, outputs.into_iter().collect()).into_vec()
}
