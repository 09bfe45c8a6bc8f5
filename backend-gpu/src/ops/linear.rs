//! `linear`, with an activation, and its gradients: with the product in one go where a library does that.

use kiln_tensor_core::{Activation, Tensor, compose};

use super::product::{Also, by_library};
use crate::launch::supported;
use crate::storage::fresh;
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

/// See `Backend::linear`.
#[track_caller]
pub(crate) fn linear<R: Runtime>(x: &T<R>, weight: &T<R>, bias: Option<&T<R>>) -> T<R> {
    supported::<R>("linear", x.device(), [x.dtype()]);
    let also = Also::Linear { bias, activation: None, before: None };
    mapped(x, weight, &also).unwrap_or_else(|| compose::linear(x, weight, bias))
}

/// See `Backend::linear_act`.
#[track_caller]
pub(crate) fn linear_act<R: Runtime>(
    x: &T<R>,
    weight: &T<R>,
    bias: Option<&T<R>>,
    activation: Activation,
    keep: bool,
) -> (T<R>, Option<T<R>>) {
    supported::<R>("linear_act", x.device(), [x.dtype()]);
    if R::LIBRARIES {
        let shape = x.shape().with(x.rank() - 1, weight.size(0));
        let before = keep.then(|| fresh::<R>(&shape, x.dtype(), x.device()));
        let also = Also::Linear { bias, activation: Some(activation), before: before.as_ref() };
        if let Some(y) = mapped(x, weight, &also) {
            return (y, before);
        }
    }
    compose::linear_act(x, weight, bias, activation, keep)
}

/// `x · weightᵀ` and what else is asked for, if a library does that.
#[track_caller]
fn mapped<R: Runtime>(x: &T<R>, weight: &T<R>, also: &Also<'_, R>) -> Option<T<R>> {
    if !R::LIBRARIES || x.numel() == 0 || weight.numel() == 0 {
        return None;
    }
    let rows = if x.rank() == 1 { x.unsqueeze(0) } else { x.clone() };
    let (rank, [out, input]) = (rows.rank(), [weight.size(0), weight.size(1)]);
    let columns = rows.shape().with(rank - 2, input).with(rank - 1, out);
    let y = fresh::<R>(&rows.shape().with(rank - 1, out), x.dtype(), x.device());
    by_library(&rows, &weight.t().expand(columns), also, &y)
        .then(|| if x.rank() == 1 { y.squeeze(0) } else { y })
}

/// See `Backend::linear_grad_weight`.
#[track_caller]
pub(crate) fn linear_grad_weight<R: Runtime>(grad: &T<R>, x: &T<R>) -> [T<R>; 2] {
    if R::LIBRARIES && grad.numel() > 0 && x.numel() > 0 {
        let (grad, x) = (compose::rows(grad), compose::rows(x));
        let new = |shape: &[usize]| fresh::<R>(&shape.into(), x.dtype(), x.device());
        let (weight, bias) = (new(&[grad.size(1), x.size(1)]), new(&[grad.size(1)]));
        if by_library(&grad.t(), &x, &Also::RowSums(&bias), &weight) {
            return [weight, bias];
        }
    }
    compose::linear_grad_weight(grad, x)
}
