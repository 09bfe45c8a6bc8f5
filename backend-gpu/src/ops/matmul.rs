//! `matmul`: products of matrices with any strides.

use kiln_tensor_core::{DType, Layout, Shape, Tensor};

use super::product::{Also, Plan, Sizes, Strided, by_library};
use crate::launch::{Call, supported};
use crate::place::walk;
use crate::source::{Operand, Width, locate, specialise};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// See `Backend::matmul`.
#[track_caller]
pub(crate) fn matmul<R: Runtime>(a: &Tensor<Gpu<R>>, b: &Tensor<Gpu<R>>) -> Tensor<Gpu<R>> {
    let (dtype, device, rank) = (a.dtype(), a.device(), a.rank());
    supported::<R>("matmul", device, [dtype]);
    let (m, k, n) = (a.size(-2), a.size(-1), b.size(-1));
    let out = fresh::<R>(&a.shape().with(rank - 1, n), dtype, device);
    if out.numel() == 0 {
        return out;
    }
    if k == 0 {
        out.zero_();
        return out;
    }
    if by_library(a, b, &Also::NOTHING, &out) {
        return out;
    }
    let batch: Shape = a.dims()[..rank - 2].iter().copied().collect();
    let lead = |x: &Tensor<Gpu<R>>| {
        Layout::new(batch.clone(), x.strides()[..rank - 2].into(), x.layout().offset())
    };
    let (walk, _) = walk("matmul", &batch, &[lead(a), lead(b)], |_| false);
    let step = |x: &Tensor<Gpu<R>>, d: usize| x.strides()[d] as i64;
    let sizes = Sizes { batch: batch.numel(), m, n, k };
    if let Some(plan) = Plan::of::<R>(device, dtype, sizes) {
        let matrix = |x, size, along: usize, step: usize| {
            let lead = lead(x);
            let one = lead.strides().iter().all(|&stride| stride == 0);
            let batch = match one {
                true => Layout::new(Shape::scalar(), [].as_slice().into(), lead.offset()),
                false => lead,
            };
            let (along, steps) = (x.strides()[along], [0, x.strides()[step]]);
            Strided { x, batch, size, along, k, inner: k, steps }
        };
        let operands = (&matrix(a, m, rank - 2, rank - 1), &matrix(b, n, rank - 1, rank - 2));
        plan.multiply(operands, sizes, (&out, 0));
        return out;
    }
    let special = specialise(out.numel());
    let operand = |name| Operand::new(name, dtype, special);
    let (x, w, y) = (operand("x"), operand("w"), operand("y"));
    Call::<R>::new(device)
        .value(out.numel() as i64)
        .value(m as i64)
        .value(k as i64)
        .value(n as i64)
        .value(walk.sizes)
        .operand(&x, a)
        .value(walk.places[0])
        .value(step(a, rank - 2))
        .value(step(a, rank - 1))
        .operand(&w, b)
        .value(walk.places[1])
        .value(step(b, rank - 2))
        .value(step(b, rank - 1))
        .operand(&y, &out)
        .run("matmul", (dtype, special), out.numel(), || body(dtype, &x, &w, &y));
    out
}

fn body(dtype: DType, x: &Operand, w: &Operand, y: &Operand) -> String {
    let ty = x.ty();
    let sum = if dtype.is_int() {
        format!("acc = add_{ty}(acc, mul_{ty}(a, b));")
    } else {
        "acc += a * b; if ((p & 63) == 63) { total += acc; acc = 0; }".into()
    };
    let places = [("from_x", "qx"), ("from_w", "qw")];
    let places = places.map(|(at, place)| (at.to_owned(), format!("{place}.strides")));
    format!(
        "KERNEL void matmul(i64 items, i64 m, i64 k, i64 n, Sizes sizes,
    {x}, Place qx, i64 xm, i64 xk,
    {w}, Place qw, i64 wk, i64 wn, {y}) {{
    const i64 item = ITEM;
    if (item >= items) return;
    const i64 row = item / n, col = item - row * n;
    const i64 matrix = row / m;
    i64 from_x = qx.offset + (row - matrix * m) * xm, from_w = qw.offset + col * wn;
{by_matrix}    {ty} acc = 0, total = 0;
    for (i64 p = 0; p < k; ++p) {{
        const {ty} a = {a}, b = {b};
        {sum}
    }}
    acc += total;
    {store}
}}
",
        x = x.read(),
        w = w.read(),
        y = y.write(),
        by_matrix = locate("matrix", "sizes", ["0", "(int)sizes.rank"], Width::Long, places),
        a = x.load("from_x + p * xk"),
        b = w.load("from_w + p * wk"),
        store = y.store("item", "acc"),
    )
}
