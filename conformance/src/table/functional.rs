//! The functions of `torch.nn.functional` as users call them.

use kiln_tensor_core::{
    Activation, AttentionOptions, ConvSpec, DType, PoolSpec, Scalar, Shape, adaptive_windows,
};

use super::plain::{at, log_softmax, put, rows, shaped, shaped_values, softmax, values};
use super::{Kink, Oracle, make_rows};
use crate::agree::Tolerance;
use crate::layouts::FLOATS;
use crate::strategies::{DISTINCT, Fill, Gen, NORMAL, POSITIVE, Sample};
use crate::{Form, Host};

const SOFTMAX: Tolerance =
    Tolerance::new(8.0, 4.0, "exponentials, a sum of up to 7 and its logarithm").stored(4.0);
const SUM: Tolerance = Tolerance::new(8.0, 64.0, "sums of up to 81 products up to 4").stored(1.0);
const NORM: Tolerance =
    Tolerance::new(32.0, 8.0, "moments of up to 210 numbers up to 2, differences from the mean")
        .stored(8.0);
/// Large enough that numbers which are all alike are not blown up by 1/√eps.
const EPS: f64 = 0.1;

fn one_dim(g: &mut Gen) -> Sample {
    let shape = g.shape(1..=4);
    let dim = g.dim(shape.rank());
    Sample::new([g.values(&shape, NORMAL)]).with([dim])
}

