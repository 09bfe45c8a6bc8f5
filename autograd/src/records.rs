//! Records of programs and of ops that give more than one tensor, and what in-place writes must not touch.

use std::sync::Arc;

use kiln_tensor_core::{Activation, Backend, Factorization, Kernel, Layout, Outputs, Tensor};
use smallvec::{SmallVec, smallvec};

use crate::Autograd;
use crate::meta::constant;

use crate::node::{Node, Saved, node, record, recording, results, wanted};
use crate::rules::{Factor, LinearAct, Map, Pointwise, Sort};

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

/// Wraps the results of `factor`.
pub(crate) fn factored<B: Backend>(
    x: &Recorded<B>,
    kind: Factorization,
    made: Outputs<B>,
) -> Outputs<Autograd<B>> {
    if !recording(&[x]) {
        return made.into_iter().map(constant).collect();
    }
    let mut saved: SmallVec<[Saved<B>; 3]> = SmallVec::new();
    if let Factorization::Pinv { .. } = kind {
        saved.push(Saved::input(x));
    }
    saved.extend(made.iter().enumerate().map(|(i, y)| Saved::output(y, i)));
    results(&node(Factor(kind), &[x], made.len(), saved), made)
}
