//! Elimination, factors and series of one matrix, as they are written in textbooks.

use crate::Host;
use crate::strategies::Sample;

pub(super) type Matrix = Vec<Vec<f64>>;

/// The matrices of a batch.
pub(super) fn each(x: &Host) -> Vec<Matrix> {
    let rank = x.shape.rank();
    let [m, n] = [x.shape[rank - 2], x.shape[rank - 1]];
    let values: Vec<f64> = x.values.iter().map(|v| v.to_f64()).collect();
    let count = x.shape[..rank - 2].iter().product();
    let row = |i: usize, r: usize| values[(i * m + r) * n..][..n].to_vec();
    (0..count).map(|i| (0..m).map(|r| row(i, r)).collect()).collect()
}

pub(super) fn with(rows: usize, cols: usize, f: impl Fn(usize, usize) -> f64) -> Matrix {
    (0..rows).map(|i| (0..cols).map(|j| f(i, j)).collect()).collect()
}

pub(super) fn eye(n: usize) -> Matrix {
    with(n, n, |i, j| f64::from(u8::from(i == j)))
}

/// The number of columns, which a matrix without rows does not show.
pub(super) fn width(x: &Host) -> usize {
    x.shape[x.shape.rank() - 1]
}

pub(super) fn plain_regular(x: &Matrix) -> Matrix {
    let cols = x.first().map_or(0, Vec::len);
    with(x.len(), cols, |i, j| x[i][j] / 4.0 + if i == j { 4.0 * i as f64 + 3.0 } else { 0.0 })
}

pub(super) fn plain_symmetric(x: &Matrix) -> Matrix {
    let x = plain_regular(x);
    with(x.len(), x.len(), |i, j| (x[i][j] + x[j][i]) / 2.0)
}

pub(super) fn upside_down(mut x: Matrix) -> Matrix {
    x.reverse();
    x
}

pub(super) fn transposed(x: &Matrix) -> Matrix {
    with(x.first().map_or(0, Vec::len), x.len(), |i, j| x[j][i])
}

pub(super) fn times(a: &Matrix, b: &Matrix) -> Matrix {
    let cols = b.first().map_or(0, Vec::len);
    with(a.len(), cols, |i, j| (0..b.len()).map(|k| a[i][k] * b[k][j]).sum())
}

/// Elimination of Gauss and Jordan: the solution of `a · x = b`, and the determinant of a.
pub(super) fn eliminated(a: &Matrix, b: &Matrix) -> (Matrix, f64) {
    let (mut a, mut b, n, mut det) = (a.clone(), b.clone(), a.len(), 1.0);
    for j in 0..n {
        let pivot = (j..n).max_by(|&p, &q| a[p][j].abs().total_cmp(&a[q][j].abs())).expect("a row");
        if pivot != j {
            det = -det;
        }
        a.swap(j, pivot);
        b.swap(j, pivot);
        let head = a[j][j];
        det *= head;
        a[j].iter_mut().chain(&mut b[j]).for_each(|v| *v /= head);
        for i in (0..n).filter(|&i| i != j) {
            let by = a[i][j];
            let (row, right) = (a[j].clone(), b[j].clone());
            a[i].iter_mut().zip(row).for_each(|(v, r)| *v -= by * r);
            b[i].iter_mut().zip(right).for_each(|(v, r)| *v -= by * r);
        }
    }
    (b, det)
}

pub(super) fn inverse(a: &Matrix) -> Matrix {
    eliminated(a, &eye(a.len())).0
}

pub(super) fn plain_cholesky(a: &Matrix) -> Matrix {
    let n = a.len();
    let mut l = with(n, n, |_, _| 0.0);
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            l[i][j] = if i == j { (a[i][i] - dot).sqrt() } else { (a[i][j] - dot) / l[j][j] };
        }
    }
    l
}

/// The inverse of Moore and Penrose, of matrices of full rank.
pub(super) fn plain_pinv(a: &Matrix) -> Matrix {
    let at = transposed(a);
    if a.len() >= at.len() {
        times(&inverse(&times(&at, a)), &at)
    } else {
        times(&at, &inverse(&times(a, &at)))
    }
}

pub(super) fn plain_exp(a: &Matrix) -> Matrix {
    let (mut sum, mut term) = (eye(a.len()), eye(a.len()));
    for i in 1..80 {
        term = times(&term, a);
        term.iter_mut().flatten().for_each(|v| *v /= f64::from(i));
        sum.iter_mut().flatten().zip(term.iter().flatten()).for_each(|(s, t)| *s += t);
    }
    sum
}

/// Eigenvalues of a symmetric matrix in ascending order, and their vectors as columns: Jacobi's method as it is
/// written in textbooks.
pub(super) fn plain_eigh(a: &Matrix) -> (Vec<f64>, Matrix) {
    let (mut a, n, mut v) = (a.clone(), a.len(), eye(a.len()));
    for _ in 0..20 {
        for p in 0..n {
            for q in p + 1..n {
                let angle = 0.5 * (2.0 * a[p][q]).atan2(a[q][q] - a[p][p]);
                let (sin, cos) = angle.sin_cos();
                let turn = with(n, n, |i, j| match (i, j) {
                    _ if (i, j) == (p, p) || (i, j) == (q, q) => cos,
                    _ if (i, j) == (p, q) => sin,
                    _ if (i, j) == (q, p) => -sin,
                    _ => f64::from(u8::from(i == j)),
                });
                a = times(&transposed(&turn), &times(&a, &turn));
                v = times(&v, &turn);
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&i, &j| a[i][i].total_cmp(&a[j][j]));
    (order.iter().map(|&i| a[i][i]).collect(), with(n, n, |i, j| v[i][order[j]]))
}

/// The singular values in descending order, `k` of them, and their right vectors as rows.
pub(super) fn plain_svd(a: &Matrix, k: usize) -> (Vec<f64>, Matrix) {
    let (w, v) = plain_eigh(&times(&transposed(a), a));
    let n = w.len();
    let s = (0..k).map(|i| w[n - 1 - i].sqrt()).collect();
    (s, with(k, n, |i, j| v[j][n - 1 - i]))
}

pub(super) fn squares(x: Matrix) -> Vec<f64> {
    flat(x).iter().map(|v| v * v).collect()
}

/// One result for each of the functions, of all matrices of the first operand.
pub(super) fn results(s: &Sample, of: &[&dyn Fn(&Matrix) -> Vec<f64>]) -> Vec<Vec<f64>> {
    of.iter().map(|f| each(&s.inputs[0]).iter().flat_map(f).collect()).collect()
}

pub(super) fn flat(x: Matrix) -> Vec<f64> {
    x.into_iter().flatten().collect()
}

/// The larger and the smaller of both sizes.
pub(super) fn ends(s: &Sample) -> [usize; 4] {
    let x = &s.inputs[0];
    let [m, n] = [x.shape[x.shape.rank() - 2], width(x)];
    [m, n, m.max(n), m.min(n)]
}
