//! `linear`: a product and a bias, in one go where a library does that.

use kiln_tensor_core::{Tensor, compose};

use super::product::by_library;
use crate::launch::supported;
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// See `Backend::linear`.
#[track_caller]
pub(crate) fn linear<R: Runtime>(
    x: &Tensor<Gpu<R>>,
    weight: &Tensor<Gpu<R>>,
    bias: Option<&Tensor<Gpu<R>>>,
) -> Tensor<Gpu<R>> {
    supported::<R>("linear", x.device(), [x.dtype()]);
    if R::LIBRARIES && x.numel() > 0 && weight.numel() > 0 {
        let rows = if x.rank() == 1 { x.unsqueeze(0) } else { x.clone() };
        let rank = rows.rank();
        let out = fresh::<R>(&rows.shape().with(rank - 1, weight.size(0)), x.dtype(), x.device());
        let columns = weight
            .t()
            .expand(rows.shape().with(rank - 2, x.size(-1)).with(rank - 1, weight.size(0)));
        if by_library(&rows, &columns, bias, &out) {
            return if x.rank() == 1 { out.squeeze(0) } else { out };
        }
    }
    compose::linear(x, weight, bias)
}
