//! Linear equations, inverses and determinants.

use super::{factor, first_true, identity, lu_factor, matrices, square, together, wrong};
use crate::{Backend, DType, Error, Factorization, Fused, ReduceOp, Tensor, raise};

/// The solution x of `a · x = b` for square a `[…, n, n]` and b `[…, n]` (one vector for each matrix) or
/// `[…, n, k]`; leading dims broadcast: `torch.linalg.solve`. Waits for the device, to see whether there is one.
///
/// # Panics
/// With [`Error::Singular`] if a matrix has no inverse; if the sizes do not fit, dtypes or devices differ, or the
/// dtype is not `f32` or `f64`.
#[track_caller]
pub fn solve<B: Backend>(a: &Tensor<B>, b: &Tensor<B>) -> Tensor<B> {
    square("solve", a);
    // PyTorch's rule: a batch of vectors has the shape of the matrices without their last dim.
    if b.rank() == 1 || *b.dims() == a.dims()[..a.rank() - 1] {
        return solve_with("solve", a, &b.unsqueeze(-1)).squeeze(-1).named("solve", &[a, b]);
    }
    solve_with("solve", a, b)
}

#[track_caller]
fn solve_with<B: Backend>(op: &'static str, a: &Tensor<B>, b: &Tensor<B>) -> Tensor<B> {
    rows(op, a, b);
    let (lu, order) = lu_factor(a);
    regular(op, &lu);
    lu_solve(&lu, &order, b).named(op, &[a, b])
}

/// The solution x of `a · x = b`, given what [`lu_factor`] makes of a: `torch.linalg.lu_solve`, with the order of rows where
/// that takes LAPACK's pivots. Leading dims broadcast. A zero on the diagonal gives infinities or NaN.
///
/// # Panics
/// If the sizes do not fit, dtypes or devices differ, or the dtype is not `f32` or `f64`.
#[track_caller]
pub fn lu_solve<B: Backend>(lu: &Tensor<B>, order: &Tensor<B>, b: &Tensor<B>) -> Tensor<B> {
    rows("lu_solve", lu, b);
    if *order.dims() != lu.dims()[..lu.rank() - 1] {
        wrong("lu_solve", &[lu, order], "lu […, n, n] and the order of its rows […, n] are wanted");
    }
    let (lu, b) = together("lu_solve", lu, b);
    let b = b.gather(-2, &order.unsqueeze(-1).expand(b.shape()));
    let low = B::solve_triangular(&lu, &b, false, true);
    B::solve_triangular(&lu, &low, true, false)
}

/// Requires that `b` has the rows of square `a`.
#[track_caller]
fn rows<B: Backend>(op: &'static str, a: &Tensor<B>, b: &Tensor<B>) {
    let n = square(op, a);
    if b.rank() < 2 || b.size(-2) != n {
        wrong(op, &[a, b], "a […, n, n] and b […, n, k] are wanted");
    }
}

/// Requires that no pivot is 0.
#[track_caller]
fn regular<B: Backend>(op: &'static str, lu: &Tensor<B>) {
    let pivots = lu.detach().diagonal(0, -2, -1);
    if let Some((batch, pivot)) = first_true(&pivots.eq(0.0)) {
        raise(Error::Singular { op, batch, pivot });
    }
}

/// The solution x of `a · x = b` for triangular a `[…, n, n]` and b `[…, n, k]`; leading dims broadcast. Only the
/// triangle is read, and with `unitriangular` not its diagonal, which counts as ones:
/// `torch.linalg.solve_triangular`. A zero on the diagonal gives infinities or NaN.
///
/// # Panics
/// If the sizes do not fit, dtypes or devices differ, or the dtype is not `f32` or `f64`.
#[track_caller]
pub fn solve_triangular<B: Backend>(
    a: &Tensor<B>,
    b: &Tensor<B>,
    upper: bool,
    unitriangular: bool,
) -> Tensor<B> {
    rows("solve_triangular", a, b);
    let (a, b) = together("solve_triangular", a, b);
    B::solve_triangular(&a, &b, upper, unitriangular)
}

/// The solution x of `a · x = b`, given b `[…, n, k]` and the Cholesky factor of a: lower triangular, or with `upper`
/// its transpose. `torch.cholesky_solve`.
///
/// # Panics
/// If the sizes do not fit, dtypes or devices differ, or the dtype is not `f32` or `f64`.
#[track_caller]
pub fn cholesky_solve<B: Backend>(b: &Tensor<B>, l: &Tensor<B>, upper: bool) -> Tensor<B> {
    rows("cholesky_solve", l, b);
    let (l, b) = together("cholesky_solve", l, b);
    let t = l.transpose(-2, -1);
    let (lower, upper) = if upper { (t, l) } else { (l, t) };
    B::solve_triangular(&upper, &B::solve_triangular(&lower, &b, false, false), true, false)
}

