//! One file for each way to take a matrix apart, and what they share.

mod bidiagonal;
mod cholesky;
mod eigh;
mod golub_kahan;
mod lu;
mod product;
mod qr;
mod reflect;
mod rotate;
mod svd;
mod triangular;
mod tridiagonal;
mod vectors;

use kiln_tensor_core::Factorization;

pub(super) use triangular::solve as solved;
pub(super) use vectors::Real as Number;

use super::Parts;

/// Writes the factors; `None` if they cannot be found.
pub(super) fn factored<T: Number>(parts: &mut Parts<'_, T>, kind: Factorization) -> Option<()> {
    let (x, size) = (parts.x, parts.size);
    match (kind, &mut parts.factors[..]) {
        (Factorization::Cholesky, [l]) => {
            l.copy_from_slice(x);
            cholesky::cholesky(l, size[0]);
        }
        (Factorization::Lu, [lu]) => {
            lu.copy_from_slice(x);
            lu::lu(lu, size[0], parts.order);
        }
        (Factorization::Qr { .. }, [q, r]) => qr::qr(x, size, vectors::scale(x)?, q, r),
        (Factorization::Eigh, [values, v]) => {
            eigh::eigh(x, size[0], vectors::scale(x)?, values, v)?;
        }
        (Factorization::Svd, [u, s, vh]) => svd::svd(x, size, vectors::scale(x)?, u, s, vh)?,
        _ => unreachable!("composed of Svd, or another number of factors"),
    }
    Some(())
}
