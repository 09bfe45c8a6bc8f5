//! Convolution straight from its formula: a work-item per element of the result.

use kiln_tensor_core::Shape;

use super::T;
use super::columns::Windows;
use crate::Runtime;
use crate::launch::Call;
use crate::ops::windows::{SPEC, Spec, decode};
use crate::source::{Operand, specialise};
use crate::storage::fresh;

#[track_caller]
pub(super) fn run<R: Runtime>(
    op: &'static str,
    which: Windows,
    (a, b): (&T<R>, &T<R>),
    sizes: Spec,
    shape: &Shape,
) -> T<R> {
    let (dtype, device) = (a.dtype(), a.device());
    let out = fresh::<R>(shape, dtype, device);
    let special = specialise(out.numel());
    let operands = ["x", "w", "y"].map(|name| Operand::new(name, dtype, special));
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(sizes)
        .operand(&operands[0], a)
        .operand(&operands[1], b)
        .operand(&operands[2], &out)
        .run(op, (dtype, special), out.numel(), || body(op, which, &operands));
    out
}

/// Each kernel sums into `acc` with `ADD(a, b)`, which adds a product.
fn body(op: &str, which: Windows, [x, w, y]: &[Operand; 3]) -> String {
    let sum = match which {
        Windows::Forward => forward(x, w),
        Windows::Input => input(x, w),
        Windows::Weight => weight(x, w),
    };
    let ty = x.ty();
    format!(
        "{SPEC}#define ADD(a, b) {{ acc += (a) * (b); if ((++count & 63) == 0) {{ total += acc; acc = 0; }} }}
KERNEL void {op}(i64 n, Spec s, {}, {}, {}) {{
    const i64 item = ITEM;
    if (item >= n) return;
    i64 rest = item;
    {ty} acc = 0, total = 0;
    int count = 0;
    {sum}
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

fn forward(x: &Operand, w: &Operand) -> String {
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
        x.load("from"),
        w.load("tap"),
    )
}

fn input(x: &Operand, w: &Operand) -> String {
    let reach = |d: usize| {
        format!(
            "i64 z{d} = i{d} + s.padding[{d}] - t{d} * s.dilation[{d}];
        if (z{d} < 0 || z{d} % s.stride[{d}]) continue;
        z{d} /= s.stride[{d}]; if (z{d} >= s.output[{d}]) continue;"
        )
    };
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
        x.load("from"),
        w.load("tap"),
    )
}

fn weight(x: &Operand, w: &Operand) -> String {
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
        x.load("from"),
        w.load("at"),
    )
}
