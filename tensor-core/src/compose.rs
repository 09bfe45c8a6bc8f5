//! The fused tier in primitives: the written meaning of each fused op, and what a backend that does
//! not override it runs.

mod attention;
mod jacobi;
mod linalg;
mod linear;

pub use attention::{
    attention_weights, scaled_dot_product_attention, scaled_dot_product_attention_grad,
};
pub use linalg::{factor, solve_triangular};
pub use linear::{activation_grad, linear, linear_act, linear_grad_weight, rows};

use crate::ops::cast_program;
use crate::{Backend, Fused, FusedWith, Kernel, ReduceOp, ScatterOp, Shape, Tensor, Val, ViewOp};

type Fn1 = for<'b> fn([Val<'b>; 1]) -> Val<'b>;
type Fn2 = for<'b> fn([Val<'b>; 2]) -> Val<'b>;
type Fn3 = for<'b> fn([Val<'b>; 3]) -> Val<'b>;

fn identity<B: Backend>(x: &Tensor<B>) -> Kernel<'static> {
    Kernel::new(cast_program(x.dtype(), x.dtype()))
}

fn reduce<B: Backend>(op: ReduceOp, x: &Tensor<B>, dims: &[usize]) -> Tensor<B> {
    B::reduce(op, identity(x), &[x], x.shape(), dims)
}

/// See [`Backend::view_grad`].
pub fn view_grad<B: Backend>(grad: &Tensor<B>, op: &ViewOp, shape: &Shape) -> Tensor<B> {
    match op {
        ViewOp::Reshape(_) => grad.reshape_to(shape),
        ViewOp::Expand(_) => grad.sum_to(shape),
        ViewOp::Permute(perm) => {
            let mut inverse = perm.clone();
            perm.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
            grad.view_as_op(&ViewOp::Permute(inverse))
        }
        ViewOp::Slice { .. } | ViewOp::Diagonal { .. } => {
            let out = Tensor::zeros(shape, (grad.device(), grad.dtype()));
            write_through(&out, op, grad);
            out
        }
        &ViewOp::Unfold { dim, size, step } => {
            // Windows may overlap: add them one tap at a time, each tap a strided slice.
            let out = Tensor::zeros(shape, (grad.device(), grad.dtype()));
            let count = grad.dims()[dim];
            for tap in 0..size {
                let taps = grad.narrow(-1, tap, 1).squeeze(-1);
                let place = ViewOp::Slice { dim, start: tap, len: count, step: step as isize };
                let layout = out.layout().view(&place).expect("a window lies inside");
                B::view(&out, &place, layout).add_(&taps);
            }
            out
        }
    }
}

/// Writes `src` to the elements of `out` that `op` sees, without a record.
fn write_through<B: Backend>(out: &Tensor<B>, op: &ViewOp, src: &Tensor<B>) {
    let layout = out.layout().view(op).expect("the gradient has the view's shape");
    B::map_into(identity(src), &[src], &[&B::view(out, op, layout)]);
}

/// See [`Backend::cat`].
pub fn cat<B: Backend>(tensors: &[&Tensor<B>], dim: usize) -> Tensor<B> {
    let first = tensors[0];
    let total = tensors.iter().map(|t| t.dims()[dim]).sum();
    let out = B::empty(&first.shape().with(dim, total), first.dtype(), first.device());
    let mut start = 0;
    for tensor in tensors {
        let len = tensor.dims()[dim];
        write_through(&out, &ViewOp::Slice { dim, start, len, step: 1 }, tensor);
        start += len;
    }
    out
}

/// A 1-d index repeated over the other dims of `shape`: what selecting slices is to gathering elements.
fn spread<B: Backend>(index: &Tensor<B>, shape: &Shape, dim: usize) -> Tensor<B> {
    let mut alone: Shape = std::iter::repeat_n(1, shape.rank()).collect();
    alone[dim] = index.numel();
    let whole = shape.with(dim, index.numel());
    index.reshape_to(&alone).view_as_op(&ViewOp::Expand(whole))
}

/// See [`Backend::index_select`].
#[track_caller]
pub fn index_select<B: Backend>(x: &Tensor<B>, dim: usize, index: &Tensor<B>) -> Tensor<B> {
    B::gather(x, dim, &spread(index, x.shape(), dim))
}

/// See [`Backend::index_add`].
#[track_caller]
pub fn index_add<B: Backend>(
    x: &Tensor<B>,
    dim: usize,
    index: &Tensor<B>,
    src: &Tensor<B>,
) -> Tensor<B> {
    B::scatter(ScatterOp::Add, x, dim, &spread(index, x.shape(), dim), src)
}

