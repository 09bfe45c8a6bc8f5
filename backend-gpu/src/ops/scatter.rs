//! Writing by index: `scatter` and `index_add`. Sums come out the same on every run: what goes to one place is one
//! work-item's, in order. On a GPU, where an index names places for all lines alike, it is sorted first and each
//! run of equals is a work-item's; else a line is. Whoever asks for it
//! ([`use_deterministic_algorithms`](kiln_tensor_core::use_deterministic_algorithms)) gets sums by atomic
//! additions.

use kiln_tensor_core::{
    DType, Error, ScatterOp, Tensor, are_deterministic_algorithms_enabled, raise,
};

use super::index::{GUARD, no_place};
use super::sort::sort;
use crate::launch::{Call, supported, traits};
use crate::place::Sizes;
use crate::runtime::DeviceKind;
use crate::source::{Operand, Width, locate};
use crate::storage::{copied, plain};
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

/// From so many indices on, sorting them first is faster than one after the other.
const MANY: usize = 64;

/// See `Backend::scatter`.
#[track_caller]
pub(crate) fn scatter<R: Runtime>(
    op: ScatterOp,
    x: &T<R>,
    dim: usize,
    index: &T<R>,
    src: &T<R>,
) -> T<R> {
    if x.rank() == 1 && on_gpu::<R>(x) && index.numel() >= MANY {
        return by_place("scatter", op, x, dim, index, src);
    }
    combined("scatter", op, x, dim, index, src)
}

/// See `Backend::index_add`.
#[track_caller]
pub(crate) fn index_add<R: Runtime>(x: &T<R>, dim: usize, index: &T<R>, src: &T<R>) -> T<R> {
    if on_gpu::<R>(x) && index.numel() >= MANY {
        return by_place("index_add", ScatterOp::Add, x, dim, index, src);
    }
    let mut shape: Vec<isize> = vec![1; x.rank()];
    shape[dim] = index.numel() as isize;
    let spread = index.view(shape.as_slice()).expand(src.dims());
    combined("index_add", ScatterOp::Add, x, dim, &spread, src)
}

#[track_caller]
fn combined<R: Runtime>(
    op: &'static str,
    how: ScatterOp,
    x: &T<R>,
    dim: usize,
    index: &T<R>,
    src: &T<R>,
) -> T<R> {
    let (dtype, device) = (x.dtype(), x.device());
    supported::<R>(op, device, [dtype]);
    if let Some(wide) = wider(how, dtype) {
        let sum = combined(op, how, &x.to_dtype(wide), dim, index, &src.to_dtype(wide));
        return sum.to_dtype(dtype);
    }
    let out = copied(x);
    let lines = index.numel() / index.dims()[dim].max(1);
    if lines == 0 {
        return out;
    }
    if out.numel() == 0 {
        no_place(op, index, x.shape(), dim);
    }
    // Lines that no index touches are left out: the kernel walks over those of `index` in `out`.
    let (index, src) = (plain(index), plain(src));
    let strides: Vec<i64> = out.strides().iter().map(|&s| s as i64).collect();
    let mut places = [0i64; crate::place::MAX_RANK];
    let others: Vec<usize> = (0..x.rank()).filter(|&d| d != dim).collect();
    if others.len() > places.len() {
        raise(Error::Shape {
            op,
            shapes: vec![x.shape().clone()],
            why: format!("at most {} dims beside the indexed one", places.len()),
        });
    }
    for (to, &d) in places.iter_mut().zip(&others) {
        *to = strides[d];
    }
    let sizes: Vec<usize> = others.iter().map(|&d| index.dims()[d]).collect();
    let mut from = [0i64; crate::place::MAX_RANK];
    for (to, &d) in from.iter_mut().zip(&others) {
        *to = index.strides()[d] as i64;
    }
    let (source, target) = (operand("src", how, dtype), operand("y", how, dtype));
    let picks = Operand::new("picks", DType::I64, true);
    let (ty, value) = (source.ty(), result(how, dtype));
    let body = || {
        let places = [("base", "to"), ("source", "from")];
        let places = places.map(|(at, steps)| (at.to_owned(), format!("{steps}.by")));
        format!(
            "typedef struct {{ i64 by[MAX_RANK]; }} Steps;
KERNEL void scatter(i64 lines, i64 count, i64 size, Sizes sizes, Steps to, i64 to_step,
    Steps from, i64 from_step, {picks}, {src},
    {y}, FAULTS) {{
    const i64 line = ITEM;
    if (line >= lines) return;
    i64 base = 0, source = 0;
{by_line}    for (i64 i = 0; i < count; ++i) {{
        const i64 at = {at};
        {GUARD}
        const {ty} v = {load}, old = {old};
        {store}
    }}
}}
",
            by_line = locate("line", "sizes", ["0", "(int)sizes.rank"], Width::Long, places),
            picks = picks.read(),
            src = source.read(),
            y = target.write(),
            at = picks.load("source + i * from_step"),
            load = source.load("source + i * from_step"),
            old = target.load("base + at * to_step"),
            store = target.store("base + at * to_step", &value),
        )
    };
    Call::<R>::new(device)
        .value(lines as i64)
        .value(index.dims()[dim] as i64)
        .value(out.dims()[dim] as i64)
        .value(Sizes::new(&sizes))
        .value(places)
        .value(strides[dim])
        .value(from)
        .value(index.strides()[dim] as i64)
        .operand(&picks, &index)
        .operand(&source, &src)
        .operand(&target, &out)
        .watched((op, "index"), x.dims()[dim], x.shape())
        .run("scatter", (how, dtype), lines, body);
    out
}

