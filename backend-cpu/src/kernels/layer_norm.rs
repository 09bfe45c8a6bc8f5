//! layer_norm and its gradient, a row at a time.

use std::ops::Range;

use kiln_tensor_core::{Shape, Tensor, compose};

use super::dispatch::{by_float, widen};
use super::math::Math;
use super::rows::{each, load, parallel_rows, store, sums, total, with_plain};
use super::simd::{Arch, Float, Work, dispatch};
use crate::Cpu;
use crate::threads::parallel_for;

/// Rows whose sums in the gradient are added up together.
pub(super) const GROUP_ROWS: usize = 64;

/// See `Backend::layer_norm`.
pub(crate) fn layer_norm(
    x: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    bias: Option<&Tensor<Cpu>>,
    dims: usize,
    eps: f64,
) -> [Tensor<Cpu>; 3] {
    if !x.dtype().is_float() || x.numel() == 0 {
        return compose::layer_norm(x, weight, bias, dims, eps);
    }
    let (outer, inner) = x.dims().split_at(x.rank() - dims);
    let len: usize = inner.iter().product();
    let each: Shape = outer.iter().copied().chain(inner.iter().map(|_| 1)).collect();
    let shapes = [x.shape(), &each, &each];
    let outputs = with_plain(x.dtype(), [Some(x), weight, bias], shapes, |from, to| {
        parallel_rows(x.numel() / len, len, |first, end| {
            by_float!("layer_norm", widen(x).dtype(), E => dispatch(Forward::<E, true> {
                from: from.each_ref().map(|p| p.at(0).cast::<E>().cast_const()),
                to: to.each_ref().map(|p| p.at(0).cast::<E>()),
                len,
                rows: first..end,
                eps,
            }));
        });
    });
    outputs.map(|out| out.to_dtype(x.dtype()))
}

/// Of rows as they are, or (`CENTERED`) of their differences from the mean.
pub(super) struct Forward<E, const CENTERED: bool> {
    /// `x`, weight and bias.
    pub(super) from: [*const E; 3],
    /// The result, mean (if there is one) and 1/√(mean square + eps).
    pub(super) to: [*mut E; 3],
    pub(super) len: usize,
    pub(super) rows: Range<usize>,
    pub(super) eps: f64,
}

impl<E: Math, const CENTERED: bool> Work for Forward<E, CENTERED> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Forward { from: [x, weight, bias], to: [y, mean, rstd], len, rows, eps } = self;
        let zero = E::V::<A>::num(0.0);
        for row in rows {
            // SAFETY: the tensors have these rows, and the parameters the elements of one.
            unsafe {
                let (x, y) = (x.add(row * len), y.add(row * len));
                let mut average = 0.0;
                if CENTERED {
                    let [sum] = sums!(E::V<A>, [0], len, |_, _, at, n| [load(x, at, n, zero)]);
                    average = total(sum).to_f64() / len as f64;
                    mean.add(row).write(E::from_f64(average));
                }
                let center = E::V::<A>::num(average);
                let [sum] = sums!(E::V<A>, [0], len, |_, _, at, n| {
                    let d = load(x, at, n, center).sub(center);
                    [d.mul(d)]
                });
                let scale = 1.0 / (total(sum).to_f64() / len as f64 + eps).sqrt();
                rstd.add(row).write(E::from_f64(scale));
                let scale = E::V::<A>::num(scale);
                each!(E::V<A>, len, |_, at, n| {
                    let mut v = load(x, at, n, zero).sub(center).mul(scale);
                    if !weight.is_null() {
                        v = v.mul(load(weight, at, n, zero));
                    }
                    if !bias.is_null() {
                        v = v.add(load(bias, at, n, zero));
                    }
                    store(v, y, at, n);
                });
            }
        }
    }
}

