//! Two steps of arithmetic as one, where nothing else reads what the first computes: a value that stays
//! in its register is neither stored nor loaded. The bits are those of the two steps.

use std::marker::PhantomData;

use kiln_tensor_core::DType;
use kiln_tensor_core::expr::BinaryOp;
use smallvec::smallvec;

use super::float::{Op2, two};
use super::program::{Node, Target};
use super::{Body, Frame, Run, Step, at};
use crate::kernels::math::Math;
use crate::kernels::simd::{Arch, Float, Level};

/// `L(K(a, b), c)`, or `L(c, K(a, b))` if `LAST`.
struct Chain<E, K, L, const LAST: bool>(PhantomData<(E, K, L)>);

impl<E: Math, K: Op2, L: Op2, const LAST: bool> Body for Chain<E, K, L, LAST> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let (to, _) = frame.at::<E>(step.to);
            let (a, sa) = frame.at::<E>(step.from[0]);
            let (b, sb) = frame.at::<E>(step.from[1]);
            let (c, sc) = frame.at::<E>(step.from[2]);
            for i in (0..frame.len).step_by(E::V::<A>::N) {
                let (a, b) = (E::V::<A>::load(a.add(i * sa)), E::V::<A>::load(b.add(i * sb)));
                let (first, c) = (K::f::<E, A>(a, b), E::V::<A>::load(c.add(i * sc)));
                let y = if LAST { L::f::<E, A>(c, first) } else { L::f::<E, A>(first, c) };
                y.store(to.add(i));
            }
        }
    }
}

/// What runs `then` on the result of `first` and another value, which comes before it if `last`.
fn chained<E: Math>(first: BinaryOp, then: BinaryOp, last: bool, level: Level) -> Option<Run> {
    fn after<E: Math, K: Op2>(then: BinaryOp, last: bool, level: Level) -> Option<Run> {
        Some(match (then, last) {
            // In either order.
            (BinaryOp::Add, _) => at::<Chain<E, K, two::Add, false>>(level),
            (BinaryOp::Mul, _) => at::<Chain<E, K, two::Mul, false>>(level),
            (BinaryOp::Sub, false) => at::<Chain<E, K, two::Sub, false>>(level),
            (BinaryOp::Sub, true) => at::<Chain<E, K, two::Sub, true>>(level),
            (BinaryOp::Div, false) => at::<Chain<E, K, two::Div, false>>(level),
            (BinaryOp::Div, true) => at::<Chain<E, K, two::Div, true>>(level),
            _ => return None,
        })
    }
    match first {
        BinaryOp::Add => after::<E, two::Add>(then, last, level),
        BinaryOp::Sub => after::<E, two::Sub>(then, last, level),
        BinaryOp::Mul => after::<E, two::Mul>(then, last, level),
        _ => None,
    }
}

/// Joins pairs of steps. `uses[v]` counts who reads value `v`.
pub(super) fn join(nodes: &mut Vec<Node>, uses: &[usize], level: Level) {
    let mut at = 0;
    while at < nodes.len() {
        if let Some((before, node)) = joined(nodes, at, uses, level) {
            nodes[at] = node;
            nodes.remove(before);
        } else {
            at += 1;
        }
    }
}

/// Step `at` and one before it as one step, and which one that is.
fn joined(nodes: &[Node], at: usize, uses: &[usize], level: Level) -> Option<(usize, Node)> {
    let node = &nodes[at];
    let (then, dtype) = node.binary?;
    [0, 1].into_iter().find_map(|side| {
        let value = node.from[side];
        if uses.get(value as usize) != Some(&1) {
            return None;
        }
        let before = nodes[..at].iter().position(|node| node.to == Target::Value(value))?;
        let (first, of) = nodes[before].binary.filter(|&(_, of)| of == dtype)?;
        let run = match of {
            DType::F64 => chained::<f64>(first, then, side == 1, level),
            DType::F32 => chained::<f32>(first, then, side == 1, level),
            _ => None,
        }?;
        let (a, b) = (nodes[before].from[0], nodes[before].from[1]);
        let from = smallvec![a, b, node.from[1 - side]];
        let cost = node.cost + nodes[before].cost;
        Some((before, Node { run, to: node.to, from, cost, binary: None }))
    })
}
