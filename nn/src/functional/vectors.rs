//! Functions of vectors along a dimension: lengths, angles, distances, choices.

use kiln_tensor_core::{Backend, Fused, Tensor, autocast};

/// `x / max(‖x‖ₚ, eps)` along `dim`: vectors of length 1. PyTorch's defaults are `p` 2, `dim` 1 and `eps` 1e-12.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::functional::normalize;
/// use kiln_tensor_core::Tensor;
/// let x = Tensor::<Cpu>::from_slice(&[3.0, 4.0], [1, 2], &CpuDevice);
/// assert_eq!(normalize(&x, 2.0, 1, 1e-12).to_vec::<f64>(), [0.6, 0.8]);
/// ```
///
/// # Panics
/// If there is no such dimension or the elements are not floats.
#[track_caller]
pub fn normalize<B: Backend>(x: &Tensor<B>, p: f64, dim: isize, eps: f64) -> Tensor<B> {
    x / x.norm_dims(p, [dim], true).clamp_min(eps)
}

/// `softmax(−x)` along `dim`.
///
/// # Panics
/// If there is no such dimension or the elements are not floats.
#[track_caller]
pub fn softmin<B: Backend>(x: &Tensor<B>, dim: isize) -> Tensor<B> {
    (-x).softmax(dim)
}

/// Samples from the categorical distributions of `logits` along `dim`, made differentiable by a softmax at temperature
/// `tau` (Jang, Gu, Poole 2017; Maddison et al. 2017). With `hard` the result is one-hot, and its gradient that of the
/// softmax. PyTorch's defaults are `tau` 1, not hard, and the last dim.
///
/// # Panics
/// If there is no such dimension or the elements are not floats.
#[track_caller]
pub fn gumbel_softmax<B: Backend>(
    logits: &Tensor<B>,
    tau: f64,
    hard: bool,
    dim: isize,
) -> Tensor<B> {
    // 1 − u is above 0, and the logarithm of an exponential number is −Gumbel.
    static NOISY: Fused<2> = Fused::new("gumbel", |[x, u]| x - (-(u.lit(1.0) - u).log()).log());
    let uniform = Tensor::rand(logits.shape(), (logits.device(), logits.dtype()));
    let soft = (NOISY.call([logits, &uniform]) / tau).softmax(dim);
    if !hard {
        return soft;
    }
    let index = soft.detach().argmax(dim, true);
    let ones = Tensor::ones(index.shape(), (soft.device(), soft.dtype()));
    let chosen =
        Tensor::zeros(soft.shape(), (soft.device(), soft.dtype())).scatter(dim, &index, &ones);
    chosen - soft.detach() + soft
}

/// `x₁ · x₂ / (max(‖x₁‖, eps) · max(‖x₂‖, eps))` along `dim`; operands broadcast.
///
/// # Panics
/// If shapes, dtypes or devices do not fit.
#[track_caller]
pub fn cosine_similarity<B: Backend>(
    x1: &Tensor<B>,
    x2: &Tensor<B>,
    dim: isize,
    eps: f64,
) -> Tensor<B> {
    if let Some((_inside, [x1, x2])) = autocast::cast("cosine_similarity", [x1, x2]) {
        return cosine_similarity(&x1, &x2, dim, eps);
    }
    let norm = |x: &Tensor<B>| x.norm_dims(2.0, [dim], true).clamp_min(eps);
    let cosines = ((x1 / norm(x1)) * (x2 / norm(x2))).sum_dims([dim], false);
    cosines.named("cosine_similarity", &[x1, x2])
}

/// `‖x₁ − x₂ + eps‖ₚ` over the last dim; operands broadcast.
///
/// # Panics
/// If shapes, dtypes or devices do not fit.
#[track_caller]
pub fn pairwise_distance<B: Backend>(
    x1: &Tensor<B>,
    x2: &Tensor<B>,
    p: f64,
    eps: f64,
    keepdim: bool,
) -> Tensor<B> {
    (x1 - x2 + eps).norm_dims(p, [-1], keepdim).named("pairwise_distance", &[x1, x2])
}
