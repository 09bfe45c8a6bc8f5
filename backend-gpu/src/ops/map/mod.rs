//! `map_many`, `map_into`: a program over whole tensors.

mod each;
mod kernels;

use std::fmt::Write;

use kiln_tensor_core::{DType, Expr, Kernel, Layout, Outputs, Shape, Tensor};
use smallvec::SmallVec;

pub(crate) use self::each::map_each_into;
use self::kernels::{BLOCK, Pass, Step};
use crate::launch::{Call, supported, traits};
use crate::place::{Walk, walk};
use crate::runtime::DeviceKind;
use crate::source::{self, Operand, Width, specialise};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// See `Backend::map_many`.
#[track_caller]
pub(crate) fn map_many<R: Runtime>(
    kernel: Kernel<'_>,
    inputs: &[&Tensor<Gpu<R>>],
    shape: &Shape,
    device: &R::Device,
) -> Outputs<Gpu<R>> {
    let outputs: Outputs<Gpu<R>> =
        kernel.expr.outputs().iter().map(|o| fresh::<R>(shape, o.dtype, device)).collect();
    launch(kernel, inputs, &outputs.iter().collect::<Vec<_>>(), shape, device);
    outputs
}

/// See `Backend::map_into`.
#[track_caller]
pub(crate) fn map_into<R: Runtime>(
    kernel: Kernel<'_>,
    inputs: &[&Tensor<Gpu<R>>],
    outputs: &[&Tensor<Gpu<R>>],
) {
    outputs.iter().for_each(|x| x.storage().written());
    launch(kernel, inputs, outputs, outputs[0].shape(), outputs[0].device());
}

#[track_caller]
fn launch<R: Runtime>(
    kernel: Kernel<'_>,
    inputs: &[&Tensor<Gpu<R>>],
    outputs: &[&Tensor<Gpu<R>>],
    shape: &Shape,
    device: &R::Device,
) {
    let expr = kernel.expr;
    supported::<R>("map", device, expr.instrs().iter().map(|i| i.dtype));
    if shape.numel() == 0 {
        return;
    }
    let layouts: SmallVec<[Layout; 4]> = inputs
        .iter()
        .chain(outputs)
        .map(|x| x.layout().broadcast_to(shape).expect("the caller has checked the shapes"))
        .collect();
    let special = specialise(shape.numel());
    let (walk, _) = walk("map", shape, &layouts, |_| false);
    let cpu = traits::<R>(device).kind == DeviceKind::Cpu;
    let pack = if special && !cpu { pack(&walk, inputs.iter().chain(outputs)) } else { 1 };
    let way = match special {
        true if walk.is_flat() && pack > 1 => Way::Packs(pack),
        true if walk.is_flat() => Way::Flat,
        true if cpu && walk.rank() > 0 && walk.size(walk.rank() - 1) >= 16 => Way::Rows,
        _ => Way::Any,
    };
    let steps: SmallVec<[Step; 8]> = match way {
        Way::Any => SmallVec::new(),
        _ => walk.places.iter().map(|place| Step::of(place, walk.rank())).collect(),
    };
    let operands = operands_of(expr, special, "");
    let numel = shape.numel();
    let (n, items) = match way {
        Way::Packs(count) => (numel, numel.div_ceil(count)),
        Way::Rows => {
            let width = walk.size(walk.rank() - 1);
            let blocks = numel / width * width.div_ceil(BLOCK);
            (blocks, blocks)
        }
        _ => (numel, numel),
    };
    let flat = matches!(way, Way::Flat | Way::Packs(_));
    let mut call = Call::<R>::new(device).value(n as i64);
    if !flat {
        call = call.value(walk.sizes);
    }
    for ((operand, x), place) in operands.iter().zip(inputs.iter().chain(outputs)).zip(&walk.places)
    {
        call = call.operand(operand, x);
        call = if flat { call.value(place.offset()) } else { call.value(*place) };
    }
    let width = Width::of(numel);
    let key = (expr, special, way, &steps, width);
    let pass = Pass { expr, operands: &operands, steps: &steps, width };
    let call = call.params(kernel);
    match way {
        Way::Any => call.run("map", key, items, || pass.any()),
        Way::Flat => call.run("map", key, items, || pass.flat()),
        Way::Packs(count) => call.run("map", key, items, || pass.packs(count)),
        Way::Rows => call.run_groups("map", key, (items, 1), || pass.rows()),
    }
}

/// How the elements are walked over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    /// One by one, wherever they lie.
    Any,
    /// One by one, side by side.
    Flat,
    /// So many at once, side by side: a GPU moves 16 bytes as fast as two.
    Packs(usize),
    /// Row by row, a work-item takes a block of one: dividing for each element costs a CPU more than the work.
    Rows,
}

/// How many elements of a flat walk are 16 bytes of the widest operand, if each operand that has several
/// begins at a multiple of so many; else 1.
fn pack<'a, R: Runtime>(
    walk: &Walk,
    operands: impl Iterator<Item = &'a &'a Tensor<Gpu<R>>>,
) -> usize {
    let several = walk.places.iter().zip(operands).filter(|(place, _)| !place.is_one());
    let (mut widest, mut offsets) = (2, 0);
    for (place, x) in several {
        widest = widest.max(x.dtype().size());
        offsets |= place.offset();
    }
    let count = 16 / widest;
    if offsets % count as i64 == 0 { count } else { 1 }
}

/// A program's inputs and outputs as operands of a kernel: `x0`, …, `y0`, … and then `of`.
fn operands_of(expr: &Expr, special: bool, of: &str) -> Vec<Operand> {
    let inputs = expr.inputs().iter().enumerate();
    let inputs = inputs.map(|(k, &dtype)| Operand::new(format!("x{k}{of}"), dtype, special));
    let outputs = expr.outputs().iter().enumerate();
    inputs
        .chain(outputs.map(|(k, o)| Operand::new(format!("y{k}{of}"), o.dtype, special)))
        .collect()
}

/// A program's inputs `x0`, `x1`, … as operands of a kernel.
pub(crate) fn inputs_of(expr: &Expr, special: bool) -> Vec<Operand> {
    let input = |(k, &dtype): (usize, &DType)| Operand::new(format!("x{k}"), dtype, special);
    expr.inputs().iter().enumerate().map(input).collect()
}

/// Declares a program's own parameters.
pub(crate) fn declare_params(c: &mut String, expr: &Expr) {
    for (k, &dtype) in expr.params().iter().enumerate() {
        let ty = match source::computed(dtype) {
            "i32" => "i64",
            ty => ty,
        };
        let _ = write!(c, ", {ty} p{k}");
    }
}
