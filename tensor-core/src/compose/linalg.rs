//! Factors of matrices in primitives, all matrices of a batch at once: column by column, each step a few
//! programs and products over what is left. Golub, Van Loan, Matrix Computations, 4th edition, chapters 3 to 5.

use smallvec::smallvec;

use super::jacobi;
use crate::{
    Backend, DType, Factorization, Fused, FusedMany, Kernel, Outputs, ReduceOp, Shape, Tensor,
};

/// See [`Backend::factor`].
pub fn factor<B: Backend>(x: &Tensor<B>, kind: Factorization) -> Outputs<B> {
    match kind {
        Factorization::Cholesky => smallvec![cholesky(x)],
        Factorization::Lu => lu(x).into_iter().collect(),
        Factorization::Qr { complete } => qr(x, complete).into_iter().collect(),
        Factorization::Eigh => jacobi::eigh(x).into_iter().collect(),
        Factorization::Svd => jacobi::svd(x).into_iter().collect(),
        Factorization::Pinv { atol, rtol } => pinv(x, atol, rtol).into_iter().collect(),
    }
}

/// Runs a program into a view.
pub(super) fn write<B: Backend, const N: usize>(
    program: &Fused<N>,
    inputs: [&Tensor<B>; N],
    out: &Tensor<B>,
) {
    let expr = program.program(inputs.map(Tensor::dtype));
    B::map_into(Kernel::new(&expr), &inputs, &[out]);
}

/// The rows and columns `from ..` of matrices.
fn rest<B: Backend>(x: &Tensor<B>, from: usize) -> Tensor<B> {
    let [rows, cols] = sizes(x);
    x.narrow(-2, from, rows - from).narrow(-1, from, cols - from)
}

/// The sizes of the matrices in a batch.
pub(super) fn sizes<B: Backend>(x: &Tensor<B>) -> [usize; 2] {
    [x.size(-2), x.size(-1)]
}

/// The shape of a batch with other sizes behind its leading dims.
pub(super) fn shaped<B: Backend>(x: &Tensor<B>, last: &[usize]) -> Shape {
    x.dims()[..x.rank() - 2].iter().chain(last).copied().collect()
}

/// Zeros in the dtype and on the device of `x`, of its leading dims and others behind.
pub(super) fn zeros<B: Backend>(x: &Tensor<B>, last: &[usize]) -> Tensor<B> {
    Tensor::zeros(shaped(x, last), (x.device(), x.dtype()))
}

/// Ones on the diagonals of matrices of these sizes, for each of the batch of `x`.
pub(super) fn eyes<B: Backend>(x: &Tensor<B>, last: [usize; 2]) -> Tensor<B> {
    Tensor::eye(last, (x.device(), x.dtype())).expand(shaped(x, &last)).copy()
}

/// A column of l from those before it. Square roots of what is negative are NaN, and stay.
fn cholesky<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    static COLUMN: Fused<2> = Fused::new("cholesky_column", |[x, pivot]| x / pivot.sqrt());
    let [n, _] = sizes(x);
    let l = zeros(x, &[n, n]);
    for j in 0..n {
        let given = x.narrow(-2, j, n - j).narrow(-1, j, 1);
        let known = l.narrow(-2, j, n - j).narrow(-1, 0, j);
        let column = given - known.matmul(&known.narrow(-2, 0, 1).transpose(-2, -1));
        let out = l.narrow(-2, j, n - j).narrow(-1, j, 1);
        write(&COLUMN, [&column, &column.narrow(-2, 0, 1)], &out);
    }
    l
}

/// Elimination, each step with the largest element of its column on the diagonal.
fn lu<B: Backend>(x: &Tensor<B>) -> [Tensor<B>; 2] {
    static ABS: Fused<1> = Fused::new("abs", |[x]| x.abs());
    // Row 0 and row p change places.
    static SWAP: Fused<2> =
        Fused::new("lu_swap", |[i, p]| i.eq(0).select(p, i.eq(p).select(i.lit(0), i)));
    // A pivot of 0 has only zeros below it.
    static DIVIDE: Fused<2> =
        Fused::new("lu_divide", |[x, pivot]| pivot.eq(0.0).select(x, x / pivot));
    static UPDATE: Fused<3> = Fused::new("lu_update", |[x, l, u]| x - l * u);
    let [n, _] = sizes(x);
    let lu = x.copy();
    let rows = Tensor::arange(n, (x.device(), DType::I64));
    let order = rows.expand(shaped(x, &[n])).copy();
    for j in 0..n.saturating_sub(1) {
        let below = lu.narrow(-2, j, n - j);
        let column = below.narrow(-1, j, 1);
        let largest = ABS.reduce(ReduceOp::ArgMax, [&column], &[x.rank() - 2]);
        let from = SWAP.call([&rows.narrow(0, 0, n - j).unsqueeze(1), &largest]);
        below.copy_(&B::gather(&below, x.rank() - 2, &from.expand(below.shape())));
        let tail = order.narrow(-1, j, n - j);
        tail.copy_(&B::gather(&tail, x.rank() - 2, &from.squeeze(-1)));
        let left = rest(&lu, j);
        let column = left.narrow(-1, 0, 1).narrow(-2, 1, n - j - 1);
        write(&DIVIDE, [&column, &left.narrow(-1, 0, 1).narrow(-2, 0, 1)], &column);
        let (row, next) = (left.narrow(-2, 0, 1).narrow(-1, 1, n - j - 1), rest(&lu, j + 1));
        write(&UPDATE, [&next, &column, &row], &next);
    }
    [lu, order]
}