/// Like `combined`, of an index with one dim: slice `i` of `src` goes to slice `index[i]`.
#[track_caller]
fn by_place<R: Runtime>(
    op: &'static str,
    how: ScatterOp,
    x: &T<R>,
    dim: usize,
    index: &T<R>,
    src: &T<R>,
) -> T<R> {
    let (dtype, device) = (x.dtype(), x.device());
    supported::<R>(op, device, [dtype]);
    if let Some(wide) = wider(how, dtype) {
        let sum = by_place(op, how, &x.to_dtype(wide), dim, index, &src.to_dtype(wide));
        return sum.to_dtype(dtype);
    }
    let (out, src) = (copied(x), plain(src));
    if src.numel() == 0 {
        return out;
    }
    if out.numel() == 0 {
        no_place(op, index, x.shape(), dim);
    }
    let (source, target) = (operand("src", how, dtype), operand("y", how, dtype));
    let keys = Operand::new("keys", DType::I64, true);
    let order = Operand::new("order", DType::I64, true);
    let atomic = !are_deterministic_algorithms_enabled()
        && how == ScatterOp::Add
        && matches!(dtype, DType::F32 | DType::I32);
    let (picks, places) = match atomic {
        true => (plain(index), None),
        false => {
            let (picks, places) = sort(index, 0, false);
            (picks, Some(places))
        }
    };
    let after: usize = x.dims()[dim + 1..].iter().product();
    let mut call = Call::<R>::new(device)
        .value(src.numel() as i64)
        .value(index.numel() as i64)
        .value(x.dims()[dim] as i64)
        .value(after as i64)
        .operand(&source, &src)
        .operand(&target, &out)
        .operand(&keys, &picks);
    if let Some(places) = &places {
        call = call.operand(&order, places);
    }
    let order = places.is_some().then_some(&order);
    call.watched((op, "index"), x.dims()[dim], x.shape()).run(
        "scatter_runs",
        (how, dtype, atomic),
        src.numel(),
        || runs((how, dtype), &source, &target, &keys, order),
    );
    out
}

/// Each work-item of an element of a slice takes a run of equal keys, or, without an order, one key.
fn runs(
    (how, dtype): (ScatterOp, DType),
    source: &Operand,
    target: &Operand,
    keys: &Operand,
    order: Option<&Operand>,
) -> String {
    let (ty, to) = (source.ty(), "(block * size + at) * after + a");
    let parameters = order.map(|order| format!(", {}", order.read())).unwrap_or_default();
    let work = match order {
        None => {
            format!("    ATOMIC_ADD_{ty}(y, {}, {});\n", target.guarded(to), source.load("item"))
        }
        Some(order) => format!(
            "    if (i > 0 && {earlier} == at) return;
    {ty} old = {load};
    for (i64 p = i; p < count && {key} == at; ++p) {{
        const {ty} v = {value};
        old = {result};
    }}
    {store}
",
            earlier = keys.load("i - 1"),
            load = target.load(to),
            key = keys.load("p"),
            value = source.load(&format!("(block * count + {}) * after + a", order.load("p"))),
            result = result(how, dtype),
            store = target.store(to, "old"),
        ),
    };
    format!(
        "KERNEL void scatter_runs(i64 items, i64 count, i64 size, i64 after, {}, {},
    {}{parameters}, FAULTS) {{
    const i64 item = ITEM;
    if (item >= items) return;
    const i64 slice = item / after, a = item - slice * after, block = slice / count, i = slice - block * count;
    const i64 at = {};
    {GUARD}
{work}}}
",
        source.read(),
        target.write(),
        keys.read(),
        keys.load("i"),
    )
}

/// Narrow numbers are combined in a wider dtype, and rounded once.
fn wider(how: ScatterOp, dtype: DType) -> Option<DType> {
    let wide = if dtype == DType::Bool { DType::I32 } else { dtype.compute() };
    (wide != dtype && how != ScatterOp::Set).then_some(wide)
}

fn operand(name: &str, how: ScatterOp, dtype: DType) -> Operand {
    match how {
        ScatterOp::Set => Operand::moved(name, dtype),
        _ => Operand::new(name, dtype, true),
    }
}

/// What becomes of `old` and `v`.
fn result(how: ScatterOp, dtype: DType) -> String {
    let ty = operand("", how, dtype).ty();
    match how {
        ScatterOp::Set => "v".into(),
        ScatterOp::Add if dtype.is_int() => format!("add_{ty}(old, v)"),
        ScatterOp::Mul if dtype.is_int() => format!("mul_{ty}(old, v)"),
        ScatterOp::Add => "old + v".into(),
        ScatterOp::Mul => "old * v".into(),
        ScatterOp::Max => "(old != old || old >= v) ? old : v".into(),
        ScatterOp::Min => "(old != old || old <= v) ? old : v".into(),
    }
}

fn on_gpu<R: Runtime>(x: &T<R>) -> bool {
    traits::<R>(x.device()).kind != DeviceKind::Cpu
}
