//! Writes in place: what is recorded of them, and what they must not touch.

use std::sync::Arc;

use kiln_tensor_core::{Backend, Error, Kernel, Tensor, raise};
use smallvec::{SmallVec, smallvec};

use crate::Autograd;
use crate::meta::{Meta, handle, inner, inners, meta};
use crate::mode::is_grad_enabled;
use crate::node::{Saved, node, recording, wanted};
use crate::rules::{CopySlices, Map, Pointwise, backward_name};

type Recorded<B> = Tensor<Autograd<B>>;

/// See `Backend::map_into`. A recorded write through a view is two operations: the write, which the view comes from
/// afterwards, and the copy of the view into its base, which the base comes from. Other views of the base are stale then.
pub(crate) fn map_into<B: Backend>(
    kernel: Kernel<'_>,
    inputs: &[&Recorded<B>],
    outputs: &[&Recorded<B>],
) {
    let plain = inners(outputs);
    // A view that was taken in `no_grad` does not say that its base is recorded.
    let based = |x: &&Recorded<B>| meta(x).base.as_ref().is_some_and(|b| b.meta.is_tracked());
    let tracked =
        recording(inputs) || recording(outputs) || (is_grad_enabled() && outputs.iter().any(based));
    if !tracked {
        return B::map_into(kernel, &inners(inputs), &plain);
    }
    outputs.iter().for_each(|x| writable(kernel, x, outputs.len()));
    let is_output = |x: &Recorded<B>| outputs.iter().any(|o| B::shares_storage(inner(o), inner(x)));
    let reads = kernel.expr.grad(wanted(inputs)).inputs;
    let shape = outputs[0].layout().clone();
    let rule = Map(Pointwise::new(kernel, inputs, shape, reads));
    let kept = inputs.iter().enumerate().filter(|(i, _)| reads >> i & 1 == 1);
    let saved = kept
        .map(|(_, x)| if is_output(x) { Saved::overwritten(x) } else { Saved::input(x) })
        .collect();
    let written = node(rule, inputs, outputs.len(), saved);
    B::map_into(kernel, &inners(inputs), &plain);
    for (i, x) in outputs.iter().enumerate() {
        meta(x).rewrite(written.clone(), i);
        if let Some(base) = &meta(x).base {
            let whole = handle(base.meta.clone());
            let copy =
                node(CopySlices { ops: base.path.ops() }, &[&whole, &untied(x)], 1, smallvec![]);
            base.meta.rewrite(copy, 0);
            meta(x).refresh();
        }
    }
}

/// A tensor with its history, and not known as a view.
fn untied<B: Backend>(x: &Recorded<B>) -> Recorded<B> {
    let state = meta(x).state.lock();
    let (node, output) = state.node.clone().expect("it has just been written");
    handle(Arc::new(Meta::made_by(inner(x).clone(), node, output, None)))
}

/// The permutation that undoes one.
pub(crate) fn inverse(perm: &[usize]) -> SmallVec<[usize; 6]> {
    let mut inverse: SmallVec<[usize; 6]> = perm.into();
    perm.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
    inverse
}

/// Requires that a recorded write to `x` gives right gradients.
fn writable<B: Backend>(kernel: Kernel<'_>, x: &Recorded<B>, outputs: usize) {
    let wrong = |what: &str, way_out: &str| -> ! {
        raise(Error::Autograd {
            op: backward_name(kernel.expr.name()),
            why: format!("{what} of shape {} {way_out}", x.shape()),
        })
    };
    let way_out =
        "that requires gradients is written to in place; do it inside `no_grad`, or on `detach()`";
    let leaf = |meta: &Meta<B>| meta.is_tracked() && meta.is_leaf();
    if is_grad_enabled() && leaf(meta(x)) && meta(x).base.is_none() {
        wrong("a leaf", way_out);
    }
    let Some(base) = &meta(x).base else { return };
    if is_grad_enabled() && leaf(&base.meta) {
        wrong("a view of a leaf", way_out);
    }
    if meta(x).is_stale() {
        wrong(
            "a view",
            "is written to whose tensor has been written to in place since; take the view again",
        );
    }
    if is_grad_enabled() && base.meta.is_tracked() && !meta(x).is_tracked() {
        wrong(
            "a view",
            "that was taken inside `no_grad` is written to where gradients are recorded; take it outside",
        );
    }
    if outputs > 1 {
        wrong(
            "a view",
            "is one of several tensors that one operation writes to; write to each alone",
        );
    }
}