/// See [`Backend::softmax`].
pub fn softmax<B: Backend>(x: &Tensor<B>, dim: usize) -> Tensor<B> {
    static EXP: Fused<2, Fn2> = Fused::new("softmax_exp", |[x, max]| (x - max).exp());
    let max = safe_max(x, &[dim]);
    let exp = EXP.call([x, &max]);
    let sum = reduce(ReduceOp::Sum, &exp, &[dim]);
    exp / sum
}

/// The maximum along `dims`, with 0 in place of −∞ (a row of −∞ alone) and no history: subtracting it
/// changes no result.
fn safe_max<B: Backend>(x: &Tensor<B>, dims: &[usize]) -> Tensor<B> {
    static SAFE: Fused<1, Fn1> = Fused::new("safe_max", |[m]| m.is_inf().select(m.lit(0.0), m));
    if x.numel() == 0 {
        let mut shape = x.shape().clone();
        dims.iter().for_each(|&dim| shape[dim] = 1);
        return Tensor::zeros(shape, (x.device(), x.dtype()));
    }
    SAFE.call([&reduce(ReduceOp::Max, &x.detach(), dims)])
}

/// ln Σ eˣ along `dims`, which stay with size 1.
pub(crate) fn logsumexp<B: Backend>(x: &Tensor<B>, dims: &[usize]) -> Tensor<B> {
    static EXP: Fused<2, Fn2> = Fused::new("exp", |[x, max]| (x - max).exp());
    static LOG: Fused<2, Fn2> = Fused::new("logsumexp", |[sum, max]| sum.log() + max);
    let max = safe_max(x, dims);
    LOG.call([&EXP.reduce(ReduceOp::Sum, [x, &max], dims), &max])
}

/// See [`Backend::softmax_grad`]: `y · (g − Σ g·y)`.
pub fn softmax_grad<B: Backend>(grad: &Tensor<B>, y: &Tensor<B>, dim: usize) -> Tensor<B> {
    static DOT: Fused<2, Fn2> = Fused::new("mul", |[g, y]| g * y);
    static GRAD: Fused<3, Fn3> = Fused::new("softmax_grad", |[g, y, dot]| (g - dot) * y);
    let dot = DOT.reduce(ReduceOp::Sum, [grad, y], &[dim]);
    GRAD.call([grad, y, &dot])
}

/// See [`Backend::log_softmax`].
pub fn log_softmax<B: Backend>(x: &Tensor<B>, dim: usize) -> Tensor<B> {
    static EXP: Fused<2, Fn2> = Fused::new("exp", |[x, max]| (x - max).exp());
    static SHIFT: Fused<3, Fn3> = Fused::new("log_softmax", |[x, max, sum]| x - max - sum.log());
    let max = safe_max(x, &[dim]);
    let sum = EXP.reduce(ReduceOp::Sum, [x, &max], &[dim]);
    SHIFT.call([x, &max, &sum])
}

/// See [`Backend::log_softmax_grad`]: `g − exp(y) · Σ g`.
pub fn log_softmax_grad<B: Backend>(grad: &Tensor<B>, y: &Tensor<B>, dim: usize) -> Tensor<B> {
    static GRAD: Fused<3, Fn3> = Fused::new("log_softmax_grad", |[g, y, sum]| g - y.exp() * sum);
    let sum = reduce(ReduceOp::Sum, grad, &[dim]);
    GRAD.call([grad, y, &sum])
}

/// Targets with the ignored ones replaced by class 0, and whether each row counts; both `[n, 1]`.
fn targets<B: Backend>(target: &Tensor<B>, ignore: i64) -> (Tensor<B>, Tensor<B>) {
    static MASK: Fused<2, Fn2> = Fused::new("mul", |[t, counts]| t * counts);
    let counts = target.ne(ignore).unsqueeze(1);
    (MASK.call([&target.unsqueeze(1), &counts]), counts)
}

/// See [`Backend::cross_entropy`].
pub fn cross_entropy<B: Backend>(logits: &Tensor<B>, target: &Tensor<B>, ignore: i64) -> Tensor<B> {
    static PICK: Fused<2, Fn2> =
        Fused::new("nll", |[log_p, counts]| counts.select(-log_p, log_p.lit(0.0)));
    let (index, counts) = targets(target, ignore);
    let picked = B::gather(&B::log_softmax(logits, 1), 1, &index);
    PICK.call([&picked, &counts]).squeeze(1)
}

/// See [`Backend::cross_entropy_grad`]: `(softmax(logits) − one_hot(target)) · grad`.
pub fn cross_entropy_grad<B: Backend>(
    grad: &Tensor<B>,
    logits: &Tensor<B>,
    target: &Tensor<B>,
    ignore: i64,
) -> Tensor<B> {
    static MASKED: Fused<2, Fn2> = Fused::new("mask", |[g, counts]| counts.select(g, g.lit(0.0)));
    let (index, counts) = targets(target, ignore);
    let grad = MASKED.call([&grad.unsqueeze(1), &counts]);
    let scaled = &B::softmax(logits, 1) * &grad;
    B::scatter(ScatterOp::Add, &scaled, 1, &index, &-grad)
}

