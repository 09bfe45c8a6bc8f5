//! Reductions along any dims, of the results of a program.
//!
//! Dims that lie together are merged, which leaves kept and reduced ones in turn. If the last is
//! reduced, rows are folded into one element each ([`rows`]); if it is kept, rows are folded into each
//! other ([`columns`]). Work is cut by shape alone and partial results are combined in order.

mod arg;
mod fold;

use kiln_tensor_core::{DType, Kernel, Layout, ReduceOp, Shape, Tensor};
use smallvec::SmallVec;

use super::expr::{BLOCK, Job, Operand, Place, wide_program};
use super::map::place;
use super::strides::{Merged, locate};
use super::workers::Shared;
use crate::Cpu;
use crate::storage::{Fresh, Locked};
use crate::threads::{parallel_for, parallel_pieces};
use fold::Fold;

/// Runs the reduction with the fold of an operation.
macro_rules! by_op {
    ($op:expr, $fold:ident $(<$T:ty>)?, $job:expr, $plan:expr, $out:expr) => {{
        use fold::{$fold, MAX, MIN, PROD, SUM};
        match $op {
            ReduceOp::Sum => run::<$fold<$($T,)? SUM>>($job, $plan, $out),
            ReduceOp::Prod => run::<$fold<$($T,)? PROD>>($job, $plan, $out),
            ReduceOp::Max | ReduceOp::Any => run::<$fold<$($T,)? MAX>>($job, $plan, $out),
            _ => run::<$fold<$($T,)? MIN>>($job, $plan, $out),
        }
    }};
}
/// Elements that one chunk of parallel work folds.
const CHUNK: usize = 1 << 15;
/// Columns that are folded together.
const WIDE: usize = 1024;

/// See `Backend::reduce`.
pub(crate) fn reduce(
    op: ReduceOp,
    kernel: Kernel<'_>,
    inputs: &[&Tensor<Cpu>],
    shape: &Shape,
    dims: &[usize],
) -> Tensor<Cpu> {
    let dtype = kernel.expr.outputs()[0].dtype;
    let mut kept = shape.clone();
    dims.iter().for_each(|&d| kept[d] = 1);
    let arg = matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin);
    let computed = if arg { DType::I64 } else { dtype.compute() };
    let mut out = Fresh::new(&kept, computed);
    let locked = Locked::read(inputs);
    // Strides over a size of 1 are 0 when merged, so this layout tells kept dims from reduced ones.
    let out_layout = Layout::contiguous(&kept);
    let layouts = inputs.iter().map(|x| x.layout()).chain([&out_layout]);
    let merged = Merged::new(shape, layouts).merged();
    let operands: SmallVec<[Operand; 4]> = inputs
        .iter()
        .enumerate()
        .map(|(k, x)| Operand {
            base: locked.ptr(x),
            size: x.dtype().size(),
            place: place(&merged, k),
        })
        .collect();
    let program = wide_program(kernel.expr);
    let (splats, numbers) = program.arguments(kernel.params);
    let result =
        [Operand { base: std::ptr::null_mut(), size: dtype.compute().size(), place: Place::Kept }];
    let job = Job {
        program,
        sizes: &merged.sizes,
        inputs: &operands,
        outputs: &result,
        aside: 0,
        splats: &splats,
        numbers: &numbers,
    };
    let plan = Plan::new(&merged, inputs.len(), shape.numel());
    if arg {
        arg::reduce(op, dtype.compute(), &job, &plan, out.slice_mut());
        return out.finish();
    }
    match dtype.compute() {
        DType::F64 => by_op!(op, Floats<f64>, &job, &plan, out.slice_mut()),
        DType::F32 => by_op!(op, Floats<f32>, &job, &plan, out.slice_mut()),
        DType::I64 => by_op!(op, Ints<i64>, &job, &plan, out.slice_mut()),
        DType::I32 => by_op!(op, Ints<i32>, &job, &plan, out.slice_mut()),
        _ => by_op!(op, Bools, &job, &plan, out.slice_mut()),
    }
    drop(locked);
    let out = out.finish();
    match op {
        ReduceOp::Any | ReduceOp::All => out,
        _ => out.to_dtype(dtype),
    }
}

