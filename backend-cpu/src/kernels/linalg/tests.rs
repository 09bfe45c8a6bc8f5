//! What factors must satisfy, for matrices of every kind that is hard for one of them. Backward errors are held against
//! `8 · n · ε · ‖a‖`: Higham 2002, "Accuracy and stability of numerical algorithms", has `c · m · n · ε` with a small c as the
//! bound of each, of which rounding errors that are not all of one sign leave a part.

use kiln_tensor_core::{DType, Factorization, Outputs, Tensor};

use super::{factor, solve_triangular};
use crate::{Cpu, CpuDevice};

/// A matrix in `f64`.
#[derive(Clone, Debug)]
struct Matrix(Vec<Vec<f64>>);

impl Matrix {
    fn of(rows: usize, cols: usize, mut at: impl FnMut(usize, usize) -> f64) -> Self {
        Matrix((0..rows).map(|i| (0..cols).map(|j| at(i, j)).collect()).collect())
    }

    fn from(x: &Tensor<Cpu>) -> Self {
        let x = x.to_dtype(DType::F64);
        let all = x.to_vec::<f64>();
        Self::of(x.size(-2), x.size(-1), |i, j| all[i * x.size(-1) + j])
    }

    fn tensor(&self, dtype: DType) -> Tensor<Cpu> {
        let (rows, cols) = (self.0.len(), self.0.first().map_or(0, Vec::len));
        Tensor::from_slice(&self.0.concat(), [rows, cols], &CpuDevice).to_dtype(dtype)
    }

    fn t(&self) -> Self {
        Self::of(self.0[0].len(), self.0.len(), |i, j| self.0[j][i])
    }

    fn times(&self, other: &Self) -> Self {
        Self::of(self.0.len(), other.0[0].len(), |i, j| {
            self.0[i].iter().zip(&other.0).map(|(x, row)| x * row[j]).sum()
        })
    }

    /// Frobenius.
    fn norm(&self) -> f64 {
        let most = self.0.iter().flatten().fold(0.0f64, |most, x| most.max(x.abs()));
        if most == 0.0 || !most.is_finite() {
            return most;
        }
        most * self.0.iter().flatten().map(|x| (x / most).powi(2)).sum::<f64>().sqrt()
    }

    fn less(&self, other: &Self) -> Self {
        Self::of(self.0.len(), self.0[0].len(), |i, j| self.0[i][j] - other.0[i][j])
    }

    /// The first matrix with its columns times numbers.
    fn scaled(&self, by: &[f64]) -> Self {
        Self::of(self.0.len(), by.len(), |i, j| self.0[i][j] * by[j])
    }
}

fn epsilon(dtype: DType) -> f64 {
    if dtype == DType::F64 { f64::EPSILON } else { f64::from(f32::EPSILON) }
}

/// Numbers between −1 and 1.
fn numbers(mut seed: u64) -> impl FnMut() -> f64 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as f64 / f64::from(1u32 << 30) - 1.0
    }
}

/// Matrices that are hard for one or the other, by name.
fn hard(rows: usize, cols: usize) -> Vec<(&'static str, Matrix)> {
    let mut next = numbers((rows * 1000 + cols) as u64);
    let mut of = |at: &mut dyn FnMut(f64, usize, usize) -> f64| {
        Matrix::of(rows, cols, |i, j| at(next(), i, j))
    };
    // From 1e-12 to 1e12 over n rows.
    let grade = |i: usize, n: usize| 10f64.powf(24.0 * i as f64 / n.max(2) as f64 - 12.0);
    vec![
        ("random", of(&mut |x, _, _| x)),
        ("zero", of(&mut |_, _, _| 0.0)),
        ("identity", of(&mut |_, i, j| f64::from(u8::from(i == j)))),
        ("rank one", of(&mut |_, i, j| (i as f64 + 1.0) * (j as f64 - 2.5))),
        ("rank two", of(&mut |_, i, j| (i as f64).sin() + (j as f64 + 1.0).sqrt())),
        ("one element", of(&mut |_, i, j| f64::from(u8::from(i + 1 == rows && j == 0)))),
        ("rows graded upwards", of(&mut |x, i, _| x * grade(i, rows))),
        ("rows graded downwards", of(&mut |x, i, _| x * grade(rows - i, rows))),
        ("columns graded", of(&mut |x, _, j| x * grade(j, cols))),
        ("hilbert", of(&mut |_, i, j| 1.0 / (i + j + 1) as f64)),
        ("huge", of(&mut |x, _, _| x * 1e34)),
        ("tiny", of(&mut |x, _, _| x * 1e-34)),
        ("equal values", of(&mut |_, i, j| if i == j { 2.0 } else { 1.0 })),
        (
            "wilkinson",
            of(&mut |_, i, j| match i.abs_diff(j) {
                0 => (i as f64 - rows as f64 / 2.0).abs(),
                1 => 1.0,
                _ => 0.0,
            }),
        ),
        (
            "bidiagonal with zeros",
            of(&mut |x, i, j| match j.wrapping_sub(i) {
                0 if i % 3 != 1 => x,
                1 => 1.0,
                _ => 0.0,
            }),
        ),
    ]
}

