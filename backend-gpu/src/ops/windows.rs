//! Convolution and pooling, straight from their formulas: a work-item per element of the result.

use bytemuck::{Pod, Zeroable};
use kiln_tensor_core::{ConvSpec, DType, PoolSpec, Shape, Tensor};

use crate::launch::{Call, supported};
use crate::source::{Operand, specialise};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

/// Sizes of a convolution or pooling; missing spatial dims have size 1. `Spec` of the kernels below.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Spec {
    batch: i64,
    channels: i64,
    outs: i64,
    groups: i64,
    input: [i64; 3],
    window: [i64; 3],
    output: [i64; 3],
    stride: [i64; 3],
    padding: [i64; 3],
    dilation: [i64; 3],
}

const SPEC: &str = "typedef struct { i64 batch, channels, outs, groups;
    i64 input[3], window[3], output[3], stride[3], padding[3], dilation[3]; } Spec;
// The input's index in a dim that a window's tap meets, or -1.
DEVICE i64 met(const Spec* s, int d, i64 out, i64 tap) {
    const i64 i = out * s->stride[d] + tap * s->dilation[d] - s->padding[d];
    return i < 0 || i >= s->input[d] ? -1 : i;
}
";

/// The last three of some sizes, led by `fill`.
fn three(sizes: &[usize], fill: i64) -> [i64; 3] {
    let mut all = [fill; 3];
    for (to, &from) in all[3 - sizes.len()..].iter_mut().zip(sizes) {
        *to = from as i64;
    }
    all
}

fn conv_spec(x: &[usize], weight: &[usize], y: &[usize], spec: &ConvSpec) -> Spec {
    Spec {
        batch: x[0] as i64,
        channels: x[1] as i64,
        outs: weight[0] as i64,
        groups: spec.groups as i64,
        input: three(&x[2..], 1),
        window: three(&weight[2..], 1),
        output: three(&y[2..], 1),
        stride: three(&spec.stride, 1),
        padding: three(&spec.padding, 0),
        dilation: three(&spec.dilation, 1),
    }
}

fn plain<R: Runtime>(x: &T<R>) -> T<R> {
    if x.is_contiguous() && x.layout().offset() == 0 { x.clone() } else { x.copy() }
}

/// Takes the item's number apart: `item` → x2, x1, x0 of the dims, then what is left.
fn decode(dims: &str) -> String {
    (0..3)
        .rev()
        .map(|d| format!("const i64 i{d} = rest % s.{dims}[{d}]; rest /= s.{dims}[{d}];\n    "))
        .collect()
}

/// The operands of a convolution with so many results.
fn operands(dtype: DType, results: usize) -> [Operand; 3] {
    ["x", "w", "y"].map(|name| Operand::new(name, dtype, specialise(results)))
}

/// `body` sums into `acc` with `ADD(a, b)`, which adds a product.
fn summing(name: &str, [x, w, y]: &[Operand; 3], body: &str) -> String {
    let ty = x.ty();
    format!(
        "{SPEC}#define ADD(a, b) {{ acc += (a) * (b); if ((++count & 63) == 0) {{ total += acc; acc = 0; }} }}
KERNEL void {name}(i64 n, Spec s, {}, {}, {}) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 rest = item;
    {ty} acc = 0, total = 0;
    int count = 0;
    {body}
    acc += total;
    {}
}}
",
        x.read(),
        w.read(),
        y.write(),
        y.store("item", "acc")
    )
}

#[track_caller]
fn run_conv<R: Runtime>(
    name: &'static str,
    body: impl FnOnce() -> String,
    operands: &[Operand; 3],
    spec: Spec,
    (a, b): (&T<R>, &T<R>),
    shape: &Shape,
) -> T<R> {
    let (dtype, device) = (a.dtype(), a.device());
    supported::<R>(name, device, [dtype]);
    let out = fresh::<R>(shape, dtype, device);
    if out.numel() == 0 {
        return out;
    }
    if a.numel() == 0 || b.numel() == 0 {
        out.zero_();
        return out;
    }
    let (a, b) = (plain(a), plain(b));
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(spec)
        .operand(&operands[0], &a)
        .operand(&operands[1], &b)
        .operand(&operands[2], &out)
        .run(name, (dtype, specialise(out.numel())), out.numel(), || {
            summing(name, operands, &body())
        });
    out
}

