//! `reduce`: a program's results combined along dims. Each work-item combines a piece of one output's
//! elements; a second pass combines the pieces, in order. The pieces depend on the shape alone, so that
//! results are the same on every run.

use std::fmt::Write;

use kiln_tensor_core::{DType, Expr, Kernel, Layout, ReduceOp, Shape, Tensor, ViewOp};
use smallvec::SmallVec;

use super::map::{declare_params, inputs_of, with_params};
use crate::launch::{Call, supported};
use crate::place::walk;
use crate::source::{Operand, computed, narrow, program, specialise};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// The shortest piece.
const PIECE: usize = 256;
/// So many work-items keep a device busy.
const BUSY: usize = 4096;

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

    let pieces = length.div_ceil(PIECE).min(BUSY.div_ceil(n)).max(1);
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
        .value((n * pieces) as i64)
        .value(pieces as i64)
        .value(per as i64)
        .value(length as i64)
        .value(outer as i32)
        .value(walk.sizes);
    let special = specialise(n * length);
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
    let key = (op, expr, direct, special);
    let body = || first_pass(op, expr, direct, &xs, &y);
    with_params(call, kernel).run("reduce", key, n * pieces, body);
    if !direct {
        let last = Operand::new("y", result, special);
        let mut call = Call::<R>::new(device).value(n as i64).value(pieces as i64);
        call = call.tensor(to).operand(&last, &out);
        if let Some(at) = at {
            call = call.tensor(at);
        }
        let key = (op, value, special);
        call.run("reduce_parts", key, n, || second_pass(op, value, &last));
    }
    out
}

fn is_arg(op: ReduceOp) -> bool {
    matches!(op, ReduceOp::ArgMax | ReduceOp::ArgMin)
}

/// What an accumulator is before the first element.
fn start(op: ReduceOp, dtype: DType) -> String {
    let (low, high) = match dtype.compute() {
        d if d.is_float() => ("-INFINITY".into(), "INFINITY".into()),
        DType::I64 => ("(i64)0x8000000000000000UL".into(), "(i64)0x7fffffffffffffffUL".into()),
        DType::Bool => (String::from("0"), String::from("1")),
        _ => ("(i32)0x80000000".into(), "(i32)0x7fffffff".into()),
    };
    match op {
        ReduceOp::Sum | ReduceOp::Any => "0".into(),
        ReduceOp::Prod | ReduceOp::All => "1".into(),
        ReduceOp::Max | ReduceOp::ArgMax => low,
        ReduceOp::Min | ReduceOp::ArgMin => high,
    }
}

/// A statement that combines `acc` (found at `best`) with `v` (found at `r`).
fn combine(op: ReduceOp, dtype: DType) -> String {
    let ty = computed(dtype);
    let float = dtype.is_float();
    let whole = !float && dtype != DType::Bool;
    match op {
        ReduceOp::Sum if whole => format!("acc = add_{ty}(acc, v);"),
        ReduceOp::Prod if whole => format!("acc = mul_{ty}(acc, v);"),
        ReduceOp::Sum => "acc += v;".into(),
        ReduceOp::Prod => "acc *= v;".into(),
        ReduceOp::Max => "acc = (acc != acc || acc > v) ? acc : v;".into(),
        ReduceOp::Min => "acc = (acc != acc || acc < v) ? acc : v;".into(),
        ReduceOp::ArgMax | ReduceOp::ArgMin => {
            let sign = if op == ReduceOp::ArgMax { ">" } else { "<" };
            format!(
                "if (best < 0 || v {sign} acc || (v != v && acc == acc)) {{ acc = v; best = at; }}"
            )
        }
        ReduceOp::Any => "acc |= v;".into(),
        ReduceOp::All => "acc &= v;".into(),
    }
}

