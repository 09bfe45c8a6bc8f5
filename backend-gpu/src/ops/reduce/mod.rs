//! `reduce`: a program's results combined along dims. A work-item, or on a GPU a group, combines a piece of one
//! output's elements; a second pass combines the pieces, in order. The pieces depend on the shape alone, so
//! that results are the same on every run.

mod kernels;

use kiln_tensor_core::{DType, Kernel, Layout, ReduceOp, Shape, Tensor, ViewOp};
use smallvec::SmallVec;

use self::kernels::{FirstPass, GROUP, LANES, second_pass};
use super::map::inputs_of;
use crate::launch::{Call, supported, traits};
use crate::place::{Walk, walk};
use crate::runtime::DeviceKind;
use crate::source::{Operand, Width, program, specialise};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// How long pieces are at least, and how many pieces of all results keep a device busy.
struct Share {
    least: usize,
    busy: usize,
}

/// For the cores of a host, an element or a vector at a time.
const CORES: [Share; 2] = [Share { least: 256, busy: 4096 }, Share { least: 256, busy: 1024 }];
/// For a GPU, whose work-items or groups have one each.
const GPU: [Share; 2] =
    [Share { least: 64, busy: 1 << 17 }, Share { least: 8 * GROUP, busy: 2048 }];

/// See `Backend::reduce`.
#[track_caller]
pub(crate) fn reduce<R: Runtime>(
    op: ReduceOp,
    kernel: Kernel<'_>,
    inputs: &[&Tensor<Gpu<R>>],
    shape: &Shape,
    dims: &[usize],
) -> Tensor<Gpu<R>> {
    let (expr, device) = (kernel.expr, inputs[0].device());
    supported::<R>("reduce", device, expr.instrs().iter().map(|i| i.dtype));
    let value = expr.outputs()[0].dtype;
    let result = match op {
        ReduceOp::ArgMax | ReduceOp::ArgMin => DType::I64,
        ReduceOp::Any | ReduceOp::All => DType::Bool,
        _ => value,
    };
    let kept: SmallVec<[usize; 6]> = (0..shape.rank()).filter(|d| !dims.contains(d)).collect();
    let out_shape: Shape =
        (0..shape.rank()).map(|d| if dims.contains(&d) { 1 } else { shape[d] }).collect();
    let out = fresh::<R>(&out_shape, result, device);
    let (n, length) = (out.numel(), dims.iter().map(|&d| shape[d]).product::<usize>());
    if n == 0 {
        return out;
    }

    let perm: SmallVec<[usize; 6]> = kept.iter().chain(dims).copied().collect();
    let permuted: Shape = perm.iter().map(|&d| shape[d]).collect();
    let mut layouts: SmallVec<[Layout; 4]> = inputs
        .iter()
        .map(|x| x.layout().broadcast_to(shape).expect("the caller has checked the shapes"))
        .collect();
    layouts.push(Layout::contiguous(shape));
    let reordered =
        |layout: &Layout| layout.view(&ViewOp::Permute(perm.clone())).expect("all dims");
    let layouts: SmallVec<[Layout; 4]> = layouts.iter().map(reordered).collect();
    // No elements: sizes of 0 are never walked.
    let (walk, firsts) = walk("reduce", &permuted, &layouts, |d| d == kept.len());
    let outer = firsts.iter().filter(|&&first| first < kept.len()).count();

    let special = specialise(n * length);
    let cpu = traits::<R>(device).kind == DeviceKind::Cpu;
    let order = match cpu {
        true if special && !is_arg(op) && !program::numbered(expr) => {
            order_on_cores(&walk, outer, inputs.len())
        }
        false if special => order_on_gpu(&walk, outer, (n, length), inputs.len()),
        _ => Order::Any,
    };
    let lines = match order {
        Order::Across => n / walk.size(outer - 1) * walk.size(outer - 1).div_ceil(LANES),
        _ => n,
    };
    let shares = if cpu { &CORES } else { &GPU };
    let share = &shares[usize::from(order != Order::Any)];
    let pieces = length.div_ceil(share.least).min(share.busy.div_ceil(lines)).max(1);
    let per = length.div_ceil(pieces).max(1);
    let pieces = length.div_ceil(per).max(1);
    let direct = pieces == 1;
    let part_shape = Shape::from([n * pieces]);
    let (parts, places);
    let (to, at) = if direct {
        (&out, None)
    } else {
        parts = fresh::<R>(&part_shape, value.compute(), device);
        places = is_arg(op).then(|| fresh::<R>(&part_shape, DType::I64, device));
        (&parts, places.as_ref())
    };
    let mut call = Call::<R>::new(device)
        .value(lines as i64)
        .value(pieces as i64)
        .value(per as i64)
        .value(length as i64)
        .value(outer as i32)
        .value(walk.sizes);
    let xs = inputs_of(expr, special);
    let y = match direct {
        true => Operand::new("y", result, special),
        false => Operand::new("y", value.compute(), true),
    };
    for ((operand, x), &place) in xs.iter().zip(inputs).zip(&walk.places) {
        // Of an input without elements none is read.
        call = call.operand(operand, if x.numel() == 0 { to } else { x }).value(place);
    }
    call = call.value(walk.places[inputs.len()]).operand(&y, to);
    if let Some(at) = at {
        call = call.tensor(at);
    }
    let ones: SmallVec<[bool; 4]> = walk.places[..inputs.len()]
        .iter()
        .map(|place| match order {
            Order::Any | Order::Together => false,
            Order::Along => place.strides[walk.rank() - 1] == 1,
            Order::Across => place.strides[outer - 1] == 1,
        })
        .collect();
    let width = Width::of(n * length);
    let key = (op, expr, direct, special, order, &ones, width);
    let pass = FirstPass { op, expr, direct, xs: &xs, y: &y, width };
    let body = || match order {
        Order::Any => pass.any(),
        Order::Together => pass.together(),
        Order::Along => pass.along(&ones),
        Order::Across => pass.across(&ones),
    };
    let call = call.params(kernel);
    match order {
        Order::Any => call.run("reduce", key, lines * pieces, body),
        Order::Together => call.run_groups("reduce", key, (lines * pieces, GROUP), body),
        _ => call.run_groups("reduce", key, (lines * pieces, 1), body),
    }
    if !direct {
        let last = Operand::new("y", result, special);
        let mut call = Call::<R>::new(device).value(n as i64).value(pieces as i64);
        call = call.operand(&parts_of(value), to).operand(&last, &out);
        if let Some(at) = at {
            call = call.tensor(at);
        }
        let together = order == Order::Together && pieces >= GROUP / 4;
        let (key, entry) = ((op, value, special, together), "reduce_parts");
        let body = || second_pass(op, value, &parts_of(value), &last, together);
        match together {
            true => call.run_groups(entry, key, (n, GROUP), body),
            false => call.run(entry, key, n, body),
        }
    }
    out
}

