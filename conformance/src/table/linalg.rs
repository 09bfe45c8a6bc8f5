//! Linear algebra: against elimination and loops in `f64`, and, where factors are not unique, by what they must multiply to.
//!
//! Operands are small numbers around a diagonal of 3, 7, 11, …: matrices with an inverse, and eigenvalues and singular
//! values that keep apart. Turned upside down they make elimination swap rows.

mod plain;

use kiln_tensor_core::linalg::{self, Qr};
use kiln_tensor_core::{Backend, DType, Factorization, Tensor};

use plain::{
    Matrix, each, eliminated, ends, eye, flat, inverse, plain_cholesky, plain_eigh, plain_exp,
    plain_pinv, plain_regular, plain_svd, plain_symmetric, results, squares, times, transposed,
    upside_down, width, with,
};

use super::{Oracle, make_rows};
use crate::Form;
use crate::agree::Tolerance;
use crate::strategies::{Gen, NORMAL, Purpose, Sample};

/// What is taken apart.
const DTYPES: &[DType] = &[DType::F64, DType::F32];

const SOLVED: Tolerance =
    Tolerance::new(128.0, 4.0, "a few dozen roundings, times condition numbers of up to 10");
const FACTORED: Tolerance =
    Tolerance::new(256.0, 16.0, "orthogonal factors to within n · eps, multiplied again");

/// Operands of shape `[rows, cols]`, or of one or two dims more in front, for each of `sizes`.
fn matrices(g: &mut Gen, sizes: &[[usize; 2]]) -> Sample {
    let batch: &[usize] = match (g.form, g.below(3)) {
        (Form::Empty, _) => &[0],
        (_, 0) => &[],
        (_, 1) => &[2],
        _ if g.purpose == Purpose::Forward => &[3, 2],
        _ => &[1, 1],
    };
    let shape = |size: &[usize; 2]| batch.iter().chain(size).copied().collect();
    Sample::new(sizes.iter().map(|size| g.values(&shape(size), NORMAL)).collect::<Vec<_>>())
}

/// A size of matrices; 0 for some without elements.
fn size(g: &mut Gen) -> usize {
    match (g.form, g.purpose) {
        (Form::Empty, _) => g.pick(&[0, 3]),
        (_, Purpose::Forward) => g.pick(&[1, 2, 3, 4]),
        (_, Purpose::Gradient) => g.pick(&[2, 3]),
        (_, Purpose::Speed) => 32,
    }
}

fn square(g: &mut Gen) -> Sample {
    let n = size(g);
    matrices(g, &[[n, n]])
}

fn system(g: &mut Gen) -> Sample {
    let n = size(g);
    matrices(g, &[[n, n], [n, 2]])
}

/// More rows than columns, or as many, or fewer.
fn any_sizes(g: &mut Gen) -> Sample {
    let n = size(g);
    let sizes = g.pick(&[[n + 2, n], [n, n], [n, n + 1]]);
    matrices(g, &[sizes])
}

/// `x / 4` with 3, 7, 11, … added to the diagonal.
fn regular<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    let [m, n] = [x.size(-2), x.size(-1)];
    let on = (x.device(), x.dtype());
    x * 0.25 + Tensor::eye([m, n], on) * (Tensor::arange(n, on) * 4.0 + 3.0)
}

/// The same, made symmetric.
fn symmetric<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    let x = regular(x);
    (&x + x.transpose(-2, -1)) * 0.5
}

fn t<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    x.transpose(-2, -1)
}

/// Ones on the diagonal, for each matrix of the batch.
fn eyes(s: &Sample, n: usize) -> Vec<f64> {
    each(&s.inputs[0]).iter().flat_map(|_| flat(eye(n))).collect()
}

/// By how much values grow along the last dim, without gradient.
fn growth<B: Backend>(s: &Tensor<B>) -> Tensor<B> {
    let s = s.detach();
    (s.slice(-1, 1, None, 1) - s.slice(-1, 0, -1, 1)).clamp_min(0.0)
}

/// Zeros, as many as one of the batch has times their number.
fn none(s: &Sample, each_has: usize) -> Vec<f64> {
    vec![0.0; each(&s.inputs[0]).len() * each_has]
}

