//! Pooling, straight from its formulas: a work-item per element of the result.

use std::hash::Hash;

use bytemuck::Pod;
use kiln_tensor_core::{DType, PoolSpec, Shape, Tensor};

use super::windows::{LIE, Lie, SPEC, decode, pool_spec};
use crate::launch::{Call, supported};
use crate::source::{Operand, specialise};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

/// The element at `z, v, u` of a channel that begins at `base`.
const ELEMENT: &str = "base + z * lie.by[0] + v * lie.by[1] + u * lie.by[2]";

fn pooled(x: &[usize], spec: &PoolSpec) -> Shape {
    spec.out_shape(x).expect("the caller has checked the sizes")
}

/// See `Backend::max_pool`.
#[track_caller]
pub(crate) fn max_pool<R: Runtime>(x: &T<R>, spec: &PoolSpec) -> (T<R>, T<R>) {
    let (dtype, device) = (x.dtype(), x.device());
    supported::<R>("max_pool", device, [dtype]);
    let shape = pooled(x.dims(), spec);
    let (out, at) = (fresh::<R>(&shape, dtype, device), fresh::<R>(&shape, DType::I64, device));
    if out.numel() == 0 {
        return (out, at);
    }
    let special = specialise(out.numel());
    let (from, to) = (Operand::new("x", dtype, special), Operand::new("y", dtype, special));
    let ty = from.ty();
    let body = || {
        format!(
        "{SPEC}{LIE}KERNEL void max_pool(i64 n, Spec s, {x}, Lie lie, {y}, GLOBAL i64* to) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 rest = item;
    {decode}
    const i64 base = channel_at(&s, &lie, rest);
    {ty} best = 0;
    i64 place = -1;
    for (i64 t0 = 0; t0 < s.window[0]; ++t0) {{ const i64 z = met(&s, 0, i0, t0); if (z < 0) continue;
    for (i64 t1 = 0; t1 < s.window[1]; ++t1) {{ const i64 v = met(&s, 1, i1, t1); if (v < 0) continue;
    for (i64 t2 = 0; t2 < s.window[2]; ++t2) {{ const i64 u = met(&s, 2, i2, t2); if (u < 0) continue;
        const i64 at = (z * s.input[1] + v) * s.input[2] + u;
        const {ty} value = {load};
        if (place < 0 || value > best || (value != value && best == best)) {{ best = value; place = at; }}
    }}}}}}
    {store}
    to[item] = place;
}}
",
        decode = decode("output"),
        x = from.read(),
        y = to.write(),
        load = from.load(ELEMENT),
        store = to.store("item", "best"),
    )
    };
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(pool_spec(x.dims(), &shape, spec))
        .operand(&from, x)
        .value(Lie::of(x.layout()))
        .operand(&to, &out)
        .tensor(&at)
        .run("max_pool", (dtype, special), out.numel(), body);
    (out, at)
}

/// What the divisor's source depends on.
fn divisor_key(spec: &PoolSpec) -> (Option<usize>, bool) {
    (spec.divisor, spec.count_include_pad)
}

/// The divisor of the mean at output `o0, o1, o2`, where `inside` elements are not padding.
fn divisor(spec: &PoolSpec) -> String {
    match spec.divisor {
        Some(divisor) => divisor.to_string(),
        None if spec.count_include_pad => {
            (0..3).map(|d| format!("padded(&s, {d}, o{d})")).collect::<Vec<_>>().join(" * ")
        }
        None => (0..3).map(|d| format!("inside(&s, {d}, o{d})")).collect::<Vec<_>>().join(" * "),
    }
}

const COUNTS: &str = "// A window may reach over the padding; what lies there never counts.
DEVICE i64 padded(const Spec* s, int d, i64 out) {
    const i64 start = out * s->stride[d], end = start + s->window[d];
    const i64 last = s->input[d] + 2 * s->padding[d];
    return (end < last ? end : last) - start;
}
DEVICE i64 inside(const Spec* s, int d, i64 out) {
    i64 start = out * s->stride[d] - s->padding[d], end = start + s->window[d];
    if (start < 0) start = 0;
    if (end > s->input[d]) end = s->input[d];
    return end - start;
}
";

