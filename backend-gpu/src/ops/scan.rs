//! `scan`: running sums and products. A line is one work-item's; on a GPU a long one is cut into chunks, each
//! of which is a group's: what the chunks come to is scanned first (Blelloch, "Prefix sums and their applications",
//! 1990). The chunks depend on the length alone, so that results are the same on every run.

use kiln_tensor_core::{DType, ScanOp, Shape, Tensor};

use super::beside;
use crate::launch::{Call, supported, traits};
use crate::place::walk;
use crate::runtime::DeviceKind;
use crate::source::{Operand, Width, computed, locate, specialise};
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
    let (dtype, device, length) = (x.dtype(), x.device(), x.dims()[dim]);
    supported::<R>("scan", device, [dtype]);
    let out = fresh::<R>(x.shape(), dtype, device);
    if x.numel() == 0 {
        return out;
    }
    let gpu = traits::<R>(device).kind != DeviceKind::Cpu;
    if gpu && length >= GROUP {
        chunked(op, x, &out, dim);
        return out;
    }
    let special = specialise(x.numel());
    let (from, to) = (Operand::new("x", dtype, special), Operand::new("y", dtype, special));
    let lines = x.numel() / length;
    let body = || body(op, dtype, &from, &to);
    placed([lines, length], [(&from, x), (&to, &out)], dim).run(
        "scan",
        (op, dtype, special),
        lines,
        body,
    );
    out
}

/// A call with two numbers, and where the lines of two tensors along `dim` lie.
fn placed<'a, R: Runtime>(
    numbers: [usize; 2],
    tensors: [(&Operand, &'a Tensor<Gpu<R>>); 2],
    dim: usize,
) -> Call<'a, R> {
    let mut shape = tensors[0].1.shape().clone();
    shape.remove(dim);
    let (walk, _) = walk("scan", &shape, &tensors.map(|(_, x)| beside(x, dim, &shape)), |_| false);
    let call = Call::new(tensors[0].1.device());
    let mut call = numbers.iter().fold(call, |call, &n| call.value(n as i64)).value(walk.sizes);
    for ((operand, x), place) in tensors.into_iter().zip(walk.places) {
        call = call.operand(operand, x).value(place).value(x.strides()[dim] as i64);
    }
    call
}

/// What `placed` passes, as a kernel declares it.
fn parameters(from: &Operand, to: &Operand) -> String {
    let (x, y) = (from.read(), to.write());
    format!("Sizes sizes,\n    {x}, Place x_place, i64 x_step, {y}, Place y_place, i64 y_step")
}

/// Statements that find where a line lies: `x_at`, `y_at`.
fn find_line() -> String {
    let places = ["x", "y"].map(|name| (format!("{name}_at"), format!("{name}_place.strides")));
    let line = locate("line", "sizes", ["0", "(int)sizes.rank"], Width::Long, places);
    format!("    i64 x_at = x_place.offset, y_at = y_place.offset;\n{line}")
}

/// Scans long lines.
fn chunked<R: Runtime>(op: ScanOp, x: &Tensor<Gpu<R>>, out: &Tensor<Gpu<R>>, dim: usize) {
    let (device, dtype, length) = (x.device(), x.dtype(), x.dims()[dim]);
    let (lines, chunks) = (x.numel() / length, length.div_ceil(CHUNK));
    let special = specialise(x.numel());
    let wide = dtype.compute();
    let (from, to) = (Operand::new("x", dtype, special), Operand::new("y", dtype, special));
    // What the chunks come to; a line of one needs nothing before it.
    let before = (chunks > 1).then(|| {
        let sums = fresh::<R>(&Shape::from([lines, chunks]), wide, device);
        let sum = Operand::new("sums", wide, true);
        let reading = placed([length, chunks], [(&from, x), (&to, out)], dim).operand(&sum, &sums);
        let key = (op, dtype, special);
        reading.run_groups("scan_chunks", key, (lines * chunks, GROUP), || {
            chunk(op, dtype, [&from, &to], Pass::First(&sum))
        });
        scan(op, &sums, 1)
    });
    let earlier = Operand::new("before", wide, true);
    let mut last = placed([length, chunks], [(&from, x), (&to, out)], dim);
    if let Some(before) = &before {
        last = last.operand(&earlier, before);
    }
    let earlier = before.is_some().then_some(&earlier);
    let key = (op, dtype, special, before.is_some());
    last.run_groups("scan_chunks", key, (lines * chunks, GROUP), || {
        chunk(op, dtype, [&from, &to], Pass::Second(earlier))
    });
}

/// What becomes of a scanned chunk.
enum Pass<'a> {
    /// Only what it comes to.
    First(&'a Operand),
    /// All of it, behind what the chunks before have come to.
    Second(Option<&'a Operand>),
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

fn chunk(op: ScanOp, dtype: DType, [from, to]: [&Operand; 2], pass: Pass<'_>) -> String {
    let (ty, (start, combined)) = (computed(dtype), combining(op, dtype));
    let (more, end) = match pass {
        Pass::First(sums) => {
            let store = sums.store("GROUP_ID", "acc");
            let end = format!("    if (LANE == {GROUP} - 1) {{ {store} }}\n");
            (format!(", {}", sums.write()), end)
        }
        Pass::Second(before) => {
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
                to.store("y_at + (first + j) * y_step", "result")
            );
            (before.map(|before| format!(", {}", before.read())).unwrap_or_default(), end)
        }
    };
    format!(
        "KERNEL void scan_chunks(i64 length, i64 chunks, {}{more}) {{
    LOCAL {ty} shared[{GROUP}];
    const i64 line = GROUP_ID / chunks, chunk = GROUP_ID - line * chunks;
    const i64 first = chunk * {CHUNK} + LANE * {OWN};
{}    {ty} own[{OWN}], acc = {start};
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
        parameters(from, to),
        find_line(),
        from.load("x_at + (first + j) * x_step"),
    )
}

fn body(op: ScanOp, dtype: DType, from: &Operand, to: &Operand) -> String {
    let (ty, (start, combined)) = (from.ty(), combining(op, dtype));
    format!(
        "KERNEL void scan(i64 lines, i64 length, {}) {{
    const i64 line = ITEM;
    if (line >= lines) return;
{}    {ty} acc = {start};
    for (i64 i = 0; i < length; ++i) {{
        const {ty} v = {};
        acc = {combined};
        {}
    }}
}}
",
        parameters(from, to),
        find_line(),
        from.load("x_at + i * x_step"),
        to.store("y_at + i * y_step", "acc"),
    )
}
