//! Softmax, its logarithm, and their gradients: a line at a time.

use kiln_tensor_core::Tensor;

use super::lines::{Line, Writer, lines};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

/// A line's largest element as `m`, 0 in place of an infinity, and the sum of the exponentials as `s`.
fn exponentials(c: &Writer) -> String {
    let shifted = format!("exp({} - m)", c.get("x"));
    let max = c.max("m", &c.get("x"));
    format!("{max}    if (isinf(m)) m = 0;\n{}", c.sum("s", &shifted))
}

/// See `Backend::softmax`.
#[track_caller]
pub(crate) fn softmax<R: Runtime>(x: &T<R>, dim: usize) -> T<R> {
    let y = fresh::<R>(x.shape(), x.dtype(), x.device());
    lines("softmax", (), dim, &[Line::read("x", x), Line::write("y", &y)], &[], |c| {
        let y = format!("exp({} - m) / s", c.get("x"));
        exponentials(c) + &c.each(&c.set("y", &y))
    });
    y
}

/// See `Backend::log_softmax`.
#[track_caller]
pub(crate) fn log_softmax<R: Runtime>(x: &T<R>, dim: usize) -> T<R> {
    let y = fresh::<R>(x.shape(), x.dtype(), x.device());
    lines("log_softmax", (), dim, &[Line::read("x", x), Line::write("y", &y)], &[], |c| {
        let y = format!("{} - m - s", c.get("x"));
        format!("{}    s = log(s);\n{}", exponentials(c), c.each(&c.set("y", &y)))
    });
    y
}

/// See `Backend::softmax_grad`.
#[track_caller]
pub(crate) fn softmax_grad<R: Runtime>(grad: &T<R>, y: &T<R>, dim: usize) -> T<R> {
    let out = fresh::<R>(y.shape(), y.dtype(), y.device());
    let tensors = [Line::read("g", grad), Line::read("x", y), Line::write("y", &out)];
    lines("softmax_grad", (), dim, &tensors, &[], |c| {
        let (g, x) = (c.get("g"), c.get("x"));
        c.sum("s", &format!("{g} * {x}")) + &c.each(&c.set("y", &format!("({g} - s) * {x}")))
    });
    out
}

/// See `Backend::log_softmax_grad`.
#[track_caller]
pub(crate) fn log_softmax_grad<R: Runtime>(grad: &T<R>, y: &T<R>, dim: usize) -> T<R> {
    let out = fresh::<R>(y.shape(), y.dtype(), y.device());
    let tensors = [Line::read("g", grad), Line::read("x", y), Line::write("y", &out)];
    lines("log_softmax_grad", (), dim, &tensors, &[], |c| {
        let (g, x) = (c.get("g"), c.get("x"));
        c.sum("s", &g) + &c.each(&c.set("y", &format!("{g} - exp({x}) * s")))
    });
    out
}