/// How kept and reduced dims lie.
pub(super) struct Plan {
    /// Sizes and row-major strides of the outer kept dims, and of the outer reduced ones.
    kept: Dims,
    reduced: Dims,
    /// How many rows lie behind each other that are folded alike, and their length.
    pub(super) lines: usize,
    pub(super) row: usize,
    /// Whether a row is folded into one element.
    pub(super) rows: bool,
    empty: bool,
}

#[derive(Default)]
struct Dims {
    sizes: SmallVec<[usize; 6]>,
    strides: SmallVec<[isize; 6]>,
}

impl Dims {
    fn count(&self) -> usize {
        self.sizes.iter().product()
    }

    fn start(&self, i: usize) -> usize {
        locate(&self.sizes, &self.strides, i).0 as usize
    }
}

impl Plan {
    fn new(merged: &Merged, output: usize, total: usize) -> Plan {
        let out = &merged.strides[output];
        let rank = merged.sizes.len();
        let rows = out.last().is_none_or(|&stride| stride == 0);
        let mut plan = Plan {
            kept: Dims::default(),
            reduced: Dims::default(),
            lines: 1,
            row: merged.sizes.last().copied().unwrap_or(1),
            rows,
            empty: total == 0,
        };
        let mut below = plan.row;
        for d in (0..rank.saturating_sub(1)).rev() {
            let size = merged.sizes[d];
            if !rows && d + 2 == rank && out[d] == 0 {
                plan.lines = size;
            } else {
                let dims = if out[d] == 0 { &mut plan.reduced } else { &mut plan.kept };
                dims.sizes.insert(0, size);
                dims.strides.insert(0, below as isize);
            }
            below *= size;
        }
        plan
    }

    /// How many kept outer positions there are.
    pub(super) fn groups(&self) -> usize {
        self.kept.count()
    }

    /// How many reduced outer positions there are.
    pub(super) fn outer(&self) -> usize {
        self.reduced.count()
    }

    /// Distance of a reduced outer position from the first.
    pub(super) fn line(&self, i: usize) -> usize {
        self.reduced.start(i)
    }

    /// Row-major number of the first element of a group.
    pub(super) fn group(&self, g: usize) -> usize {
        self.kept.start(g)
    }
}

fn run<F: Fold>(job: &Job<'_>, plan: &Plan, out: &mut [F::T]) {
    if plan.empty {
        out.fill(F::EMPTY);
    } else if plan.rows {
        rows::<F>(job, plan, out);
    } else {
        columns::<F>(job, plan, out);
    }
}

/// Folds rows into one element each, and those of a group into one.
fn rows<F: Fold>(job: &Job<'_>, plan: &Plan, out: &mut [F::T]) {
    let (groups, outer) = (plan.groups(), plan.reduced.count());
    let pieces = plan.row.div_ceil(CHUNK);
    let outer_step = (CHUNK / plan.row).clamp(1, outer);
    let units = outer.div_ceil(outer_step) * pieces;
    // Unit `u` of a group: some of its rows, or a piece of one.
    let unit = |runner: &mut _, g: usize, u: usize| {
        let (chunk, piece) = (u / pieces, u % pieces);
        let (from, to) = (piece * CHUNK, plan.row.min((piece + 1) * CHUNK));
        let rows = chunk * outer_step..outer.min((chunk + 1) * outer_step);
        rows.fold(F::EMPTY, |acc, r| {
            let start = plan.group(g) + plan.reduced.start(r);
            F::two(acc, piece_of_row::<F>(job, runner, start + from, start + to))
        })
    };
    if units > 1 {
        let mut partial = vec![F::EMPTY; groups * units];
        let place = Shared(partial.as_mut_ptr());
        parallel_for(groups * units, |i| {
            // SAFETY: each unit writes its own partial result.
            job.with_runner(|runner| unsafe {
                place.at(i).write(unit(runner, i / units, i % units));
            });
        });
        for (out, parts) in out.iter_mut().zip(partial.chunks_exact(units)) {
            *out = pairwise::<F>(parts);
        }
        return;
    }
    let step = (CHUNK / (outer * plan.row)).max(1);
    parallel_pieces(out, step, |i, out| {
        job.with_runner(|runner| {
            for (k, out) in out.iter_mut().enumerate() {
                *out = unit(runner, i * step + k, 0);
            }
        });
    });
}

/// Combines in a tree, so that rounding errors do not add up.
fn pairwise<F: Fold>(parts: &[F::T]) -> F::T {
    match parts {
        [one] => *one,
        parts => {
            let (a, b) = parts.split_at(parts.len().div_ceil(2));
            F::two(pairwise::<F>(a), pairwise::<F>(b))
        }
    }
}