/// See `Backend::conv`.
#[track_caller]
pub(crate) fn conv<R: Runtime>(x: &T<R>, weight: &T<R>, spec: &ConvSpec) -> T<R> {
    let mut shape = Shape::from([x.dims()[0], weight.dims()[0]]);
    for (d, &size) in x.dims()[2..].iter().enumerate() {
        let out = spec.out_size(d, size, weight.dims()[2 + d]);
        shape.push(out.expect("the caller has checked the sizes"));
    }
    let operands = operands(x.dtype(), shape.numel());
    let body = || {
        format!(
        "{}const i64 o = rest % s.outs, b = rest / s.outs;
    const i64 each = s.channels / s.groups, first = o / (s.outs / s.groups) * each;
    for (i64 c = 0; c < each; ++c)
    for (i64 t0 = 0; t0 < s.window[0]; ++t0) {{ const i64 z = met(&s, 0, i0, t0); if (z < 0) continue;
    for (i64 t1 = 0; t1 < s.window[1]; ++t1) {{ const i64 v = met(&s, 1, i1, t1); if (v < 0) continue;
    for (i64 t2 = 0; t2 < s.window[2]; ++t2) {{ const i64 u = met(&s, 2, i2, t2); if (u < 0) continue;
        const i64 from = (((b * s.channels + first + c) * s.input[0] + z) * s.input[1] + v) * s.input[2] + u;
        const i64 tap = (((o * each + c) * s.window[0] + t0) * s.window[1] + t1) * s.window[2] + t2;
        ADD({}, {})
    }}}}}}",
        decode("output"),
        operands[0].load("from"),
        operands[1].load("tap"),
    )
    };
    let spec = conv_spec(x.dims(), weight.dims(), &shape, spec);
    run_conv("conv", body, &operands, spec, (x, weight), &shape)
}

/// See `Backend::conv_grad_input`.
#[track_caller]
pub(crate) fn conv_grad_input<R: Runtime>(
    grad: &T<R>,
    weight: &T<R>,
    input: &Shape,
    spec: &ConvSpec,
) -> T<R> {
    let operands = operands(grad.dtype(), input.numel());
    let reach = |d: usize| {
        format!(
            "i64 z{d} = i{d} + s.padding[{d}] - t{d} * s.dilation[{d}];
        if (z{d} < 0 || z{d} % s.stride[{d}]) continue;
        z{d} /= s.stride[{d}]; if (z{d} >= s.output[{d}]) continue;"
        )
    };
    let body = || {
        format!(
        "{}const i64 ch = rest % s.channels, b = rest / s.channels;
    const i64 each = s.channels / s.groups, outs = s.outs / s.groups, group = ch / each, c = ch % each;
    for (i64 o = group * outs; o < (group + 1) * outs; ++o)
    for (i64 t0 = 0; t0 < s.window[0]; ++t0) {{ {}
    for (i64 t1 = 0; t1 < s.window[1]; ++t1) {{ {}
    for (i64 t2 = 0; t2 < s.window[2]; ++t2) {{ {}
        const i64 from = (((b * s.outs + o) * s.output[0] + z0) * s.output[1] + z1) * s.output[2] + z2;
        const i64 tap = (((o * each + c) * s.window[0] + t0) * s.window[1] + t1) * s.window[2] + t2;
        ADD({}, {})
    }}}}}}",
        decode("input"),
        reach(0),
        reach(1),
        reach(2),
        operands[0].load("from"),
        operands[1].load("tap"),
    )
    };
    let spec = conv_spec(input, weight.dims(), grad.dims(), spec);
    run_conv("conv_grad_input", body, &operands, spec, (grad, weight), input)
}

