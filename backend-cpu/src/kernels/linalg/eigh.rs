//! Eigenvalues and vectors of symmetric matrices: a tridiagonal matrix, then QL with implicit shifts. Golub, Van Loan,
//! Matrix Computations, 4th edition, section 8.3.5; LAPACK's steqr.

use super::rotate::{Panels, Rotations};
use super::tridiagonal::{Tridiagonal, tridiagonal};
use super::vectors::Real;

/// Sweeps for each eigenvalue: two are usual.
const SWEEPS: usize = 30;

/// Eigenvalues in ascending order, and their vectors as columns; `None` if the sweeps do not converge.
pub(super) fn eigh<T: Real>(
    x: &[T],
    n: usize,
    scale: f64,
    values: &mut [T],
    vectors: &mut [T],
) -> Option<()> {
    let Tridiagonal { mut diagonal, mut beside, q, stride } = tridiagonal(x, n, scale);
    let mut panels = Panels::new(&q, stride, n);
    let mut rotations = Rotations::new();
    converge(&mut diagonal, &mut beside, T::ROUNDING, |sweep| match sweep {
        Step::Begin { first, down } => {
            rotations.flush(&mut panels, false);
            rotations.begin(first, down);
        }
        Step::Turn { c, s } => rotations.turn(c, s),
    })?;
    rotations.flush(&mut panels, true);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| diagonal[a].total_cmp(&diagonal[b]));
    for (value, &at) in values.iter_mut().zip(&order) {
        *value = T::from_f64(diagonal[at] / scale);
    }
    panels.write_columns(&order, vectors);
    Some(())
}

/// What vectors are turned by.
enum Step {
    Begin { first: usize, down: bool },
    Turn { c: f64, s: f64 },
}

/// Makes what is beside the diagonal vanish.
fn converge(d: &mut [f64], e: &mut [f64], rounding: f64, mut step: impl FnMut(Step)) -> Option<()> {
    let most = d.iter().chain(e.iter()).fold(0.0f64, |most, x| most.max(x.abs()));
    let small = |d: &[f64], e: &[f64], i: usize| {
        let e = e[i].abs();
        e * e <= rounding * d[i].abs() * rounding * d[i + 1].abs()
            || e <= rounding * rounding * most
    };
    let mut sweeps = SWEEPS * d.len();
    let mut end = d.len() - 1;
    while end > 0 {
        if small(d, e, end - 1) {
            e[end - 1] = 0.0;
            end -= 1;
            continue;
        }
        let mut start = end - 1;
        while start > 0 && !small(d, e, start - 1) {
            start -= 1;
        }
        if start > 0 {
            e[start - 1] = 0.0;
        }
        sweeps = sweeps.checked_sub(1)?;
        // Towards the smaller end, so that small eigenvalues are found before large ones round them away.
        sweep(d, e, start, end, d[end].abs() < d[start].abs(), &mut step);
    }
    Some(())
}

/// One sweep of QL over `start..=end`, or with `turned` of QR, which is QL on the matrix turned upside down.
fn sweep(
    d: &mut [f64],
    e: &mut [f64],
    start: usize,
    end: usize,
    turned: bool,
    step: &mut impl FnMut(Step),
) {
    let last = end - start;
    let at = |k: usize| if turned { end - k } else { start + k };
    let beside = |k: usize| if turned { end - 1 - k } else { start + k };
    // The shift of Wilkinson: the eigenvalue of the first two rows that is nearer to the first.
    let half = (d[at(1)] - d[at(0)]) / (2.0 * e[beside(0)]);
    let shift = d[at(0)] - e[beside(0)] / (half + half.hypot(1.0).copysign(half));
    let mut g = d[at(last)] - shift;
    let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
    step(Step::Begin { first: at(last), down: turned });
    for k in (0..last).rev() {
        let (f, b) = (s * e[beside(k)], c * e[beside(k)]);
        let r;
        (c, s, r) = super::rotate::rotation(g, f);
        if k + 1 < last {
            e[beside(k + 1)] = r;
        }
        g = d[at(k + 1)] - p;
        let next = (d[at(k)] - g) * s + 2.0 * c * b;
        p = s * next;
        d[at(k + 1)] = g + p;
        g = c * next - b;
        step(Step::Turn { c, s });
    }
    d[at(0)] -= p;
    e[beside(0)] = g;
}