/// One spatial dim: `x`, a weight, a bias.
fn convolution(g: &mut Gen, transposed: bool) -> Sample {
    let n = if g.form == Form::Empty { 0 } else { 2 };
    let (weight, bias): (Shape, usize) =
        if transposed { ([2, 3, 2].into(), 3) } else { ([3, 2, 2].into(), 3) };
    let length = 3 + g.below(3);
    let length = g.size(length, 1 << 16);
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
    let [h, w] = [g.size(3, 256), g.size(4, 256)];
    let shape: Shape = if g.flip() { [n, 1, h, w].into() } else { [2, w, h].into() };
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

/// Attention of twice as many heads of queries as of keys, one number after the other.
fn attention(sample: &Sample) -> Vec<f64> {
    let [q, k, v, mask] = [0, 1, 2, 3].map(|i| &sample.inputs[i]);
    let (keys, width) = (k.shape[2], k.shape[3] as f64);
    let element = |i: &Vec<usize>| {
        let head = i[1] / 2;
        let weight = |key: usize| {
            let term =
                |d| q.get(&[i[0], i[1], i[2], d]).to_f64() * k.get(&[i[0], head, key, d]).to_f64();
            let seen = mask.get(&[i[2], key]).to_f64();
            seen * ((0..k.shape[3]).map(term).sum::<f64>() / width.sqrt()).exp()
        };
        let sum: f64 = (0..keys).map(weight).sum();
        let value = |key| weight(key) * v.get(&[i[0], head, key, i[3]]).to_f64();
        let total = (0..keys).map(value).sum::<f64>();
        if sum == 0.0 { 0.0 } else { total / sum }
    };
    crate::host::indices(&q.shape.with(3, v.shape[3])).iter().map(element).collect()
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

/// Maxima of adaptive windows over two dims and their places, the first of equals.
fn adaptive_max(sample: &Sample) -> Vec<Vec<f64>> {
    let x = &sample.inputs[0];
    let [.., height, width] = x.shape[..] else { unreachable!("two dims to pool") };
    let (mut values, mut places) = (Vec::new(), Vec::new());
    for image in x.values.chunks(height * width) {
        for rows in adaptive_windows(height, sample.args[0] as usize) {
            for columns in adaptive_windows(width, sample.args[1] as usize) {
                let places_of = |row| columns.clone().map(move |column| row * width + column);
                let window: Vec<usize> = rows.clone().flat_map(places_of).collect();
                let value = |&at: &usize| image[at].to_f64();
                let largest = window.iter().map(value).fold(f64::NEG_INFINITY, f64::max);
                values.push(largest);
                places.extend(window.iter().find(|at| value(at) == largest).map(|&at| at as f64));
            }
        }
    }
    vec![values, places]
}

fn adaptive_image(g: &mut Gen, fill: Fill) -> Sample {
    let n = if g.form == Form::Empty { 0 } else { 2 };
    let [height, width] = [2 + g.below(4), 1 + g.below(5)];
    let out = [1 + g.below(3) as i64, 1 + g.below(4) as i64];
    Sample::new([g.values(&[n, 3, height, width].into(), fill)]).with(out)
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
    linear_act {
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
        run: |x, _| {
            let [gelu, relu] = [Activation::GeluTanh, Activation::Relu]
                .map(|activation| x[0].linear_act(&x[1], Some(&x[2]), activation));
            vec![gelu, relu, x[0].linear_act(&x[1], None, Activation::GeluTanh)]
        },
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
            let length = g.size(length, 1 << 16);
            let out = 1 + g.below(4) as i64;
            Sample::new([g.values(&[n, 2, length].into(), NORMAL)]).with([out])
        },
        run: |x, args| vec![x[0].adaptive_avg_pool(&[args[0] as usize])],
        oracle: Oracle::Values(adaptive),
        tolerance: Tolerance::new(8.0, 16.0, "a sum of up to 6 numbers up to 2").stored(2.0),
        kinks: &[],
        order: 2,
    }
    adaptive_max_pool {
        dtypes: FLOATS,
        sample: |g| adaptive_image(g, DISTINCT),
        run: |x, args| vec![x[0].adaptive_max_pool(&[args[0] as usize, args[1] as usize])],
        oracle: Oracle::Values(|sample| vec![adaptive_max(sample).swap_remove(0)]),
        tolerance: Tolerance::EXACT,
        kinks: &[],
        order: 2,
    }
    adaptive_max_pool_with_indices {
        dtypes: FLOATS,
        sample: |g| adaptive_image(g, DISTINCT),
        run: |x, args| {
            let sizes = [args[0] as usize, args[1] as usize];
            let (values, positions) = x[0].adaptive_max_pool_with_indices(&sizes);
            vec![values, positions]
        },
        oracle: Oracle::Values(adaptive_max),
        tolerance: Tolerance::EXACT,
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
    rms_norm {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.nonempty(1..=4);
            let over: Shape = shape[shape.rank() - 1..].into();
            Sample::new([&shape, &over].map(|shape| g.values(shape, NORMAL)))
        },
        run: |x, _| {
            let over: Shape = x[1].shape().clone();
            vec![x[0].rms_norm(over, Some(&x[1]), EPS)]
        },
        oracle: Oracle::Values(|s| {
            let normalized = rows(&s.inputs[0], -1, |row| {
                let mean = row.iter().map(|v| v * v).sum::<f64>() / row.len() as f64;
                row.iter().map(|v| v / (mean + EPS).sqrt()).collect()
            });
            let weight = values(&s.inputs[1]);
            let scale = |(i, v): (usize, f64)| v * weight[i % weight.len()];
            vec![normalized.into_iter().enumerate().map(scale).collect()]
        }),
        tolerance: NORM,
        kinks: &[],
        order: 2,
    }
    group_norm {
        dtypes: FLOATS,
        sample: |g| {
            let mut shape = g.nonempty(2..=4);
            shape[1] *= 2;
            let each: Shape = [shape[1]].into();
            Sample::new([&shape, &each, &each].map(|shape| g.values(shape, NORMAL)))
        },
        run: |x, _| vec![x[0].group_norm(2, Some(&x[1]), Some(&x[2]), EPS)],
        oracle: Oracle::Values(|s| {
            let [x, weight, bias] = [0, 1, 2].map(|i| values(&s.inputs[i]));
            let shape = &s.inputs[0].shape;
            let each = shape[2..].iter().product::<usize>();
            let group = shape[1] / 2 * each;
            let element = |i: usize| {
                let group = &x[i / group * group..][..group];
                let mean = group.iter().sum::<f64>() / group.len() as f64;
                let var = group.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / group.len() as f64;
                let channel = i / each % shape[1];
                (x[i] - mean) / (var + EPS).sqrt() * weight[channel] + bias[channel]
            };
            vec![(0..x.len()).map(element).collect()]
        }),
        tolerance: NORM,
        kinks: &[],
        order: 2,
    }
    scaled_dot_product_attention {
        dtypes: FLOATS,
        sample: |g| {
            let lead: &[usize] = if g.form == Form::Empty { &[0] } else { &[2] };
            let [heads, l, s] = [g.pick(&[1, 2]), g.pick(&[1, 3]), g.pick(&[2, 5])];
            let of = |sizes: [usize; 3]| -> Shape { lead.iter().copied().chain(sizes).collect() };
            Sample::new([
                g.values(&of([2 * heads, l, 3]), NORMAL),
                g.values(&of([heads, s, 3]), NORMAL),
                g.values(&of([heads, s, 2]), NORMAL),
                g.values_as(DType::Bool, &[l, s].into(), NORMAL),
            ])
        },
        run: |x, _| {
            let options = AttentionOptions::new().enable_gqa(true).attn_mask(&x[3]);
            vec![x[0].scaled_dot_product_attention(&x[1], &x[2], options)]
        },
        oracle: Oracle::Values(|s| vec![attention(s)]),
        tolerance: Tolerance::new(32.0, 8.0, "products up to 12, exponentials, sums of up to 5")
            .stored(2.0),
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
    prelu {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.shape(0..=4);
            let channels = if shape.rank() < 2 { 1 } else { shape[1] };
            let weight: Shape = match g.below(3) {
                0 => Shape::scalar(),
                1 => [1].into(),
                _ => [channels].into(),
            };
            Sample::new([g.values(&shape, NORMAL.kinks(&[0.0])), g.values(&weight, NORMAL)])
        },
        run: |x, _| vec![x[0].prelu(&x[1])],
        oracle: Oracle::Values(|s| {
            let (x, weight) = (&s.inputs[0], values(&s.inputs[1]));
            let element = |i: &Vec<usize>| {
                let w = if weight.len() == 1 { weight[0] } else { weight[i[1]] };
                let x = x.get(i).to_f64();
                if x > 0.0 { x } else { x * w }
            };
            vec![crate::host::indices(&x.shape).iter().map(element).collect()]
        }),
        tolerance: Tolerance::new(1.0, 0.0, "one rounding"),
        kinks: &[Kink {
            inputs: &[&[0.0, 1.0, -1.0], &[0.25]],
            args: &[],
            grads: &[&[0.25, 1.0, 0.25], &[-1.0]],
        }],
        order: 2,
    }
    glu {
        dtypes: FLOATS,
        sample: |g| {
            let mut shape = g.shape(1..=3);
            let dim = g.below(shape.rank());
            shape[dim] *= 2;
            let signed = if g.flip() { dim as i64 } else { dim as i64 - shape.rank() as i64 };
            Sample::new([g.values(&shape, NORMAL)]).with([signed])
        },
        run: |x, dim| shaped(vec![x[0].glu(dim[0] as isize)]),
        oracle: Oracle::Values(|s| {
            let x = &s.inputs[0];
            let dim = at(s.args[0], x.shape.rank());
            let half = x.shape[dim] / 2;
            let to = x.shape.with(dim, half);
            let element = |i: &Vec<usize>| {
                let [a, b] = [0, half].map(|k| x.get(&put(i, dim, i[dim] + k)).to_f64());
                a / (1.0 + (-b).exp())
            };
            let values = crate::host::indices(&to).iter().map(element).collect();
            shaped_values(vec![(to, values)])
        }),
        tolerance: Tolerance::new(8.0, 0.0, "an exponential, a quotient and a product"),
        kinks: &[],
        order: 2,
    }
}
