//! `layer_norm`, `rms_norm` and their gradients: a line is what is normalised together.

use kiln_tensor_core::{Fused, ReduceOp, Shape, Tensor, Val, compose};

use super::lines::{Line, lines};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

/// A tensor as lines of the elements of its last `dims` dims.
fn flat<R: Runtime>(x: &T<R>, dims: usize) -> T<R> {
    let length = x.dims()[x.rank() - dims..].iter().product::<usize>();
    x.reshape_to(&[x.numel() / length, length].into())
}

/// A tensor of one line's shape, for all lines.
fn shared<R: Runtime>(x: &T<R>, lines: &T<R>) -> T<R> {
    x.reshape_to(&[1, x.numel()].into()).expand(lines.dims())
}

/// See `Backend::layer_norm`.
#[track_caller]
pub(crate) fn layer_norm<R: Runtime>(
    x: &T<R>,
    weight: Option<&T<R>>,
    bias: Option<&T<R>>,
    dims: usize,
    eps: f64,
) -> [T<R>; 3] {
    if x.numel() == 0 {
        return compose::layer_norm(x, weight, bias, dims, eps);
    }
    let rows = flat(x, dims);
    let new = |shape: &Shape| fresh::<R>(shape, x.dtype(), x.device());
    let single = rows.shape().with(1, 1);
    let (y, mean, rstd) = (new(rows.shape()), new(&single), new(&single));
    let (weight, bias) = (weight.map(|w| shared(w, &rows)), bias.map(|b| shared(b, &rows)));
    let mut tensors = vec![
        Line::read("x", &rows),
        Line::write("y", &y),
        Line::write("mean", &mean).single(),
        Line::write("rstd", &rstd).single(),
    ];
    tensors.extend(weight.as_ref().map(|w| Line::read("w", w)));
    tensors.extend(bias.as_ref().map(|b| Line::read("b", b)));
    let key = (weight.is_some(), bias.is_some());
    lines("layer_norm", key, 1, &tensors, &[eps], |c| {
        let x = c.get("x");
        let scale = if key.0 { format!(" * {}", c.get("w")) } else { String::new() };
        let shift = if key.1 { format!(" + {}", c.get("b")) } else { String::new() };
        let parts = [
            c.sum("m", &x),
            "    m /= n;\n".into(),
            c.sum("r", &format!("({x} - m) * ({x} - m)")),
            "    r = 1 / sqrt(r / n + c0);\n".into(),
            c.once(&(c.set("mean", "m") + &c.set("rstd", "r"))),
            c.each(&c.set("y", &format!("({x} - m) * r{scale}{shift}"))),
        ];
        parts.concat()
    });
    let outer = &x.dims()[..x.rank() - dims];
    let each: Shape = outer.iter().copied().chain(std::iter::repeat_n(1, dims)).collect();
    [y.reshape_to(x.shape()), mean.reshape_to(&each), rstd.reshape_to(&each)]
}

/// See `Backend::layer_norm_grad`.
#[track_caller]
pub(crate) fn layer_norm_grad<R: Runtime>(
    grad: &T<R>,
    x: &T<R>,
    mean: &T<R>,
    rstd: &T<R>,
    weight: Option<&T<R>>,
    dims: usize,
) -> [T<R>; 3] {
    if x.numel() == 0 {
        return compose::layer_norm_grad(grad, x, mean, rstd, weight, dims);
    }
    // In the type that elements are computed in: sums of narrow floats fit.
    static DOT: Fused<4, for<'b> fn([Val<'b>; 4]) -> Val<'b>> =
        Fused::new("layer_norm_grad_weight", |[g, x, mean, rstd]| {
            let wide = g.dtype().compute();
            g.cast(wide) * ((x.cast(wide) - mean.cast(wide)) * rstd.cast(wide))
        });
    static SUM: Fused<1, for<'b> fn([Val<'b>; 1]) -> Val<'b>> =
        Fused::new("layer_norm_grad_bias", |[g]| g.cast(g.dtype().compute()));
    let (rows, grads) = (flat(x, dims), flat(grad, dims));
    let single = rows.shape().with(1, 1);
    let (mean, rstd) = (mean.reshape_to(&single), rstd.reshape_to(&single));
    let out = fresh::<R>(rows.shape(), x.dtype(), x.device());
    let weight = weight.map(|w| shared(w, &rows));
    let mut tensors = vec![
        Line::read("x", &rows),
        Line::read("g", &grads),
        Line::write("y", &out),
        Line::read("mean", &mean).single(),
        Line::read("rstd", &rstd).single(),
    ];
    tensors.extend(weight.as_ref().map(|w| Line::read("w", w)));
    let weighted = weight.is_some();
    lines("layer_norm_grad", weighted, 1, &tensors, &[], |c| {
        let (ty, x) = (c.ty(), format!("({} - m) * r", c.get("x")));
        let g = match weighted {
            true => format!("{} * {}", c.get("g"), c.get("w")),
            false => c.get("g"),
        };
        let parts = [
            format!("    const {ty} m = {}, r = {};\n", c.get("mean"), c.get("rstd")),
            c.sum("a", &g),
            c.sum("b", &format!("{g} * ({x})")),
            "    a /= n; b /= n;\n".into(),
            c.each(&c.set("y", &format!("({g} - a - {x} * b) * r"))),
        ];
        parts.concat()
    });
    let inner: Shape = x.dims()[x.rank() - dims..].into();
    let total = |sum: T<R>| sum.reshape_to(&inner).to_dtype(x.dtype());
    [
        out.reshape_to(x.shape()),
        total(DOT.reduce(ReduceOp::Sum, [&grads, &rows, &mean, &rstd], &[0])),
        total(SUM.reduce(ReduceOp::Sum, [&grads], &[0])),
    ]
}