fn first_pass(op: ReduceOp, expr: &Expr, direct: bool, xs: &[Operand], y: &Operand) -> String {
    let value = expr.outputs()[0].dtype;
    let ty = computed(value);
    let mut c = String::from(
        "KERNEL void reduce(i64 n, i64 pieces, i64 per, i64 length, i32 outer, Sizes sizes",
    );
    for (k, x) in xs.iter().enumerate() {
        let _ = write!(c, ", {}, Place q{k}", x.read());
    }
    let _ = write!(c, ", Place qi, {}", y.write());
    if !direct && is_arg(op) {
        c.push_str(", GLOBAL i64* z");
    }
    declare_params(&mut c, expr);
    c.push_str(") {\n    const i64 item = ITEM;\n    if (item >= n) return;\n");
    c.push_str("    const i64 o = item / pieces, from = (item - o * pieces) * per;\n");
    c.push_str("    const i64 to = from + per < length ? from + per : length;\n");
    let needs_index = program::numbered(expr);
    let mut operands: Vec<String> = (0..expr.inputs().len()).map(|k| k.to_string()).collect();
    if needs_index {
        operands.push("i".into());
    }
    for k in &operands {
        let _ = writeln!(c, "    i64 base{k} = q{k}.offset;");
    }
    let decode = |c: &mut String, number: &str, from: &str, to: &str, at: &str| {
        let _ = writeln!(c, "    rest = {number};");
        let _ = writeln!(c, "    for (int d = {from} - 1; d >= {to}; --d) {{");
        c.push_str("        const i64 next = rest / sizes.sizes[d];\n");
        c.push_str("        const i64 k = rest - next * sizes.sizes[d];\n        rest = next;\n");
        for k in &operands {
            let _ = writeln!(c, "        {at}{k} += k * q{k}.strides[d];");
        }
        c.push_str("    }\n");
    };
    c.push_str("    i64 rest;\n");
    decode(&mut c, "o", "outer", "0", "base");
    let _ = writeln!(c, "    {ty} acc = {};", start(op, value));
    c.push_str("    i64 best = -1;\n");
    let blocked = op == ReduceOp::Sum && value.is_float();
    if blocked {
        let _ = writeln!(c, "    {ty} total = 0;");
    }
    c.push_str("    for (i64 at = from; at < to; ++at) {\n");
    for k in &operands {
        let _ = writeln!(c, "    i64 a{k} = base{k};");
    }
    decode(&mut c, "at", "(int)sizes.rank", "outer", "a");
    if needs_index {
        c.push_str("    const i64 index = ai;\n");
    }
    c.push_str(&program::statements(expr, |k| xs[k].load(&format!("a{k}"))));
    let held = narrow(value).map(|ty| format!("({ty})")).unwrap_or_default();
    let _ = writeln!(c, "    const {ty} v = {held}v{};", expr.outputs()[0].value);
    let _ = writeln!(c, "    {}", combine(op, value));
    if blocked {
        // Short sums first: rounding errors grow with the length of a sum.
        c.push_str("    if ((at & 63) == 63) { total += acc; acc = 0; }\n");
    }
    c.push_str("    }\n");
    if blocked {
        c.push_str("    acc += total;\n");
    }
    let result = if direct && is_arg(op) { "best" } else { "acc" };
    let _ = writeln!(c, "    {}", y.store("item", result));
    if !direct && is_arg(op) {
        c.push_str("    z[item] = best;\n");
    }
    c.push_str("}\n");
    c
}

fn second_pass(op: ReduceOp, value: DType, y: &Operand) -> String {
    let (ty, arg) = (computed(value), is_arg(op));
    let x = Operand::new("x", value.compute(), true);
    let places = if arg { ", const GLOBAL i64* z" } else { "" };
    let at = if arg { "z[o * pieces + p]" } else { "p" };
    format!(
        "KERNEL void reduce_parts(i64 n, i64 pieces, {read}, {write}{places}) {{
    const i64 o = ITEM;
    if (o >= n) return;
    {ty} acc = {start};
    i64 best = -1;
    for (i64 p = 0; p < pieces; ++p) {{
        const {ty} v = {load};
        const i64 at = {at};
        {combine}
    }}
    {store}
}}
",
        read = x.read(),
        write = y.write(),
        start = start(op, value),
        load = x.load("o * pieces + p"),
        combine = combine(op, value),
        store = y.store("o", if arg { "best" } else { "acc" }),
    )
}
