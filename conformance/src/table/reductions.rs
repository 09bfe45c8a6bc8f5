//! Reductions, norms and order along dimensions, against plain loops.

use kiln_tensor_core::DType;

use super::plain::{along, combined, max, values};
use super::{Kink, Oracle, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{DISTINCT, Fill, Gen, NORMAL, POSITIVE, Purpose, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const SUM: Tolerance = Tolerance::new(4.0, 32.0, "a sum in another order, of up to 210 numbers");
const PRODUCT: Tolerance = Tolerance::new(16.0, 1.0, "a product in another order");
const SPREAD: Tolerance =
    Tolerance::new(16.0, 8.0, "moments of up to 210 numbers up to 2, and a root");
const ALL: &[DType] = &DType::ALL;
const ANY: Fill = DISTINCT.special();

/// An operand, whether dims are kept, and dims to combine along. Only sums have a meaning for none.
fn dims(g: &mut Gen, fill: Fill, empty: bool) -> Sample {
    let shape = if empty { g.shape(0..=4) } else { g.nonempty(0..=4) };
    let args = std::iter::once(i64::from(g.flip())).chain(g.dims(shape.rank())).collect::<Vec<_>>();
    Sample::new([g.values(&shape, fill)]).with(args)
}

/// `dims` with one dim, of a tensor that has some.
fn one_dim(g: &mut Gen, fill: Fill, empty: bool) -> Sample {
    let shape = if empty { g.shape(1..=4) } else { g.nonempty(1..=4) };
    let args = [i64::from(g.flip()), g.dim(shape.rank())];
    Sample::new([g.values(&shape, fill)]).with(args)
}

fn all(args: &[i64]) -> (Vec<isize>, bool) {
    (args[1..].iter().map(|&d| d as isize).collect(), args[0] != 0)
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// The variance, its divisor less `correction`.
fn var(x: &[f64], correction: f64) -> f64 {
    let mean = mean(x);
    let spread: f64 = x.iter().map(|v| (v - mean).powi(2)).sum();
    spread / (x.len() as f64 - correction).max(0.0)
}

fn min(x: &[f64]) -> f64 {
    -max(&x.iter().map(|v| -v).collect::<Vec<_>>())
}

fn first(x: &[f64], best: f64) -> f64 {
    x.iter().position(|v| *v == best || (v.is_nan() && best.is_nan())).unwrap_or_default() as f64
}

fn logsumexp(x: &[f64]) -> f64 {
    let top = max(x);
    top + x.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
}

/// Results over all dims as well as over some.
fn both(s: &Sample, f: fn(&[f64]) -> f64) -> Vec<Vec<f64>> {
    let mut results = along(s, f);
    results.push(vec![f(&values(&s.inputs[0]))]);
    results
}

/// Rows of reductions: dtypes, what the operand holds, whether none will do, the calls along dims and
/// over everything, the formula of one result.
macro_rules! reductions {
    (($d:tt) $($name:ident $dtypes:ident $fill:ident $empty:literal
        |$x:ident, $dims:ident, $keep:ident| $call:expr, $whole:expr; |$v:ident| $formula:expr,
        $tolerance:ident, [$($row:tt => $grad:tt),*] $order:literal;)*
      @ { $($rest:tt)* }) => {
        make_rows! { ($d) reductions "reductions";
            $($name {
                dtypes: $dtypes,
                sample: |g| {
                    // Of one element there is no gradient worth checking where a variance is 0/0.
                    let empty = $empty && g.purpose == Purpose::Forward;
                    dims(g, $fill, empty)
                },
                run: |x, args| {
                    let ($x, ($dims, $keep)) = (&x[0], all(args));
                    vec![$call, $whole]
                },
                oracle: Oracle::Values(|s| both(s, |$v| $formula)),
                tolerance: $tolerance,
                kinks: &[$(Kink { inputs: &[&$row], args: &[0, 0], grads: &[&$grad] }),*],
                order: $order,
            })*
            $($rest)*
        }
    };
}

reductions! { ($)
    prod FLOATS POSITIVE true |x, dims, keep| x.prod_dims(dims, keep), x.prod(); |v| v.iter().product(), PRODUCT, [[2.0, 0.0] => [0.0, 2.0]] 2;
    mean FLOATS NORMAL true |x, dims, keep| x.mean_dims(dims, keep), x.mean(); |v| mean(v), SUM, [] 2;
    amax ALL ANY false |x, dims, keep| x.amax_dims(dims, keep), x.max(); |v| max(v), EXACT, [[3.0, 3.0, 1.0] => [0.5, 0.5, 0.0]] 2;
    amin ALL ANY false |x, dims, keep| x.amin_dims(dims, keep), x.min(); |v| min(v), EXACT, [[3.0, 1.0, 1.0] => [0.0, 0.5, 0.5]] 2;
    any ALL NORMAL true |x, dims, keep| x.ne(0).any_dims(dims, keep), x.ne(0).any(); |v| f64::from(u8::from(v.iter().any(|&v| v != 0.0))), EXACT, [] 0;
    all ALL NORMAL true |x, dims, keep| x.ne(0).all_dims(dims, keep), x.ne(0).all(); |v| f64::from(u8::from(v.iter().all(|&v| v != 0.0))), EXACT, [] 0;
    var_population FLOATS NORMAL false |x, dims, keep| x.var_dims(dims, 0.0, keep), x.var_dims((0..x.rank() as isize).collect::<Vec<_>>(), 0.0, false); |v| var(v, 0.0), SPREAD, [] 2;
    norm FLOATS NORMAL true |x, dims, keep| x.norm_dims(2.0, dims, keep), x.norm(); |v| v.iter().map(|v| v * v).sum::<f64>().sqrt(), SPREAD, [[0.0, 0.0] => [0.0, 0.0]] 2;
    @ {
        count_nonzero {
            dtypes: ALL,
            sample: |g| dims(g, ANY, true),
            run: |x, args| {
                let (dims, _) = all(args);
                vec![x[0].count_nonzero_dims(dims), x[0].count_nonzero()]
            },
            oracle: Oracle::Values(|s| both(s, |x| x.iter().filter(|&&v| v != 0.0).count() as f64)),
            tolerance: EXACT,
            kinks: &[],
            order: 0,
        }
        // Along a dim of two elements at least: the divisor is one less than their number.
        var_and_std {
            dtypes: FLOATS,
            sample: |g| {
                let mut shape = g.nonempty(1..=3);
                let dim = g.below(shape.rank());
                shape[dim] += 1;
                // Equal elements have no spread, and a root no derivative there.
                let fill = Fill { range: (-2.0, 2.0), ..DISTINCT };
                Sample::new([g.values(&shape, fill)]).with([1, dim as i64])
            },
            run: |x, args| {
                let (dims, keep) = all(args);
                vec![
                    x[0].var_dims(&dims, 1.0, keep),
                    x[0].std_dims(&dims, 1.0, keep),
                    x[0].var(),
                    x[0].std(),
                ]
            },
            oracle: Oracle::Values(|s| {
                let [some, whole] = [along(s, |x| var(x, 1.0)).swap_remove(0), vec![var(&values(&s.inputs[0]), 1.0)]];
                let roots = |x: &[f64]| x.iter().map(|v| v.sqrt()).collect::<Vec<_>>();
                vec![some.clone(), roots(&some), whole.clone(), roots(&whole)]
            }),
            // The root of a small variance: relative to the variance's own error.
            tolerance: Tolerance::new(64.0, 8.0, "a root near 0 has a large derivative").stored(4.0),
            kinks: &[],
            order: 2,
        }
        norms {
            dtypes: FLOATS,
            sample: |g| dims(g, NORMAL.kinks(&[0.0]), false),
            run: |x, args| {
                let (dims, keep) = all(args);
                [1.0, 3.0].map(|p| x[0].norm_dims(p, &dims, keep)).to_vec()
            },
            oracle: Oracle::Values(|s| {
                let norm = |p: f64| {
                    combined(&s.inputs[0], &s.args[1..], |x| {
                        x.iter().map(|v| v.abs().powf(p)).sum::<f64>().powf(1.0 / p)
                    })
                };
                vec![norm(1.0), norm(3.0)]
            }),
            tolerance: Tolerance::new(16.0, 64.0, "a sum of up to 210 powers, and a root"),
            kinks: &[],
            order: 2,
        }
        norms_of_order_0_and_infinity {
            dtypes: FLOATS,
            sample: |g| dims(g, DISTINCT, false),
            run: |x, args| {
                let ((dims, keep), x) = (all(args), x[0].detach());
                [0.0, f64::INFINITY, f64::NEG_INFINITY].map(|p| x.norm_dims(p, &dims, keep)).to_vec()
            },
            oracle: Oracle::Values(|s| {
                let of = |f: fn(&[f64]) -> f64| combined(&s.inputs[0], &s.args[1..], f);
                vec![
                    of(|x| x.iter().filter(|&&v| v != 0.0).count() as f64),
                    of(|x| max(&x.iter().map(|v| v.abs()).collect::<Vec<_>>())),
                    of(|x| min(&x.iter().map(|v| v.abs()).collect::<Vec<_>>())),
                ]
            }),
            tolerance: EXACT,
            kinks: &[],
            order: 0,
        }
        logsumexp {
            dtypes: FLOATS,
            sample: |g| dims(g, NORMAL, false),
            run: |x, args| {
                let (dims, keep) = all(args);
                vec![x[0].logsumexp(dims, keep)]
            },
            oracle: Oracle::Values(|s| along(s, logsumexp)),
            tolerance: Tolerance::new(8.0, 8.0, "a sum of up to 210 exponentials, and a logarithm").stored(3.0),
            kinks: &[],
            order: 2,
        }
        max_dim {
            dtypes: ALL,
            sample: |g| one_dim(g, ANY, false),
            run: |x, args| {
                let (dim, keep) = (args[1] as isize, args[0] != 0);
                let (values, at) = x[0].max_dim(dim, keep);
                vec![values, at, x[0].argmax(dim, keep), x[0].argmax_all()]
            },
            oracle: Oracle::Values(|s| {
                let at = |x: &[f64]| first(x, max(x));
                let places = along(s, at).swap_remove(0);
                vec![along(s, max).swap_remove(0), places.clone(), places, vec![at(&values(&s.inputs[0]))]]
            }),
            tolerance: EXACT,
            kinks: &[Kink { inputs: &[&[3.0, 3.0]], args: &[0, 0], grads: &[&[1.0, 0.0]] }],
            order: 2,
        }
        min_dim {
            dtypes: ALL,
            sample: |g| one_dim(g, ANY, false),
            run: |x, args| {
                let (dim, keep) = (args[1] as isize, args[0] != 0);
                let (values, at) = x[0].min_dim(dim, keep);
                vec![values, at, x[0].argmin(dim, keep), x[0].argmin_all()]
            },
            oracle: Oracle::Values(|s| {
                let at = |x: &[f64]| first(x, min(x));
                let places = along(s, at).swap_remove(0);
                vec![along(s, min).swap_remove(0), places.clone(), places, vec![at(&values(&s.inputs[0]))]]
            }),
            tolerance: EXACT,
            kinks: &[Kink { inputs: &[&[3.0, 3.0]], args: &[0, 0], grads: &[&[1.0, 0.0]] }],
            order: 2,
        }
        cumsum {
            dtypes: NUMBERS,
            sample: |g| one_dim(g, NORMAL, true),
            run: |x, args| vec![x[0].cumsum(args[1] as isize)],
            oracle: Oracle::Values(|s| {
                vec![super::plain::rows(&s.inputs[0], s.args[1], |row| {
                    (1..=row.len()).map(|n| row[..n].iter().sum()).collect()
                })]
            }),
            tolerance: SUM,
            kinks: &[],
            order: 2,
        }
        cumprod {
            dtypes: NUMBERS,
            sample: |g| one_dim(g, POSITIVE, true),
            run: |x, args| vec![x[0].cumprod(args[1] as isize)],
            oracle: Oracle::Values(|s| {
                vec![super::plain::rows(&s.inputs[0], s.args[1], |row| {
                    (1..=row.len()).map(|n| row[..n].iter().product()).collect()
                })]
            }),
            tolerance: PRODUCT,
            kinks: &[],
            order: 2,
        }
        sorted {
            dtypes: NUMBERS,
            sample: |g| one_dim(g, ANY, false),
            run: |x, args| {
                let (dim, descending) = (args[1] as isize, args[0] != 0);
                let (values, at) = x[0].sort(dim, descending);
                let (best, places) = x[0].topk(1, dim, descending);
                vec![values, at, x[0].argsort(dim, descending), best, places]
            },
            oracle: Oracle::Reference,
            tolerance: EXACT,
            kinks: &[],
            order: 2,
        }
        median {
            dtypes: FLOATS,
            sample: |g| one_dim(g, ANY, false),
            run: |x, args| {
                let (middle, at) = x[0].median_dim(args[1] as isize, args[0] != 0);
                vec![middle, at, x[0].median()]
            },
            oracle: Oracle::Reference,
            tolerance: EXACT,
            kinks: &[],
            order: 2,
        }
    }
}
