//! The functions of `torch.nn.functional` as users call them.

use kiln_tensor_core::{ConvSpec, PoolSpec, Reduction, Scalar, Shape, Tensor};

use super::plain::{log_softmax, losses, rows, softmax};
use super::{Kink, Oracle, make_rows};
use crate::agree::Tolerance;
use crate::layouts::FLOATS;
use crate::strategies::{DISTINCT, Fill, Gen, NORMAL, POSITIVE, Purpose, Sample};
use crate::{Form, Host};

const SOFTMAX: Tolerance =
    Tolerance::new(8.0, 4.0, "exponentials, a sum of up to 7 and its logarithm").stored(4.0);
const LOSS: Tolerance =
    Tolerance::new(8.0, 420.0, "a sum of up to 210 losses, each of a few roundings").stored(1.0);
const CLASSES: Tolerance =
    Tolerance::new(8.0, 16.0, "a sum of a few losses, each of a logarithm").stored(4.0);
const SUM: Tolerance = Tolerance::new(8.0, 64.0, "sums of up to 81 products up to 4").stored(1.0);
const NORM: Tolerance =
    Tolerance::new(32.0, 8.0, "moments of up to 210 numbers up to 2, differences from the mean")
        .stored(8.0);
/// Large enough that numbers which are all alike are not blown up by 1/√eps.
const EPS: f64 = 0.1;
const SOME: Fill = Fill { spacing: 0.5, ..DISTINCT };
const OTHERS: Fill = Fill { offset: 0.8, ..SOME };
const PROBABILITY: Fill = Fill::within(0.1, 0.9);

/// The losses of the elements, their mean and their sum.
macro_rules! all_reductions {
    (|$r:ident| $loss:expr) => {
        [Reduction::None, Reduction::Mean, Reduction::Sum].map(|$r| $loss).to_vec()
    };
}

/// A shape; with elements where gradients are taken, for the mean of none is NaN.
fn lossy(g: &mut Gen) -> Shape {
    if g.purpose == Purpose::Gradient { g.nonempty(0..=4) } else { g.shape(0..=4) }
}

fn two(g: &mut Gen, x: Fill, y: Fill) -> Sample {
    let shape = lossy(g);
    Sample::new([g.values(&shape, x), g.values(&shape, y)])
}

fn one_dim(g: &mut Gen) -> Sample {
    let shape = g.shape(1..=4);
    let dim = g.dim(shape.rank());
    Sample::new([g.values(&shape, NORMAL)]).with([dim])
}

/// Scores of classes in dim 1 (or 0), targets with some to be ignored, and weights.
fn classes(g: &mut Gen) -> Sample {
    let shape = g.nonempty(1..=3);
    let dim = usize::from(shape.rank() > 1);
    let count = shape[dim];
    let mut places = shape.clone();
    places.remove(dim);
    let mut target = g.index(&places, count);
    // The first stays, so that a mean is over something.
    for value in target.values.iter_mut().skip(1) {
        if g.below(4) == 0 {
            *value = Scalar::I64(-100);
        }
    }
    let weight = g.values(&[count].into(), POSITIVE);
    Sample::new([g.values(&shape, NORMAL), target, weight])
}

/// One spatial dim: `x`, a weight, a bias.
fn convolution(g: &mut Gen, transposed: bool) -> Sample {
    let n = if g.form == Form::Empty { 0 } else { 2 };
    let (weight, bias): (Shape, usize) =
        if transposed { ([2, 3, 2].into(), 3) } else { ([3, 2, 2].into(), 3) };
    let length = 3 + g.below(3);
    let x: Shape = if g.flip() { [n, 2, length].into() } else { [2, length].into() };
    Sample::new([g.values(&x, NORMAL), g.values(&weight, NORMAL), g.values(&[bias].into(), NORMAL)])
}

fn spec() -> ConvSpec {
    let mut spec = ConvSpec::new(1);
    (spec.stride[0], spec.padding[0]) = (2, 1);
    spec
}

fn pooling(g: &mut Gen, fill: Fill) -> Sample {
    let n = if g.form == Form::Empty { 0 } else { 2 };
    let shape: Shape = if g.flip() { [n, 1, 3, 4].into() } else { [2, 4, 3].into() };
    Sample::new([g.values(&shape, fill)])
}

fn pool() -> PoolSpec {
    let mut spec = PoolSpec::new(&[2, 2]);
    spec.stride[1] = 1;
    spec
}