/// See `Backend::layer_norm_grad`.
pub(crate) fn layer_norm_grad(
    grad: &Tensor<Cpu>,
    x: &Tensor<Cpu>,
    mean: &Tensor<Cpu>,
    rstd: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    dims: usize,
) -> [Tensor<Cpu>; 3] {
    if !x.dtype().is_float() || x.numel() == 0 {
        return compose::layer_norm_grad(grad, x, mean, rstd, weight, dims);
    }
    let inner = &x.dims()[x.rank() - dims..];
    let len: usize = inner.iter().product();
    let count = x.numel() / len;
    // One row of sums per group of rows; they are added up at the end, in order.
    let groups = count.div_ceil(GROUP_ROWS);
    let partial: Shape = [groups].into_iter().chain(inner.iter().copied()).collect();
    let inputs = [Some(grad), Some(x), Some(mean), Some(rstd), weight];
    let shapes = [x.shape(), &partial, &partial];
    let [dx, dw, db] = with_plain(x.dtype(), inputs, shapes, |from, to| {
        parallel_for(groups, |group| {
            by_float!("layer_norm_grad", widen(x).dtype(), E => dispatch(Backward::<E, true> {
                from: from.each_ref().map(|p| p.at(0).cast::<E>().cast_const()),
                to: to.each_ref().map(|p| p.at(0).cast::<E>()),
                len,
                rows: group * GROUP_ROWS..count.min((group + 1) * GROUP_ROWS),
                group,
            }));
        });
    });
    let sum = |parts: Tensor<Cpu>| parts.sum_dims([0], false);
    [dx, sum(dw), sum(db)].map(|out| out.to_dtype(x.dtype()))
}

/// See [`Forward`].
pub(super) struct Backward<E, const CENTERED: bool> {
    /// The gradient, `x`, mean (if there is one), rstd and weight.
    pub(super) from: [*const E; 5],
    /// The gradients in `x`, weight and bias (if there is a mean).
    pub(super) to: [*mut E; 3],
    pub(super) len: usize,
    pub(super) rows: Range<usize>,
    pub(super) group: usize,
}

impl<E: Math, const CENTERED: bool> Work for Backward<E, CENTERED> {
    type Out = ();
    /// `dx = rstd · (a − mean(a) − x̂ · mean(a · x̂))` with `a = g · weight`; the sums over rows of
    /// `g · x̂` and `g` go to the group's row of the partial sums. Where rows were not centered, their mean
    /// has no part in it.
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Backward { from, to: [dx, dw, db], len, rows, group } = self;
        let [g, x, mean, rstd, weight] = from;
        let zero = E::V::<A>::num(0.0);
        let (dw, db) = (dw.wrapping_add(group * len), db.wrapping_add(group * len));
        // SAFETY: the partial sums have a row per group.
        each!(E::V<A>, len, |_, at, n| unsafe {
            store(zero, dw, at, n);
            if CENTERED {
                store(zero, db, at, n);
            }
        });
        for row in rows {
            // SAFETY: the tensors have these rows, the parameters the elements of one.
            unsafe {
                let (g, x, dx) = (g.add(row * len), x.add(row * len), dx.add(row * len));
                let center = if CENTERED { E::V::<A>::splat(*mean.add(row)) } else { zero };
                let scale = E::V::<A>::splat(*rstd.add(row));
                let [sum, dot] = sums!(E::V<A>, [0], len, |_, _, at, n| {
                    let mut a = load(g, at, n, zero);
                    if !weight.is_null() {
                        a = a.mul(load(weight, at, n, zero));
                    }
                    [a, a.mul(load(x, at, n, center).sub(center).mul(scale))]
                });
                let level = if CENTERED { total(sum).to_f64() / len as f64 } else { 0.0 };
                let level = E::V::<A>::num(level);
                let slope = E::V::<A>::num(total(dot).to_f64() / len as f64);
                each!(E::V<A>, len, |_, at, n| {
                    let g = load(g, at, n, zero);
                    let normal = load(x, at, n, center).sub(center).mul(scale);
                    let a = if weight.is_null() { g } else { g.mul(load(weight, at, n, zero)) };
                    store(a.sub(level).sub(normal.mul(slope)).mul(scale), dx, at, n);
                    store(load(dw, at, n, zero).add(g.mul(normal)), dw, at, n);
                    if CENTERED {
                        store(load(db, at, n, zero).add(g), db, at, n);
                    }
                });
            }
        }
    }
}
