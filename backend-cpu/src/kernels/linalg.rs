//! Factors of matrices by the crate `faer`, each on one thread and a batch on many: the same bits for any number of
//! threads. Without the feature `faer`, `kiln_tensor_core::compose` does the work.

use faer::linalg::triangular_solve as triangular;
use faer::traits::RealField;
use faer::{MatMut, MatRef, Par, Side};
use kiln_tensor_core::{DType, Factorization, Outputs, Shape, Tensor, compose};

use crate::Cpu;
use crate::storage::{Fresh, Locked, Plain};
use crate::threads::parallel_pieces;

/// What one matrix gives: the elements of each factor, and the order of its rows.
type Factors<T> = (Vec<Vec<T>>, Vec<i64>);

/// See `Backend::factor`.
pub(crate) fn factor(x: &Tensor<Cpu>, kind: Factorization) -> Outputs<Cpu> {
    match (x.dtype(), kind) {
        (_, Factorization::Pinv { .. }) => compose::factor(x, kind),
        _ if x.numel() == 0 => compose::factor(x, kind),
        (DType::F64, _) => batched::<f64>(x, kind),
        _ => batched::<f32>(x, kind),
    }
}

/// See `Backend::solve_triangular`.
pub(crate) fn solve_triangular(
    a: &Tensor<Cpu>,
    b: &Tensor<Cpu>,
    upper: bool,
    unit: bool,
) -> Tensor<Cpu> {
    match b.dtype() {
        _ if b.numel() == 0 => b.copy(),
        DType::F64 => solved::<f64>(a, b, upper, unit),
        _ => solved::<f32>(a, b, upper, unit),
    }
}

fn batched<T: Plain + RealField>(x: &Tensor<Cpu>, kind: Factorization) -> Outputs<Cpu> {
    let x = x.contiguous();
    let [m, n] = [x.size(-2), x.size(-1)];
    let lead = &x.dims()[..x.rank() - 2];
    let count = lead.iter().product();
    let mut made: Vec<Factors<T>> = Vec::new();
    made.resize_with(count, Default::default);
    {
        let locked = Locked::read(&[&x]);
        let elements = &locked.slice::<T>(&x)[x.layout().offset()..][..count * m * n];
        parallel_pieces(&mut made, 1, |i, made| {
            let one = MatRef::from_row_major_slice(&elements[i * m * n..][..m * n], m, n);
            made[0] = factors(one, kind);
        });
    }
    let shaped = |last: &[usize]| -> Shape { lead.iter().chain(last).copied().collect() };
    let mut outputs = Outputs::new();
    for (at, last) in sizes(kind, m, n).iter().enumerate() {
        let mut out = Fresh::new(&shaped(last), x.dtype());
        let len = last.iter().product::<usize>();
        let places = out.slice_mut::<T>().chunks_exact_mut(len);
        places.zip(&made).for_each(|(to, (from, _))| to.copy_from_slice(&from[at]));
        outputs.push(out.finish());
    }
    if kind == Factorization::Lu {
        let mut order = Fresh::new(&shaped(&[n]), DType::I64);
        let places = order.slice_mut::<i64>().chunks_exact_mut(n);
        places.zip(&made).for_each(|(to, (_, from))| to.copy_from_slice(from));
        outputs.push(order.finish());
    }
    outputs
}

/// The sizes of each factor of elements.
fn sizes(kind: Factorization, m: usize, n: usize) -> Vec<Vec<usize>> {
    let k = m.min(n);
    match kind {
        Factorization::Cholesky | Factorization::Lu => vec![vec![n, n]],
        Factorization::Qr { complete: true } => vec![vec![m, m], vec![m, n]],
        Factorization::Qr { complete: false } => vec![vec![m, n], vec![n, n]],
        Factorization::Eigh => vec![vec![n], vec![n, n]],
        Factorization::Svd => vec![vec![m, k], vec![k], vec![k, n]],
        Factorization::Pinv { .. } => unreachable!("composed of Svd"),
    }
}

