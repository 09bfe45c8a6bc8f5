//! Records of programs and of ops that give more than one tensor, and what in-place writes must not touch.

use std::sync::Arc;

use kiln_tensor_core::{Activation, Backend, Error, Kernel, Layout, Tensor, raise};
use smallvec::{SmallVec, smallvec};

use crate::Autograd;
use crate::meta::{constant, meta};
use crate::mode::is_grad_enabled;
use crate::node::{Node, Saved, node, record, recording, results, wanted};
use crate::rules::{LinearAct, Map, Pointwise, Sort, backward_name};

type Recorded<B> = Tensor<Autograd<B>>;

/// Keeps the inputs whose bits are set.
pub(crate) fn keep_some<B: Backend>(inputs: &[&Recorded<B>], bits: u64) -> SmallVec<[Saved<B>; 3]> {
    let kept = inputs.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1);
    kept.map(|(_, x)| Saved::input(x)).collect()
}

/// The node of a program that was run over tensors.
pub(crate) fn map_node<B: Backend>(
    kernel: Kernel<'_>,
    inputs: &[&Recorded<B>],
    layout: &Layout,
    outputs: usize,
) -> Arc<Node<B>> {
    let reads = kernel.expr.grad(wanted(inputs)).inputs;
    let rule = Map(Pointwise::new(kernel, inputs, layout.clone(), reads));
    node(rule, inputs, outputs, keep_some(inputs, reads))
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

/// Wraps the results of `sort` and `topk`.
pub(crate) fn ordered<B: Backend>(
    op: &'static str,
    x: &Recorded<B>,
    dim: usize,
    (values, at): (Tensor<B>, Tensor<B>),
) -> (Recorded<B>, Recorded<B>) {
    let rule = || Sort { op, dim, input: x.shape().clone() };
    let values = record(&[x], values, |_| smallvec![Saved::plain(&at)], rule);
    (values, constant(at))
}

/// Wraps the results of a normalisation: a recorded one, and its statistics.
pub(crate) fn normalized<B: Backend, R: crate::Rule>(
    x: &Recorded<B>,
    weight: Option<&Recorded<B>>,
    bias: Option<&Recorded<B>>,
    [y, first, second]: [Tensor<B>; 3],
    rule: impl FnOnce() -> R,
) -> [Recorded<B>; 3] {
    let inputs: SmallVec<[&Recorded<B>; 3]> =
        std::iter::once(x).chain(weight).chain(bias).collect();
    let saved = |_: &Tensor<B>| {
        let mut saved: SmallVec<[Saved<B>; 3]> =
            smallvec![Saved::input(x), Saved::plain(&first), Saved::plain(&second)];
        saved.extend(weight.map(Saved::input));
        saved
    };
    let y = record(&inputs, y, saved, rule);
    [y, constant(first.clone()), constant(second.clone())]
}

/// Wraps the results of `linear_act`, of which the caller wants the second if `keep`.
pub(crate) fn activated<B: Backend>(
    inputs: &[&Recorded<B>],
    (y, before): (Tensor<B>, Option<Tensor<B>>),
    activation: Activation,
    keep: bool,
) -> (Recorded<B>, Option<Recorded<B>>) {
    if !recording(inputs) {
        return (constant(y), before.filter(|_| keep).map(constant));
    }
    let mut saved: SmallVec<[Saved<B>; 3]> = inputs[..2].iter().map(|x| Saved::input(x)).collect();
    saved.push(match (activation, &before) {
        (Activation::Relu, _) | (_, None) => Saved::output(&y, 0),
        (_, Some(before)) => Saved::output(before, 1),
    });
    let count = 1 + usize::from(before.is_some());
    let node = node(LinearAct(activation), inputs, count, saved);
    let mut made = results(&node, std::iter::once(y).chain(before).collect()).into_iter();
    let y = made.next().expect("a result");
    (y, made.next().filter(|_| keep))
}
