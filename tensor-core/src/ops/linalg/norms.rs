//! Norms of vectors and matrices, and what follows from singular values.

use super::{inv, matrices, solve, square, svdvals, wrong};
use crate::{Backend, Error, Tensor, raise};

/// Which norm of a matrix: `"fro"`, `"nuc"`, `1`, `-1`, `2`, `-2`, `f64::INFINITY` or `-f64::INFINITY`, as PyTorch names
/// them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MatrixNorm {
    /// `"fro"`, Frobenius: the root of the sum of squares.
    Fro,
    /// `"nuc"`, nuclear: the sum of singular values.
    Nuc,
    /// 1, 2 or ∞: the largest sum of a column, singular value, or sum of a row. Negative: the smallest.
    P(f64),
}

impl From<f64> for MatrixNorm {
    fn from(p: f64) -> Self {
        MatrixNorm::P(p)
    }
}

impl From<i32> for MatrixNorm {
    fn from(p: i32) -> Self {
        MatrixNorm::P(f64::from(p))
    }
}

impl From<&str> for MatrixNorm {
    #[track_caller]
    fn from(name: &str) -> Self {
        match name {
            "fro" => MatrixNorm::Fro,
            "nuc" => MatrixNorm::Nuc,
            _ => raise(Error::Argument {
                op: "matrix_norm",
                why: format!(
                    "no norm {name:?}: \"fro\", \"nuc\", 1, 2, infinity and their negatives are there"
                ),
            }),
        }
    }
}

/// The `p`-norms along `dims`, of all elements if there are none: `torch.linalg.vector_norm`. See
/// [`Tensor::norm_dims`].
///
/// # Panics
/// If the elements are not floats, or a dimension is out of range or named twice.
#[track_caller]
pub fn vector_norm<B: Backend>(
    x: &Tensor<B>,
    p: f64,
    dims: impl AsRef<[isize]>,
    keepdim: bool,
) -> Tensor<B> {
    x.norm_dims(p, dims, keepdim)
}

/// The norms of the matrices in two dims, the usual ones being −2 and −1: `torch.linalg.matrix_norm`.
///
/// # Panics
/// If there is no such norm, a dimension is out of range or named twice, or the elements are not floats (`f32` or `f64` where
/// singular values are needed).
#[track_caller]
pub fn matrix_norm<B: Backend>(
    x: &Tensor<B>,
    norm: impl Into<MatrixNorm>,
    dims: [isize; 2],
    keepdim: bool,
) -> Tensor<B> {
    let at = dims.map(|dim| x.dim("matrix_norm", dim));
    if at[0] == at[1] {
        wrong("matrix_norm", &[x], "two different dims are wanted");
    }
    let norm = norm.into();
    let [rows, cols] = at.map(|dim| dim as isize);
    // Sums along one dim, then an extremum along the other.
    let sums = |along: isize, over: isize, largest: bool| {
        let sums = x.norm_dims(1.0, [along], true);
        let ends =
            if largest { sums.amax_dims([over], true) } else { sums.amin_dims([over], true) };
        if keepdim { ends } else { ends.without(&at) }
    };
    // Singular values, combined along the last dim.
    let values = |combine: &dyn Fn(&Tensor<B>) -> Tensor<B>| {
        let value =
            combine(&svdvals(&x.movedim(rows, -1).movedim(cols - isize::from(cols > rows), -1)));
        if !keepdim {
            return value;
        }
        let [low, high] = if rows < cols { [rows, cols] } else { [cols, rows] };
        value.unsqueeze(low).unsqueeze(high)
    };
    match norm {
        MatrixNorm::Fro => x.norm_dims(2.0, [rows, cols], keepdim),
        MatrixNorm::Nuc => values(&|s| s.sum_dims([-1], false)),
        MatrixNorm::P(2.0) => values(&|s| s.amax_dims([-1], false)),
        MatrixNorm::P(-2.0) => values(&|s| s.amin_dims([-1], false)),
        MatrixNorm::P(1.0) => sums(rows, cols, true),
        MatrixNorm::P(-1.0) => sums(rows, cols, false),
        MatrixNorm::P(f64::INFINITY) => sums(cols, rows, true),
        MatrixNorm::P(f64::NEG_INFINITY) => sums(cols, rows, false),
        MatrixNorm::P(p) => raise(Error::Argument {
            op: "matrix_norm",
            why: format!(
                "no norm {p}: \"fro\", \"nuc\", 1, 2, infinity and their negatives are there"
            ),
        }),
    }
}

/// The norm of a vector or of a matrix, as one number: `torch.linalg.norm` with an order. Without one, [`Tensor::norm`] is the
/// root of the sum of squares of any tensor.
///
/// # Panics
/// If this is neither a vector nor a matrix, or there is no such norm.
#[track_caller]
pub fn norm<B: Backend>(x: &Tensor<B>, norm: impl Into<MatrixNorm>) -> Tensor<B> {
    match (x.rank(), norm.into()) {
        (1, MatrixNorm::P(p)) => x.norm_dims(p, [], false),
        (2, norm) => matrix_norm(x, norm, [-2, -1], false),
        _ => wrong(
            "norm",
            &[x],
            "a vector and a number, or a matrix, are wanted; see `vector_norm` and `matrix_norm`",
        ),
    }
}

/// How many singular values count as more than 0, `i64`: `torch.linalg.matrix_rank`, with bounds as [`pinv`](super::pinv) has
/// them.
///
/// # Panics
/// If these are not matrices of `f32` or `f64`.
#[track_caller]
pub fn matrix_rank<B: Backend>(a: &Tensor<B>, atol: Option<f64>, rtol: Option<f64>) -> Tensor<B> {
    matrices("matrix_rank", a);
    let (atol, rtol) = solve::bounds(a, atol, rtol);
    solve::above(&svdvals(&a.detach()), atol, rtol)
}

/// How much `a · x = b` makes of a relative error, `‖a‖ · ‖a⁻¹‖` in one of the norms of matrices: `torch.linalg.cond`, whose usual
/// norm is 2. Infinite where a singular matrix is measured by singular values; other norms need square matrices with an
/// inverse.
///
/// # Panics
/// If these are not matrices of `f32` or `f64`; in norms other than 2 and −2 if they are not square, or have no inverse.
#[track_caller]
pub fn cond<B: Backend>(a: &Tensor<B>, norm: impl Into<MatrixNorm>) -> Tensor<B> {
    matrices("cond", a);
    let ends = |s: &Tensor<B>| (s.amax_dims([-1], false), s.amin_dims([-1], false));
    match norm.into() {
        MatrixNorm::P(2.0) => {
            let (largest, smallest) = ends(&svdvals(a));
            largest / smallest
        }
        MatrixNorm::P(-2.0) => {
            let (largest, smallest) = ends(&svdvals(a));
            smallest / largest
        }
        norm => {
            square("cond", a);
            let of = |x: &Tensor<B>| matrix_norm(x, norm, [-2, -1], false);
            of(a) * of(&inv(a))
        }
    }
}