/// Sizes on both sides of a vector, of a block, and of two.
const SIZES: [usize; 9] = [1, 2, 3, 8, 17, 31, 33, 64, 70];

/// Runs a check for each kind of hard matrix in both dtypes.
fn for_each(shapes: &[[usize; 2]], check: impl Fn(&str, &Matrix, &Tensor<Cpu>)) {
    for &[rows, cols] in shapes {
        for (name, x) in hard(rows, cols) {
            for dtype in [DType::F64, DType::F32] {
                let x = x.tensor(dtype);
                check(&format!("{name} {rows} x {cols} {dtype}"), &Matrix::from(&x), &x);
            }
        }
    }
}

fn squares() -> Vec<[usize; 2]> {
    SIZES.map(|n| [n, n]).into()
}

#[track_caller]
fn near(what: &str, x: &Matrix, y: &Matrix, bound: f64) {
    let error = x.less(y).norm();
    assert!(error <= bound, "{what}: {error:e} is more than {bound:e}");
}

fn near_identity(what: &str, x: &Matrix, bound: f64) {
    let n = x.0.len();
    near(what, x, &Matrix::of(n, n, |i, j| f64::from(u8::from(i == j))), bound);
}

/// The bound of a backward error.
fn bound(x: &Tensor<Cpu>, norm: f64) -> f64 {
    8.0 * x.size(-2).max(x.size(-1)) as f64 * epsilon(x.dtype()) * norm
}

fn factors(x: &Tensor<Cpu>, kind: Factorization) -> Vec<Matrix> {
    let made: Outputs<Cpu> = factor(x, kind);
    let row = |x: &Tensor<Cpu>| if x.rank() == 1 { x.unsqueeze(0) } else { x.clone() };
    made.iter().map(|x| Matrix::from(&row(x))).collect()
}

#[test]
fn cholesky_multiplies_to_the_matrix() {
    for_each(&squares(), |name, x, given| {
        // Symmetric and positive definite: condition numbers of up to 1e4 or so.
        let (norm, n) = (x.norm(), x.0.len());
        if !(1e-15..=1e15).contains(&norm) {
            return;
        }
        let spd = x.times(&x.t());
        let spd = Matrix::of(n, n, |i, j| spd.0[i][j] / norm / norm + f64::from(u8::from(i == j)));
        let given = spd.tensor(given.dtype());
        let l = &factors(&given, Factorization::Cholesky)[0];
        near(name, &l.times(&l.t()), &Matrix::from(&given), bound(&given, spd.norm()));
        assert!((0..n).all(|i| (i + 1..n).all(|j| l.0[i][j] == 0.0)), "{name}: above the diagonal");
        // The upper triangle is not looked at.
        let lower = factors(&given.tril(0), Factorization::Cholesky);
        assert_eq!(l.0, lower[0].0, "{name}: the upper triangle");
    });
}

#[test]
fn cholesky_shows_the_first_minor_that_is_not_positive() {
    for n in [1, 5, 32, 40, 70] {
        for at in [0, n / 2, n - 1] {
            for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
                let x = Matrix::of(n, n, |i, j| match (i == j, i == at) {
                    (true, true) => wrong,
                    (true, false) => 2.0,
                    _ => 0.0,
                });
                let l = &factors(&x.tensor(DType::F64), Factorization::Cholesky)[0];
                let first = (0..n).find(|&i| l.0[i][i].is_nan());
                assert_eq!(first, Some(at), "{n} {at} {wrong}");
            }
        }
    }
}

