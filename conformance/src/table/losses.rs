//! Every loss with all its options and reductions, against its formula.

use kiln_tensor_core::{Reduction, Scalar, Shape};

use super::plain::{log_softmax, put, rows, values};
use super::{Kink, Oracle, make_rows};
use crate::agree::Tolerance;
use crate::host::indices;
use crate::layouts::FLOATS;
use crate::strategies::{DISTINCT, Fill, Gen, NORMAL, POSITIVE, Purpose, Sample};
use crate::{Form, Host};

const LOSS: Tolerance =
    Tolerance::new(8.0, 420.0, "a sum of up to 210 losses, each of a few roundings").stored(1.0);
const CLASSES: Tolerance =
    Tolerance::new(8.0, 32.0, "a sum of a few losses, each of a few logarithms").stored(4.0);
const SOME: Fill = Fill { spacing: 0.5, ..DISTINCT };
const OTHERS: Fill = Fill { offset: 0.8, ..SOME };
const PROBABILITY: Fill = Fill::within(0.1, 0.9);
const REDUCTIONS: [Reduction; 3] = [Reduction::None, Reduction::Mean, Reduction::Sum];

/// A loss with each reduction.
macro_rules! reduced {
    (|$r:ident| $loss:expr) => {
        REDUCTIONS.map(|$r| $loss).to_vec()
    };
}

/// What `reduced!` gives: the losses of the elements, their mean and their sum.
fn all(each: Vec<f64>, count: f64) -> Vec<Vec<f64>> {
    let sum: f64 = each.iter().sum();
    vec![each, vec![sum / count], vec![sum]]
}

/// `f` of the elements of operands of one shape, with each reduction.
fn losses(sample: &Sample, f: impl Fn(&[f64]) -> f64) -> Vec<Vec<f64>> {
    let operands: Vec<Vec<f64>> = sample.inputs.iter().map(values).collect();
    let element = |i: usize| f(&operands.iter().map(|x| x[i]).collect::<Vec<_>>());
    let each: Vec<f64> = (0..operands[0].len()).map(element).collect();
    let count = each.len() as f64;
    all(each, count)
}

/// Operands of one shape; with elements where gradients are taken, for the mean of none is NaN.
fn alike<const N: usize>(g: &mut Gen, fills: [Fill; N]) -> Sample {
    let gradient = g.purpose == Purpose::Gradient;
    let shape = if gradient { g.nonempty(0..=4) } else { g.shape(0..=4) };
    Sample::new(fills.map(|fill| g.values(&shape, fill)))
}

fn distance(x: &[f64]) -> f64 {
    (x[0] - x[1]).abs()
}

fn smooth_l1(d: f64, beta: f64) -> f64 {
    if d < beta { d * d / 2.0 / beta } else { d - beta / 2.0 }
}

