//! Softmax, its logarithm, cross-entropy, and their gradients: a line at a time.

use kiln_tensor_core::{Shape, Tensor, compose};

use super::lines::{Line, Writer, lines, watched_lines};
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

/// The line's target as `t`, and whether it counts; one that is no class is reported. All work-items go on: a
/// group must not leave before its barriers.
fn target(c: &Writer, ignore: i64) -> String {
    format!(
        "    const i64 t = {}, ignore = (i64)0x{:x}UL;
    const int counts = t >= 0 && t < n && t != ignore;
    if (!counts && t != ignore) FAULT(t);
",
        c.get("target"),
        ignore as u64
    )
}

/// See `Backend::cross_entropy`.
#[track_caller]
pub(crate) fn cross_entropy<R: Runtime>(logits: &T<R>, target_of: &T<R>, ignore: i64) -> T<R> {
    if logits.numel() == 0 {
        return compose::cross_entropy(logits, target_of, ignore);
    }
    let out = fresh::<R>(&Shape::from([logits.dims()[0], 1]), logits.dtype(), logits.device());
    let targets = target_of.unsqueeze(1);
    let tensors = [
        Line::read("x", logits),
        Line::read("target", &targets).single(),
        Line::write("y", &out).single(),
    ];
    watched_lines("cross_entropy", ignore, 1, &tensors, |c| {
        let (zero, loss) = (c.set("y", "0"), c.set("y", &format!("log(s) + m - {}", c.get("x"))));
        let store = format!("if (!counts) {{ {zero} }} else {{ const i64 i = t; {loss} }}");
        target(c, ignore) + &exponentials(c) + &c.once(&store)
    });
    out.squeeze(1)
}

/// See `Backend::cross_entropy_grad`.
#[track_caller]
pub(crate) fn cross_entropy_grad<R: Runtime>(
    grad: &T<R>,
    logits: &T<R>,
    target_of: &T<R>,
    ignore: i64,
) -> T<R> {
    let out = fresh::<R>(logits.shape(), logits.dtype(), logits.device());
    let (grads, targets) = (grad.unsqueeze(1), target_of.unsqueeze(1));
    let tensors = [
        Line::read("x", logits),
        Line::read("target", &targets).single(),
        Line::read("grad", &grads).single(),
        Line::write("y", &out),
    ];
    watched_lines("cross_entropy_grad", ignore, 1, &tensors, |c| {
        let slope = format!("counts ? (exp({} - m) / s - (i == t ? 1 : 0)) * g : 0", c.get("x"));
        let parts = [
            target(c, ignore),
            format!("    const {} g = {};\n", c.ty(), c.get("grad")),
            exponentials(c),
            c.each(&c.set("y", &slope)),
        ];
        parts.concat()
    });
    out
}
