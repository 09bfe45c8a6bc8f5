//! One file per kind of primitive: its kernel and how it is launched.

pub(crate) mod attention;
pub(crate) mod conv;
pub(crate) mod index;
pub(crate) mod layer_norm;
pub(crate) mod linear;
mod lines;
pub(crate) mod map;
pub(crate) mod matmul;
pub(crate) mod pool;
mod product;
pub(crate) mod reduce;
pub(crate) mod scan;
pub(crate) mod scatter;
pub(crate) mod softmax;
pub(crate) mod sort;
mod windows;

use kiln_tensor_core::Tensor;

use crate::{Gpu, Runtime};

/// The tensor with a dim moved to the end.
pub(crate) fn to_last<R: Runtime>(x: &Tensor<Gpu<R>>, dim: usize) -> Tensor<Gpu<R>> {
    x.movedim(dim as isize, -1)
}

/// A contiguous tensor with the last dim moved to `dim`.
pub(crate) fn from_last<R: Runtime>(x: &Tensor<Gpu<R>>, dim: usize) -> Tensor<Gpu<R>> {
    x.movedim(-1, dim as isize).contiguous()
}
