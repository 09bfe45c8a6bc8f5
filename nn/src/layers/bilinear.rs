//! `y = x₁ᵀ · A · x₂ + b`.

use kiln_tensor_core::{Backend, Error, Options, Shape, Tensor, autocast, raise};

use super::linear::bias;
use super::options::bias_option;
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
        if let Some((_inside, [x1, x2, weight], [bias])) =
            autocast::cast_given("bilinear", [x1, x2, &weight], [bias.as_ref()])
        {
            return self.mapped(&x1, &x2, &weight, bias.as_ref());
        }
        self.mapped(x1, x2, &weight, bias.as_ref())
    }

    #[track_caller]
    fn mapped(
        &self,
        x1: &Tensor<B>,
        x2: &Tensor<B>,
        weight: &Tensor<B>,
        bias: Option<&Tensor<B>>,
    ) -> Tensor<B> {
        let [out, in1, in2] = [0, 1, 2].map(|d| weight.dims()[d]);
        let lead = |x: &Tensor<B>| x.dims().split_last().map(|(&last, lead)| (lead.to_vec(), last));
        let (Some((lead1, size1)), Some((lead2, size2))) = (lead(x1), lead(x2)) else {
            self.wrong(x1, x2)
        };
        if lead1 != lead2 || size1 != in1 || size2 != in2 {
            self.wrong(x1, x2);
        }
        // [rows, in1] × [in1, out·in2] → [rows, out, in2], then · x₂, summed over in2.
        let rows = lead1.iter().product();
        let flat = weight.permute([1, 0, 2]).reshape_to(&Shape::from([in1, out * in2]));
        let left = x1.reshape_to(&Shape::from([rows, in1])).matmul(&flat);
        let left = left.reshape_to(&Shape::from([rows, out, in2]));
        let right = x2.reshape_to(&Shape::from([rows, in2, 1]));
        let y = left.matmul(&right).squeeze(-1);
        let y = match bias {
            Some(bias) => y + bias,
            None => y,
        };
        let mut shape: Shape = lead1.into();
        shape.push(out);
        y.reshape_to(&shape)
    }

    #[track_caller]
    #[cold]
    fn wrong(&self, x1: &Tensor<B>, x2: &Tensor<B>) -> ! {
        raise(Error::Shape {
            op: "bilinear",
            shapes: vec![x1.shape().clone(), x2.shape().clone(), self.weight.shape()],
            why: "[…, in1], […, in2] and a weight [out, in1, in2] are wanted".into(),
        })
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