/// In which order elements are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Order {
    /// One after the other, wherever they lie.
    Any,
    /// By a group, of which each work-item takes every so many-th.
    Together,
    /// Those that are combined lie side by side: many sums of every so many-th.
    Along,
    /// Those of neighbouring results lie side by side: many results at once.
    Across,
}

/// Whether all inputs lie side by side along a dim of at least that size, or are one element there.
fn dense(walk: &Walk, inputs: usize, dim: usize, least: usize) -> bool {
    walk.size(dim) >= least && walk.places[..inputs].iter().all(|p| matches!(p.strides[dim], 0 | 1))
}

/// The order in which the cores of a host read memory as it lies.
fn order_on_cores(walk: &Walk, outer: usize, inputs: usize) -> Order {
    if walk.rank() > outer && dense(walk, inputs, walk.rank() - 1, LANES / 2) {
        Order::Along
    } else if outer > 0 && dense(walk, inputs, outer - 1, 16) {
        Order::Across
    } else {
        Order::Any
    }
}

/// The order in which neighbouring work-items read neighbours, where there is one: those of a group along what
/// is combined, or each for a result beside the next.
fn order_on_gpu(
    walk: &Walk,
    outer: usize,
    (results, length): (usize, usize),
    inputs: usize,
) -> Order {
    let along = walk.rank() > outer && dense(walk, inputs, walk.rank() - 1, 32);
    let across = outer > 0 && dense(walk, inputs, outer - 1, 32);
    let long = length >= 8 * GROUP && results < 1 << 12;
    if length >= GROUP / 4 && (along || (long && !across)) { Order::Together } else { Order::Any }
}

/// What the pieces have come to, as the second pass reads it.
fn parts_of(value: DType) -> Operand {
    Operand::new("x", value.compute(), true)
}

fn is_arg(op: ReduceOp) -> bool {
    matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin)
}