make_rows! { ($) linalg "linalg";
    factor {
        dtypes: DTYPES,
        sample: |g| square(g),
        run: |x, _| {
            let made = B::factor(&regular(&x[0]).flip([-2]), Factorization::Lu);
            let (lu, order) = (&made[0], &made[1]);
            let l = lu.tril(-1) + Tensor::eye(lu.size(-1), (lu.device(), lu.dtype()));
            let product = l.matmul(&lu.triu(0));
            let at = order.unsqueeze(-1).expand(product.shape());
            vec![product.zeros_like().scatter(-2, &at, &product)]
        },
        oracle: Oracle::Values(|s| results(s, &[&|x| flat(upside_down(plain_regular(x)))])),
        tolerance: SOLVED,
        kinks: &[],
        order: 2,
    }
    cholesky {
        dtypes: DTYPES,
        sample: |g| system(g),
        run: |x, _| {
            let l = symmetric(&x[0]).cholesky();
            vec![
                linalg::cholesky_solve(&x[1], &l, false),
                linalg::cholesky_inverse(&t(&l), true),
                linalg::cholesky(&symmetric(&x[0])),
                linalg::cholesky_upper(&symmetric(&x[0])),
            ]
        },
        oracle: Oracle::Values(|s| {
            let [a, b] = [0, 1].map(|i| each(&s.inputs[i]));
            let solved = |(a, b): (&Matrix, &Matrix)| flat(eliminated(&plain_symmetric(a), b).0);
            let mut all = vec![a.iter().zip(&b).flat_map(solved).collect()];
            all.extend(results(s, &[
                &|x| flat(inverse(&plain_symmetric(x))),
                &|x| flat(plain_cholesky(&plain_symmetric(x))),
                &|x| flat(transposed(&plain_cholesky(&plain_symmetric(x)))),
            ]));
            all
        }),
        tolerance: SOLVED,
        kinks: &[],
        order: 2,
    }
    solve {
        dtypes: DTYPES,
        sample: |g| system(g),
        run: |x, _| {
            let a = regular(&x[0]).flip([-2]);
            let vector = x[1].select(-1, 0);
            vec![linalg::solve(&a, &x[1]), linalg::solve(&a, &vector), linalg::inv(&a), t(&a).inverse()]
        },
        oracle: Oracle::Values(|s| {
            let [a, b] = [0, 1].map(|i| each(&s.inputs[i]));
            let both = || a.iter().zip(&b).map(|(a, b)| eliminated(&upside_down(plain_regular(a)), b).0);
            let mut all = vec![both().flat_map(flat).collect(), both().flatten().map(|row| row[0]).collect()];
            all.extend(results(s, &[
                &|x| flat(inverse(&upside_down(plain_regular(x)))),
                &|x| flat(transposed(&inverse(&upside_down(plain_regular(x))))),
            ]));
            all
        }),
        tolerance: SOLVED,
        kinks: &[],
        order: 2,
    }
    lu {
        dtypes: DTYPES,
        sample: |g| system(g),
        run: |x, _| {
            let a = regular(&x[0]).flip([-2]);
            let (lu, order) = linalg::lu_factor(&a);
            let (p, l, u) = linalg::lu(&a);
            vec![linalg::lu_solve(&lu, &order, &x[1]), p.matmul(&l).matmul(&u), l.triu(1) + u.tril(-1)]
        },
        oracle: Oracle::Values(|s| {
            let [a, b] = [0, 1].map(|i| each(&s.inputs[i]));
            let solved = |(a, b)| flat(eliminated(&upside_down(plain_regular(a)), b).0);
            let mut all = vec![a.iter().zip(&b).flat_map(solved).collect()];
            all.extend(results(s, &[&|x| flat(upside_down(plain_regular(x)))]));
            let zeros = vec![0.0; all[1].len()];
            all.push(zeros);
            all
        }),
        tolerance: SOLVED,
        kinks: &[],
        order: 2,
    }
    vectors {
        dtypes: DTYPES,
        sample: |g| {
            let n = if g.form == Form::Empty { 0 } else { 2 };
            Sample::new([g.values(&[n, 3].into(), NORMAL), g.values(&[n, 3].into(), NORMAL)])
        },
        run: |x, _| vec![
            linalg::cross(&x[0], &x[1], -1),
            linalg::vecdot(&x[0], &x[1], -1),
            linalg::vander(&x[0].flatten(0, -1), Some(3)),
            linalg::diagonal(&linalg::matmul(&t(&x[0]), &x[1]), 1),
        ],
        oracle: Oracle::Values(|s| {
            let of = |i: usize| s.inputs[i].values.iter().map(|v| v.to_f64()).collect::<Vec<_>>();
            let (a, b) = (of(0), of(1));
            let rows = || a.chunks(3).zip(b.chunks(3));
            let cross = |(a, b): (&[f64], &[f64])| {
                [1, 2, 0].map(|i| { let j = (i + 1) % 3; a[i] * b[j] - a[j] * b[i] })
            };
            let dot = |(a, b): (&[f64], &[f64])| (0..3).map(|i| a[i] * b[i]).sum();
            let product = |i: usize, j: usize| rows().map(|(a, b)| a[i] * b[j]).sum();
            vec![
                rows().flat_map(cross).collect(),
                rows().map(dot).collect(),
                a.iter().flat_map(|x| [1.0, *x, x * x]).collect(),
                vec![product(0, 1), product(1, 2)],
            ]
        }),
        tolerance: SOLVED,
        kinks: &[],
        order: 2,
    }
    solve_triangular {
        dtypes: DTYPES,
        sample: |g| system(g),
        run: |x, _| {
            let (a, b) = (regular(&x[0]), &x[1]);
            let of = |upper, unit| linalg::solve_triangular(&a, b, upper, unit);
            vec![of(false, false), of(true, false), of(false, true), of(true, true)]
        },
        oracle: Oracle::Values(|s| {
            let [a, b] = [0, 1].map(|i| each(&s.inputs[i]));
            let part = |a: &Matrix, upper: bool, unit: bool| {
                let a = plain_regular(a);
                with(a.len(), a.len(), |i, j| match (i == j, (j > i) == upper) {
                    (true, _) if unit => 1.0,
                    (true, _) | (_, true) => a[i][j],
                    _ => 0.0,
                })
            };
            let solved = |(upper, unit)| {
                let one = |(a, b)| flat(eliminated(&part(a, upper, unit), b).0);
                a.iter().zip(&b).flat_map(one).collect()
            };
            [(false, false), (true, false), (false, true), (true, true)].map(solved).to_vec()
        }),
        tolerance: SOLVED,
        kinks: &[],
        order: 2,
    }
    det {
        dtypes: DTYPES,
        sample: |g| square(g),
        run: |x, _| {
            let a = regular(&x[0]).flip([-2]);
            let (sign, _) = linalg::slogdet(&a);
            vec![
                linalg::det(&a),
                t(&a).det(),
                sign,
                a.slogdet().1,
                symmetric(&x[0]).logdet(),
                linalg::logdet(&symmetric(&x[0])),
            ]
        },
        oracle: Oracle::Values(|s| {
            let det = |x: &Matrix| eliminated(x, &eye(x.len())).1;
            let of = |x: &Matrix| det(&upside_down(plain_regular(x)));
            let log = |x: &Matrix| vec![det(&plain_symmetric(x)).ln()];
            results(s, &[&|x| vec![of(x)], &|x| vec![of(x)], &|x| vec![of(x).signum()], &|x| vec![of(x).abs().ln()], &log, &log])
        }),
        tolerance: SOLVED,
        kinks: &[],
        order: 2,
    }
    qr {
        dtypes: DTYPES,
        sample: |g| any_sizes(g),
        run: |x, _| {
            let a = regular(&x[0]);
            let (q, r) = a.qr();
            let (whole, _) = linalg::qr(&a.detach(), Qr::Complete);
            // The signs of LAPACK: below the diagonal there is something, so elements of it are negative.
            let signs = if a.size(-2) > a.size(-1) { r.diagonal(0, -2, -1).detach().sign() } else { a.detach() };
            vec![q.matmul(&r), t(&q).matmul(&q), r.tril(-1), t(&whole).matmul(&whole), signs, r.abs()]
        },
        oracle: Oracle::Values(|s| {
            let [m, n, _, k] = ends(s);
            let mut all = results(s, &[&|x| flat(plain_regular(x))]);
            all.extend([eyes(s, k), vec![0.0; each(&s.inputs[0]).len() * k * n], eyes(s, m)]);
            all.push(if m > n { vec![-1.0; each(&s.inputs[0]).len() * n] } else { all[0].clone() });
            // aᵀ · a = rᵀ · r for the first k columns, and what is right of them.
            let r = |x: &Matrix| {
                let a = plain_regular(x);
                let first = with(m, k, |i, j| a[i][j]);
                let l = plain_cholesky(&times(&transposed(&first), &first));
                flat(eliminated(&l, &times(&transposed(&first), &a)).0).iter().map(|v| v.abs()).collect()
            };
            all.extend(results(s, &[&r]));
            all
        }),
        tolerance: FACTORED,
        kinks: &[],
        order: 2,
    }
    eigh {
        dtypes: DTYPES,
        sample: |g| square(g),
        run: |x, _| {
            let a = symmetric(&x[0]);
            let (w, v) = linalg::eigh(&a);
            // The upper triangle is not looked at.
            let lower = linalg::eigvalsh(&a.tril(0));
            vec![
                (&v * w.unsqueeze(-2)).matmul(&t(&v)),
                t(&v).matmul(&v),
                growth(&-&w),
                (w - lower).detach(),
                (v.square() * Tensor::arange(a.size(-1), (a.device(), a.dtype()))).sum_dims([-1], false),
            ]
        },
        oracle: Oracle::Values(|s| {
            let n = width(&s.inputs[0]);
            let mut all = results(s, &[&|x| flat(plain_symmetric(x))]);
            all.extend([eyes(s, n), none(s, n.saturating_sub(1)), none(s, n)]);
            all.extend(results(s, &[&|x| {
                let (_, v) = plain_eigh(&plain_symmetric(x));
                v.iter().map(|row| row.iter().enumerate().map(|(j, v)| v * v * j as f64).sum()).collect()
            }]));
            all
        }),
        tolerance: FACTORED,
        kinks: &[],
        order: 2,
    }
    svd {
        dtypes: DTYPES,
        sample: |g| any_sizes(g),
        run: |x, _| {
            let a = regular(&x[0]);
            let (u, s, vh) = a.svd();
            let (full_u, values, full_vh) = linalg::svd(&a.detach(), true);
            vec![
                (&u * s.unsqueeze(-2)).matmul(&vh),
                t(&u).matmul(&u),
                vh.matmul(&t(&vh)),
                t(&full_u).matmul(&full_u),
                full_vh.matmul(&t(&full_vh)),
                growth(&s),
                values - linalg::svdvals(&a.detach()),
                u.square() * s.unsqueeze(-2),
                vh.square(),
            ]
        },
        oracle: Oracle::Values(|s| {
            let [m, n, _, k] = ends(s);
            let left = |x: &Matrix| plain_svd(&transposed(&plain_regular(x)), k);
            let mut all = results(s, &[&|x| flat(plain_regular(x))]);
            all.extend([eyes(s, k), eyes(s, k), eyes(s, m), eyes(s, n)]);
            all.extend([none(s, k.saturating_sub(1)), none(s, k)]);
            all.extend(results(s, &[
                &|x| {
                    let (s, u) = left(x);
                    flat(with(m, k, |i, j| u[j][i] * u[j][i] * s[j]))
                },
                &|x| squares(plain_svd(&plain_regular(x), k).1),
            ]));
            all
        }),
        tolerance: FACTORED,
        kinks: &[],
        order: 2,
    }
    pinv {
        dtypes: DTYPES,
        sample: |g| any_sizes(g),
        run: |x, _| {
            let a = regular(&x[0]);
            let b = t(&a).sum_dims([-2], false);
            let found = linalg::lstsq(&a, &b.unsqueeze(-1), None);
            vec![
                a.pinverse(),
                linalg::pinv(&a, Some(0.5), None),
                found.solution,
                found.rank,
                linalg::lstsq(&a, &b, Some(0.01)).singular_values - linalg::svdvals(&a.detach()),
                linalg::matrix_rank(&a, None, None),
            ]
        },
        oracle: Oracle::Values(|s| {
            let [_, n, _, k] = ends(s);
            let solved = |x: &Matrix| {
                let a = plain_regular(x);
                let sums = with(a.len(), 1, |i, _| a[i].iter().sum());
                flat(times(&plain_pinv(&a), &sums))
            };
            let pinv = |x: &Matrix| flat(plain_pinv(&plain_regular(x)));
            let mut all = results(s, &[&pinv, &pinv, &solved]);
            if s.inputs[0].values.is_empty() {
                all[2] = vec![0.0; each(&s.inputs[0]).len() * n];
            }
            let count = each(&s.inputs[0]).len();
            let rank = vec![k as f64; count];
            all.extend([rank.clone(), vec![0.0; count * k], rank]);
            all
        }),
        tolerance: FACTORED,
        kinks: &[],
        order: 2,
    }
    matrix_norm {
        dtypes: DTYPES,
        sample: |g| {
            let n = size(g).max(1);
            let sizes = g.pick(&[[n + 2, n], [n, n], [n, n + 1]]);
            matrices(g, &[sizes])
        },
        run: |x, _| {
            let a = regular(&x[0]);
            let of = |p: f64| linalg::matrix_norm(&a, p, [-2, -1], false);
            let one = a.flatten(0, -1);
            vec![
                linalg::matrix_norm(&a, "fro", [-2, -1], false),
                of(1.0),
                of(-1.0),
                of(f64::INFINITY),
                of(f64::NEG_INFINITY),
                linalg::matrix_norm(&t(&a), "nuc", [-1, -2], true),
                of(2.0),
                of(-2.0),
                linalg::cond(&a, 2),
                linalg::cond(&a, -2),
                linalg::vector_norm(&a, 3.0, [-1], true),
                linalg::norm(&one, 1),
            ]
        },
        oracle: Oracle::Values(|s| {
            let [m, n, _, k] = ends(s);
            let of = |x: &Matrix| plain_svd(&plain_regular(x), k).0;
            let sums = |x: &Matrix| -> Vec<f64> { x.iter().map(|r| r.iter().map(|v| v.abs()).sum()).collect() };
            let rows = |x: &Matrix| sums(&plain_regular(x));
            let columns = |x: &Matrix| sums(&transposed(&plain_regular(x)));
            let largest = |x: Vec<f64>| vec![x.into_iter().fold(f64::MIN, f64::max)];
            let smallest = |x: Vec<f64>| vec![x.into_iter().fold(f64::MAX, f64::min)];
            let total: f64 = each(&s.inputs[0]).iter().flat_map(rows).sum();
            let mut all = results(s, &[
                &|x| vec![squares(plain_regular(x)).iter().sum::<f64>().sqrt()],
                &|x| largest(columns(x)),
                &|x| smallest(columns(x)),
                &|x| largest(rows(x)),
                &|x| smallest(rows(x)),
                &|x| vec![of(x).iter().sum()],
                &|x| vec![of(x)[0]],
                &|x| vec![of(x)[k - 1]],
                &|x| vec![of(x)[0] / of(x)[k - 1]],
                &|x| vec![of(x)[k - 1] / of(x)[0]],
                &|x| plain_regular(x).iter().map(|r| r.iter().map(|v| v.abs().powi(3)).sum::<f64>().cbrt()).collect(),
            ]);
            assert!(m > 0 && n > 0, "an extremum of nothing");
            all.push(vec![total]);
            all
        }),
        tolerance: FACTORED,
        kinks: &[],
        order: 2,
    }
    matrix_power {
        dtypes: DTYPES,
        sample: |g| square(g),
        run: |x, _| {
            let a = regular(&x[0]);
            let small = &x[0] * 0.5;
            vec![
                linalg::matrix_power(&small, 3),
                small.matrix_power(0),
                linalg::matrix_power(&a, -2),
                linalg::matrix_exp(&small),
                x[0].matrix_exp(),
            ]
        },
        oracle: Oracle::Values(|s| {
            let half = |x: &Matrix| with(x.len(), x.len(), |i, j| x[i][j] / 2.0);
            results(s, &[
                &|x| flat(times(&half(x), &times(&half(x), &half(x)))),
                &|x| flat(eye(x.len())),
                &|x| flat(inverse(&times(&plain_regular(x), &plain_regular(x)))),
                &|x| flat(plain_exp(&half(x))),
                &|x| flat(plain_exp(x)),
            ])
        }),
        tolerance: Tolerance::new(256.0, 64.0, "products of up to e⁸ that cancel"),
        kinks: &[],
        order: 2,
    }
    multi_dot {
        dtypes: DTYPES,
        sample: |g| {
            let [a, b, c, d] = if g.purpose == Purpose::Gradient { [1, 2, 2, 1] } else { [2, 3, 5, 4] };
            Sample::new([[a, b], [b, c], [c, d]].map(|size| g.values(&size.into(), NORMAL)))
        },
        run: |x, _| {
            let [a, b, c] = [0, 1, 2].map(|i| &x[i]);
            vec![
                linalg::multi_dot(&[a, b, c]),
                linalg::multi_dot(&[a, b]),
                linalg::multi_dot(&[&a.select(0, 0), b, &c.select(1, 0)]),
            ]
        },
        oracle: Oracle::Values(|s| {
            let [a, b, c] = [0, 1, 2].map(|i| each(&s.inputs[i]).remove(0));
            let all = times(&times(&a, &b), &c);
            vec![flat(all.clone()), flat(times(&a, &b)), vec![all[0][0]]]
        }),
        tolerance: Tolerance::new(64.0, 256.0, "sums of up to 15 products of three, in another order"),
        kinks: &[],
        order: 2,
    }
}
