//! Linear algebra with the names of `torch.linalg`, on matrices `[…, m, n]` of `f32` or `f64`: all matrices of a batch at
//! once, in any layout, differentiable to any order. A batch or a matrix may be empty.
//!
//! ```
//! use kiln_backend_cpu::{Cpu, CpuDevice};
//! use kiln_tensor_core::{Tensor, linalg};
//! let a = Tensor::<Cpu>::from_slice(&[4.0, 1.0, 2.0, 3.0], [2, 2], &CpuDevice);
//! let b = Tensor::<Cpu>::from_slice(&[1.0, 2.0], [2], &CpuDevice);
//! let x = linalg::solve(&a, &b);
//! assert!(a.matmul(&x).allclose(&b, 1e-6, 1e-6, false));
//! assert!((a.det().item() - 10.0).abs() < 1e-6);
//! ```
//!
//! A symmetric matrix is read from its lower triangle. Where eigenvalues or singular values repeat, derivatives of
//! *their vectors* are infinite or NaN, as in PyTorch; those of the values are right. Vectors are unique only up to
//! a sign, and so are their derivatives: a loss must not depend on it.

mod decompose;
mod norms;
mod powers;
mod solve;
mod vectors;

pub use decompose::{
    Qr, cholesky, cholesky_upper, eigh, eigvalsh, lu, lu_factor, qr, svd, svdvals,
};
pub use norms::{MatrixNorm, cond, matrix_norm, matrix_rank, norm, vector_norm};
pub use powers::{matrix_exp, matrix_power, multi_dot};
pub use solve::{
    Lstsq, cholesky_inverse, cholesky_solve, det, inv, logdet, lstsq, lu_solve, pinv, slogdet,
    solve, solve_triangular,
};
pub use vectors::{cross, diagonal, matmul, vander, vecdot};

use crate::{Backend, DType, Error, Factorization, Shape, Tensor, raise};

/// Requires matrices of a dtype that can be taken apart, and gives their sizes.
#[track_caller]
fn matrices<B: Backend>(op: &'static str, x: &Tensor<B>) -> [usize; 2] {
    if !matches!(x.dtype(), DType::F32 | DType::F64) {
        raise(Error::DType {
            op,
            dtypes: vec![x.dtype()],
            why: "linear algebra is done in f32 and f64; convert with `to_dtype`".into(),
        });
    }
    match *x.dims() {
        [.., m, n] => [m, n],
        _ => wrong(op, &[x], "matrices […, m, n] are wanted"),
    }
}

/// Requires square matrices, and gives their size.
#[track_caller]
fn square<B: Backend>(op: &'static str, x: &Tensor<B>) -> usize {
    let [m, n] = matrices(op, x);
    if m != n {
        wrong(op, &[x], "the matrices must be square: […, n, n]");
    }
    n
}

#[track_caller]
#[cold]
fn wrong<B: Backend>(op: &'static str, xs: &[&Tensor<B>], why: &str) -> ! {
    raise(Error::Shape {
        op,
        shapes: xs.iter().map(|x| x.shape().clone()).collect(),
        why: why.into(),
    })
}

/// The factors of a kind that has `N`. Eigenvalues and singular values must be finite: waits for the device, to see.
#[track_caller]
fn factor<B: Backend, const N: usize>(x: &Tensor<B>, kind: Factorization) -> [Tensor<B>; N] {
    let made: Vec<_> = B::factor(x, kind).into_iter().collect();
    let values = match kind {
        Factorization::Eigh => Some(&made[0]),
        Factorization::Svd | Factorization::Pinv { .. } => Some(&made[1]),
        _ => None,
    };
    let unfound = values.and_then(|values| first_true(&values.detach().isfinite().logical_not()));
    if let Some((batch, _)) = unfound {
        raise(Error::NotConverged { op: kind.name(), batch });
    }
    made.try_into().expect("each kind has its number of factors")
}

/// Two batches of matrices with their leading dims expanded to what these broadcast to.
#[track_caller]
fn together<B: Backend>(op: &'static str, a: &Tensor<B>, b: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
    a.same_device(op, b);
    if a.dtype() != b.dtype() {
        raise(Error::DType {
            op,
            dtypes: vec![a.dtype(), b.dtype()],
            why: "both operands must have one dtype; convert one with `to_dtype`".into(),
        });
    }
    let lead = |x: &Tensor<B>| -> Shape { x.dims()[..x.rank() - 2].into() };
    let Some(batch) = lead(a).broadcast(&lead(b)) else {
        wrong(op, &[a, b], "the batch sizes do not broadcast")
    };
    let expanded = |x: &Tensor<B>| {
        let shape: Shape = batch.iter().chain(&x.dims()[x.rank() - 2..]).copied().collect();
        if *x.shape() == shape { x.clone() } else { x.expand(shape) }
    };
    (expanded(a), expanded(b))
}

/// The first place where a mask over `[…, n]` is true: which matrix of a batch, if there is one, and which row. Waits for
/// the device.
fn first_true<B: Backend>(mask: &Tensor<B>) -> Option<(Option<usize>, usize)> {
    if mask.numel() == 0 || mask.any().item() == 0.0 {
        return None;
    }
    let n = mask.size(-1);
    let at = mask.to_vec::<bool>().iter().position(|&b| b)?;
    Some(((mask.rank() > 1).then_some(at / n), at % n))
}

/// Square ones, one for each of the batch of `x`.
fn identity<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    let n = x.size(-1);
    Tensor::eye(n, (x.device(), x.dtype())).expand(x.shape())
}