fn piece_of_row<F: Fold>(
    job: &Job<'_>,
    runner: &mut super::expr::Runner<'_>,
    start: usize,
    end: usize,
) -> F::T {
    if let Some(elements) = job.direct(start) {
        // SAFETY: the operand has these elements side by side, and they are of the fold's type.
        return unsafe { F::row(elements.cast(), end - start) };
    }
    let mut acc = F::EMPTY;
    for at in (start..end).step_by(BLOCK) {
        let len = BLOCK.min(end - at);
        runner.block(at, len);
        // SAFETY: the runner's result has `len` elements of the fold's type.
        acc = F::two(acc, unsafe { F::row(runner.result(0).cast(), len) });
    }
    acc
}

/// Folds rows into each other.
fn columns<F: Fold>(job: &Job<'_>, plan: &Plan, out: &mut [F::T]) {
    let (groups, outer) = (plan.groups(), plan.reduced.count());
    let width = plan.row.min(WIDE);
    let stripes = plan.row.div_ceil(WIDE);
    // Narrow rows are taken several at a time, as one.
    let together = (BLOCK / plan.row).clamp(1, plan.lines);
    let lines = (2 * CHUNK / width).next_multiple_of(together);
    let parts = plan.lines.div_ceil(lines);
    let units = groups * stripes * parts;
    let place = Shared(out.as_mut_ptr());
    let mut partial = vec![F::EMPTY; if parts > 1 { units * width } else { 0 }];
    let partial_place = Shared(partial.as_mut_ptr());
    parallel_for(units, |u| {
        let (part, stripe, g) = (u % parts, u / parts % stripes, u / parts / stripes);
        let (from, to) = (stripe * WIDE, plan.row.min((stripe + 1) * WIDE));
        let mut acc = vec![F::EMPTY; together * (to - from)];
        let range = part * lines..plan.lines.min((part + 1) * lines);
        job.with_runner(|runner| {
            for r in 0..outer {
                let start = plan.group(g) + plan.reduced.start(r);
                stripe_of_rows::<F>(runner, start, plan.row, from..to, range.clone(), &mut acc);
            }
        });
        let width = to - from;
        let (first, rest) = acc.split_at_mut(width);
        for row in rest.chunks_exact(width) {
            first.iter_mut().zip(row).for_each(|(a, &b)| *a = F::two(*a, b));
        }
        let to = if parts > 1 {
            partial_place.at(u * plan.row.min(WIDE))
        } else {
            place.at(g * plan.row + from)
        };
        // SAFETY: each unit writes its own part of the output, or of the partial results.
        unsafe { to.copy_from_nonoverlapping(first.as_ptr(), width) };
    });
    if parts > 1 {
        for (i, out) in out.iter_mut().enumerate() {
            let (g, column) = (i / plan.row, i % plan.row);
            let first = (g * stripes + column / WIDE) * parts;
            let of = |part: usize| partial[(first + part) * width + column % WIDE];
            *out = (1..parts).fold(of(0), |acc, part| F::two(acc, of(part)));
        }
    }
}

/// Folds columns of some lines into `acc`, which has room for several rows side by side.
fn stripe_of_rows<F: Fold>(
    runner: &mut super::expr::Runner<'_>,
    start: usize,
    row: usize,
    columns: std::ops::Range<usize>,
    lines: std::ops::Range<usize>,
    acc: &mut [F::T],
) {
    /// Rows that are folded before their result goes to the accumulator.
    const DEPTH: usize = 64;
    let width = columns.len();
    let together = acc.len() / width;
    let mut near = vec![F::EMPTY; acc.len()];
    for some in lines.clone().step_by(DEPTH * together) {
        near.fill(F::EMPTY);
        for line in (some..lines.end.min(some + DEPTH * together)).step_by(together) {
            let count = together.min(lines.end - line) * width;
            for at in (0..count).step_by(BLOCK) {
                let len = BLOCK.min(count - at);
                runner.block(start + line * row + columns.start + at, len);
                // SAFETY: the runner's result has `len` elements, and so has the accumulator.
                unsafe { F::column(near[at..at + len].as_mut_ptr(), runner.result(0).cast(), len) };
            }
        }
        // SAFETY: both have this length.
        unsafe { F::column(acc.as_mut_ptr(), near.as_ptr(), acc.len()) };
    }
}