/// See `Backend::rms_norm`.
#[track_caller]
pub(crate) fn rms_norm<R: Runtime>(
    x: &T<R>,
    weight: Option<&T<R>>,
    dims: usize,
    eps: f64,
) -> [T<R>; 2] {
    if x.numel() == 0 {
        return compose::rms_norm(x, weight, dims, eps);
    }
    let rows = flat(x, dims);
    let single = rows.shape().with(1, 1);
    let y = fresh::<R>(rows.shape(), x.dtype(), x.device());
    let rstd = fresh::<R>(&single, x.dtype().compute(), x.device());
    let weight = weight.map(|w| shared(w, &rows));
    let mut tensors =
        vec![Line::read("x", &rows), Line::write("y", &y), Line::write("rstd", &rstd).single()];
    tensors.extend(weight.as_ref().map(|w| Line::read("w", w)));
    lines("rms_norm", weight.is_some(), 1, &tensors, &[eps], |c| {
        let x = c.get("x");
        let scale = if weight.is_some() { format!(" * {}", c.get("w")) } else { String::new() };
        let parts = [
            c.sum("r", &format!("{x} * {x}")),
            "    r = 1 / sqrt(r / n + c0);\n".into(),
            c.once(&c.set("rstd", "r")),
            c.each(&c.set("y", &format!("{x} * r{scale}"))),
        ];
        parts.concat()
    });
    let outer = &x.dims()[..x.rank() - dims];
    let each: Shape = outer.iter().copied().chain(std::iter::repeat_n(1, dims)).collect();
    [y.reshape_to(x.shape()), rstd.reshape_to(&each)]
}

/// See `Backend::rms_norm_grad`.
#[track_caller]
pub(crate) fn rms_norm_grad<R: Runtime>(
    grad: &T<R>,
    x: &T<R>,
    rstd: &T<R>,
    weight: Option<&T<R>>,
    dims: usize,
) -> [T<R>; 2] {
    if x.numel() == 0 {
        return compose::rms_norm_grad(grad, x, rstd, weight, dims);
    }
    static DOT: Fused<3, for<'b> fn([Val<'b>; 3]) -> Val<'b>> =
        Fused::new("rms_norm_grad_weight", |[g, x, rstd]| {
            g.cast(rstd.dtype()) * (x.cast(rstd.dtype()) * rstd)
        });
    let (rows, grads) = (flat(x, dims), flat(grad, dims));
    let rstd = rstd.reshape_to(&rows.shape().with(1, 1));
    let out = fresh::<R>(rows.shape(), x.dtype(), x.device());
    let weight = weight.map(|w| shared(w, &rows));
    let mut tensors = vec![
        Line::read("x", &rows),
        Line::read("g", &grads),
        Line::write("y", &out),
        Line::read("rstd", &rstd).single(),
    ];
    tensors.extend(weight.as_ref().map(|w| Line::read("w", w)));
    let weighted = weight.is_some();
    lines("rms_norm_grad", weighted, 1, &tensors, &[], |c| {
        let (ty, x) = (c.ty(), format!("{} * r", c.get("x")));
        let g = match weighted {
            true => format!("{} * {}", c.get("g"), c.get("w")),
            false => c.get("g"),
        };
        let parts = [
            format!("    const {ty} r = {};\n", c.get("rstd")),
            c.sum("b", &format!("{g} * ({x})")),
            "    b /= n;\n".into(),
            c.each(&c.set("y", &format!("({g} - {x} * b) * r"))),
        ];
        parts.concat()
    });
    let inner: Shape = x.dims()[x.rank() - dims..].into();
    let in_weight = DOT.reduce(ReduceOp::Sum, [&grads, &rows, &rstd], &[0]);
    [out.reshape_to(x.shape()), in_weight.reshape_to(&inner).to_dtype(x.dtype())]
}