static NORMALIZE: Fused<3, Fn3> = Fused::new("normalize", |[x, mean, rstd]| (x - mean) * rstd);

fn affine<B: Backend>(
    x: Tensor<B>,
    weight: Option<&Tensor<B>>,
    bias: Option<&Tensor<B>>,
) -> Tensor<B> {
    let x = match weight {
        Some(weight) => x * weight,
        None => x,
    };
    match bias {
        Some(bias) => x + bias,
        None => x,
    }
}

/// See [`Backend::layer_norm`].
pub fn layer_norm<B: Backend>(
    x: &Tensor<B>,
    weight: Option<&Tensor<B>>,
    bias: Option<&Tensor<B>>,
    dims: usize,
    eps: f64,
) -> [Tensor<B>; 3] {
    let over: Vec<usize> = (x.rank() - dims..x.rank()).collect();
    let (mean, var) = x.moments(&over, 0.0);
    let rstd = (var + eps).rsqrt();
    [affine(NORMALIZE.call([x, &mean, &rstd]), weight, bias), mean, rstd]
}

/// `Σ g · x̂` along `dims`, in the type that the elements are computed in.
fn dot<B: Backend>(grad: &Tensor<B>, normalized: &Tensor<B>, dims: &[usize]) -> Tensor<B> {
    static DOT: Fused<2, Fn2> = Fused::new("mul", |[g, x]| g.cast(g.dtype().compute()) * x);
    DOT.reduce(ReduceOp::Sum, [grad, normalized], dims)
}

/// The gradient of `(x − mean) · rstd` in `x`, with mean and rstd taken along `dims`:
/// `rstd · (g − mean(g) − x̂ · mean(g · x̂))`. Both means are taken in the type that the elements are
/// computed in, where sums of narrow floats fit.
fn normalize_grad<B: Backend>(
    grad: &Tensor<B>,
    normalized: &Tensor<B>,
    rstd: &Tensor<B>,
    dims: &[usize],
) -> Tensor<B> {
    static GRAD: Fused<5, for<'b> fn([Val<'b>; 5]) -> Val<'b>> =
        Fused::new("normalize_grad", |[g, x, rstd, mean, slope]| {
            ((g - mean - x * slope) * rstd).cast(g.dtype())
        });
    let count = dims.iter().map(|&d| grad.dims()[d]).product::<usize>() as f64;
    let wide = Kernel::new(cast_program(grad.dtype(), grad.dtype().compute()));
    let mean = B::reduce(ReduceOp::Sum, wide, &[grad], grad.shape(), dims) / count;
    let slope = dot(grad, normalized, dims) / count;
    GRAD.call([grad, normalized, rstd, &mean, &slope])
}

/// See [`Backend::layer_norm_grad`].
pub fn layer_norm_grad<B: Backend>(
    grad: &Tensor<B>,
    x: &Tensor<B>,
    mean: &Tensor<B>,
    rstd: &Tensor<B>,
    weight: Option<&Tensor<B>>,
    dims: usize,
) -> [Tensor<B>; 3] {
    let over: Vec<usize> = (x.rank() - dims..x.rank()).collect();
    let batch: Vec<usize> = (0..x.rank() - dims).collect();
    let normalized = NORMALIZE.call([x, mean, rstd]);
    let scaled = weight.map_or_else(|| grad.clone(), |weight| grad * weight);
    [
        normalize_grad(&scaled, &normalized, rstd, &over),
        dot(grad, &normalized, &batch).without(&batch).to_dtype(grad.dtype()),
        reduce(ReduceOp::Sum, grad, &batch).without(&batch),
    ]
}

/// See [`Backend::rms_norm`].
pub fn rms_norm<B: Backend>(
    x: &Tensor<B>,
    weight: Option<&Tensor<B>>,
    dims: usize,
    eps: f64,
) -> [Tensor<B>; 2] {
    static SQUARE: Fused<1, Fn1> = Fused::new("square", |[x]| x.cast(x.dtype().compute()).square());
    static ROOT: FusedWith<1, 2> =
        FusedWith::new("rms_norm_rstd", |[sum], [count, eps]| (sum / count + eps).rsqrt());
    static SCALE: Fused<2, Fn2> =
        Fused::new("rms_norm", |[x, rstd]| (x.cast(rstd.dtype()) * rstd).cast(x.dtype()));
    let over: Vec<usize> = (x.rank() - dims..x.rank()).collect();
    let count = over.iter().map(|&d| x.dims()[d]).product::<usize>() as f64;
    let rstd = ROOT.call([&SQUARE.reduce(ReduceOp::Sum, [x], &over)], [count, eps]);
    [affine(SCALE.call([x, &rstd]), weight, None), rstd]
}

