//! Functions of vectors along a dimension: lengths, angles, distances, choices.

use kiln_tensor_core::{Backend, Error, Fused, FusedWith, Shape, Tensor, autocast, raise};

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

/// Divides by the squares of `size` neighbouring channels of `[n, c, …]` (Krizhevsky et al. 2012):
/// `x / (k + alpha · mean of squares)^beta`. PyTorch's defaults are `alpha` 1e-4, `beta` 0.75 and `k` 1.
///
/// # Panics
/// If there are no channels, `size` is 0, or the elements are not floats.
#[track_caller]
pub fn local_response_norm<B: Backend>(
    x: &Tensor<B>,
    size: usize,
    alpha: f64,
    beta: f64,
    k: f64,
) -> Tensor<B> {
    static DIVIDE: FusedWith<2, 3> =
        FusedWith::new("local_response_norm", |[x, mean], [alpha, beta, k]| {
            x / (mean * alpha + k).pow(beta)
        });
    if x.rank() < 2 || size == 0 {
        raise(Error::Shape {
            op: "local_response_norm",
            shapes: vec![x.shape().clone()],
            why: "[n, c, …] and at least one channel to look at are wanted".into(),
        });
    }
    let channels = x.square().movedim(1, -1);
    let around = [(size / 2) as isize, ((size - 1) / 2) as isize];
    let padded = channels.pad(&around, kiln_tensor_core::PadMode::Constant(0.0));
    let mean = padded.unfold(-1, size, 1).mean_dims([-1], false).movedim(-1, 1);
    DIVIDE.call([x, &mean], [alpha, beta, k])
}

/// The `p`-norms of the differences of each two rows of `[n, m]`, n · (n − 1) / 2 of them: of the first row to the second,
/// third, …, then of the second, and so on. `Tensor::cdist` has those of all rows to all.
///
/// # Panics
/// If this is not a matrix of floats.
#[track_caller]
pub fn pdist<B: Backend>(x: &Tensor<B>, p: f64) -> Tensor<B> {
    if x.rank() != 2 || !x.dtype().is_float() {
        raise(Error::Shape {
            op: "pdist",
            shapes: vec![x.shape().clone()],
            why: "a matrix [n, m] of floats is wanted".into(),
        });
    }
    let n = x.dims()[0] as i64;
    let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
    let (left, right): (Vec<i64>, Vec<i64>) = pairs.unzip();
    let rows = |at: &[i64]| x.index_select(0, &Tensor::from_slice(at, at.len(), x.device()));
    (rows(&left) - rows(&right)).norm_dims(p, [-1], false)
}

/// `y[k] = x₁ᵀ · weight[k] · x₂ + bias[k]` over the last dims of `[…, in1]` and `[…, in2]`, for a weight
/// `[out, in1, in2]`.
///
/// # Panics
/// If the sizes do not fit together.
#[track_caller]
pub fn bilinear<B: Backend>(
    x1: &Tensor<B>,
    x2: &Tensor<B>,
    weight: &Tensor<B>,
    bias: Option<&Tensor<B>>,
) -> Tensor<B> {
    if let Some((_inside, [x1, x2, weight], [bias])) =
        autocast::cast_given("bilinear", [x1, x2, weight], [bias])
    {
        return bilinear(&x1, &x2, &weight, bias.as_ref());
    }
    let lead = |x: &Tensor<B>| x.dims().split_last().map(|(&last, lead)| (lead.to_vec(), last));
    let ((&[out, in1, in2], Some((lead1, size1))), Some((lead2, size2))) =
        ((weight.dims(), lead(x1)), lead(x2))
    else {
        wrong_bilinear(x1, x2, weight)
    };
    if lead1 != lead2 || size1 != in1 || size2 != in2 {
        wrong_bilinear(x1, x2, weight);
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
    y.reshape_to(&lead1.into_iter().chain([out]).collect())
}

#[track_caller]
#[cold]
fn wrong_bilinear<B: Backend>(x1: &Tensor<B>, x2: &Tensor<B>, weight: &Tensor<B>) -> ! {
    raise(Error::Shape {
        op: "bilinear",
        shapes: vec![x1.shape().clone(), x2.shape().clone(), weight.shape().clone()],
        why: "[…, in1], […, in2] and a weight [out, in1, in2] are wanted".into(),
    })
}