fn binary_cross_entropy(p: f64, y: f64) -> f64 {
    -(y * p.ln() + (1.0 - y) * (1.0 - p).ln())
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Scores of classes in dim 1 (or 0 of one dim).
fn scores(g: &mut Gen) -> (Shape, usize) {
    let mut shape = g.nonempty(1..=3);
    let dim = usize::from(shape.rank() > 1);
    if g.form == Form::Empty && g.purpose == Purpose::Forward && dim == 1 {
        shape[0] = 0;
    }
    (shape, dim)
}

/// Scores, the class of each place, weights of the classes, and a class that does not count.
fn classes(g: &mut Gen) -> Sample {
    let (shape, dim) = scores(g);
    let mut places = shape.clone();
    let count = places.remove(dim);
    // Something counts where gradients are taken: the mean of nothing is NaN.
    let ignored = match g.purpose {
        Purpose::Forward => g.pick(&[-100, 0]),
        Purpose::Gradient | Purpose::Speed => -100,
    };
    let mut target = g.index(&places, count);
    for value in target.values.iter_mut().skip(1) {
        if g.below(4) == 0 {
            *value = Scalar::I64(ignored);
        }
    }
    let weight = g.values(&[count].into(), POSITIVE);
    Sample::new([g.values(&shape, NORMAL), target, weight]).with([ignored])
}

/// The logarithms of the classes' probabilities, from their scores.
fn log_probabilities(scores: &Host) -> Host {
    let dim = i64::from(scores.shape.rank() > 1);
    Host::floats(scores.shape.clone(), &rows(scores, dim, log_softmax))
}

/// The places of a tensor of scores, each with where its classes are.
fn places(x: &Host) -> Vec<Vec<f64>> {
    let dim = usize::from(x.shape.rank() > 1);
    let row = |i: &Vec<usize>| (0..x.shape[dim]).map(|c| x.get(&put(i, dim, c)).to_f64()).collect();
    indices(&x.shape.with(dim, 1)).iter().map(row).collect()
}

/// The cross-entropy of log-probabilities and classes: `weighted` or not, and smoothed.
fn by_class(s: &Sample, log_p: &Host, weighted: bool, smoothing: f64) -> Vec<Vec<f64>> {
    let weight = |class: usize| if weighted { s.inputs[2].values[class].to_f64() } else { 1.0 };
    let mut counted = 0.0;
    let loss = |(row, target): (&Vec<f64>, &Scalar)| {
        let target = target.to_i64();
        if target == s.args[0] {
            return 0.0;
        }
        let class = target as usize;
        counted += weight(class);
        let spread: f64 = row.iter().enumerate().map(|(c, x)| -weight(c) * x).sum();
        (1.0 - smoothing) * -weight(class) * row[class] + smoothing / row.len() as f64 * spread
    };
    let each: Vec<f64> = places(log_p).iter().zip(&s.inputs[1].values).map(loss).collect();
    all(each, counted)
}

/// The cross-entropy of scores and probabilities.
fn by_probability(s: &Sample, weighted: bool, smoothing: f64) -> Vec<Vec<f64>> {
    let weight = |class: usize| if weighted { s.inputs[2].values[class].to_f64() } else { 1.0 };
    let (log_p, target) = (places(&log_probabilities(&s.inputs[0])), places(&s.inputs[1]));
    let loss = |(row, target): (&Vec<f64>, &Vec<f64>)| -> f64 {
        let even = smoothing / row.len() as f64;
        let share = |c: usize| target[c] * (1.0 - smoothing) + even;
        row.iter().enumerate().map(|(c, x)| -weight(c) * x * share(c)).sum()
    };
    let each: Vec<f64> = log_p.iter().zip(&target).map(loss).collect();
    let count = each.len() as f64;
    all(each, count)
}

make_rows! { ($) losses "losses";
    mse_loss {
        dtypes: FLOATS,
        sample: |g| alike(g, [NORMAL, NORMAL]),
        run: |x, _| reduced!(|r| x[0].mse_loss(&x[1], r)),
        oracle: Oracle::Values(|s| losses(s, |x| (x[0] - x[1]).powi(2))),
        tolerance: LOSS,
        kinks: &[],
        order: 2,
    }
    l1_loss {
        dtypes: FLOATS,
        sample: |g| alike(g, [SOME, OTHERS]),
        run: |x, _| reduced!(|r| x[0].l1_loss(&x[1], r)),
        oracle: Oracle::Values(|s| losses(s, distance)),
        tolerance: LOSS,
        kinks: &[Kink { inputs: &[&[1.0], &[1.0]], args: &[], grads: &[&[0.0], &[0.0]] }],
        order: 2,
    }
    smooth_l1_loss {
        dtypes: FLOATS,
        sample: |g| alike(g, [SOME, OTHERS]),
        run: |x, _| {
            let mut results = reduced!(|r| x[0].smooth_l1_loss(&x[1], 0.5, r));
            results.extend(reduced!(|r| x[0].smooth_l1_loss(&x[1], 0.0, r)));
            results
        },
        oracle: Oracle::Values(|s| {
            [0.5, 0.0].iter().flat_map(|&b| losses(s, |x| smooth_l1(distance(x), b))).collect()
        }),
        tolerance: LOSS,
        kinks: &[
            Kink { inputs: &[&[1.0], &[1.0]], args: &[], grads: &[&[0.0], &[0.0]] },
            // The second derivative jumps where the line begins.
            Kink { inputs: &[&[1.5, 0.5], &[1.0, 1.0]], args: &[], grads: &[&[1.0, -1.0], &[-1.0, 1.0]] },
        ],
        order: 2,
    }
    huber_loss {
        dtypes: FLOATS,
        sample: |g| alike(g, [SOME, OTHERS]),
        run: |x, _| reduced!(|r| x[0].huber_loss(&x[1], 1.5, r)),
        oracle: Oracle::Values(|s| losses(s, |x| 1.5 * smooth_l1(distance(x), 1.5))),
        tolerance: LOSS,
        kinks: &[
            Kink { inputs: &[&[1.0], &[1.0]], args: &[], grads: &[&[0.0], &[0.0]] },
            Kink { inputs: &[&[2.5, -0.5], &[1.0, 1.0]], args: &[], grads: &[&[1.5, -1.5], &[-1.5, 1.5]] },
        ],
        order: 2,
    }
    binary_cross_entropy {
        dtypes: FLOATS,
        sample: |g| alike(g, [PROBABILITY, PROBABILITY, POSITIVE]),
        run: |x, _| {
            let mut results = reduced!(|r| x[0].binary_cross_entropy(&x[1], None, r));
            if let Some(weight) = x.get(2) {
                results.extend(reduced!(|r| x[0].binary_cross_entropy(&x[1], Some(weight), r)));
            }
            results
        },
        oracle: Oracle::Values(|s| {
            let mut results = losses(s, |x| binary_cross_entropy(x[0], x[1]));
            results.extend(losses(s, |x| x[2] * binary_cross_entropy(x[0], x[1])));
            results
        }),
        tolerance: LOSS,
        // The logarithm of 0 counts as −100, and its derivative as 0.
        kinks: &[Kink { inputs: &[&[0.0], &[0.5]], args: &[], grads: &[&[0.5], &[100.0]] }],
        order: 2,
    }
    binary_cross_entropy_with_logits {
        dtypes: FLOATS,
        sample: |g| alike(g, [NORMAL.kinks(&[0.0]), PROBABILITY, POSITIVE, POSITIVE]),
        // Without weights, with one of the two, with both.
        run: |x, _| {
            let options = [(None, None), (x.get(2), None), (None, x.get(3)), (x.get(2), x.get(3))];
            let loss = |(weight, positive)| {
                reduced!(|r| x[0].binary_cross_entropy_with_logits(&x[1], weight, positive, r))
            };
            options.into_iter().flat_map(loss).collect()
        },
        oracle: Oracle::Values(|s| {
            let loss = |(weighted, positive): (bool, bool)| {
                losses(s, |x| {
                    let p = sigmoid(x[0]);
                    let positive = if positive { x[3] } else { 1.0 };
                    let loss = -(positive * x[1] * p.ln() + (1.0 - x[1]) * (1.0 - p).ln());
                    if weighted { x[2] * loss } else { loss }
                })
            };
            let options = [(false, false), (true, false), (false, true), (true, true)];
            options.into_iter().flat_map(loss).collect()
        }),
        tolerance: LOSS,
        // The loss is smooth at 0, though the parts that keep it from overflowing are not.
        kinks: &[Kink { inputs: &[&[0.0, 0.0], &[0.0, 1.0]], args: &[], grads: &[&[0.5, -0.5], &[0.0, 0.0]] }],
        order: 2,
    }
    kl_div {
        dtypes: FLOATS,
        sample: |g| alike(g, [NORMAL, PROBABILITY]),
        run: |x, _| {
            let of = |log: bool| {
                let mut results = reduced!(|r| x[0].kl_div(&x[1], log, r));
                results.push(x[0].kl_div(&x[1], log, Reduction::BatchMean));
                results
            };
            [of(false), of(true)].concat()
        },
        oracle: Oracle::Values(|s| {
            let batch = s.inputs[0].shape.first().map_or(1.0, |&n| n as f64);
            let of = |f: fn(&[f64]) -> f64| {
                let mut results = losses(s, f);
                results.push(vec![results[2][0] / batch]);
                results
            };
            [of(|x| x[1] * (x[1].ln() - x[0])), of(|x| x[1].exp() * (x[1] - x[0]))].concat()
        }),
        tolerance: LOSS,
        kinks: &[],
        order: 2,
    }
    nll_loss {
        dtypes: FLOATS,
        sample: |g| classes(g),
        run: |x, ignored| {
            let options = [None, Some(&x[2])];
            let loss = |weight| reduced!(|r| x[0].nll_loss(&x[1], weight, ignored[0], r));
            options.into_iter().flat_map(loss).collect()
        },
        oracle: Oracle::Values(|s| {
            [false, true].iter().flat_map(|&w| by_class(s, &s.inputs[0], w, 0.0)).collect()
        }),
        tolerance: CLASSES,
        kinks: &[],
        order: 2,
    }
    cross_entropy {
        dtypes: FLOATS,
        sample: |g| classes(g),
        run: |x, ignored| {
            let options = [(None, 0.0), (Some(&x[2]), 0.0), (None, 0.1), (Some(&x[2]), 0.1)];
            let loss = |(weight, smoothing)| {
                reduced!(|r| x[0].cross_entropy(&x[1], weight, ignored[0], smoothing, r))
            };
            options.into_iter().flat_map(loss).collect()
        },
        oracle: Oracle::Values(|s| {
            let log_p = log_probabilities(&s.inputs[0]);
            let options = [(false, 0.0), (true, 0.0), (false, 0.1), (true, 0.1)];
            options.iter().flat_map(|&(w, smoothing)| by_class(s, &log_p, w, smoothing)).collect()
        }),
        tolerance: CLASSES,
        kinks: &[],
        order: 2,
    }
    cross_entropy_of_probabilities {
        dtypes: FLOATS,
        sample: |g| {
            let (shape, dim) = scores(g);
            let weight = g.values(&[shape[dim]].into(), POSITIVE);
            Sample::new([g.values(&shape, NORMAL), g.values(&shape, PROBABILITY), weight])
        },
        run: |x, _| {
            let options = [(None, 0.0), (Some(&x[2]), 0.0), (None, 0.1), (Some(&x[2]), 0.1)];
            let loss = |(weight, smoothing)| {
                reduced!(|r| x[0].cross_entropy(&x[1], weight, -100, smoothing, r))
            };
            options.into_iter().flat_map(loss).collect()
        },
        oracle: Oracle::Values(|s| {
            let options = [(false, 0.0), (true, 0.0), (false, 0.1), (true, 0.1)];
            options.iter().flat_map(|&(w, smoothing)| by_probability(s, w, smoothing)).collect()
        }),
        tolerance: CLASSES,
        kinks: &[],
        order: 2,
    }
}