#[test]
fn lu_multiplies_to_the_matrix_with_its_rows_in_order() {
    for_each(&squares(), |name, x, given| {
        let n = x.0.len();
        let made = factor(given, Factorization::Lu);
        let (lu, order) = (Matrix::from(&made[0]), made[1].to_vec::<i64>());
        let part = |lower: bool| {
            Matrix::of(n, n, |i, j| match (i == j, i > j) {
                (true, _) if lower => 1.0,
                (same, below) if same || below == lower => lu.0[i][j],
                _ => 0.0,
            })
        };
        let (l, u) = (part(true), part(false));
        assert!(l.0.iter().flatten().all(|x| x.abs() <= 1.0), "{name}: pivots are the largest");
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..n as i64).collect::<Vec<_>>(), "{name}: an order");
        let rows = Matrix::of(n, n, |i, j| x.0[order[i] as usize][j]);
        // The bound holds against |l| · |u|, which is little more than the matrix, as a rule.
        let size = |x: &Matrix| Matrix::of(n, n, |i, j| x.0[i][j].abs());
        near(name, &l.times(&u), &rows, bound(given, size(&l).times(&size(&u)).norm()));
    });
}

/// Taller than wide, square, and so tall that the singular values are those of r.
fn tall() -> Vec<[usize; 2]> {
    SIZES.iter().flat_map(|&n| [[n, n], [n + 3, n], [3 * n, n]]).collect()
}

#[test]
fn qr_is_orthogonal_and_multiplies_to_the_matrix() {
    for_each(&tall(), |name, x, given| {
        for complete in [false, true] {
            let made = factors(given, Factorization::Qr { complete });
            let (q, r) = (&made[0], &made[1]);
            near(name, &q.times(r), x, bound(given, x.norm()));
            near_identity(name, &q.t().times(q), bound(given, 1.0));
            let rows = r.0.iter().enumerate();
            assert!(
                rows.clone().all(|(i, row)| row.iter().take(i).all(|&x| x == 0.0)),
                "{name}: r"
            );
        }
    });
}

#[test]
fn eigh_is_orthogonal_and_multiplies_to_the_matrix() {
    for_each(&squares(), |name, x, given| {
        let n = x.0.len();
        let x = Matrix::of(n, n, |i, j| x.0[i.max(j)][i.min(j)]);
        let made = factors(given, Factorization::Eigh);
        let (values, v) = (&made[0].0[0], &made[1]);
        assert!(values.is_sorted(), "{name}: in ascending order");
        near(name, &v.scaled(values).times(&v.t()), &x, bound(given, x.norm()));
        near_identity(name, &v.t().times(v), bound(given, 1.0));
    });
}

#[test]
fn svd_is_orthogonal_and_multiplies_to_the_matrix() {
    let wide = [[2, 5], [17, 33], [33, 34], [20, 70]];
    for_each(&[tall(), wide.into()].concat(), |name, x, given| {
        let made = factors(given, Factorization::Svd);
        let (u, s, vh) = (&made[0], &made[1].0[0], &made[2]);
        assert!(s.is_sorted_by(|a, b| a >= b) && s.iter().all(|&s| s >= 0.0), "{name}: in order");
        near(name, &u.scaled(s).times(vh), x, bound(given, x.norm()));
        near_identity(name, &u.t().times(u), bound(given, 1.0));
        near_identity(name, &vh.times(&vh.t()), bound(given, 1.0));
    });
}

