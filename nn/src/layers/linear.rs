//! `y = x · Wᵀ + b`.

use kiln_tensor_core::{Backend, Options, Shape, Tensor};

use super::options::bias_option;
use crate::init::{self, FanMode, Nonlinearity};
use crate::{Forward, Hooks, Module, Param, python};

/// A weight as PyTorch starts all its linear and convolution layers: uniform in `±1 / √fan_in`.
pub(crate) fn weight<B: Backend>(shape: Shape, options: &Options<'_, B>) -> Param<B> {
    let weight = Param::new(Tensor::zeros(shape, Options { ..*options }));
    init::kaiming_uniform_(&weight, 5f64.sqrt(), FanMode::FanIn, Nonlinearity::LeakyRelu);
    weight
}

/// The bias beside it: uniform in `±1 / √fan_in`; zeros where nothing comes in.
pub(crate) fn bias<B: Backend>(size: usize, fan_in: usize, options: &Options<'_, B>) -> Param<B> {
    let bias = Param::new(Tensor::zeros(size, Options { ..*options }));
    if fan_in > 0 {
        let bound = 1.0 / (fan_in as f64).sqrt();
        init::uniform_(&bias, -bound, bound);
    }
    bias
}

/// `y = x · Wᵀ + b` over the last dimension: `[…, in_features] → […, out_features]`.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Forward, Linear};
/// use kiln_tensor_core::Tensor;
///
/// let layer = Linear::<Cpu>::new(20, 30, &CpuDevice);
/// let y = layer.call(&Tensor::randn([128, 20], &CpuDevice));
/// assert_eq!(*y.shape(), [128, 30]);
/// assert_eq!(layer.to_string(), "Linear(in_features=20, out_features=30, bias=True)");
/// ```
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, flops = Self::count)]
pub struct Linear<B: Backend> {
    /// `[out_features, in_features]`, uniform in `±1 / √in_features` at first.
    pub weight: Param<B>,
    /// `[out_features]`, uniform in `±1 / √in_features` at first.
    pub bias: Option<Param<B>>,
    hooks: Hooks<B>,
}

impl<B: Backend> Linear<B> {
    /// A layer with a bias. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        in_features: usize,
        out_features: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let options = options.into();
        Linear {
            weight: weight([out_features, in_features].into(), &options),
            bias: Some(bias(out_features, in_features, &options)),
            hooks: Hooks::new(),
        }
    }

    bias_option!("Whether it adds a bias; `true` by default.");

    /// A product and a sum for every input; the bias begins the sum.
    fn count(&self, _input: &Shape, output: &Shape) -> u64 {
        (2 * self.weight.shape()[1] * output.numel()) as u64
    }

    fn describe(&self) -> String {
        let shape = self.weight.shape();
        let bias = python::bool(self.bias.is_some());
        format!("in_features={}, out_features={}, bias={bias}", shape[1], shape[0])
    }
}

impl<B: Backend> Forward for Linear<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let bias = self.bias.as_ref().map(Param::tensor);
        x.linear(&self.weight.tensor(), bias.as_ref())
    }
}