/// The elements in row-major order.
fn rows<T: Copy>(rows: usize, cols: usize, at: impl Fn(usize, usize) -> T) -> Vec<T> {
    (0..rows).flat_map(|i| (0..cols).map(move |j| (i, j))).map(|(i, j)| at(i, j)).collect()
}

fn factors<T: RealField + Copy>(x: MatRef<'_, T>, kind: Factorization) -> Factors<T> {
    let (m, n) = (x.nrows(), x.ncols());
    let (zero, nan) = (T::zero_impl(), T::nan_impl());
    let unknown = || sizes(kind, m, n).iter().map(|s| vec![nan; s.iter().product()]).collect();
    let made = match kind {
        Factorization::Cholesky => match x.llt(Side::Lower) {
            Ok(llt) => vec![rows(n, n, |i, j| if i < j { zero } else { llt.L()[(i, j)] })],
            Err(faer::linalg::cholesky::llt::factor::LltError::NonPositivePivot { index }) => {
                // The first minor that is not positive shows as NaN, and all after it.
                vec![rows(n, n, |i, j| {
                    if i >= j && i >= index {
                        nan
                    } else if i == j {
                        T::one_impl()
                    } else {
                        zero
                    }
                })]
            }
        },
        Factorization::Lu => {
            let lu = x.partial_piv_lu();
            let (l, u) = (lu.L(), lu.U());
            let order = lu.P().arrays().0.iter().map(|&row| row as i64).collect();
            return (vec![rows(n, n, |i, j| if i > j { l[(i, j)] } else { u[(i, j)] })], order);
        }
        Factorization::Qr { complete } => {
            let qr = x.qr();
            let q = if complete { qr.compute_Q() } else { qr.compute_thin_Q() };
            let r = qr.thin_R();
            let upper = |i, j| if i > j { zero } else { r[(i, j)] };
            vec![rows(q.nrows(), q.ncols(), |i, j| q[(i, j)]), rows(q.ncols(), n, upper)]
        }
        Factorization::Eigh => match x.self_adjoint_eigen(Side::Lower) {
            Ok(found) => {
                let (values, vectors) = (found.S().column_vector(), found.U());
                vec![(0..n).map(|i| values[i]).collect(), rows(n, n, |i, j| vectors[(i, j)])]
            }
            Err(_) => unknown(),
        },
        Factorization::Svd => match x.thin_svd() {
            Ok(found) => {
                let (k, u, v) = (m.min(n), found.U(), found.V());
                let values = found.S().column_vector();
                vec![
                    rows(m, k, |i, j| u[(i, j)]),
                    (0..k).map(|i| values[i]).collect(),
                    rows(k, n, |i, j| v[(j, i)]),
                ]
            }
            Err(_) => unknown(),
        },
        Factorization::Pinv { .. } => unreachable!("composed of Svd"),
    };
    (made, Vec::new())
}

fn solved<T: Plain + RealField>(
    a: &Tensor<Cpu>,
    b: &Tensor<Cpu>,
    upper: bool,
    unit: bool,
) -> Tensor<Cpu> {
    let (a, b) = (a.contiguous(), b.contiguous());
    let [n, k] = [b.size(-2), b.size(-1)];
    let mut out = Fresh::new(b.shape(), b.dtype());
    {
        let locked = Locked::read(&[&a, &b]);
        let left = &locked.slice::<T>(&a)[a.layout().offset()..];
        let x = out.slice_mut::<T>();
        x.copy_from_slice(&locked.slice::<T>(&b)[b.layout().offset()..][..b.numel()]);
        parallel_pieces(x, n * k, |i, x| {
            let a = MatRef::from_row_major_slice(&left[i * n * n..][..n * n], n, n);
            let x = MatMut::from_row_major_slice_mut(x, n, k);
            match (upper, unit) {
                (false, false) => triangular::solve_lower_triangular_in_place(a, x, Par::Seq),
                (false, true) => triangular::solve_unit_lower_triangular_in_place(a, x, Par::Seq),
                (true, false) => triangular::solve_upper_triangular_in_place(a, x, Par::Seq),
                (true, true) => triangular::solve_unit_upper_triangular_in_place(a, x, Par::Seq),
            }
        });
    }
    out.finish()
}