#[test]
fn known_values_are_found() {
    // The second difference: 2 − 2 · cos(k · π / (n + 1)).
    for n in [3, 40, 70] {
        let x = Matrix::of(n, n, |i, j| match i.abs_diff(j) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        });
        let x = x.tensor(DType::F64);
        let known: Vec<f64> = (1..=n)
            .map(|k| 2.0 - 2.0 * (k as f64 * std::f64::consts::PI / (n as f64 + 1.0)).cos())
            .collect();
        let values = factor(&x, Factorization::Eigh)[0].to_vec::<f64>();
        let singular = factor(&x, Factorization::Svd)[1].to_vec::<f64>();
        for (known, (value, singular)) in known.iter().zip(values.iter().zip(singular.iter().rev()))
        {
            let bound = bound(&x, 4.0);
            assert!((known - value).abs() <= bound && (known - singular).abs() <= bound);
        }
    }
    // Small singular values of a bidiagonal matrix keep their digits: 1, 1e-10, … next to each other.
    let x = Matrix::of(4, 4, |i, j| match j.wrapping_sub(i) {
        0 => 10f64.powi(-10 * i as i32),
        1 => 10f64.powi(-10 * i as i32 - 9),
        _ => 0.0,
    });
    let s = factor(&x.tensor(DType::F64), Factorization::Svd)[1].to_vec::<f64>();
    let product: f64 = s.iter().product();
    assert!((product * 1e60 - 1.0).abs() < 1e-12, "the determinant is 1e-60: {s:?}");
}

#[test]
fn what_is_not_finite_ends_as_nan() {
    let kinds = [
        Factorization::Cholesky,
        Factorization::Lu,
        Factorization::Qr { complete: false },
        Factorization::Eigh,
        Factorization::Svd,
    ];
    for (n, wrong) in [(1, f64::NAN), (8, f64::NAN), (40, f64::INFINITY), (40, f64::NAN)] {
        for kind in kinds {
            let x = Matrix::of(n, n, |i, j| match (i, j) {
                (i, 0) if i == n - 1 => wrong,
                (i, j) if i == j => 3.0,
                _ => 0.5,
            });
            let made = factor(&x.tensor(DType::F64), kind);
            let all = || made[0].to_vec::<f64>().into_iter();
            assert!(all().any(|x| !x.is_finite()), "{} {n} {wrong}", kind.name());
        }
    }
}

#[test]
fn triangular_systems_are_solved() {
    for n in SIZES {
        for k in [1, 2, 31, 70] {
            for (dtype, upper, unit) in [DType::F64, DType::F32].iter().flat_map(|&d| {
                [(true, true), (true, false), (false, true), (false, false)].map(|(u, i)| (d, u, i))
            }) {
                let mut next = numbers(n as u64);
                let a =
                    Matrix::of(n, n, |i, j| if i == j { 2.0 + next() } else { next() / n as f64 });
                let b = Matrix::of(n, k, |_, _| next());
                let (a, b) = (a.tensor(dtype), b.tensor(dtype));
                let x = Matrix::from(&solve_triangular(&a, &b, upper, unit));
                let a = Matrix::from(&a);
                let a = Matrix::of(n, n, |i, j| match (i == j, (j > i) == upper) {
                    (true, _) if unit => 1.0,
                    (true, _) | (_, true) => a.0[i][j],
                    _ => 0.0,
                });
                let name = format!("{n} {k} {dtype} {upper} {unit}");
                near(&name, &a.times(&x), &Matrix::from(&b), bound(&b, a.norm() * x.norm()));
            }
        }
    }
}

#[test]
fn batches_give_the_same_bits_as_matrices_alone_for_any_number_of_threads() {
    let mut next = numbers(7);
    for n in [5, 40, 100] {
        let all: Vec<f64> = (0..6 * n * n).map(|_| next()).collect();
        let x = Tensor::<Cpu>::from_slice(&all, [2, 3, n, n], &CpuDevice);
        let spd = x.matmul(&x.transpose(-2, -1)) + Tensor::eye(n, (&CpuDevice, DType::F64));
        for kind in [
            Factorization::Cholesky,
            Factorization::Lu,
            Factorization::Qr { complete: false },
            Factorization::Eigh,
            Factorization::Svd,
        ] {
            let made = factor(&spd, kind);
            let alone = factor(&spd.select(0, 1).select(0, 2), kind);
            for (made, alone) in made.iter().zip(&alone) {
                let made = made.select(0, 1).select(0, 2).to_dtype(DType::F64).to_vec::<f64>();
                assert_eq!(made, alone.to_dtype(DType::F64).to_vec::<f64>(), "{} {n}", kind.name());
            }
        }
    }
}