/// See `Backend::avg_pool`.
#[track_caller]
pub(crate) fn avg_pool<R: Runtime>(x: &T<R>, spec: &PoolSpec) -> T<R> {
    let (dtype, device) = (x.dtype(), x.device());
    supported::<R>("avg_pool", device, [dtype]);
    let shape = pooled(x.dims(), spec);
    let out = fresh::<R>(&shape, dtype, device);
    if out.numel() == 0 {
        return out;
    }
    let special = specialise(out.numel());
    let (from, to) = (Operand::new("x", dtype, special), Operand::new("y", dtype, special));
    let ty = from.ty();
    let body = || {
        format!(
        "{SPEC}{LIE}{COUNTS}KERNEL void avg_pool(i64 n, Spec s, {x}, Lie lie, {y}) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 rest = item;
    {decode}
    const i64 o0 = i0, o1 = i1, o2 = i2, base = channel_at(&s, &lie, rest);
    {ty} acc = 0;
    for (i64 t0 = 0; t0 < s.window[0]; ++t0) {{ const i64 z = met(&s, 0, i0, t0); if (z < 0) continue;
    for (i64 t1 = 0; t1 < s.window[1]; ++t1) {{ const i64 v = met(&s, 1, i1, t1); if (v < 0) continue;
    for (i64 t2 = 0; t2 < s.window[2]; ++t2) {{ const i64 u = met(&s, 2, i2, t2); if (u < 0) continue;
        acc += {load};
    }}}}}}
    acc /= ({ty})({divisor});
    {store}
}}
",
        decode = decode("output"),
        x = from.read(),
        y = to.write(),
        load = from.load(ELEMENT),
        divisor = divisor(spec),
        store = to.store("item", "acc"),
    )
    };
    let windows = (pool_spec(x.dims(), &shape, spec), divisor_key(spec));
    means("avg_pool", windows, (&from, x), (&to, &out), body);
    out
}

/// See `Backend::avg_pool_grad`.
#[track_caller]
pub(crate) fn avg_pool_grad<R: Runtime>(grad: &T<R>, input: &Shape, spec: &PoolSpec) -> T<R> {
    let (dtype, device) = (grad.dtype(), grad.device());
    supported::<R>("avg_pool_grad", device, [dtype]);
    let out = fresh::<R>(input, dtype, device);
    if out.numel() == 0 {
        return out;
    }
    if grad.numel() == 0 {
        out.zero_();
        return out;
    }
    let special = specialise(out.numel());
    let (from, to) = (Operand::new("x", dtype, special), Operand::new("y", dtype, special));
    let ty = from.ty();
    let reach = |d: usize| {
        format!(
            "i64 o{d} = i{d} + s.padding[{d}] - t{d};
        if (o{d} < 0 || o{d} % s.stride[{d}]) continue;
        o{d} /= s.stride[{d}]; if (o{d} >= s.output[{d}]) continue;"
        )
    };
    let body = || {
        format!(
            "{SPEC}{LIE}{COUNTS}KERNEL void avg_pool_grad(i64 n, Spec s, {x}, Lie lie, {y}) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 rest = item;
    {decode}
    const i64 base = channel_at(&s, &lie, rest);
    {ty} acc = 0;
    for (i64 t0 = 0; t0 < s.window[0]; ++t0) {{ {r0}
    for (i64 t1 = 0; t1 < s.window[1]; ++t1) {{ {r1}
    for (i64 t2 = 0; t2 < s.window[2]; ++t2) {{ {r2}
        acc += {load} / ({ty})({divisor});
    }}}}}}
    {store}
}}
",
            decode = decode("input"),
            r0 = reach(0),
            r1 = reach(1),
            r2 = reach(2),
            x = from.read(),
            y = to.write(),
            load = from.load("base + o0 * lie.by[0] + o1 * lie.by[1] + o2 * lie.by[2]"),
            divisor = divisor(spec),
            store = to.store("item", "acc"),
        )
    };
    let windows = (pool_spec(input, grad.dims(), spec), divisor_key(spec));
    means("avg_pool_grad", windows, (&from, grad), (&to, &out), body);
    out
}

/// Launches a kernel of means over windows: a work-item for each element of its result.
#[track_caller]
fn means<R: Runtime>(
    entry: &'static str,
    (spec, key): (impl Pod, impl Hash),
    (from, x): (&Operand, &T<R>),
    (to, out): (&Operand, &T<R>),
    body: impl FnOnce() -> String,
) {
    let n = out.numel();
    let call = Call::<R>::new(out.device()).value(n as i64).value(spec);
    let key = (x.dtype(), specialise(n), key);
    call.operand(from, x).value(Lie::of(x.layout())).operand(to, out).run(entry, key, n, body);
}
