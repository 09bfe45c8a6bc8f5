//! `sort` and `topk`: merge sort, bottom up. In each pass every element finds its place by binary search
//! in the run that its own run is merged with; equal elements keep their order.

use kiln_tensor_core::{DType, Tensor};

use super::{from_last, to_last};
use crate::launch::{Call, supported};
use crate::source::{Operand, specialise};
use crate::storage::{copied, fresh};
use crate::{Gpu, Runtime};

/// See `Backend::sort`.
#[track_caller]
pub(crate) fn sort<R: Runtime>(
    x: &Tensor<Gpu<R>>,
    dim: usize,
    descending: bool,
) -> (Tensor<Gpu<R>>, Tensor<Gpu<R>>) {
    let (values, places) = sorted(x, dim, descending);
    (from_last(&values, dim), from_last(&places, dim))
}

/// See `Backend::topk`.
#[track_caller]
pub(crate) fn topk<R: Runtime>(
    x: &Tensor<Gpu<R>>,
    k: usize,
    dim: usize,
    largest: bool,
) -> (Tensor<Gpu<R>>, Tensor<Gpu<R>>) {
    let (values, places) = sorted(x, dim, largest);
    (from_last(&values.narrow(-1, 0, k), dim), from_last(&places.narrow(-1, 0, k), dim))
}

/// Values and places in order along the last dim, where `dim` has gone.
#[track_caller]
fn sorted<R: Runtime>(
    x: &Tensor<Gpu<R>>,
    dim: usize,
    descending: bool,
) -> (Tensor<Gpu<R>>, Tensor<Gpu<R>>) {
    let (dtype, device) = (x.dtype(), x.device());
    supported::<R>("sort", device, [dtype]);
    let mut values = copied(&to_last(x, dim));
    let length = values.size(-1);
    let mut places =
        Tensor::arange(length as i64, (device, DType::I64)).expand(values.dims()).copy();
    let total = values.numel();
    let special = specialise(total);
    let (from, to) = (Operand::new("x", dtype, special), Operand::new("y", dtype, special));
    let body = || body(dtype, descending, &from, &to);
    let mut run = 1;
    while run < length && total > 0 {
        let next = (
            fresh::<R>(values.shape(), dtype, device),
            fresh::<R>(values.shape(), DType::I64, device),
        );
        Call::<R>::new(device)
            .value(total as i64)
            .value(length as i64)
            .value(run as i64)
            .operand(&from, &values)
            .tensor(&places)
            .operand(&to, &next.0)
            .tensor(&next.1)
            .run("merge", (dtype, special, descending), total, body);
        (values, places) = next;
        run *= 2;
    }
    (values, places)
}

fn body(dtype: DType, descending: bool, from: &Operand, to: &Operand) -> String {
    let ty = from.ty();
    // NaN counts as the largest.
    let less = if dtype.is_float() { "(a < b || (b != b && a == a))" } else { "(a < b)" };
    let (first, second) = if descending { ("b", "a") } else { ("a", "b") };
    format!(
        "DEVICE int before({ty} {first}, {ty} {second}) {{ return {less}; }}
KERNEL void merge(i64 total, i64 length, i64 run, {x}, const GLOBAL i64* at,
    {y}, GLOBAL i64* to) {{
    const i64 item = ITEM;
    if (item >= total) return;
    const i64 line = item / length, i = item - line * length;
    const i64 left = i / (2 * run) * (2 * run), right = left + run;
    const int on_left = i < right;
    const {ty} mine = {mine};
    const i64 start = line * length;
    i64 low = on_left ? right : left;
    i64 high = on_left ? right + run : right;
    if (low > length) low = length;
    if (high > length) high = length;
    const i64 first = low;
    while (low < high) {{
        const i64 middle = (low + high) / 2;
        const {ty} other = {other};
        const int goes_before = on_left ? before(other, mine) : !before(mine, other);
        if (goes_before) low = middle + 1; else high = middle;
    }}
    const i64 place = start + (on_left ? i : left + (i - right)) + (low - first);
    {store}
    to[place] = at[item];
}}
",
        x = from.read(),
        y = to.write(),
        mine = from.load("item"),
        other = from.load("start + middle"),
        store = to.store("place", "mine"),
    )
}