/// See [`Backend::rms_norm_grad`]: with `x̂ = x · rstd` and `g` the gradient in it,
/// `rstd · (g − x̂ · mean(g · x̂))`.
pub fn rms_norm_grad<B: Backend>(
    grad: &Tensor<B>,
    x: &Tensor<B>,
    rstd: &Tensor<B>,
    weight: Option<&Tensor<B>>,
    dims: usize,
) -> [Tensor<B>; 2] {
    static SCALE: Fused<2, Fn2> = Fused::new("rms_norm", |[x, rstd]| x.cast(rstd.dtype()) * rstd);
    static GRAD: Fused<4, for<'b> fn([Val<'b>; 4]) -> Val<'b>> =
        Fused::new("rms_norm_grad", |[g, x, rstd, slope]| {
            ((g.cast(rstd.dtype()) - x * slope) * rstd).cast(g.dtype())
        });
    let over: Vec<usize> = (x.rank() - dims..x.rank()).collect();
    let batch: Vec<usize> = (0..x.rank() - dims).collect();
    let count = over.iter().map(|&d| x.dims()[d]).product::<usize>() as f64;
    let normalized = SCALE.call([x, rstd]);
    let scaled = weight.map_or_else(|| grad.clone(), |weight| grad * weight);
    let slope = dot(&scaled, &normalized, &over) / count;
    [
        GRAD.call([&scaled, &normalized, rstd, &slope]),
        dot(grad, &normalized, &batch).without(&batch).to_dtype(grad.dtype()),
    ]
}

/// All dimensions but the channels'.
fn but_channels<B: Backend>(x: &Tensor<B>) -> Vec<usize> {
    (0..x.rank()).filter(|&d| d != 1).collect()
}

/// `[channels]` with a dimension of size 1 for every other dimension of `x`.
fn per_channel<B: Backend>(values: &Tensor<B>, x: &Tensor<B>) -> Tensor<B> {
    let mut shape: Shape = std::iter::repeat_n(1, x.rank()).collect();
    shape[1] = x.dims()[1];
    values.reshape_to(&shape)
}

/// See [`Backend::batch_norm`].
pub fn batch_norm<B: Backend>(
    x: &Tensor<B>,
    weight: Option<&Tensor<B>>,
    bias: Option<&Tensor<B>>,
    eps: f64,
) -> [Tensor<B>; 3] {
    let over = but_channels(x);
    let (mean, var) = x.moments(&over, 0.0);
    let rstd = (&var + eps).rsqrt();
    let weight = weight.map(|w| per_channel(w, x));
    let bias = bias.map(|b| per_channel(b, x));
    let y = affine(NORMALIZE.call([x, &mean, &rstd]), weight.as_ref(), bias.as_ref());
    [y, mean.without(&over), var.without(&over)]
}

/// See [`Backend::batch_norm_grad`].
pub fn batch_norm_grad<B: Backend>(
    grad: &Tensor<B>,
    x: &Tensor<B>,
    mean: &Tensor<B>,
    var: &Tensor<B>,
    weight: Option<&Tensor<B>>,
    eps: f64,
) -> [Tensor<B>; 3] {
    let over = but_channels(x);
    let rstd = per_channel(&(var + eps).rsqrt(), x);
    let normalized = NORMALIZE.call([x, &per_channel(mean, x), &rstd]);
    let scaled = weight.map_or_else(|| grad.clone(), |w| grad * per_channel(w, x));
    [
        normalize_grad(&scaled, &normalized, &rstd, &over),
        dot(grad, &normalized, &over).without(&over).to_dtype(grad.dtype()),
        reduce(ReduceOp::Sum, grad, &over).without(&over),
    ]
}

/// See [`Backend::max_pool_grad`].
pub fn max_pool_grad<B: Backend>(
    grad: &Tensor<B>,
    indices: &Tensor<B>,
    input: &Shape,
) -> Tensor<B> {
    let flat = |dims: &[usize]| -> Shape {
        [dims[0], dims[1], dims[2..].iter().product::<usize>()].into()
    };
    let zeros = Tensor::zeros(flat(input), (grad.device(), grad.dtype()));
    let grad = grad.reshape_to(&flat(grad.dims()));
    let indices = indices.reshape_to(&flat(indices.dims()));
    B::scatter(ScatterOp::Add, &zeros, 2, &indices, &grad).reshape_to(input)
}
