//! Matrices as products of simpler ones.

use super::{factor, first_true, matrices, square};
use crate::{Backend, DType, Error, Factorization, Tensor, raise};

/// How much of q a QR decomposition gives: `mode` of `torch.linalg.qr`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Qr {
    /// q `[…, m, k]` and r `[…, k, n]`, with k the smaller of m and n.
    #[default]
    Reduced,
    /// q `[…, m, m]` and r `[…, m, n]`. With m > n it has no derivative: the columns beyond n are not determined.
    Complete,
}

/// Lower triangular l with `l · lᵀ = a`, for symmetric positive definite a: `torch.linalg.cholesky`. Its transpose is the
/// upper form. Waits for the device, to see whether it worked.
///
/// The derivative is that of Murray 2016, "Differentiation of the Cholesky decomposition", and symmetric.
///
/// # Panics
/// With [`Error::NotPositiveDefinite`] if a matrix is not; if the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn cholesky<B: Backend>(a: &Tensor<B>) -> Tensor<B> {
    square("cholesky", a);
    let [l] = factor(a, Factorization::Cholesky);
    if let Some((batch, i)) = first_true(&l.detach().diagonal(0, -2, -1).isnan()) {
        raise(Error::NotPositiveDefinite { op: "cholesky", batch, minor: i + 1 });
    }
    l
}

/// Upper triangular u with `uᵀ · u = a`: `torch.linalg.cholesky` with `upper=True`. The upper triangle of a is read.
///
/// # Panics
/// As [`cholesky`].
#[track_caller]
pub fn cholesky_upper<B: Backend>(a: &Tensor<B>) -> Tensor<B> {
    square("cholesky", a);
    cholesky(&a.transpose(-2, -1)).transpose(-2, -1)
}

/// l and u of square matrices in one, and the order of rows `[…, n]`, `i64`, with `l · u = a[order]`: as
/// `torch.linalg.lu_factor`, which has LAPACK's pivots instead of the order. Below the diagonal is l, whose own diagonal is
/// ones; the rest is u. For [`lu_solve`](super::lu_solve), as often as there are right sides.
///
/// # Panics
/// If the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn lu_factor<B: Backend>(a: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
    square("lu_factor", a);
    let [lu, order] = factor(a, Factorization::Lu);
    (lu, order)
}

/// A permutation p, lower triangular l with ones on its diagonal and upper triangular u, `a = p · l · u`, of square
/// matrices: `torch.linalg.lu`.
///
/// # Panics
/// If the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn lu<B: Backend>(a: &Tensor<B>) -> (Tensor<B>, Tensor<B>, Tensor<B>) {
    let n = square("lu", a);
    let (lu, order) = lu_factor(a);
    let on = (a.device(), a.dtype());
    let rows = Tensor::arange(n, (a.device(), DType::I64)).unsqueeze(-1);
    let p = rows.eq(order.unsqueeze(-2)).to_dtype(a.dtype());
    (p, lu.tril(-1) + Tensor::eye(n, on), lu.triu(0))
}

/// q with orthonormal columns and upper triangular r, `q · r = a`: `torch.linalg.qr`, with LAPACK's signs.
///
/// The derivative is that of Walter and Lehmann 2018, "Algorithmic differentiation of linear algebra functions with
/// application in optimum experimental design".
///
/// # Panics
/// If these are not matrices of `f32` or `f64`; in `backward`, of the complete form with m > n.
#[track_caller]
pub fn qr<B: Backend>(a: &Tensor<B>, mode: Qr) -> (Tensor<B>, Tensor<B>) {
    let [m, n] = matrices("qr", a);
    if m >= n {
        let [q, r] = factor(a, Factorization::Qr { complete: mode == Qr::Complete && m > n });
        return (q, r);
    }
    // A wide matrix is a square one, and columns that q is known for.
    let [q, r] = factor(&a.narrow(-1, 0, m), Factorization::Qr { complete: false });
    let right = q.transpose(-2, -1).matmul(&a.narrow(-1, m, n - m));
    (q, Tensor::cat(&[r, right], -1))
}

/// Eigenvalues `[…, n]` of symmetric matrices in ascending order, and their vectors as columns of `[…, n, n]`:
/// `torch.linalg.eigh`.
///
/// The derivative is that of Giles 2008, "An extended collection of matrix derivative results". Waits for the device, to see
/// whether it worked.
///
/// # Panics
/// With [`Error::NotConverged`] if eigenvalues are not found, as of a matrix with NaN; if the matrices are not square, or not
/// `f32` or `f64`.
#[track_caller]
pub fn eigh<B: Backend>(a: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
    square("eigh", a);
    let [values, vectors] = factor(a, Factorization::Eigh);
    (values, vectors)
}

/// The eigenvalues of symmetric matrices in ascending order: `torch.linalg.eigvalsh`.
///
/// # Panics
/// As [`eigh`].
#[track_caller]
pub fn eigvalsh<B: Backend>(a: &Tensor<B>) -> Tensor<B> {
    eigh(a).0
}

/// u, singular values s `[…, k]` in descending order, and vᵀ, with `a = u · diag(s) · vᵀ` and k the smaller of m and n:
/// `torch.linalg.svd`. With `full_matrices`, as PyTorch has it unless told otherwise, u is `[…, m, m]` and vᵀ
/// `[…, n, n]`; else u is `[…, m, k]` and vᵀ `[…, k, n]`. No gradient flows through what `full_matrices` adds.
///
/// The derivative is that of Giles 2008, "An extended collection of matrix derivative results". Waits for the device, to see
/// whether it worked.
///
/// # Panics
/// With [`Error::NotConverged`] if singular values are not found, as of a matrix with NaN; if these are not matrices of `f32`
/// or `f64`.
#[track_caller]
pub fn svd<B: Backend>(a: &Tensor<B>, full_matrices: bool) -> (Tensor<B>, Tensor<B>, Tensor<B>) {
    let [m, n] = matrices("svd", a);
    let [u, s, vh] = factor(a, Factorization::Svd);
    if !full_matrices || m == n {
        return (u, s, vh);
    }
    if m > n {
        (completed(&u), s, vh)
    } else {
        (u, s, completed(&vh.transpose(-2, -1)).transpose(-2, -1))
    }
}

/// Orthonormal columns, and those that span the rest.
fn completed<B: Backend>(u: &Tensor<B>) -> Tensor<B> {
    let [m, n] = [u.size(-2), u.size(-1)];
    let [q, _] = factor(&u.detach(), Factorization::Qr { complete: true });
    Tensor::cat(&[u.clone(), q.narrow(-1, n, m - n)], -1)
}

/// The singular values in descending order: `torch.linalg.svdvals`.
///
/// # Panics
/// As [`svd`].
#[track_caller]
pub fn svdvals<B: Backend>(a: &Tensor<B>) -> Tensor<B> {
    svd(a, false).1
}

/// The methods that tensors have in PyTorch too.
impl<B: Backend> Tensor<B> {
    /// [`cholesky`](crate::linalg::cholesky)
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn cholesky(&self) -> Self {
        cholesky(self)
    }

    /// [`qr`](crate::linalg::qr), reduced.
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn qr(&self) -> (Self, Self) {
        qr(self, Qr::Reduced)
    }

    /// [`svd`](crate::linalg::svd), reduced as `torch.Tensor.svd` is; but the last result is vᵀ, as that of `linalg.svd`.
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn svd(&self) -> (Self, Self, Self) {
        svd(self, false)
    }
}