/// `x` with channels in dim 1, and one value per channel for each of `count` more operands.
fn channels(g: &mut Gen, count: usize) -> Sample {
    let mut shape = g.nonempty(2..=4);
    // More than one value per channel.
    shape[0] += 1;
    let mut inputs: Vec<Host> = vec![g.values(&shape, NORMAL)];
    inputs.extend((0..count).map(|_| g.values(&[shape[1]].into(), POSITIVE)));
    Sample::new(inputs)
}

fn absolute(x: &[f64]) -> f64 {
    (x[0] - x[1]).abs()
}

/// One dim of adaptive windows after the other.
fn adaptive(sample: &Sample) -> Vec<Vec<f64>> {
    let x = &sample.inputs[0];
    let (size, out) = (x.shape[x.shape.rank() - 1], sample.args[0] as usize);
    let mean = |row: &[Scalar], i: usize| {
        let (start, end) = (i * size / out, ((i + 1) * size).div_ceil(out));
        row[start..end].iter().map(|v| v.to_f64()).sum::<f64>() / (end - start) as f64
    };
    let means = |row: &[Scalar]| (0..out).map(|i| mean(row, i)).collect::<Vec<_>>();
    vec![x.values.chunks(size).flat_map(means).collect()]
}

make_rows! { ($) functional "functional";
    softmax {
        dtypes: FLOATS,
        sample: |g| one_dim(g),
        run: |x, dim| vec![x[0].softmax(dim[0] as isize)],
        oracle: Oracle::Values(|s| vec![rows(&s.inputs[0], s.args[0], softmax)]),
        tolerance: SOFTMAX,
        kinks: &[],
        order: 2,
    }
    log_softmax {
        dtypes: FLOATS,
        sample: |g| one_dim(g),
        run: |x, dim| vec![x[0].log_softmax(dim[0] as isize)],
        oracle: Oracle::Values(|s| vec![rows(&s.inputs[0], s.args[0], log_softmax)]),
        tolerance: SOFTMAX,
        kinks: &[],
        order: 2,
    }
    mse_loss {
        dtypes: FLOATS,
        sample: |g| two(g, NORMAL, NORMAL),
        run: |x, _| all_reductions!(|r| x[0].mse_loss(&x[1], r)),
        oracle: Oracle::Values(|s| losses(s, |x| (x[0] - x[1]).powi(2))),
        tolerance: LOSS,
        kinks: &[],
        order: 2,
    }
    l1_loss {
        dtypes: FLOATS,
        sample: |g| two(g, SOME, OTHERS),
        run: |x, _| all_reductions!(|r| x[0].l1_loss(&x[1], r)),
        oracle: Oracle::Values(|s| losses(s, absolute)),
        tolerance: LOSS,
        kinks: &[Kink { inputs: &[&[1.0], &[1.0]], args: &[], grads: &[&[0.0], &[0.0]] }],
        order: 2,
    }
    smooth_l1_loss {
        dtypes: FLOATS,
        sample: |g| two(g, SOME, OTHERS),
        run: |x, _| all_reductions!(|r| x[0].smooth_l1_loss(&x[1], 0.5, r)),
        oracle: Oracle::Values(|s| losses(s, |x| {
            let d = absolute(x);
            if d < 0.5 { d * d } else { d - 0.25 }
        })),
        tolerance: LOSS,
        kinks: &[Kink { inputs: &[&[1.0], &[1.0]], args: &[], grads: &[&[0.0], &[0.0]] }],
        order: 2,
    }
    huber_loss {
        dtypes: FLOATS,
        sample: |g| two(g, SOME, OTHERS),
        run: |x, _| all_reductions!(|r| x[0].huber_loss(&x[1], 1.5, r)),
        oracle: Oracle::Values(|s| losses(s, |x| {
            let d = absolute(x);
            if d <= 1.5 { d * d / 2.0 } else { 1.5 * (d - 0.75) }
        })),
        tolerance: LOSS,
        kinks: &[],
        order: 2,
    }
    binary_cross_entropy {
        dtypes: FLOATS,
        sample: |g| two(g, PROBABILITY, PROBABILITY),
        run: |x, _| all_reductions!(|r| x[0].binary_cross_entropy(&x[1], None, r)),
        oracle: Oracle::Values(|s| losses(s, |x| -(x[1] * x[0].ln() + (1.0 - x[1]) * (1.0 - x[0]).ln()))),
        tolerance: LOSS,
        // The logarithm of 0 counts as −100, and its derivative as 0.
        kinks: &[Kink { inputs: &[&[0.0], &[0.5]], args: &[], grads: &[&[0.5], &[100.0]] }],
        order: 2,
    }
    binary_cross_entropy_with_logits {
        dtypes: FLOATS,
        sample: |g| {
            let shape = lossy(g);
            let fills = [NORMAL.kinks(&[0.0]), PROBABILITY, POSITIVE, POSITIVE];
            Sample::new(fills.map(|fill| g.values(&shape, fill)))
        },
        run: |x, _| all_reductions!(|r| {
            x[0].binary_cross_entropy_with_logits(&x[1], Some(&x[2]), Some(&x[3]), r)
        }),
        oracle: Oracle::Values(|s| losses(s, |x| {
            let p = 1.0 / (1.0 + (-x[0]).exp());
            -x[2] * (x[3] * x[1] * p.ln() + (1.0 - x[1]) * (1.0 - p).ln())
        })),
        tolerance: LOSS,
        kinks: &[],
        order: 2,
    }
    kl_div {
        dtypes: FLOATS,
        sample: |g| two(g, NORMAL, PROBABILITY),
        run: |x, _| {
            let mut all = all_reductions!(|r| x[0].kl_div(&x[1], false, r));
            all.push(x[0].kl_div(&x[1], true, Reduction::BatchMean));
            all
        },
        oracle: Oracle::Values(|s| {
            let mut all = losses(s, |x| x[1] * (x[1].ln() - x[0]));
            let log_target = losses(s, |x| x[1].exp() * (x[1] - x[0])).swap_remove(2);
            let batch = s.inputs[0].shape.first().map_or(1.0, |&n| n as f64);
            all.push(vec![log_target[0] / batch]);
            all
        }),
        tolerance: LOSS,
        kinks: &[],
        order: 2,
    }
    nll_loss {
        dtypes: FLOATS,
        sample: |g| classes(g),
        run: |x, _| all_reductions!(|r| x[0].nll_loss(&x[1], Some(&x[2]), -100, r)),
        oracle: Oracle::Reference,
        tolerance: CLASSES,
        kinks: &[],
        order: 2,
    }
    cross_entropy {
        dtypes: FLOATS,
        sample: |g| classes(g),
        run: |x, _| {
            let mut all = all_reductions!(|r| x[0].cross_entropy(&x[1], None, -100, 0.0, r));
            all.extend(all_reductions!(|r| x[0].cross_entropy(&x[1], Some(&x[2]), -100, 0.1, r)));
            all
        },
        oracle: Oracle::Reference,
        tolerance: CLASSES,
        kinks: &[],
        order: 2,
    }
    linear {
        dtypes: FLOATS,
        sample: |g| {
            let lead = g.shape(0..=2);
            let x = [&lead[..], &[3]].concat().into();
            Sample::new([
                g.values(&x, NORMAL),
                g.values(&[2, 3].into(), NORMAL),
                g.values(&[2].into(), NORMAL),
            ])
        },
        run: |x, _| vec![x[0].linear(&x[1], Some(&x[2])), x[0].linear(&x[1], None)],
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    conv {
        dtypes: FLOATS,
        sample: |g| convolution(g, false),
        run: |x, _| vec![x[0].conv(&x[1], Some(&x[2]), &spec())],
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    conv_transpose {
        dtypes: FLOATS,
        sample: |g| convolution(g, true),
        run: |x, _| vec![x[0].conv_transpose(&x[1], Some(&x[2]), &spec(), &[1])],
        oracle: Oracle::Reference,
        tolerance: SUM,
        kinks: &[],
        order: 2,
    }
    max_pool {
        dtypes: FLOATS,
        sample: |g| pooling(g, DISTINCT),
        run: |x, _| vec![x[0].max_pool(&pool())],
        oracle: Oracle::Reference,
        tolerance: Tolerance::EXACT,
        kinks: &[],
        order: 2,
    }
    max_pool_with_indices {
        dtypes: FLOATS,
        sample: |g| pooling(g, DISTINCT),
        run: |x, _| {
            let (values, positions) = x[0].max_pool_with_indices(&pool());
            vec![values, positions]
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::EXACT,
        kinks: &[],
        order: 2,
    }
    avg_pool {
        dtypes: FLOATS,
        sample: |g| pooling(g, NORMAL),
        run: |x, _| vec![x[0].avg_pool(&pool())],
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(4.0, 8.0, "a sum of 4 numbers up to 2"),
        kinks: &[],
        order: 2,
    }
    adaptive_avg_pool {
        dtypes: FLOATS,
        sample: |g| {
            let n = if g.form == Form::Empty { 0 } else { 2 };
            let length = 2 + g.below(5);
            let out = 1 + g.below(4) as i64;
            Sample::new([g.values(&[n, 2, length].into(), NORMAL)]).with([out])
        },
        run: |x, args| vec![x[0].adaptive_avg_pool(&[args[0] as usize])],
        oracle: Oracle::Values(adaptive),
        tolerance: Tolerance::new(8.0, 16.0, "a sum of up to 6 numbers up to 2").stored(2.0),
        kinks: &[],
        order: 2,
    }
    layer_norm {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.nonempty(1..=4);
            let over: Shape = shape[shape.rank() - 1..].into();
            Sample::new([&shape, &over, &over].map(|shape| g.values(shape, NORMAL)))
        },
        run: |x, _| {
            let over: Shape = x[1].shape().clone();
            vec![x[0].layer_norm(over, Some(&x[1]), Some(&x[2]), EPS)]
        },
        oracle: Oracle::Values(|s| {
            let normalized = rows(&s.inputs[0], -1, |row| {
                let mean = row.iter().sum::<f64>() / row.len() as f64;
                let var = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / row.len() as f64;
                row.iter().map(|v| (v - mean) / (var + EPS).sqrt()).collect()
            });
            let at = |x: &Host, i: usize| x.values[i % x.values.len()].to_f64();
            let scale = |(i, v): (usize, f64)| v * at(&s.inputs[1], i) + at(&s.inputs[2], i);
            vec![normalized.into_iter().enumerate().map(scale).collect()]
        }),
        tolerance: NORM,
        kinks: &[],
        order: 2,
    }
    batch_norm_train {
        dtypes: FLOATS,
        sample: |g| channels(g, 2),
        run: |x, _| {
            let (y, mean, var) = x[0].batch_norm_train(Some(&x[1]), Some(&x[2]), EPS);
            vec![y, mean, var]
        },
        oracle: Oracle::Reference,
        tolerance: NORM,
        kinks: &[],
        order: 2,
    }
    batch_norm_eval {
        dtypes: FLOATS,
        sample: |g| channels(g, 4),
        run: |x, _| {
            let with = x[0].batch_norm_eval(&x[1], &x[2], Some(&x[3]), Some(&x[4]), EPS);
            let plain = x[0].batch_norm_eval(&x[1], &x[2], None, None, EPS);
            vec![with, plain]
        },
        oracle: Oracle::Reference,
        tolerance: NORM,
        kinks: &[],
        order: 2,
    }
    dropout {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.shape(0..=4);
            Sample::new([g.values(&shape, POSITIVE)])
        },
        run: |x, _| crate::suite::seeded(x[0].device(), || vec![x[0].dropout(0.4, true)]),
        oracle: Oracle::Native,
        tolerance: Tolerance::new(1.0, 0.0, "one rounding"),
        kinks: &[],
        order: 2,
    }
    dropout_channels {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.shape(2..=4);
            Sample::new([g.values(&shape, POSITIVE)])
        },
        run: |x, _| crate::suite::seeded(x[0].device(), || vec![x[0].dropout_channels(0.4, true)]),
        oracle: Oracle::Native,
        tolerance: Tolerance::new(1.0, 0.0, "one rounding"),
        kinks: &[],
        order: 2,
    }
    // One product of each kind, on matrices.
    products {
        dtypes: FLOATS,
        sample: |g| {
            let k = if g.form == Form::Empty { 0 } else { 3 };
            let shapes: [Shape; 6] = [
                [2, k].into(), [k, 5].into(), [k].into(), [3, 2, k].into(), [3, k, 5].into(), [5].into(),
            ];
            Sample::new(shapes.map(|shape| g.values(&shape, NORMAL)))
        },
        run: |x, _| {
            let [a, b, v, batch, other, row] = [0, 1, 2, 3, 4, 5].map(|i| &x[i]);
            vec![
                a.mm(b),
                a.mv(v),
                v.dot(v),
                v.outer(row),
                batch.bmm(other),
                row.addmm(a, b, 0.5, 2.0),
                row.baddbmm(batch, other, 0.5, 2.0),
                a.tensordot(b, [&[1], &[0]]),
                batch.matmul(b),
                v.matmul(b),
                Tensor::einsum("ij,jk->ki", &[a, b]),
                Tensor::einsum("bij,bjk,k->b", &[batch, other, row]),
            ]
        },
        oracle: Oracle::Reference,
        tolerance: Tolerance::new(8.0, 256.0, "sums of up to 45 products of three").stored(2.0),
        kinks: &[],
        order: 2,
    }
}
