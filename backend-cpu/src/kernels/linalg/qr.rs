//! QR by reflections of Householder, a block of columns at a time. Golub, Van Loan, Matrix Computations, 4th edition,
//! section 5.2; LAPACK's geqrf and orgqr. Everything lies transposed, so that columns are rows of memory.

use super::reflect::{BLOCK, Reflections};
use super::vectors::{Real, padded_columns, scaled, transpose, zeros};

/// q `[m, cols]` with orthonormal columns and upper triangular r `[cols, n]`, for m ≥ n and cols either m or n.
pub(super) fn qr<T: Real>(x: &[T], [m, n]: [usize; 2], scale: f64, q: &mut [T], r: &mut [T]) {
    let cols = q.len() / m;
    let mut columns = padded_columns(x, n, scale);
    let made = reflected(&mut columns, m, n);
    let stride = made.stride;
    r.fill(T::default());
    for (j, column) in columns.chunks_exact(stride).enumerate() {
        (0..=j).for_each(|i| r[i * n + j] = column[i]);
    }
    scaled(r, 1.0 / scale);
    let rows = product_of(&made, n, cols, 0);
    transpose(&rows, stride, [cols, m], q, cols);
}

/// Brings columns of `m` elements, as padded rows, to those of r; what is below its diagonal is left as it comes.
pub(super) fn reflected<T: Real>(columns: &mut [T], m: usize, n: usize) -> Reflections<T> {
    let mut made = Reflections::new(n, m);
    let stride = made.stride;
    for first in (0..n).step_by(BLOCK) {
        let end = n.min(first + BLOCK);
        let (block, rest) = columns[first * stride..].split_at_mut((end - first) * stride);
        for j in first..end {
            let (column, later) = block[(j - first) * stride..].split_at_mut(stride);
            made.vector(j)[j..m].copy_from_slice(&column[j..m]);
            let (beta, _) = made.make(j, j);
            column[j] = T::from_f64(beta);
            made.reflect(j, later, j);
        }
        made.reflect_by(first..end, false, rest, first..m);
    }
    made
}

/// The first `rows` rows of `(H₀ · H₁ · … Hₙ₋₁)ᵀ`, where reflection `i` acts on what is from `i + shift` on.
pub(super) fn product_of<T: Real>(
    made: &Reflections<T>,
    n: usize,
    rows: usize,
    shift: usize,
) -> Vec<T> {
    let stride = made.stride;
    let mut product = zeros(rows * stride);
    (0..rows).for_each(|i| product[i * stride + i] = T::from_f64(1.0));
    let blocks = n.div_ceil(BLOCK);
    for first in (0..blocks).rev().map(|block| block * BLOCK) {
        let end = n.min(first + BLOCK);
        // Rows before these are still those of the identity, which the reflections do not touch.
        let from = first + shift;
        made.reflect_by(first..end, true, &mut product[from * stride..], from..stride);
    }
    product
}