/// See [`Backend::solve_triangular`]: a row after the other.
pub fn solve_triangular<B: Backend>(
    a: &Tensor<B>,
    b: &Tensor<B>,
    upper: bool,
    unit: bool,
) -> Tensor<B> {
    static SUBTRACT: Fused<2> = Fused::new("sub", |[b, dot]| b - dot);
    static ROW: Fused<3> = Fused::new("solve_row", |[b, dot, pivot]| (b - dot) / pivot);
    static DIVIDE: Fused<2> = Fused::new("div", |[b, pivot]| b / pivot);
    let n = a.size(-1);
    let x = b.copy();
    for step in 0..n {
        let i = if upper { n - 1 - step } else { step };
        let (from, len) = if upper { (i + 1, step) } else { (0, i) };
        let (row, all) = (x.narrow(-2, i, 1), a.narrow(-2, i, 1));
        let pivot = all.narrow(-1, i, 1);
        let dot = (len > 0).then(|| all.narrow(-1, from, len).matmul(&x.narrow(-2, from, len)));
        match (dot, unit) {
            (Some(dot), false) => write(&ROW, [&row, &dot, &pivot], &row),
            (Some(dot), true) => write(&SUBTRACT, [&row, &dot], &row),
            (None, false) => write(&DIVIDE, [&row, &pivot], &row),
            (None, true) => {}
        }
    }
    x
}

/// Matrices whose squares do not leave the range of `f32`, and what they were divided by: 1 where they are so already,
/// else their largest element.
pub(super) fn scaled<B: Backend>(x: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
    static ABS: Fused<1> = Fused::new("abs", |[x]| x.abs());
    static SCALE: Fused<1> = Fused::new("scale", |[most]| {
        let fits = (most.gt(1e-6) & most.lt(1e6)) | most.eq(0.0) | most.is_inf();
        fits.select(most.lit(1.0), most)
    });
    let most = ABS.reduce(ReduceOp::Max, [x], &[x.rank() - 2, x.rank() - 1]);
    let scale = SCALE.call([&most]);
    (x / &scale, scale)
}

/// Reflections of Householder, with LAPACK's signs: the diagonal of r has the sign opposite to the column's first element,
/// and a column that is 0 below its first element stays as it is.
pub(super) fn qr<B: Backend>(x: &Tensor<B>, complete: bool) -> [Tensor<B>; 2] {
    static SQUARE: Fused<1> = Fused::new("square", |[x]| x.square());
    // Of the first element and the sum of squares below it: what makes the reflection's vector, and its factor.
    static REFLECT: FusedMany<2, 2> = FusedMany::new("qr_reflect", |[head, tail]| {
        let norm = (head.square() + tail).sqrt();
        let beta = head.gt(0.0).select(-norm, norm);
        let none = tail.eq(0.0);
        [
            none.select(head.lit(0.0), (head - beta).recip()),
            none.select(head.lit(0.0), (beta - head) / beta),
        ]
    });
    static TAIL: Fused<2> = Fused::new("mul", |[x, by]| x * by);
    static UPDATE: Fused<4> = Fused::new("qr_update", |[x, v, dot, tau]| x - tau * v * dot);
    let [m, n] = sizes(x);
    let cols = if complete { m } else { n };
    let q = eyes(x, [m, cols]);
    if x.numel() == 0 {
        return [q, zeros(x, &[cols, n])];
    }
    let (mut r, scale) = scaled(x);
    let reflect = |x: &Tensor<B>, v: &Tensor<B>, tau: &Tensor<B>| {
        write(&UPDATE, [x, v, &v.transpose(-2, -1).matmul(x), tau], x);
    };
    let steps = n.min(m - 1);
    let mut reflections = Vec::with_capacity(steps);
    for j in 0..steps {
        let left = rest(&r, j);
        let column = left.narrow(-1, 0, 1);
        let (head, below) = (column.narrow(-2, 0, 1), column.narrow(-2, 1, m - j - 1));
        let tail = SQUARE.reduce(ReduceOp::Sum, [&below], &[x.rank() - 2]);
        let [by, tau] = REFLECT.call([&head, &tail]);
        let v = Tensor::ones(column.shape(), (x.device(), x.dtype()));
        write(&TAIL, [&below, &by], &v.narrow(-2, 1, m - j - 1));
        reflect(&left, &v, &tau);
        reflections.push((v, tau));
    }
    for (j, (v, tau)) in reflections.iter().enumerate().rev() {
        reflect(&rest(&q, j), v, tau);
    }
    r = r.narrow(-2, 0, cols).triu(0) * &scale;
    [q, r]
}

/// `v · s⁺ · uᵀ`
fn pinv<B: Backend>(x: &Tensor<B>, atol: f64, rtol: f64) -> [Tensor<B>; 2] {
    let mut made = B::factor(x, Factorization::Svd).into_iter();
    let [u, s, vh] = [(); 3].map(|()| made.next().expect("three results"));
    if s.numel() == 0 {
        let [m, n] = sizes(x);
        return [zeros(x, &[n, m]), s];
    }
    let bound = (s.narrow(-1, 0, 1) * rtol).clamp_min(atol);
    static INVERT: Fused<2> =
        Fused::new("pinv_invert", |[s, bound]| s.gt(bound).select(s.recip(), s.lit(0.0)));
    let inverse = INVERT.call([&s, &bound]).unsqueeze(-1);
    [vh.transpose(-2, -1).matmul(&(inverse * u.transpose(-2, -1))), s]
}