/// See `Backend::conv_grad_weight`.
#[track_caller]
pub(crate) fn conv_grad_weight<R: Runtime>(
    grad: &T<R>,
    x: &T<R>,
    weight: &Shape,
    spec: &ConvSpec,
) -> T<R> {
    let operands = operands(grad.dtype(), weight.numel());
    let body = || {
        format!(
        "{}const i64 each = s.channels / s.groups, c = rest % each, o = rest / each;
    const i64 ch = o / (s.outs / s.groups) * each + c;
    for (i64 b = 0; b < s.batch; ++b)
    for (i64 y0 = 0; y0 < s.output[0]; ++y0) {{ const i64 z = met(&s, 0, y0, i0); if (z < 0) continue;
    for (i64 y1 = 0; y1 < s.output[1]; ++y1) {{ const i64 v = met(&s, 1, y1, i1); if (v < 0) continue;
    for (i64 y2 = 0; y2 < s.output[2]; ++y2) {{ const i64 u = met(&s, 2, y2, i2); if (u < 0) continue;
        const i64 from = (((b * s.outs + o) * s.output[0] + y0) * s.output[1] + y1) * s.output[2] + y2;
        const i64 at = (((b * s.channels + ch) * s.input[0] + z) * s.input[1] + v) * s.input[2] + u;
        ADD({}, {})
    }}}}}}",
        decode("window"),
        operands[0].load("from"),
        operands[1].load("at"),
    )
    };
    let spec = conv_spec(x.dims(), weight, grad.dims(), spec);
    run_conv("conv_grad_weight", body, &operands, spec, (grad, x), weight)
}

fn pool_spec(x: &[usize], y: &[usize], spec: &PoolSpec) -> Spec {
    Spec {
        batch: x[0] as i64,
        channels: x[1] as i64,
        outs: x[1] as i64,
        groups: 1,
        input: three(&x[2..], 1),
        window: three(&spec.kernel, 1),
        output: three(&y[2..], 1),
        stride: three(&spec.stride, 1),
        padding: three(&spec.padding, 0),
        dilation: three(&spec.dilation, 1),
    }
}

fn pooled(x: &[usize], spec: &PoolSpec) -> Shape {
    let mut shape: Shape = x[..2].into();
    for (d, &size) in x[2..].iter().enumerate() {
        shape.push(spec.out_size(d, size).expect("the caller has checked the sizes"));
    }
    shape
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
        "{SPEC}KERNEL void max_pool(i64 n, Spec s, {x}, {y}, GLOBAL i64* to) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 rest = item;
    {decode}
    const i64 base = rest * s.input[0] * s.input[1] * s.input[2];
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
        load = from.load("base + at"),
        store = to.store("item", "best"),
    )
    };
    let plain = plain(x);
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(pool_spec(x.dims(), &shape, spec))
        .operand(&from, &plain)
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
        "{SPEC}{COUNTS}KERNEL void avg_pool(i64 n, Spec s, {x}, {y}) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 rest = item;
    {decode}
    const i64 o0 = i0, o1 = i1, o2 = i2, base = rest * s.input[0] * s.input[1] * s.input[2];
    {ty} acc = 0;
    for (i64 t0 = 0; t0 < s.window[0]; ++t0) {{ const i64 z = met(&s, 0, i0, t0); if (z < 0) continue;
    for (i64 t1 = 0; t1 < s.window[1]; ++t1) {{ const i64 v = met(&s, 1, i1, t1); if (v < 0) continue;
    for (i64 t2 = 0; t2 < s.window[2]; ++t2) {{ const i64 u = met(&s, 2, i2, t2); if (u < 0) continue;
        const i64 at = base + (z * s.input[1] + v) * s.input[2] + u;
        acc += {load};
    }}}}}}
    acc /= ({ty})({divisor});
    {store}
}}
",
        decode = decode("output"),
        x = from.read(),
        y = to.write(),
        load = from.load("at"),
        divisor = divisor(spec),
        store = to.store("item", "acc"),
    )
    };
    let plain = plain(x);
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(pool_spec(x.dims(), &shape, spec))
        .operand(&from, &plain)
        .operand(&to, &out)
        .run("avg_pool", (dtype, special, divisor_key(spec)), out.numel(), body);
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
            "{SPEC}{COUNTS}KERNEL void avg_pool_grad(i64 n, Spec s, {x}, {y}) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 rest = item;
    {decode}
    {ty} acc = 0;
    for (i64 t0 = 0; t0 < s.window[0]; ++t0) {{ {r0}
    for (i64 t1 = 0; t1 < s.window[1]; ++t1) {{ {r1}
    for (i64 t2 = 0; t2 < s.window[2]; ++t2) {{ {r2}
        const i64 at = ((rest * s.output[0] + o0) * s.output[1] + o1) * s.output[2] + o2;
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
            load = from.load("at"),
            divisor = divisor(spec),
            store = to.store("item", "acc"),
        )
    };
    let plain = plain(grad);
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(pool_spec(input, grad.dims(), spec))
        .operand(&from, &plain)
        .operand(&to, &out)
        .run("avg_pool_grad", (dtype, special, divisor_key(spec)), out.numel(), body);
    out
}
