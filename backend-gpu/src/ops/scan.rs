//! `scan`: running sums and products. A line is one work-item's; on a GPU a long one is cut into chunks, each
//! of which is a group's: what the chunks come to is scanned first (Blelloch, "Prefix sums and their applications",
//! 1990). The chunks depend on the length alone, so that results are the same on every run.

use kiln_tensor_core::{DType, ScanOp, Shape, Tensor};

use super::{from_last, to_last};
use crate::launch::{Call, supported, traits};
use crate::runtime::DeviceKind;
use crate::source::{Operand, computed, specialise};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// Work-items of a group.
const GROUP: usize = 256;
/// Elements of a chunk that one work-item takes.
const OWN: usize = 8;
const CHUNK: usize = GROUP * OWN;

/// See `Backend::scan`.
#[track_caller]
pub(crate) fn scan<R: Runtime>(op: ScanOp, x: &Tensor<Gpu<R>>, dim: usize) -> Tensor<Gpu<R>> {
    let (dtype, device) = (x.dtype(), x.device());
    supported::<R>("scan", device, [dtype]);
    let x = to_last(x, dim).contiguous();
    let length = x.size(-1);
    let gpu = traits::<R>(device).kind != DeviceKind::Cpu;
    if gpu && length >= GROUP && x.numel() > 0 {
        return from_last(&chunked(op, &x), dim);
    }
    let out = fresh::<R>(x.shape(), dtype, device);
    if x.numel() > 0 {
        let lines = x.numel() / length;
        let special = specialise(x.numel());
        let (from, to) = (Operand::new("x", dtype, special), Operand::new("y", dtype, special));
        Call::<R>::new(device)
            .value(lines as i64)
            .value(length as i64)
            .value(x.layout().offset() as i64)
            .operand(&from, &x)
            .operand(&to, &out)
            .run("scan", (op, dtype, special), lines, || body(op, dtype, &from, &to));
    }
    from_last(&out, dim)
}

/// Scans the lines of a contiguous tensor.
fn chunked<R: Runtime>(op: ScanOp, x: &Tensor<Gpu<R>>) -> Tensor<Gpu<R>> {
    let (device, dtype, length) = (x.device(), x.dtype(), x.size(-1));
    let (lines, chunks) = (x.numel() / length, length.div_ceil(CHUNK));
    let special = specialise(x.numel());
    let wide = dtype.compute();
    let from = Operand::new("x", dtype, special);
    // What the chunks come to; a line of one needs nothing before it.
    let before = (chunks > 1).then(|| {
        let sums = fresh::<R>(&Shape::from([lines, chunks]), wide, device);
        let to = Operand::new("y", wide, true);
        let key = (op, dtype, special);
        reading(x, chunks, &from).operand(&to, &sums).run_groups(
            "scan_chunks",
            key,
            (lines * chunks, GROUP),
            || chunk(op, dtype, &from, Pass::First(&to)),
        );
        scan(op, &sums, 1)
    });
    let out = fresh::<R>(x.shape(), dtype, device);
    let to = Operand::new("y", dtype, special);
    let earlier = Operand::new("before", wide, true);
    let mut last = reading(x, chunks, &from).operand(&to, &out);
    if let Some(before) = &before {
        last = last.operand(&earlier, before);
    }
    let earlier = before.is_some().then_some(&earlier);
    let key = (op, dtype, special, before.is_some());
    last.run_groups("scan_chunks", key, (lines * chunks, GROUP), || {
        chunk(op, dtype, &from, Pass::Second(&to, earlier))
    });
    out
}

/// A call that begins with what both passes read.
fn reading<'a, R: Runtime>(x: &'a Tensor<Gpu<R>>, chunks: usize, from: &Operand) -> Call<'a, R> {
    Call::new(x.device())
        .value(x.size(-1) as i64)
        .value(chunks as i64)
        .value(x.layout().offset() as i64)
        .operand(from, x)
}

/// What becomes of a scanned chunk.
enum Pass<'a> {
    /// Only what it comes to.
    First(&'a Operand),
    /// All of it, behind what the chunks before have come to.
    Second(&'a Operand, Option<&'a Operand>),
}

/// What a sum or product begins with, and one of `acc` and `v`.
fn combining(op: ScanOp, dtype: DType) -> (&'static str, String) {
    let ty = computed(dtype);
    match op {
        ScanOp::Sum if dtype.is_int() => ("0", format!("add_{ty}(acc, v)")),
        ScanOp::Prod if dtype.is_int() => ("1", format!("mul_{ty}(acc, v)")),
        ScanOp::Sum => ("0", "acc + v".into()),
        ScanOp::Prod => ("1", "acc * v".into()),
    }
}

fn chunk(op: ScanOp, dtype: DType, from: &Operand, pass: Pass<'_>) -> String {
    let (ty, (start, combined)) = (computed(dtype), combining(op, dtype));
    let (parameters, end) = match pass {
        Pass::First(to) => {
            let store = to.store("GROUP_ID", "acc");
            (to.write(), format!("    if (LANE == {GROUP} - 1) {{ {store} }}\n"))
        }
        Pass::Second(to, before) => {
            let parameters = before.map(|before| format!(", {}", before.read()));
            let load = before.map_or(start.into(), |before| {
                format!("chunk > 0 ? {} : {start}", before.load("GROUP_ID - 1"))
            });
            let end = format!(
                "    acc = {load};
    if (LANE > 0) {{ const {ty} v = shared[LANE - 1]; acc = {combined}; }}
    UNROLL for (int j = 0; j < {OWN}; ++j) {{
        const {ty} v = own[j], result = {combined};
        if (first + j < length) {{ {} }}
    }}
",
                to.store("line * length + first + j", "result")
            );
            (to.write() + &parameters.unwrap_or_default(), end)
        }
    };
    format!(
        "KERNEL void scan_chunks(i64 length, i64 chunks, i64 offset, {}, {parameters}) {{
    LOCAL {ty} shared[{GROUP}];
    const i64 line = GROUP_ID / chunks, chunk = GROUP_ID - line * chunks;
    const i64 first = chunk * {CHUNK} + LANE * {OWN};
    {ty} own[{OWN}], acc = {start};
    UNROLL for (int j = 0; j < {OWN}; ++j) {{
        if (first + j < length) {{ const {ty} v = {}; acc = {combined}; }}
        own[j] = acc;
    }}
    shared[LANE] = acc;
    BARRIER;
    for (int far = 1; far < {GROUP}; far *= 2) {{
        const {ty} v = acc;
        acc = LANE < far ? {start} : shared[LANE - far];
        acc = {combined};
        BARRIER;
        shared[LANE] = acc;
        BARRIER;
    }}
{end}}}
",
        from.read(),
        from.load("offset + line * length + first + j"),
    )
}

fn body(op: ScanOp, dtype: DType, from: &Operand, to: &Operand) -> String {
    let (ty, (start, combined)) = (from.ty(), combining(op, dtype));
    format!(
        "KERNEL void scan(i64 lines, i64 length, i64 offset, {x}, {y}) {{
    const i64 line = ITEM;
    if (line >= lines) return;
    {ty} acc = {start};
    for (i64 i = line * length; i < (line + 1) * length; ++i) {{
        const {ty} v = {load};
        acc = {combined};
        {store}
    }}
}}
",
        x = from.read(),
        y = to.write(),
        load = from.load("offset + i"),
        store = to.store("i", "acc"),
    )
}
