//! `map_many`, `map_into`: a program over whole tensors.

use std::fmt::Write;

use kiln_tensor_core::expr::Output;
use kiln_tensor_core::{DType, Expr, Kernel, Layout, Outputs, Scalar, Shape, Tensor};
use smallvec::SmallVec;

use crate::launch::{Call, supported};
use crate::place::{Place, Walk, walk};
use crate::source::{self, Operand, program, specialise};
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
    let flat = special && walk.is_flat();
    let (xs, ys) = (inputs_of(expr, special), outputs_of(expr, special));
    let mut call = Call::<R>::new(device).value(shape.numel() as i64);
    if !flat {
        call = call.value(walk.sizes);
    }
    let tensors = inputs.iter().chain(outputs);
    for ((operand, x), place) in xs.iter().chain(&ys).zip(tensors).zip(&walk.places) {
        call = call.operand(operand, x);
        call = if flat { call.value(place.offset()) } else { call.value(*place) };
    }
    let ones: SmallVec<[bool; 8]> =
        walk.places.iter().map(|place| flat && place.is_one()).collect();
    let body = || match flat {
        true => flat_body(expr, &xs, &ys, &walk),
        false => body(expr, &xs, &ys),
    };
    let key = (expr, special, flat, &ones);
    with_params(call, kernel).run("map", key, shape.numel(), body);
}

/// A program's inputs `x0`, `x1`, … as operands of a kernel.
pub(crate) fn inputs_of(expr: &Expr, special: bool) -> Vec<Operand> {
    let input = |(k, &dtype): (usize, &DType)| Operand::new(format!("x{k}"), dtype, special);
    expr.inputs().iter().enumerate().map(input).collect()
}

fn outputs_of(expr: &Expr, special: bool) -> Vec<Operand> {
    let output = |(k, o): (usize, &Output)| Operand::new(format!("y{k}"), o.dtype, special);
    expr.outputs().iter().enumerate().map(output).collect()
}

/// The values of a program's parameters, as the kernel declares them.
pub(crate) fn with_params<'a, R: Runtime>(
    mut call: Call<'a, R>,
    kernel: Kernel<'_>,
) -> Call<'a, R> {
    for (&dtype, &value) in kernel.expr.params().iter().zip(kernel.params) {
        call = match dtype.compute() {
            DType::F64 => call.value(value.to_f64()),
            DType::F32 => call.value(value.to_f64() as f32),
            _ => call.value(whole(value, dtype)),
        };
    }
    call
}

/// A number as an integer dtype holds it.
fn whole(value: Scalar, dtype: DType) -> i64 {
    if dtype == DType::Bool {
        return i64::from(value.to_bool());
    }
    let v = value.to_i64();
    let from_float = matches!(value, Scalar::F64(_));
    let v = if from_float && dtype != DType::I64 {
        v.clamp(i64::from(i32::MIN), i64::from(i32::MAX))
    } else {
        v
    };
    match dtype {
        DType::I32 => i64::from(v as i32),
        DType::I16 => i64::from(v as i16),
        DType::I8 => i64::from(v as i8),
        DType::U8 => i64::from(v as u8),
        _ => v,
    }
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

/// Operands that lie like the result, or are one element: no index but the item's own.
fn flat_body(expr: &Expr, xs: &[Operand], ys: &[Operand], walk: &Walk) -> String {
    let mut c = String::from("KERNEL void map(i64 n");
    for (k, x) in xs.iter().enumerate() {
        let _ = write!(c, ", {}, i64 a{k}", x.read());
    }
    for (k, y) in ys.iter().enumerate() {
        let _ = write!(c, ", {}, i64 b{k}", y.write());
    }
    declare_params(&mut c, expr);
    c.push_str(") {\n    const i64 index = ITEM;\n    if (index >= n) return;\n");
    let at = |name: char, k: usize, place: &Place| {
        if place.is_one() { format!("{name}{k}") } else { format!("{name}{k} + index") }
    };
    let input = |k: usize| xs[k].load(&at('a', k, &walk.places[k]));
    c.push_str(&program::statements(expr, input));
    for (k, (y, o)) in ys.iter().zip(expr.outputs()).enumerate() {
        let place = at('b', k, &walk.places[xs.len() + k]);
        let _ = writeln!(c, "    {}", y.store(&place, &format!("v{}", o.value)));
    }
    c.push_str("}\n");
    c
}

/// Operands with any strides.
fn body(expr: &Expr, xs: &[Operand], ys: &[Operand]) -> String {
    let mut c = String::from("KERNEL void map(i64 n, Sizes sizes");
    for (k, x) in xs.iter().enumerate() {
        let _ = write!(c, ", {}, Place q{k}", x.read());
    }
    for (k, y) in ys.iter().enumerate() {
        let _ = write!(c, ", {}, Place r{k}", y.write());
    }
    declare_params(&mut c, expr);
    c.push_str(") {\n    const i64 index = ITEM;\n    if (index >= n) return;\n");
    let operands: Vec<(char, char, usize)> =
        (0..xs.len()).map(|k| ('a', 'q', k)).chain((0..ys.len()).map(|k| ('b', 'r', k))).collect();
    for (at, place, k) in &operands {
        let _ = writeln!(c, "    i64 {at}{k} = {place}{k}.offset;");
    }
    c.push_str("    i64 rest = index;\n    for (int d = (int)sizes.rank - 1; d >= 0; --d) {\n");
    c.push_str(
        "        const i64 next = rest / sizes.sizes[d], k = rest - next * sizes.sizes[d];\n",
    );
    c.push_str("        rest = next;\n");
    for (at, place, k) in &operands {
        let _ = writeln!(c, "        {at}{k} += k * {place}{k}.strides[d];");
    }
    c.push_str("    }\n");
    c.push_str(&program::statements(expr, |k| xs[k].load(&format!("a{k}"))));
    for (k, (y, o)) in ys.iter().zip(expr.outputs()).enumerate() {
        let _ = writeln!(c, "    {}", y.store(&format!("b{k}"), &format!("v{}", o.value)));
    }
    c.push_str("}\n");
    c
}
