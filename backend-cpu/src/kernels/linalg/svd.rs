//! Singular values and vectors: a bidiagonal matrix, whose elements above the diagonal are then made to vanish. Golub, Van
//! Loan, Matrix Computations, 4th edition, section 8.6. A tall matrix is first brought to that of its r: Chan 1982, "An
//! improved algorithm for computing the singular value decomposition".

use super::bidiagonal::bidiagonal;
use super::golub_kahan::{Step, converge};
use super::qr::{product_of, reflected};
use super::reflect::BLOCK;
use super::rotate::{Panels, Rotations};
use super::vectors::{Real, padded, padded_columns, padded_rows, transpose, zeros};

/// u `[m, k]`, singular values in descending order and vᵀ `[k, n]`, with k the smaller of m and n; `None` if the sweeps do
/// not converge.
pub(super) fn svd<T: Real>(
    x: &[T],
    [m, n]: [usize; 2],
    scale: f64,
    u: &mut [T],
    values: &mut [T],
    vh: &mut [T],
) -> Option<()> {
    let wide = m < n;
    let (m, n) = (m.max(n), m.min(n));
    // For a wide matrix its transposed one is taken apart.
    let tall = m > n + n / 2;
    let (mut a, made) = if tall {
        let mut columns = if wide { padded_rows(x, m, scale) } else { padded_columns(x, n, scale) };
        let made = reflected(&mut columns, m, n);
        let (stride, mut r) = (padded(n), zeros(n * padded(n)));
        for (j, column) in columns.chunks_exact(made.stride).enumerate() {
            (0..=j).for_each(|i| r[i * stride + j] = column[i]);
        }
        (r, Some(made))
    } else {
        (if wide { padded_columns(x, m, scale) } else { padded_rows(x, n, scale) }, None)
    };
    let rows = if tall { n } else { m };
    let made_of = bidiagonal(&mut a, rows, n);
    let (mut diagonal, mut above) = (made_of.diagonal, made_of.above);
    let left = product_of(&made_of.u, n, n, 0);
    let right = product_of(&made_of.v, n - 1, n, 1);
    let mut left = Panels::new(&left, made_of.u.stride, rows);
    let mut right = Panels::new(&right, made_of.v.stride, n);
    let (mut left_turns, mut right_turns) = (Rotations::new(), Rotations::new());
    converge(&mut diagonal, &mut above, T::ROUNDING, |step| match step {
        Step::Begin { first, down } => {
            left_turns.flush(&mut left, false);
            left_turns.begin(first, down);
            right_turns.flush(&mut right, false);
            right_turns.begin(first, down);
        }
        Step::Turn { u: [c, s], v: [d, t] } => {
            left_turns.turn(c, s);
            right_turns.turn(d, t);
        }
    })?;
    left_turns.flush(&mut left, true);
    right_turns.flush(&mut right, true);
    for (i, d) in diagonal.iter_mut().enumerate() {
        if d.is_sign_negative() {
            *d = -*d;
            right.negate(i);
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| diagonal[b].total_cmp(&diagonal[a]));
    for (value, &at) in values.iter_mut().zip(&order) {
        *value = T::from_f64(diagonal[at] / scale);
    }
    // The longer side's vectors come through the reflections that made r.
    let long = made.map(|made| {
        let mut rows = zeros(n * made.stride);
        let mut short = zeros(n * n);
        left.write_rows(&order, n, &mut short);
        for (to, from) in rows.chunks_exact_mut(made.stride).zip(short.chunks_exact(n)) {
            to[..n].copy_from_slice(from);
        }
        for first in (0..n.div_ceil(BLOCK)).rev().map(|block| block * BLOCK) {
            made.reflect_by(first..n.min(first + BLOCK), true, &mut rows, first..made.stride);
        }
        (rows, made.stride)
    });
    let (columns_to, rows_to) = if wide { (vh, u) } else { (u, vh) };
    match (long, wide) {
        (Some((rows, stride)), false) => transpose(&rows, stride, [n, m], columns_to, n),
        (Some((rows, stride)), true) => {
            for (to, from) in columns_to.chunks_exact_mut(m).zip(rows.chunks_exact(stride)) {
                to.copy_from_slice(&from[..m]);
            }
        }
        (None, false) => left.write_columns(&order, columns_to),
        (None, true) => left.write_rows(&order, m, columns_to),
    }
    if wide {
        right.write_columns(&order, rows_to);
    } else {
        right.write_rows(&order, n, rows_to);
    }
    Some(())
}
