//! `scan`: running sums and products. A line is one work-item's.

use kiln_tensor_core::{DType, ScanOp, Tensor};

use super::{from_last, to_last};
use crate::launch::{Call, supported};
use crate::source::{Operand, specialise};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// See `Backend::scan`.
#[track_caller]
pub(crate) fn scan<R: Runtime>(op: ScanOp, x: &Tensor<Gpu<R>>, dim: usize) -> Tensor<Gpu<R>> {
    let (dtype, device) = (x.dtype(), x.device());
    supported::<R>("scan", device, [dtype]);
    let x = to_last(x, dim).contiguous();
    let out = fresh::<R>(x.shape(), dtype, device);
    let length = x.size(-1);
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

fn body(op: ScanOp, dtype: DType, from: &Operand, to: &Operand) -> String {
    let ty = from.ty();
    let (start, combined) = match op {
        ScanOp::Sum if dtype.is_int() => ("0", format!("add_{ty}(acc, v)")),
        ScanOp::Prod if dtype.is_int() => ("1", format!("mul_{ty}(acc, v)")),
        ScanOp::Sum => ("0", "acc + v".into()),
        ScanOp::Prod => ("1", "acc * v".into()),
    };
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
