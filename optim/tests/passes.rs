//! How much an optimizer asks of its backend: one pass over all parameters of a dtype, however many.

use kiln_autograd::Autograd;
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::Spy;
use kiln_conformance::spy::{Calls, watch};
use kiln_optim::*;
use kiln_tensor_core::{DType, Tensor};

type B = Autograd<Spy<Cpu>>;

/// So many parameters of `f32` and of `f64`, with gradients.
fn parameters(each: usize) -> Vec<Tensor<B>> {
    let parameter = |i: usize| {
        let options = (&CpuDevice, if i.is_multiple_of(2) { DType::F32 } else { DType::F64 });
        let param = Tensor::ones([2, 3 + i], options).requires_grad_(true);
        param.set_grad(Some(Tensor::ones([2, 3 + i], options)));
        param
    };
    (0..2 * each).map(parameter).collect()
}

/// The calls that run a kernel.
fn kernels(calls: Calls) -> Vec<(&'static str, usize)> {
    const BOOKS: [&str; 3] = ["shares_storage", "view", "detach"];
    calls.into_iter().filter(|(method, _)| !BOOKS.contains(method)).collect()
}

fn steps<A: Step>(make: impl Fn(&[Tensor<B>]) -> Optimizer<B, A>) {
    for each in [1, 20] {
        let mut optimizer = make(&parameters(each));
        // The first step makes the state.
        let (_, first) = watch(|| optimizer.step());
        assert_eq!(first["map_each_into"], 2, "{}, {each} parameters", A::NAME);
        let (_, later) = watch(|| optimizer.step());
        assert_eq!(kernels(later), [("map_each_into", 2)], "{}, {each} parameters", A::NAME);
    }
}

#[test]
fn a_step_is_one_pass_for_each_dtype() {
    steps(|p| SGD::new(p));
    steps(|p| SGD::new(p).momentum(0.9).nesterov(true).weight_decay(0.1));
    steps(|p| Adam::new(p));
    steps(|p| Adam::new(p).amsgrad(true).weight_decay(0.1));
    steps(|p| AdamW::new(p));
    steps(|p| RMSprop::new(p));
    steps(|p| RMSprop::new(p).momentum(0.9).centered(true));
    steps(|p| Adagrad::new(p).lr_decay(0.1));
    steps(|p| NAdam::new(p));
    steps(|p| RAdam::new(p));
    steps(|p| Adamax::new(p));
    steps(|p| Adadelta::new(p));
    steps(|p| Rprop::new(p));
    steps(|p| ASGD::new(p));
    steps(|p| Lion::new(p));
}

#[test]
fn clipping_reads_each_gradient_once_and_writes_all_in_one_pass() {
    let calls = |count, norm_type| {
        let params: Vec<_> = parameters(count).into_iter().step_by(2).collect();
        let (_, calls) = watch(|| clip_grad_norm_(&params, 1.0, norm_type));
        calls
    };
    for norm_type in [0.0, 1.0, 2.0, 3.0, f64::INFINITY] {
        let (few, many) = (calls(1, norm_type), calls(20, norm_type));
        assert_eq!(many["map_each_into"], 1, "norm {norm_type}");
        // One for each gradient, and one for their norms.
        assert_eq!((few["reduce"], many["reduce"]), (2, 21), "norm {norm_type}");
        // Roots and the factor; only a power that has no shortcut makes its number for each gradient.
        let powers = if norm_type == 3.0 { 19 } else { 0 };
        assert_eq!(many["map"], few["map"] + powers, "norm {norm_type}");
    }
    let params = parameters(20);
    let (_, calls) = watch(|| clip_grad_value_(&params, 0.5));
    assert_eq!(calls["map_each_into"], 2);
    assert!(!calls.contains_key("reduce") && calls["map"] == 2, "{calls:?}");
}
