//! Positions of the largest and smallest elements along one dim.

use kiln_tensor_core::{DType, ReduceOp};

use super::fold::{Bools, Floats, Fold, Ints, MAX, MIN};
use super::{CHUNK, Plan, WIDE};
use crate::kernels::expr::{BLOCK, Job};
use crate::kernels::workers::Shared;
use crate::threads::{parallel_for, parallel_pieces};

/// Writes the position of each row's first best element (the first NaN if there is one).
pub(super) fn reduce(op: ReduceOp, dtype: DType, job: &Job<'_>, plan: &Plan, out: &mut [i64]) {
    let max = op == ReduceOp::ArgMax;
    match (dtype, max) {
        (DType::F64, true) => run::<Floats<f64, MAX>>(job, plan, out),
        (DType::F64, false) => run::<Floats<f64, MIN>>(job, plan, out),
        (DType::F32, true) => run::<Floats<f32, MAX>>(job, plan, out),
        (DType::F32, false) => run::<Floats<f32, MIN>>(job, plan, out),
        (DType::I64, true) => run::<Ints<i64, MAX>>(job, plan, out),
        (DType::I64, false) => run::<Ints<i64, MIN>>(job, plan, out),
        (DType::I32, true) => run::<Ints<i32, MAX>>(job, plan, out),
        (DType::I32, false) => run::<Ints<i32, MIN>>(job, plan, out),
        (_, true) => run::<Bools<MAX>>(job, plan, out),
        (_, false) => run::<Bools<MIN>>(job, plan, out),
    }
}

/// Whether `b` comes before `a`: strictly better, or the first NaN.
#[inline(always)]
#[allow(clippy::eq_op, reason = "a NaN differs from itself")]
fn better<F: Fold<T: PartialEq>>(a: F::T, b: F::T) -> bool {
    a == a && (b != b || (a != b && F::two(a, b) == b))
}

fn run<F: Fold<T: PartialEq>>(job: &Job<'_>, plan: &Plan, out: &mut [i64]) {
    if plan.empty {
        return out.fill(0);
    }
    if plan.rows {
        let step = (CHUNK / plan.row).max(1);
        parallel_pieces(out, step, |i, out| {
            for (k, out) in out.iter_mut().enumerate() {
                *out = row::<F>(job, plan.group(i * step + k), plan.row);
            }
        });
    } else {
        columns::<F>(job, plan, out);
    }
}

fn row<F: Fold<T: PartialEq>>(job: &Job<'_>, start: usize, len: usize) -> i64 {
    job.with_runner(|runner| {
        let mut best: Option<(F::T, usize)> = None;
        for at in (0..len).step_by(BLOCK) {
            let count = BLOCK.min(len - at);
            runner.block(start + at, count);
            // SAFETY: the runner's result has `count` elements of the fold's type.
            let (found, block) = unsafe {
                let p = runner.result(0).cast::<F::T>();
                (F::row(p, count), std::slice::from_raw_parts(p, count))
            };
            if best.is_none_or(|(value, _)| better::<F>(value, found)) {
                // A NaN equals nothing: the first one is what differs from itself.
                #[allow(clippy::eq_op, reason = "a NaN differs from itself")]
                let here = block.iter().position(|&x| x == found || (found != found && x != x));
                best = Some((found, at + here.expect("the best is one of them")));
            }
        }
        best.map_or(0, |(_, at)| at as i64)
    })
}

fn columns<F: Fold<T: PartialEq>>(job: &Job<'_>, plan: &Plan, out: &mut [i64]) {
    let stripes = plan.row.div_ceil(WIDE);
    let place = Shared(out.as_mut_ptr());
    parallel_for(plan.groups() * stripes, |u| {
        let (g, from) = (u / stripes, u % stripes * WIDE);
        let to = plan.row.min(from + WIDE);
        job.with_runner(|runner| {
            for at in (from..to).step_by(BLOCK) {
                let count = BLOCK.min(to - at);
                let mut best = [F::EMPTY; BLOCK];
                // SAFETY: each unit writes its own columns of its own group.
                let positions = unsafe {
                    let first = place.at(g * plan.row + at);
                    std::slice::from_raw_parts_mut(first, count)
                };
                // The one reduced dim is right before the last, or further out.
                for line in 0..plan.lines * plan.outer() {
                    let start = plan.line(line / plan.lines) + line % plan.lines * plan.row;
                    runner.block(plan.group(g) + start + at, count);
                    // SAFETY: the runner's result has `count` elements of the fold's type.
                    let values = unsafe {
                        std::slice::from_raw_parts(runner.result(0).cast::<F::T>(), count)
                    };
                    for ((best, position), &x) in best.iter_mut().zip(&mut *positions).zip(values) {
                        if line == 0 || better::<F>(*best, x) {
                            (*best, *position) = (x, line as i64);
                        }
                    }
                }
            }
        });
    });
}
