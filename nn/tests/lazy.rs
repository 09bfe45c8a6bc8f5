//! Layers that are made at their first call, parameters that are worked out from others, and random activations.

use kiln_autograd::{Autograd, Backward};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_nn::functional::{InterpolateMode, Resize, interpolate};
use kiln_nn::*;
use kiln_tensor_core::{DType, Tensor, catch, manual_seed};

type B = Autograd<Cpu>;

#[test]
fn lazy_layers_become_what_their_input_asks_for() {
    let net = Sequential::<B>::new((
        LazyConv2d::new(4, 3).with(|conv| conv.padding(1)),
        LazyBatchNorm2d::new(),
        Flatten::new(),
        LazyLinear::new(2),
    ));
    assert!(net.state_dict().keys().next().is_none());
    let x = Tensor::randn([3, 2, 5, 5], (&CpuDevice, DType::F64));
    assert_eq!(net.call(&x).dims(), [3, 2]);
    let state = net.state_dict();
    let names: Vec<_> = state.keys().collect();
    assert_eq!(names[..2], ["0.weight", "0.bias"]);
    assert_eq!(names[names.len() - 2..], ["3.weight", "3.bias"]);
    assert_eq!(net.get_parameter("3.weight").dtype(), DType::F64);
    assert!(
        net.to_string().contains("Linear(in_features=100, out_features=2, bias=True)"),
        "{net}"
    );
    // The layers inside follow: in evaluation a batch does not move the statistics.
    net.eval();
    let mean = || net.get_buffer("1.running_mean").tensor().to_vec::<f64>();
    let before = mean();
    net.call(&x);
    assert_eq!(mean(), before);
}

#[test]
fn weight_norm_trains_direction_and_length() {
    let plain = Linear::<B>::new(5, 3, &CpuDevice);
    let x = Tensor::randn([2, 5], &CpuDevice);
    let y = plain.call(&x);
    let layer = weight_norm(plain, "weight", 0);
    assert!(layer.call(&x).allclose(&y, 1e-5, 1e-6, false));
    layer.call(&x).sum().backward();
    assert!(layer.parameters().iter().all(|p| p.grad().is_some()));
    assert_eq!(layer.get_parameter("parametrizations.weight.original0").shape(), [3, 1]);
    let plain = layer.remove_parametrizations();
    assert!(plain.call(&x).allclose(&y, 1e-5, 1e-6, false));
    let error = catch(|| weight_norm(plain, "nothing", 0)).unwrap_err().to_string();
    assert!(error.contains("no parameter of its own called \"nothing\""), "{error}");
}

#[test]
fn spectral_norm_bounds_the_largest_singular_value() {
    let layer = spectral_norm(Linear::<B>::new(6, 6, &CpuDevice), "weight", 1, 1e-12, 0);
    let x = Tensor::randn([2, 6], &CpuDevice);
    (0..50).for_each(|_| _ = layer.call(&x));
    let weight = layer.weight().detach();
    // Power iteration finds 1.
    let mut v = Tensor::<B>::randn([6], &CpuDevice);
    for _ in 0..200 {
        v = weight.t().mv(&weight.mv(&v));
        v = &v / v.norm();
    }
    let largest = weight.mv(&v).norm().item();
    assert!((largest - 1.0).abs() < 1e-2, "{largest}");
}

#[test]
fn alpha_dropout_keeps_mean_and_variance() {
    manual_seed(0);
    let x = Tensor::<B>::randn([200, 500], &CpuDevice);
    let layer = AlphaDropout::new(0.3);
    let y = layer.call(&x);
    // Of 100,000 numbers: six standard errors.
    assert!(y.mean().item().abs() < 0.02 && (y.std().item() - 1.0).abs() < 0.02);
    assert!(FeatureAlphaDropout::new(1.0).call(&x).equal(&x.zeros_like()));
    layer.eval();
    assert!(layer.call(&x).equal(&x));
}

#[test]
fn random_slopes_lie_in_their_range() {
    let x = -Tensor::<B>::ones([1000], &CpuDevice);
    let layer = RReLU::new().lower(0.2).upper(0.4);
    let y = layer.call(&x);
    assert!(y.max().item() <= -0.2 && y.min().item() >= -0.4 && y.std().item() > 0.03);
    layer.eval();
    assert!(layer.call(&x).allclose(&(&x * 0.3), 1e-6, 0.0, false));
}

#[test]
fn what_has_no_meaning_is_refused() {
    let x = Tensor::<B>::ones([1, 2, 4, 4], &CpuDevice);
    for (mode, corners) in [(InterpolateMode::Nearest, true), (InterpolateMode::Area, true)] {
        let error = catch(|| interpolate(&x, &Resize::size([2]), mode, corners)).unwrap_err();
        assert!(error.to_string().contains("has no meaning"), "{error}");
    }
    assert!(catch(|| interpolate(&x, &Resize::size([0]), InterpolateMode::Linear, false)).is_err());
    assert!(catch(|| GroupNorm::<B>::new(3, 4, &CpuDevice)).is_err());
    assert!(catch(|| MultiheadAttention::<B>::new(5, 2, &CpuDevice)).is_err());
    assert!(catch(|| ZeroPad2d::<B>::new([1, 2])).is_err());
}