/// The inverse of a, given its Cholesky factor: lower triangular, or with `upper` its transpose.
/// `torch.cholesky_inverse`.
///
/// # Panics
/// If the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn cholesky_inverse<B: Backend>(l: &Tensor<B>, upper: bool) -> Tensor<B> {
    square("cholesky_inverse", l);
    cholesky_solve(&identity(l), l, upper)
}

/// The inverses of square matrices: `torch.linalg.inv`. To solve equations, `solve` is faster and more exact. Waits for the
/// device, to see whether there is one.
///
/// # Panics
/// With [`Error::Singular`] if a matrix has none; if the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn inv<B: Backend>(a: &Tensor<B>) -> Tensor<B> {
    square("inv", a);
    solve_with("inv", a, &identity(a))
}

/// The sign of the order of rows that `lu` gives: −1 for an odd number of swaps.
fn parity<B: Backend>(order: &Tensor<B>, dtype: DType) -> Tensor<B> {
    static INVERSION: Fused<2> =
        Fused::new("inversion", |[row, column]| row.gt(column).cast(DType::I64));
    static SIGN: Fused<1> =
        Fused::new("parity", |[count]| (count % 2).eq(0).select(count.lit(1), count.lit(-1)));
    let inversions = INVERSION.call([&order.unsqueeze(-1), &order.unsqueeze(-2)]).triu(1);
    SIGN.call([&inversions.sum_dims([-2, -1], false)]).to_dtype(dtype)
}

/// The determinants of square matrices: `torch.linalg.det`. That of no rows is 1. Of a matrix of rank n − 1 the first
/// derivative is right, too.
///
/// # Panics
/// If the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn det<B: Backend>(a: &Tensor<B>) -> Tensor<B> {
    square("det", a);
    let [lu, order] = factor(a, Factorization::Lu);
    let product = lu.diagonal(0, -2, -1).prod_dims([-1], false);
    (product * parity(&order, a.dtype())).named("det", &[a])
}

/// The signs of the determinants (0 of singular matrices) and the logarithms of their absolute values (−∞ there):
/// `torch.linalg.slogdet`. Does not overflow where the determinant does.
///
/// # Panics
/// If the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn slogdet<B: Backend>(a: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
    static LOG: Fused<1> = Fused::new("log_abs", |[x]| x.abs().log());
    static SIGN: Fused<1> = Fused::new("sign", |[x]| x.sign());
    square("slogdet", a);
    let [lu, order] = factor(a, Factorization::Lu);
    let diagonal = lu.diagonal(0, -2, -1);
    let last = diagonal.rank() - 1;
    let log = LOG.reduce(ReduceOp::Sum, [&diagonal], &[last]).squeeze(-1);
    let sign = SIGN.reduce(ReduceOp::Prod, [&diagonal.detach()], &[last]).squeeze(-1);
    (sign * parity(&order, a.dtype()), log.named("slogdet", &[a]))
}

/// The logarithms of the determinants, NaN where those are negative: `torch.logdet`.
///
/// # Panics
/// If the matrices are not square, or not `f32` or `f64`.
#[track_caller]
pub fn logdet<B: Backend>(a: &Tensor<B>) -> Tensor<B> {
    let (sign, log) = slogdet(a);
    log.masked_fill(&sign.lt(0.0), f64::NAN)
}

/// Bounds below which singular values count as 0, unless the caller gives them: PyTorch's.
pub(super) fn bounds<B: Backend>(
    a: &Tensor<B>,
    atol: Option<f64>,
    rtol: Option<f64>,
) -> (f64, f64) {
    let epsilon = if a.dtype() == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
    let usual = || {
        let sizes = a.size(-2).max(a.size(-1));
        if atol.is_some_and(|atol| atol > 0.0) { 0.0 } else { sizes as f64 * epsilon }
    };
    (atol.unwrap_or(0.0), rtol.unwrap_or_else(usual))
}

