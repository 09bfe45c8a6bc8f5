//! Layer normalisation.

use kiln_tensor_core::{Backend, Options, Shape, Tensor};

use super::options::norm_options;
use crate::{Forward, Hooks, Module, Param, python};

/// Normalises over the trailing dimensions (Ba, Kiros, Hinton 2016).
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, flops = Self::count)]
pub struct LayerNorm<B: Backend> {
    /// Of the normalized shape, ones at first.
    pub weight: Option<Param<B>>,
    /// Of the normalized shape, zeros at first.
    pub bias: Option<Param<B>>,
    normalized_shape: Shape,
    eps: f64,
    hooks: Hooks<B>,
}

impl<B: Backend> LayerNorm<B> {
    /// Over trailing dimensions of these sizes: `eps` 1e-5, with weight and bias. The options are
    /// `&device` or `(&device, dtype)`.
    pub fn new<'a>(normalized_shape: impl Into<Shape>, options: impl Into<Options<'a, B>>) -> Self {
        let (shape, options) = (normalized_shape.into(), options.into());
        LayerNorm {
            weight: Some(Param::new(Tensor::ones(&shape, Options { ..options }))),
            bias: Some(Param::new(Tensor::zeros(&shape, options))),
            normalized_shape: shape,
            eps: 1e-5,
            hooks: Hooks::new(),
        }
    }

    norm_options!(elementwise_affine);

    /// Of each element: mean 1, variance 3, normalisation 2, weight 1, bias 1.
    fn count(&self, input: &Shape, _output: &Shape) -> u64 {
        let affine = [&self.weight, &self.bias].into_iter().flatten().count();
        ((6 + affine) * input.numel()) as u64
    }

    fn describe(&self) -> String {
        format!(
            "{}, eps={}, elementwise_affine={}, bias={}",
            python::tuple(&self.normalized_shape),
            python::float(self.eps),
            python::bool(self.weight.is_some()),
            python::bool(self.bias.is_some()),
        )
    }
}

impl<B: Backend> Forward for LayerNorm<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let weight = self.weight.as_ref().map(Param::tensor);
        let bias = self.bias.as_ref().map(Param::tensor);
        x.layer_norm(&self.normalized_shape, weight.as_ref(), bias.as_ref(), self.eps)
    }
}
