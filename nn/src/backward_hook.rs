//! Hooks on the gradients that pass a module.

use std::sync::Arc;

use kiln_autograd::{Autograd, Backward, is_grad_enabled};
use kiln_tensor_core::{Backend, Tensor, ViewOp};
use parking_lot::Mutex;

use crate::hooks::{After, Around};

type Recorded<B> = Tensor<Autograd<B>>;

/// Watches the gradient of the output, then calls `hook` with it and the gradient of the input.
///
/// Input and output get a node of their own, so that gradients of other uses of the same tensors do not
/// mix with those of this call.
pub fn around<B: Backend>(
    hook: impl Fn(Option<&Recorded<B>>, &Recorded<B>) -> Option<Recorded<B>> + Send + Sync + 'static,
) -> Arc<Around<Autograd<B>>> {
    let hook = Arc::new(hook);
    Arc::new(move |x| {
        if !is_grad_enabled() {
            return (x.clone(), Box::new(Tensor::clone) as After<_>);
        }
        let output: Arc<Mutex<Option<Recorded<B>>>> = Arc::default();
        let input = x.requires_grad().then(|| {
            let (x, hook, output) = (own_node(x), hook.clone(), output.clone());
            x.register_hook(move |grad| {
                let output = output.lock().take();
                output.and_then(|output| hook(Some(grad), &output))
            });
            x
        });
        let (hook, alone) = (hook.clone(), input.is_none());
        let after: After<_> = Box::new(move |y| {
            if !y.requires_grad() {
                return y.clone();
            }
            let y = own_node(y);
            y.register_hook(move |grad| {
                if alone {
                    hook(None, grad);
                } else {
                    *output.lock() = Some(grad.clone());
                }
                None
            });
            y
        });
        (input.unwrap_or_else(|| x.clone()), after)
    })
}

fn own_node<B: Backend>(x: &Recorded<B>) -> Recorded<B> {
    x.view_as_op(&ViewOp::Reshape(x.shape().clone()))
}
