//! Writing by index: `scatter` and `index_add`. Sums come out the same on every run: what goes to one place is one
//! work-item's, in order. On a GPU, where an index names places for all lines alike, it is sorted first and each
//! run of equals is a work-item's; else a line is. Whoever asks for it
//! ([`use_deterministic_algorithms`](kiln_tensor_core::use_deterministic_algorithms)) gets sums by atomic
//! additions.

use kiln_tensor_core::{DType, ScatterOp, Tensor, are_deterministic_algorithms_enabled};

use super::beside;
use super::index::{GUARD, no_place};
use super::sort::sort;
use crate::launch::{Call, supported, traits};
use crate::place::walk;
use crate::runtime::DeviceKind;
use crate::source::{Operand, Width, locate};
use crate::storage::copied;
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
    // Lines that no index touches are left out: the kernel walks over those of `index` in all three.
    let mut shape = index.shape().clone();
    shape.remove(dim);
    let layouts = [&out, index, src].map(|x| beside(x, dim, &shape));
    let (walk, _) = walk(op, &shape, &layouts, |_| false);
    let (source, target) = (operand("src", how, dtype), operand("y", how, dtype));
    let picks = Operand::new("picks", DType::I64, true);
    let (ty, value) = (source.ty(), result(how, dtype));
    let body = || {
        let places = ["y", "picks", "src"];
        let places = places.map(|name| (format!("{name}_at"), format!("{name}_place.strides")));
        format!(
            "KERNEL void scatter(i64 lines, i64 count, i64 size, Sizes sizes,
    {y}, Place y_place, i64 y_step, {picks}, Place picks_place, i64 picks_step,
    {src}, Place src_place, i64 src_step, FAULTS) {{
    const i64 line = ITEM;
    if (line >= lines) return;
    i64 y_at = y_place.offset, picks_at = picks_place.offset, src_at = src_place.offset;
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
            at = picks.load("picks_at + i * picks_step"),
            load = source.load("src_at + i * src_step"),
            old = target.load("y_at + at * y_step"),
            store = target.store("y_at + at * y_step", &value),
        )
    };
    let step = |x: &T<R>| x.strides()[dim] as i64;
    Call::<R>::new(device)
        .value(lines as i64)
        .value(index.dims()[dim] as i64)
        .value(out.dims()[dim] as i64)
        .value(walk.sizes)
        .operand(&target, &out)
        .value(walk.places[0])
        .value(step(&out))
        .operand(&picks, index)
        .value(walk.places[1])
        .value(step(index))
        .operand(&source, src)
        .value(walk.places[2])
        .value(step(src))
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
    let out = copied(x);
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
        true => (index.clone(), None),
        false => {
            let (picks, places) = sort(index, 0, false);
            (picks, Some(places))
        }
    };
    let mut shape = src.shape().clone();
    shape.remove(dim);
    let (walk, _) =
        walk(op, &shape, &[beside(&out, dim, &shape), beside(src, dim, &shape)], |_| false);
    let width = Width::of(shape.numel());
    let mut call = Call::<R>::new(device)
        .value(shape.numel() as i64)
        .value(index.numel() as i64)
        .value(x.dims()[dim] as i64)
        .value(walk.sizes)
        .operand(&source, src)
        .value(walk.places[1])
        .value(src.strides()[dim] as i64)
        .operand(&target, &out)
        .value(walk.places[0])
        .value(out.strides()[dim] as i64)
        .operand(&keys, &picks)
        .value(picks.layout().offset() as i64)
        .value(picks.strides()[0] as i64);
    if let Some(places) = &places {
        call = call.operand(&order, places);
    }
    let order = places.is_some().then_some(&order);
    call.watched((op, "index"), x.dims()[dim], x.shape()).run(
        "scatter_runs",
        (how, dtype, atomic, width),
        src.numel(),
        || runs((how, dtype), width, &source, &target, &keys, order),
    );
    out
}

/// Each work-item of an element of a slice takes a run of equal keys, or, without an order, one key.
fn runs(
    (how, dtype): (ScatterOp, DType),
    width: Width,
    source: &Operand,
    target: &Operand,
    keys: &Operand,
    order: Option<&Operand>,
) -> String {
    let (ty, to) = (source.ty(), "y_at + at * y_step");
    let key = |i: &str| keys.load(&format!("keys_offset + {i} * keys_step"));
    let parameters = order.map(|order| format!(", {}", order.read())).unwrap_or_default();
    let work = match order {
        None => {
            format!(
                "    ATOMIC_ADD_{ty}(y, {}, {});\n",
                target.guarded(to),
                source.load("src_at + i * src_step")
            )
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
            earlier = key("(i - 1)"),
            load = target.load(to),
            key = key("p"),
            value = source.load(&format!("src_at + {} * src_step", order.load("p"))),
            result = result(how, dtype),
            store = target.store(to, "old"),
        ),
    };
    let places = ["src", "y"];
    let places = places.map(|name| (format!("{name}_at"), format!("{name}_place.strides")));
    format!(
        "KERNEL void scatter_runs(i64 lines, i64 count, i64 size, Sizes sizes,
    {}, Place src_place, i64 src_step, {}, Place y_place, i64 y_step,
    {}, i64 keys_offset, i64 keys_step{parameters}, FAULTS) {{
    const i64 item = ITEM, i = item / lines, line = item - i * lines;
    if (i >= count) return;
    i64 src_at = src_place.offset, y_at = y_place.offset;
{}    const i64 at = {};
    {GUARD}
{work}}}
",
        source.read(),
        target.write(),
        keys.read(),
        locate("line", "sizes", ["0", "(int)sizes.rank"], width, places),
        key("i"),
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
