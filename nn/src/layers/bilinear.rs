//! `y = x₁ᵀ · A · x₂ + b`.

use kiln_tensor_core::{Backend, Options, Tensor};

use super::linear::bias;
use super::options::bias_option;
use crate::functional::bilinear;
use crate::{Hooks, Module, Param, init, python};

/// `y[k] = x₁ᵀ · A[k] · x₂ + b[k]` over the last dimensions of two inputs.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct Bilinear<B: Backend> {
    /// `[out_features, in1_features, in2_features]`, uniform in `±1 / √in1_features` at first.
    pub weight: Param<B>,
    /// `[out_features]`, uniform in `±1 / √in1_features` at first.
    pub bias: Option<Param<B>>,
    hooks: Hooks<B>,
}

impl<B: Backend> Bilinear<B> {
    /// A layer with a bias. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        in1_features: usize,
        in2_features: usize,
        out_features: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let options = options.into();
        let shape = [out_features, in1_features, in2_features];
        let weight = Param::new(Tensor::zeros(shape, Options { ..options }));
        if in1_features > 0 {
            let bound = 1.0 / (in1_features as f64).sqrt();
            init::uniform_(&weight, -bound, bound);
        }
        let bias = Some(bias(out_features, in1_features, &options));
        Bilinear { weight, bias, hooks: Hooks::new() }
    }

    bias_option!("Whether it adds a bias; `true` by default.");

    /// `[…, in1_features]` and `[…, in2_features]` → `[…, out_features]`.
    ///
    /// # Panics
    /// If the sizes do not fit together.
    #[track_caller]
    pub fn forward(&self, x1: &Tensor<B>, x2: &Tensor<B>) -> Tensor<B> {
        let (weight, bias) = (self.weight.tensor(), self.bias.as_ref().map(Param::tensor));
        bilinear(x1, x2, &weight, bias.as_ref())
    }

    fn describe(&self) -> String {
        let shape = self.weight.shape();
        format!(
            "in1_features={}, in2_features={}, out_features={}, bias={}",
            shape[1],
            shape[2],
            shape[0],
            python::bool(self.bias.is_some()),
        )
    }
}
