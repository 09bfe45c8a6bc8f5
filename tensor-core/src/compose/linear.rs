//! Linear maps, what may follow them, and their gradients.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::Fn2;
use crate::{Activation, Backend, Fused, Tensor};

/// See [`Backend::linear`].
pub fn linear<B: Backend>(
    x: &Tensor<B>,
    weight: &Tensor<B>,
    bias: Option<&Tensor<B>>,
) -> Tensor<B> {
    let product = x.matmul(&weight.t());
    match bias {
        Some(bias) => product + bias,
        None => product,
    }
}

/// See [`Backend::linear_act`].
pub fn linear_act<B: Backend>(
    x: &Tensor<B>,
    weight: &Tensor<B>,
    bias: Option<&Tensor<B>>,
    activation: Activation,
    keep: bool,
) -> (Tensor<B>, Option<Tensor<B>>) {
    let before = B::linear(x, weight, bias);
    let y = match activation {
        Activation::Relu => before.relu(),
        Activation::GeluTanh => before.gelu_tanh(),
    };
    (y, keep.then_some(before))
}

/// See [`Backend::linear_grad_weight`].
pub fn linear_grad_weight<B: Backend>(grad: &Tensor<B>, x: &Tensor<B>) -> [Tensor<B>; 2] {
    let grad = rows(grad);
    [B::matmul(&grad.t(), &rows(x)), grad.sum_dims([0], false)]
}

/// All but the last dim as one.
pub fn rows<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    let columns = x.dims()[x.rank() - 1];
    x.reshape([(x.numel() / columns.max(1)) as isize, columns as isize])
}

/// The gradient of an activation: from its result for relu, else from what it was applied to.
pub fn activation_grad<B: Backend>(
    grad: &Tensor<B>,
    seen: &Tensor<B>,
    activation: Activation,
) -> Tensor<B> {
    static RELU: Fused<2, Fn2> = Fused::new("relu_grad", |[g, y]| y.gt(0).select(g, g.lit(0)));
    // With u = c · (x + a · x³): (1 + tanh u + x · (1 − tanh² u) · u′) / 2.
    static GELU: Fused<2, Fn2> = Fused::new("gelu_tanh_grad", |[g, x]| {
        let (a, c) = (0.044715, FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
        let tanh = ((x + x * x * x * a) * c).tanh();
        let slope = (x * x * (3.0 * a) + 1.0) * c;
        g * ((tanh + 1.0) + x * (x.lit(1.0) - tanh * tanh) * slope) * 0.5
    });
    match activation {
        Activation::Relu => RELU.call([grad, seen]),
        Activation::GeluTanh => GELU.call([grad, seen]),
    }
}
