//! rms_norm and its gradient: layer_norm's loops, on rows as they are.

use kiln_tensor_core::{Shape, Tensor, compose};

use super::dispatch::{by_float, widen};
use super::layer_norm::{Backward, Forward, GROUP_ROWS};
use super::rows::{parallel_rows, with_plain};
use super::simd::dispatch;
use crate::Cpu;
use crate::threads::parallel_for;

/// See `Backend::rms_norm`.
pub(crate) fn rms_norm(
    x: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    dims: usize,
    eps: f64,
) -> [Tensor<Cpu>; 2] {
    if !x.dtype().is_float() || x.numel() == 0 {
        return compose::rms_norm(x, weight, dims, eps);
    }
    let (outer, inner) = x.dims().split_at(x.rank() - dims);
    let len: usize = inner.iter().product();
    let each: Shape = outer.iter().copied().chain(inner.iter().map(|_| 1)).collect();
    let [y, rstd] = with_plain(x.dtype(), [Some(x), weight], [x.shape(), &each], |from, to| {
        parallel_rows(x.numel() / len, len, |first, end| {
            by_float!("rms_norm", widen(x).dtype(), E => {
                let [x, weight] = from.each_ref().map(|p| p.at(0).cast::<E>().cast_const());
                let [y, rstd] = to.each_ref().map(|p| p.at(0).cast::<E>());
                dispatch(Forward::<E, false> {
                    from: [x, weight, std::ptr::null()],
                    to: [y, std::ptr::null_mut(), rstd],
                    len,
                    rows: first..end,
                    eps,
                });
            });
        });
    });
    [y.to_dtype(x.dtype()), rstd]
}

/// See `Backend::rms_norm_grad`.
pub(crate) fn rms_norm_grad(
    grad: &Tensor<Cpu>,
    x: &Tensor<Cpu>,
    rstd: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    dims: usize,
) -> [Tensor<Cpu>; 2] {
    if !x.dtype().is_float() || x.numel() == 0 {
        return compose::rms_norm_grad(grad, x, rstd, weight, dims);
    }
    let inner = &x.dims()[x.rank() - dims..];
    let len: usize = inner.iter().product();
    let count = x.numel() / len;
    // One row of sums per group of rows; they are added up at the end, in order.
    let groups = count.div_ceil(GROUP_ROWS);
    let partial: Shape = [groups].into_iter().chain(inner.iter().copied()).collect();
    let inputs = [Some(grad), Some(x), Some(rstd), weight];
    let [dx, dw] = with_plain(x.dtype(), inputs, [x.shape(), &partial], |from, to| {
        parallel_for(groups, |group| {
            by_float!("rms_norm_grad", widen(x).dtype(), E => {
                let [g, x, rstd, weight] = from.each_ref().map(|p| p.at(0).cast::<E>().cast_const());
                let [dx, dw] = to.each_ref().map(|p| p.at(0).cast::<E>());
                dispatch(Backward::<E, false> {
                    from: [g, x, std::ptr::null(), rstd, weight],
                    to: [dx, dw, std::ptr::null_mut()],
                    len,
                    rows: group * GROUP_ROWS..count.min((group + 1) * GROUP_ROWS),
                    group,
                });
            });
        });
    });
    [dx, dw.sum_dims([0], false)].map(|out| out.to_dtype(x.dtype()))
}
