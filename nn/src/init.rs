//! Initialisation on purpose, with PyTorch's names. All write in place and record nothing.

use kiln_tensor_core::{Backend, Error, Shape, Tensor, raise};

use crate::{Buffer, Param};

/// What can be initialised: a tensor, [`Param`] or [`Buffer`].
pub trait Target {
    /// The backend of the tensor.
    type Backend: Backend;
    /// The tensor to write to.
    fn tensor(&self) -> Tensor<Self::Backend>;
}

macro_rules! targets {
    ($($ty:ident: |$x:ident| $tensor:expr;)*) => {$(
        impl<B: Backend> Target for $ty<B> {
            type Backend = B;
            fn tensor(&self) -> Tensor<B> {
                let $x = self;
                $tensor
            }
        }
    )*};
}
targets! {
    Tensor: |x| x.detach();
    Param: |x| x.tensor().detach();
    Buffer: |x| x.tensor();
}

/// The function that follows a layer, for [`calculate_gain`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nonlinearity {
    /// None; convolutions count as linear too.
    Linear,
    /// `sigmoid`
    Sigmoid,
    /// `tanh`
    Tanh,
    /// `relu`
    Relu,
    /// `leaky_relu`; its negative slope is the parameter.
    LeakyRelu,
    /// `selu`
    Selu,
}

/// By how much a nonlinearity should be made up for in the standard deviation of the weights.
/// `param` is the negative slope of `LeakyRelu` (0.01 if not given).
pub fn calculate_gain(nonlinearity: Nonlinearity, param: Option<f64>) -> f64 {
    match nonlinearity {
        Nonlinearity::Linear | Nonlinearity::Sigmoid => 1.0,
        Nonlinearity::Tanh => 5.0 / 3.0,
        Nonlinearity::Relu => 2f64.sqrt(),
        Nonlinearity::LeakyRelu => (2.0 / (1.0 + param.unwrap_or(0.01).powi(2))).sqrt(),
        // PyTorch's value, found by experiment; the weights of a self-normalising net want `Linear`.
        Nonlinearity::Selu => 0.75,
    }
}

/// Which way the size of activations is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FanMode {
    /// Forward: by the number of inputs.
    #[default]
    FanIn,
    /// Backward: by the number of outputs.
    FanOut,
}

/// How many inputs and outputs a weight `[out, in, …]` connects.
#[track_caller]
fn fans(op: &'static str, shape: &Shape) -> (f64, f64) {
    if shape.rank() < 2 {
        raise(Error::Shape {
            op,
            shapes: vec![shape.clone()],
            why: "a weight of at least 2 dims is wanted: [out, in, …]".into(),
        });
    }
    let receptive = shape[2..].iter().product::<usize>();
    ((shape[1] * receptive) as f64, (shape[0] * receptive) as f64)
}

/// Uniform numbers in `[low, high)`; PyTorch's defaults are 0 and 1.
pub fn uniform_(target: &impl Target, low: f64, high: f64) {
    target.tensor().uniform_(low, high);
}

/// Normal numbers; PyTorch's defaults are 0 and 1.
pub fn normal_(target: &impl Target, mean: f64, std: f64) {
    target.tensor().normal_(mean, std);
}

/// One number everywhere.
pub fn constant_<T: Target>(target: &T, value: f64) {
    let tensor = target.tensor();
    let dtype = tensor.dtype();
    tensor.copy_(&Tensor::full((), value, (tensor.device(), dtype)));
}

/// Ones.
pub fn ones_(target: &impl Target) {
    constant_(target, 1.0);
}

/// Zeros.
pub fn zeros_(target: &impl Target) {
    constant_(target, 0.0);
}

/// Uniform numbers whose variance suits both directions: `gain · √(6 / (fan_in + fan_out))` (Glorot,
/// Bengio 2010).
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn xavier_uniform_(target: &impl Target, gain: f64) {
    let tensor = target.tensor();
    let (fan_in, fan_out) = fans("xavier_uniform_", tensor.shape());
    let bound = gain * (6.0 / (fan_in + fan_out)).sqrt();
    tensor.uniform_(-bound, bound);
}

/// Normal numbers of standard deviation `gain · √(2 / (fan_in + fan_out))` (Glorot, Bengio 2010).
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn xavier_normal_(target: &impl Target, gain: f64) {
    let tensor = target.tensor();
    let (fan_in, fan_out) = fans("xavier_normal_", tensor.shape());
    tensor.normal_(0.0, gain * (2.0 / (fan_in + fan_out)).sqrt());
}

/// The standard deviation of He et al. 2015: `gain / √fan`.
#[track_caller]
fn kaiming_std(
    op: &'static str,
    shape: &Shape,
    a: f64,
    mode: FanMode,
    nonlinearity: Nonlinearity,
) -> f64 {
    let (fan_in, fan_out) = fans(op, shape);
    let fan = if mode == FanMode::FanIn { fan_in } else { fan_out };
    calculate_gain(nonlinearity, Some(a)) / fan.sqrt()
}

/// Uniform numbers in `±gain · √(3 / fan)` (He et al. 2015). `a` is the negative slope where
/// `nonlinearity` is `LeakyRelu`; PyTorch's defaults are 0, `FanIn`, `LeakyRelu`.
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn kaiming_uniform_(target: &impl Target, a: f64, mode: FanMode, nonlinearity: Nonlinearity) {
    let tensor = target.tensor();
    if tensor.numel() == 0 {
        return;
    }
    let std = kaiming_std("kaiming_uniform_", tensor.shape(), a, mode, nonlinearity);
    let bound = 3f64.sqrt() * std;
    tensor.uniform_(-bound, bound);
}

/// Normal numbers of standard deviation `gain / √fan` (He et al. 2015); see [`kaiming_uniform_`].
///
/// # Panics
/// If there are fewer than two dims.
#[track_caller]
pub fn kaiming_normal_(target: &impl Target, a: f64, mode: FanMode, nonlinearity: Nonlinearity) {
    let tensor = target.tensor();
    if tensor.numel() == 0 {
        return;
    }
    tensor.normal_(0.0, kaiming_std("kaiming_normal_", tensor.shape(), a, mode, nonlinearity));
}