/// The inverses of Moore and Penrose of matrices `[…, m, n]`, `[…, n, m]`: `torch.linalg.pinv`. Singular values up to
/// `atol`, or up to `rtol` times the largest, count as 0; without either, the larger of m and n times the dtype's epsilon is
/// `rtol`.
///
/// The derivative is that of Golub and Pereyra 1973, "The differentiation of pseudo-inverses and nonlinear least squares
/// problems", for changes that leave the rank as it is.
///
/// # Panics
/// If these are not matrices of `f32` or `f64`.
#[track_caller]
pub fn pinv<B: Backend>(a: &Tensor<B>, atol: Option<f64>, rtol: Option<f64>) -> Tensor<B> {
    matrices("pinv", a);
    let (atol, rtol) = bounds(a, atol, rtol);
    let [inverse, _] = factor(a, Factorization::Pinv { atol, rtol });
    inverse
}

/// What [`lstsq`] gives.
#[derive(Clone, Debug)]
pub struct Lstsq<B: Backend> {
    /// The x with the smallest `‖a · x − b‖`, and of those the shortest: `[…, n, k]`.
    pub solution: Tensor<B>,
    /// The squared lengths of the columns of `a · x − b`, `[…, k]`, where m > n and all matrices have full rank; else
    /// empty, as in PyTorch.
    pub residuals: Tensor<B>,
    /// The ranks of the matrices, `i64`.
    pub rank: Tensor<B>,
    /// Their singular values, `[…, k]`.
    pub singular_values: Tensor<B>,
}

/// Solutions of `a · x ≈ b` by least squares for a `[…, m, n]` and b `[…, m, k]` or, one vector for each matrix, `[…, m]`:
/// `torch.linalg.lstsq` with its driver `gelsd`, which takes matrices of any rank. `rcond` is the bound below which a
/// singular value counts as 0, relative to the largest: unless given, the larger of m and n times the dtype's epsilon.
/// Waits for the device, to see whether there are residuals.
///
/// # Panics
/// If the sizes do not fit, dtypes or devices differ, or the dtype is not `f32` or `f64`.
#[track_caller]
pub fn lstsq<B: Backend>(a: &Tensor<B>, b: &Tensor<B>, rcond: Option<f64>) -> Lstsq<B> {
    let [m, n] = matrices("lstsq", a);
    if b.rank() + 1 == a.rank() && *b.dims() == a.dims()[..a.rank() - 1] {
        let found = lstsq(a, &b.unsqueeze(-1), rcond);
        let residuals = match found.residuals.rank() {
            rank if rank + 1 == a.rank() => found.residuals.squeeze(-1),
            _ => found.residuals,
        };
        return Lstsq { solution: found.solution.squeeze(-1), residuals, ..found };
    }
    if b.rank() < 2 || b.size(-2) != m {
        wrong("lstsq", &[a, b], "a […, m, n] and b […, m, k] are wanted");
    }
    let (a, b) = together("lstsq", a, b);
    let (atol, rtol) = bounds(&a, None, rcond);
    let [inverse, s] = factor(&a, Factorization::Pinv { atol, rtol });
    let singular_values = s.detach();
    let rank = above(&singular_values, atol, rtol);
    let solution = inverse.matmul(&b);
    let full = m > n && a.numel() > 0 && rank.eq(n as i64).all().item() != 0.0;
    let residuals = if full {
        (a.matmul(&solution) - b).square().sum_dims([-2], false)
    } else {
        Tensor::zeros([0], (a.device(), a.dtype()))
    };
    Lstsq { solution, residuals, rank, singular_values }
}

/// How many singular values are above the bounds.
pub(super) fn above<B: Backend>(s: &Tensor<B>, atol: f64, rtol: f64) -> Tensor<B> {
    if s.size(-1) == 0 {
        return s.sum_dims([-1], false).to_dtype(DType::I64);
    }
    let bound = (s.narrow(-1, 0, 1) * rtol).clamp_min(atol);
    s.gt(&bound).to_dtype(DType::I64).sum_dims([-1], false)
}

/// The methods that tensors have in PyTorch too.
impl<B: Backend> Tensor<B> {
    /// [`inv`](crate::linalg::inv)
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn inverse(&self) -> Self {
        inv(self)
    }

    /// [`pinv`](crate::linalg::pinv) with the usual bound.
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn pinverse(&self) -> Self {
        pinv(self, None, None)
    }

    /// [`det`](crate::linalg::det)
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn det(&self) -> Self {
        det(self)
    }

    /// [`logdet`](crate::linalg::logdet)
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn logdet(&self) -> Self {
        logdet(self)
    }

    /// [`slogdet`](crate::linalg::slogdet)
    ///
    /// # Panics
    /// As that.
    #[track_caller]
    pub fn slogdet(&self) -> (Self, Self) {
        slogdet(self)
    }
}
