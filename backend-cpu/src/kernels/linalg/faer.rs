//! Factors of matrices by the crate `faer`, each on one thread.

use faer::linalg::cholesky::llt::factor::LltError;
use faer::linalg::triangular_solve as triangular;
use faer::traits::RealField;
use faer::{MatMut, MatRef, Par, Side};
use kiln_tensor_core::Factorization;

use super::Parts;
use crate::kernels::simd::FloatElem;
use crate::storage::Plain;

/// A number that matrices are taken apart in.
pub(super) trait Number: FloatElem + RealField + Plain {}
impl<T: FloatElem + RealField + Plain> Number for T {}

/// Writes the elements in row-major order.
fn write<T>(to: &mut [T], cols: usize, at: impl Fn(usize, usize) -> T) {
    for (i, row) in to.chunks_exact_mut(cols).enumerate() {
        row.iter_mut().enumerate().for_each(|(j, to)| *to = at(i, j));
    }
}

/// Writes the factors; `None` if they cannot be found.
pub(super) fn factored<T: Number>(parts: &mut Parts<'_, T>, kind: Factorization) -> Option<()> {
    let [m, n] = parts.size;
    let x = MatRef::from_row_major_slice(parts.x, m, n);
    let (zero, nan) = (T::zero_impl(), T::nan_impl());
    match (kind, &mut parts.factors[..]) {
        (Factorization::Cholesky, [to]) => match x.llt(Side::Lower) {
            Ok(llt) => write(to, n, |i, j| if i < j { zero } else { llt.L()[(i, j)] }),
            // The first minor that is not positive shows as NaN, and all after it.
            Err(LltError::NonPositivePivot { index }) => write(to, n, |i, j| match () {
                () if i >= j && i >= index => nan,
                () if i == j => T::one_impl(),
                () => zero,
            }),
        },
        (Factorization::Lu, [to]) => {
            let lu = x.partial_piv_lu();
            let (l, u) = (lu.L(), lu.U());
            let rows = lu.P().arrays().0.iter();
            parts.order.iter_mut().zip(rows).for_each(|(to, &row)| *to = row as i64);
            write(to, n, |i, j| if i > j { l[(i, j)] } else { u[(i, j)] });
        }
        (Factorization::Qr { complete }, [to_q, to_r]) => {
            let qr = x.qr();
            let q = if complete { qr.compute_Q() } else { qr.compute_thin_Q() };
            let r = qr.thin_R();
            write(to_q, q.ncols(), |i, j| q[(i, j)]);
            write(to_r, n, |i, j| if i > j { zero } else { r[(i, j)] });
        }
        (Factorization::Eigh, [to_values, to_vectors]) => {
            let found = x.self_adjoint_eigen(Side::Lower).ok()?;
            let (values, vectors) = (found.S().column_vector(), found.U());
            write(to_values, 1, |i, _| values[i]);
            write(to_vectors, n, |i, j| vectors[(i, j)]);
        }
        (Factorization::Svd, [to_u, to_s, to_vh]) => {
            let found = x.thin_svd().ok()?;
            let (k, u, v) = (m.min(n), found.U(), found.V());
            let values = found.S().column_vector();
            write(to_u, k, |i, j| u[(i, j)]);
            write(to_s, 1, |i, _| values[i]);
            write(to_vh, n, |i, j| v[(j, i)]);
        }
        _ => unreachable!("composed of Svd, or another number of factors"),
    }
    Some(())
}

/// Solves `a · x = b` for x, which is b before.
pub(super) fn solved<T: Number>(a: &[T], n: usize, upper: bool, unit: bool, x: &mut [T]) {
    let k = x.len() / n;
    let a = MatRef::from_row_major_slice(a, n, n);
    let x = MatMut::from_row_major_slice_mut(x, n, k);
    match (upper, unit) {
        (false, false) => triangular::solve_lower_triangular_in_place(a, x, Par::Seq),
        (false, true) => triangular::solve_unit_lower_triangular_in_place(a, x, Par::Seq),
        (true, false) => triangular::solve_upper_triangular_in_place(a, x, Par::Seq),
        (true, true) => triangular::solve_unit_upper_triangular_in_place(a, x, Par::Seq),
    }
}
