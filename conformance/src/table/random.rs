//! Random numbers: with one seed the same on every backend, worked out here from the generator's bits.

use kiln_tensor_core::{DType, Tensor, philox};

use super::{Oracle, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{Fill, Gen, NORMAL, Sample};
use crate::suite::{FIRST_DRAW, seeded};

const EXACT: Tolerance = Tolerance::EXACT;
const ROUNDED: Tolerance = Tolerance::new(2.0, 1.0, "a product and a sum");
const BELL: Tolerance = Tolerance::new(16.0, 8.0, "a logarithm, a root and a cosine of up to 2π");
const PROBABILITY: Fill = Fill::within(0.0, 1.0);

/// An operand that gives a shape, a dtype and a device.
fn like(g: &mut Gen) -> Sample {
    let shape = g.shape(0..=4);
    Sample::new([g.values(&shape, NORMAL)])
}

/// The uniform numbers of one draw after [`seeded`]'s first, with as many bits as `dtype` has.
fn uniform(draw: u64, dtype: DType, count: usize) -> Vec<f64> {
    let element = |i| philox::uniform(FIRST_DRAW.seed, FIRST_DRAW.stream + draw, i as u64, dtype);
    (0..count).map(element).collect()
}

/// Box and Muller's numbers: the second uniform number is of a stream beside the first.
fn normal(draw: u64, dtype: DType, count: usize) -> Vec<f64> {
    let dtype = dtype.compute();
    let beside = (FIRST_DRAW.stream + draw) ^ (1 << 63);
    let element = |(i, u): (usize, f64)| {
        let v = philox::uniform(FIRST_DRAW.seed, beside, i as u64, dtype);
        (-2.0 * (1.0 - u).ln()).sqrt() * (v * std::f64::consts::TAU).cos()
    };
    uniform(draw, dtype, count).into_iter().enumerate().map(element).collect()
}

fn truth(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

/// A number as programs of `dtype` hold it.
fn held(number: f64, dtype: DType) -> f64 {
    if dtype == DType::F64 { number } else { f64::from(number as f32) }
}

make_rows! { ($) random "random";
    rand {
        dtypes: FLOATS,
        sample: |g| like(g),
        run: |x, _| seeded(x[0].device(), || {
            vec![Tensor::rand(x[0].shape(), (x[0].device(), x[0].dtype())), x[0].rand_like()]
        }),
        oracle: Oracle::Values(|s| {
            let (count, dtype) = (s.inputs[0].values.len(), s.inputs[0].dtype);
            vec![uniform(0, dtype, count), uniform(1, dtype, count)]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    uniform_ {
        dtypes: FLOATS,
        sample: |g| like(g),
        run: |x, _| seeded(x[0].device(), || vec![x[0].detach().copy().uniform_(-1.0, 3.0)]),
        oracle: Oracle::Values(|s| {
            let u = uniform(0, s.inputs[0].dtype, s.inputs[0].values.len());
            vec![u.iter().map(|u| u * 4.0 - 1.0).collect()]
        }),
        tolerance: ROUNDED,
        kinks: &[],
        order: 0,
    }
    randn {
        dtypes: FLOATS,
        sample: |g| like(g),
        run: |x, _| seeded(x[0].device(), || {
            vec![
                Tensor::randn(x[0].shape(), (x[0].device(), x[0].dtype())),
                x[0].randn_like(),
                x[0].detach().copy().normal_(2.0, 0.5),
            ]
        }),
        oracle: Oracle::Values(|s| {
            let (count, dtype) = (s.inputs[0].values.len(), s.inputs[0].dtype);
            let moved = normal(2, dtype, count).iter().map(|v| v * 0.5 + 2.0).collect();
            vec![normal(0, dtype, count), normal(1, dtype, count), moved]
        }),
        tolerance: BELL,
        kinks: &[],
        order: 0,
    }
    bernoulli {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.shape(0..=4);
            Sample::new([g.values(&shape, PROBABILITY)])
        },
        run: |x, _| seeded(x[0].device(), || vec![x[0].bernoulli()]),
        oracle: Oracle::Values(|s| {
            let u = uniform(0, s.inputs[0].dtype.compute(), s.inputs[0].values.len());
            vec![s.inputs[0].values.iter().zip(u).map(|(p, u)| truth(u < p.to_f64())).collect()]
        }),
        tolerance: EXACT,
        kinks: &[],
        // As in PyTorch the gradient is 0, not absent.
        order: 2,
    }
    bernoulli_ {
        dtypes: NUMBERS,
        sample: |g| like(g),
        run: |x, _| seeded(x[0].device(), || {
            [0.3, 0.0, 1.0].map(|p| x[0].detach().copy().bernoulli_(p)).to_vec()
        }),
        oracle: Oracle::Values(|s| {
            let (count, dtype) = (s.inputs[0].values.len(), s.inputs[0].dtype.float().compute());
            let u = uniform(0, dtype, count);
            let some = u.iter().map(|&u| truth(u < held(0.3, dtype))).collect();
            vec![some, vec![0.0; count], vec![1.0; count]]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    randint {
        dtypes: NUMBERS,
        sample: |g| like(g),
        run: |x, _| seeded(x[0].device(), || {
            let (shape, device) = (x[0].shape(), x[0].device());
            vec![
                Tensor::randint(2, 9, shape, (device, x[0].dtype())),
                Tensor::randint(-5, 1 << 40, shape, device),
                Tensor::randint(7, 8, shape, device),
            ]
        }),
        oracle: Oracle::Values(|s| {
            let draw = |draw: u64, low: f64, high: f64| -> Vec<f64> {
                let u = uniform(draw, DType::F64, s.inputs[0].values.len());
                u.iter().map(|u| low + (u * (high - low)).floor()).collect()
            };
            vec![draw(0, 2.0, 9.0), draw(1, -5.0, 2f64.powi(40)), draw(2, 7.0, 8.0)]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    randperm {
        dtypes: &[DType::F64],
        sample: |g| {
            let n = g.below(40) as i64;
            like(g).with([n])
        },
        run: |x, n| seeded(x[0].device(), || {
            let (n, device) = (n[0] as usize, x[0].device());
            vec![Tensor::randperm(n, device), Tensor::randperm(n, (device, DType::F32))]
        }),
        oracle: Oracle::Values(|s| {
            let order = |draw: u64| {
                let keys = uniform(draw, DType::F64, s.args[0] as usize);
                let mut order: Vec<usize> = (0..keys.len()).collect();
                order.sort_by(|&a, &b| keys[a].total_cmp(&keys[b]));
                order.into_iter().map(|i| i as f64).collect()
            };
            vec![order(0), order(1)]
        }),
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    // Their distributions are judged by tensor-core/tests/distributions.rs.
    exponential_ {
        dtypes: FLOATS,
        sample: |g| like(g),
        run: |x, _| seeded(x[0].device(), || {
            let target = || x[0].detach().copy();
            vec![
                target().exponential_(2.0),
                target().log_normal_(0.5, 0.25),
                target().cauchy_(1.0, 0.5),
                target().geometric_(0.25),
            ]
        }),
        oracle: Oracle::Native,
        tolerance: BELL,
        kinks: &[],
        order: 0,
    }
    normal {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.shape(0..=3);
            Sample::new([g.values(&shape, NORMAL), g.values(&shape, PROBABILITY)])
        },
        run: |x, _| seeded(x[0].device(), || vec![x[0].normal(&x[1]), x[0].normal(0.5)]),
        oracle: Oracle::Native,
        tolerance: BELL,
        kinks: &[],
        order: 2,
    }
    random_ {
        dtypes: NUMBERS,
        sample: |g| like(g),
        run: |x, _| seeded(x[0].device(), || vec![
            x[0].detach().copy().random_(-3, 9),
            x[0].randint_like(0, 5),
            x[0].empty_like(),
            Tensor::empty(x[0].shape(), (x[0].device(), x[0].dtype())),
        ]),
        oracle: Oracle::Native,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    poisson {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.shape(0..=3);
            Sample::new([g.values(&shape, Fill::within(0.0, 30.0))])
        },
        run: |x, _| seeded(x[0].device(), || vec![x[0].poisson()]),
        oracle: Oracle::Native,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
    multinomial {
        dtypes: FLOATS,
        sample: |g| {
            let shape = g.nonempty(1..=2);
            Sample::new([g.values(&shape, Fill::within(0.25, 2.0))])
        },
        run: |x, _| seeded(x[0].device(), || {
            vec![x[0].multinomial(1, false), x[0].multinomial(7, true), x[0].multinomial(x[0].dims()[x[0].rank() - 1], false)]
        }),
        oracle: Oracle::Native,
        tolerance: EXACT,
        kinks: &[],
        order: 0,
    }
}
