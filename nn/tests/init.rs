//! Initialisation, dropout, and how layers start.

use kiln_autograd::{Autograd, Backward};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_nn::init::{self, FanMode, Nonlinearity};
use kiln_nn::{
    BatchNorm1d, Conv2d, Dropout, Dropout2d, Embedding, Forward, Linear, ModuleExt, Param,
};
use kiln_tensor_core::DType::F64;
use kiln_tensor_core::{Error, Tensor, catch, manual_seed};
use parking_lot::{Mutex, MutexGuard};

type Ad = Autograd<Reference>;
const DEVICE: ReferenceDevice = ReferenceDevice;

/// Seeds the generator, which all threads share, and keeps other tests from drawing meanwhile.
fn seeded(seed: u64) -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock();
    manual_seed(seed);
    turn
}

fn param(shape: &[usize]) -> Param<Ad> {
    Param::new(Tensor::zeros(shape, (&DEVICE, F64)))
}

fn values(param: &Param<Ad>) -> Vec<f64> {
    param.tensor().to_vec()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// Mean and deviation of 6000 numbers lie within five standard errors of what is wanted.
#[track_caller]
fn assert_spread(values: &[f64], mean: f64, std: f64) {
    let (m, s) = moments(values);
    let error = 5.0 * std / (values.len() as f64).sqrt();
    assert!((m - mean).abs() < error, "mean {m} instead of {mean}");
    assert!((s - std).abs() < error, "deviation {s} instead of {std}");
}

#[track_caller]
fn assert_bound(values: &[f64], bound: f64) {
    let largest = values.iter().fold(0f64, |m, v| m.max(v.abs()));
    assert!(largest <= bound && largest > 0.95 * bound, "{largest} of {bound}");
}

#[test]
fn random_inits_have_the_spread_of_their_formula() {
    let _turn = seeded(1);
    let w = param(&[20, 30, 10]);
    let (fan_in, fan_out) = (300f64, 200f64);
    init::uniform_(&w, -2.0, 4.0);
    assert_spread(&values(&w), 1.0, 6.0 / 12f64.sqrt());
    init::normal_(&w, 3.0, 0.5);
    assert_spread(&values(&w), 3.0, 0.5);
    init::xavier_uniform_(&w, 2.0);
    assert_bound(&values(&w), 2.0 * (6.0 / (fan_in + fan_out)).sqrt());
    init::xavier_normal_(&w, 2.0);
    assert_spread(&values(&w), 0.0, 2.0 * (2.0 / (fan_in + fan_out)).sqrt());
    init::kaiming_uniform_(&w, 0.5, FanMode::FanOut, Nonlinearity::LeakyRelu);
    assert_bound(&values(&w), (2.0 / 1.25f64).sqrt() * (3.0 / fan_out).sqrt());
    init::kaiming_normal_(&w, 0.0, FanMode::FanIn, Nonlinearity::Relu);
    assert_spread(&values(&w), 0.0, (2.0 / fan_in).sqrt());
    init::trunc_normal_(&w, 1.0, 2.0, -1.0, 3.0);
    assert!(values(&w).iter().all(|v| (-1.0..=3.0).contains(v)));
    // The deviation of a normal distribution cut off at ±σ is 0.539560 σ.
    assert_spread(&values(&w), 1.0, 2.0 * 0.539_560);
    assert!(w.tensor().requires_grad() && w.tensor().grad_fn().is_none());
}

#[test]
fn one_seed_gives_one_start() {
    let _turn = seeded(7);
    let start = || {
        manual_seed(7);
        values(&Linear::<Ad>::new(3, 4, (&DEVICE, F64)).weight)
    };
    assert_eq!(start(), start());
}

#[test]
fn exact_inits() {
    let w = param(&[2, 3]);
    init::ones_(&w);
    assert_eq!(values(&w), [1.0; 6]);
    init::constant_(&w, 2.5);
    assert_eq!(values(&w), [2.5; 6]);
    init::eye_(&w);
    assert_eq!(values(&w), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    init::zeros_(&w);
    assert_eq!(values(&w), [0.0; 6]);
    let kernel = param(&[4, 2, 3]);
    init::dirac_(&kernel, 2);
    let mut expected = vec![0.0; 24];
    for at in [1, 10, 13, 22] {
        expected[at] = 1.0;
    }
    assert_eq!(values(&kernel), expected);
    assert!(matches!(catch(|| init::eye_(&kernel)), Err(Error::Shape { .. })));
    assert!(matches!(catch(|| init::xavier_uniform_(&param(&[3]), 1.0)), Err(Error::Shape { .. })));
}

#[test]
fn orthogonal_rows_or_columns() {
    let _turn = seeded(2);
    for shape in [&[3usize, 5][..], &[5, 3], &[4, 4], &[2, 3, 2]] {
        let w = param(shape);
        init::orthogonal_(&w, 2.0);
        let m = w.tensor().detach().flatten(1, -1);
        let gram = if m.dims()[0] <= m.dims()[1] { m.matmul(&m.t()) } else { m.t().matmul(&m) };
        let n = gram.dims()[0];
        for (i, v) in gram.to_vec::<f64>().into_iter().enumerate() {
            let wanted = if i % (n + 1) == 0 { 4.0 } else { 0.0 };
            assert!((v - wanted).abs() < 1e-12, "{shape:?}: {v} instead of {wanted}");
        }
    }
}

#[test]
fn sparse_columns_have_their_share_of_zeros() {
    let _turn = seeded(3);
    let w = param(&[10, 7]);
    init::sparse_(&w, 0.25, 0.5);
    let values = values(&w);
    for column in 0..7 {
        let zeros = (0..10).filter(|row| values[row * 7 + column] == 0.0).count();
        assert_eq!(zeros, 3);
    }
}

#[test]
fn layers_start_as_pytorchs() {
    let _turn = seeded(4);
    let on = (&DEVICE, F64);
    let linear = Linear::<Ad>::new(100, 60, on);
    assert_bound(&values(&linear.weight), 0.1);
    assert_bound(&values(linear.bias.as_ref().unwrap()), 0.1);
    let conv = Conv2d::<Ad>::new(8, 80, 5, on).groups(2);
    assert_eq!(conv.weight.shape()[..], [80, 4, 5, 5]);
    assert_bound(&values(&conv.weight), 0.1);
    assert_bound(&values(conv.bias.as_ref().unwrap()), 0.1);
    let table = Embedding::<Ad>::new(100, 60, on).padding_idx(0);
    assert_spread(&values(&table.weight)[60..], 0.0, 1.0);
    assert_eq!(values(&table.weight)[..60], [0.0; 60]);
    let norm = BatchNorm1d::<Ad>::new(2, on);
    assert_eq!(values(norm.weight.as_ref().unwrap()), [1.0; 2]);
    assert_eq!(norm.running_var.as_ref().unwrap().tensor().to_vec::<f64>(), [1.0; 2]);
    assert_eq!(norm.num_batches_tracked.as_ref().unwrap().tensor().item(), 0.0);
}

#[test]
fn dropout_drops_in_training_only() {
    let _turn = seeded(5);
    let x = Tensor::<Ad>::ones([60, 100], (&DEVICE, F64)).requires_grad_(true);
    let layer = Dropout::new(0.2);
    let y = layer.call(&x);
    let values = y.to_vec::<f64>();
    let dropped = values.iter().filter(|&&v| v == 0.0).count() as f64 / 6000.0;
    assert!((dropped - 0.2).abs() < 0.03, "{dropped}");
    assert!(values.iter().all(|&v| v == 0.0 || v == 1.25));
    y.sum().backward();
    assert_eq!(x.grad().unwrap().to_vec::<f64>(), values, "backward uses the same mask");
    assert_ne!(layer.call(&x).to_vec::<f64>(), values, "each call draws anew");
    layer.eval();
    assert_eq!(layer.call(&x).to_vec::<f64>(), [1.0; 6000]);
    assert_eq!(Dropout::<Ad>::new(1.0).call(&x).to_vec::<f64>(), [0.0; 6000]);
    assert!(matches!(catch(|| Dropout::<Ad>::new(1.5)), Err(Error::Argument { .. })));
}

#[test]
fn channel_dropout_drops_whole_channels() {
    let _turn = seeded(6);
    let y = Dropout2d::<Ad>::new(0.5).call(&Tensor::ones([10, 20, 2, 3], (&DEVICE, F64)));
    let values = y.to_vec::<f64>();
    let mut dropped = 0;
    for channel in values.chunks(6) {
        assert!(channel.iter().all(|&v| v == channel[0] && (v == 0.0 || v == 2.0)));
        dropped += usize::from(channel[0] == 0.0);
    }
    assert!((60..140).contains(&dropped), "{dropped} of 200");
    let one = Dropout2d::<Ad>::new(0.5);
    let wrong = catch(|| one.call(&Tensor::ones([2, 3], (&DEVICE, F64))));
    assert!(matches!(wrong, Err(Error::Shape { .. })));
}
