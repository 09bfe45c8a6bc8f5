//! Keeping gradients within bounds, in place: `torch.nn.utils.clip_grad_norm_` and its relatives.

use kiln_tensor_core::{Backend, DType, Error, Fused, Kernel, ReduceOp, Result, Tensor};

use crate::param::Parameter;

// Norms of narrow floats are computed and kept in `f32`, so that squares do not overflow.
static ABS: Fused<1> = Fused::new("norm", |[x]| x.abs().cast(x.dtype().compute()));
static SQUARE: Fused<1> = Fused::new("norm", |[x]| x.cast(x.dtype().compute()).square());
static NONZERO: Fused<1> = Fused::new("norm", |[x]| x.ne(0.0).cast(x.dtype().compute()));
static POWER: Fused<2> = Fused::new("norm", |[x, p]| x.abs().pow(p));
static SCALE: Fused<2> = Fused::new("clip_grad_norm", |[x, by]| (x * by).cast(x.dtype()));
static CLAMP: Fused<2> =
    Fused::new("clip_grad_value", |[x, at]| x.clamp_min(-at).clamp_max(at).cast(x.dtype()));

/// Scales the gradients of `params` so that the norm of all of them together is at most `max_norm`, and
/// gives the norm that they had, 0-d. Nothing waits for the device.
///
/// `norm_type` is the p of the p-norm: `2.0` most often; `f64::INFINITY` for the largest magnitude.
/// Parameters without a gradient do not count.
///
/// ```no_run
/// # use kiln_tensor_core::{Backend, Tensor};
/// # fn f<B: Backend>(parameters: Vec<Tensor<B>>) {
/// let norm = kiln_optim::clip_grad_norm_(&parameters, 1.0, 2.0);
/// # }
/// ```
pub fn clip_grad_norm_<P: Parameter>(
    params: impl IntoIterator<Item = P>,
    max_norm: f64,
    norm_type: f64,
) -> Tensor<P::Backend> {
    let grads = gradients(params);
    let total = get_total_norm(&grads, norm_type);
    scale(&grads, max_norm, &total);
    total
}

/// Like [`clip_grad_norm_`] with PyTorch's `error_if_nonfinite=True`: waits for the norm, and leaves the
/// gradients as they are where it is infinite or NaN.
///
/// # Errors
/// [`Error::Argument`] if the norm is not finite.
pub fn try_clip_grad_norm_<P: Parameter>(
    params: impl IntoIterator<Item = P>,
    max_norm: f64,
    norm_type: f64,
) -> Result<Tensor<P::Backend>> {
    let grads = gradients(params);
    let total = get_total_norm(&grads, norm_type);
    let value = total.item();
    if !value.is_finite() {
        return Err(Error::Argument {
            op: "try_clip_grad_norm_",
            why: format!("the gradients' norm of order {norm_type} is {value}"),
        });
    }
    scale(&grads, max_norm, &total);
    Ok(total)
}

/// Scales the gradients of `params` by `max_norm / (total_norm + 1e-6)` where that is below 1.
pub fn clip_grads_with_norm_<P: Parameter>(
    params: impl IntoIterator<Item = P>,
    max_norm: f64,
    total_norm: &Tensor<P::Backend>,
) {
    scale(&gradients(params), max_norm, total_norm);
}

/// Brings each element of the gradients of `params` into `[-clip_value, clip_value]`; NaN stays.
pub fn clip_grad_value_<P: Parameter>(params: impl IntoIterator<Item = P>, clip_value: f64) {
    let grads = gradients(params);
    write_each(&CLAMP, &grads, |grad| {
        Tensor::full([], clip_value, (grad.device(), grad.dtype().compute()))
    });
}

/// The norm of the norms of the tensors, 0-d, on the device of the first one: for most p that of all
/// elements together. 0 if there are none.
pub fn get_total_norm<B: Backend>(tensors: &[Tensor<B>], norm_type: f64) -> Tensor<B> {
    let filled: Vec<_> = tensors.iter().filter(|x| x.numel() > 0).collect();
    let Some(first) = filled.first() else {
        let device = tensors.first().map_or_else(B::Device::default, |x| x.device().clone());
        return Tensor::zeros([], &device);
    };
    let parts: Vec<_> = filled.iter().map(|x| combined(&x.detach(), norm_type)).collect();
    let dtype = parts.iter().fold(parts[0].dtype(), |dtype, x| dtype.promote(x.dtype()));
    let parts: Vec<_> =
        parts.iter().map(|x| x.to(first.device()).to_dtype(dtype).reshape([1])).collect();
    // One reduction a tensor; the roots of all of them are taken at once.
    let norms = root(&B::cat(&parts.iter().collect::<Vec<_>>(), 0), norm_type);
    root(&combined(&norms, norm_type), norm_type)
}

/// What the p-norm of all elements is the root of, 0-d; there is at least one element.
fn combined<B: Backend>(x: &Tensor<B>, p: f64) -> Tensor<B> {
    let dims: Vec<usize> = (0..x.rank()).collect();
    let reduced = if p == 2.0 {
        SQUARE.reduce(ReduceOp::Sum, [x], &dims)
    } else if p == 1.0 {
        ABS.reduce(ReduceOp::Sum, [x], &dims)
    } else if p == 0.0 {
        NONZERO.reduce(ReduceOp::Sum, [x], &dims)
    } else if p.is_infinite() {
        let op = if p > 0.0 { ReduceOp::Max } else { ReduceOp::Min };
        ABS.reduce(op, [x], &dims)
    } else {
        let power = Tensor::full([], p, (x.device(), x.dtype().compute()));
        POWER.reduce(ReduceOp::Sum, [x, &power], &dims)
    };
    reduced.reshape(())
}

/// The norms whose `combined` these are.
fn root<B: Backend>(x: &Tensor<B>, p: f64) -> Tensor<B> {
    if p == 2.0 {
        x.sqrt()
    } else if p == 0.0 || p == 1.0 || p.is_infinite() {
        x.clone()
    } else {
        x.pow(1.0 / p)
    }
}

fn gradients<P: Parameter>(params: impl IntoIterator<Item = P>) -> Vec<Tensor<P::Backend>> {
    params.into_iter().filter_map(|param| Some(param.handle()().grad()?.detach())).collect()
}

fn scale<B: Backend>(grads: &[Tensor<B>], max_norm: f64, total: &Tensor<B>) {
    // Computed on the device, so that nothing waits for it; a NaN goes into the gradients.
    let by = (max_norm / (total.detach() + 1e-6)).minimum(1.0);
    write_each(&SCALE, grads, |grad| by.to(grad.device()));
}

/// Runs `f` on each tensor and what `other` makes for it, in place, one pass per dtype and device.
fn write_each<B: Backend>(
    f: &Fused<2>,
    tensors: &[Tensor<B>],
    other: impl Fn(&Tensor<B>) -> Tensor<B>,
) {
    let mut batches: Vec<(DType, &B::Device, Vec<&Tensor<B>>)> = Vec::new();
    for x in tensors {
        match batches.iter_mut().find(|b| b.0 == x.dtype() && b.1 == x.device()) {
            Some(batch) => batch.2.push(x),
            None => batches.push((x.dtype(), x.device(), vec![x])),
        }
    }
    for (dtype, _, batch) in batches {
        let other = other(batch[0]);
        let expr = f.program([dtype, other.dtype()]);
        let groups: Vec<_> = batch.iter().map(|&x| (vec![x, &other], vec![x])).collect();
        B::map_each_into(Kernel::new(&expr), &groups);
    }
}
