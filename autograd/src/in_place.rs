//! Writes in place: what is recorded of them, and what they must not touch.

use kiln_tensor_core::{Backend, Error, Kernel, Tensor, raise};

use crate::Autograd;
use crate::meta::{inner, inners, meta};
use crate::mode::is_grad_enabled;
use crate::node::{Saved, node, recording, wanted};
use crate::rules::{Map, Pointwise, backward_name};

type Recorded<B> = Tensor<Autograd<B>>;

/// See `Backend::map_into`.
pub(crate) fn map_into<B: Backend>(
    kernel: Kernel<'_>,
    inputs: &[&Recorded<B>],
    outputs: &[&Recorded<B>],
) {
    let plain = inners(outputs);
    let tracked = recording(inputs) || recording(outputs);
    if !tracked {
        return B::map_into(kernel, &inners(inputs), &plain);
    }
    outputs.iter().for_each(|x| writable(kernel, x));
    let is_output = |x: &Recorded<B>| outputs.iter().any(|o| B::shares_storage(inner(o), inner(x)));
    let reads = kernel.expr.grad(wanted(inputs)).inputs;
    let shape = outputs[0].layout().clone();
    let rule = Map(Pointwise::new(kernel, inputs, shape, reads));
    let kept = inputs.iter().enumerate().filter(|(i, _)| reads >> i & 1 == 1);
    let saved = kept
        .map(|(_, x)| if is_output(x) { Saved::overwritten(x) } else { Saved::input(x) })
        .collect();
    let node = node(rule, inputs, outputs.len(), saved);
    B::map_into(kernel, &inners(inputs), &plain);
    outputs.iter().enumerate().for_each(|(i, x)| meta(x).rewrite(node.clone(), i));
}

/// Requires that a recorded write to `x` gives right gradients.
pub(crate) fn writable<B: Backend>(kernel: Kernel<'_>, x: &Recorded<B>) {
    let wrong = |what: &str, way_out: &str| -> ! {
        raise(Error::Autograd {
            op: backward_name(kernel.expr.name()),
            why: format!("{what} of shape {} {way_out}", x.shape()),
        })
    };
    let (meta, recorded) = (meta(x), is_grad_enabled());
    if recorded && meta.is_tracked() && meta.is_leaf() {
        wrong(
            "a leaf",
            "that requires gradients is written to in place; do it inside `no_grad`, or on `detach()`",
        );
    }
    if meta.base.is_some() {
        wrong(
            "a view",
            "is written to in place while gradients are recorded; write out of place (`scatter`, \
             `cat`, `where_`), or inside `no_grad`",
        );
    }
}
