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

use kiln_tensor_core::{Layout, Shape, Tensor};

use crate::{Gpu, Runtime};

/// Where a tensor lies without `dim`, cut to a shape.
pub(crate) fn beside<R: Runtime>(x: &Tensor<Gpu<R>>, dim: usize, shape: &Shape) -> Layout {
    let mut strides = x.strides().to_vec();
    strides.remove(dim);
    Layout::new(shape.clone(), strides.as_slice().into(), x.layout().offset())
}

/// The tensor with a dim moved to the end.
pub(crate) fn to_last<R: Runtime>(x: &Tensor<Gpu<R>>, dim: usize) -> Tensor<Gpu<R>> {
    x.movedim(dim as isize, -1)
}

/// A contiguous tensor with the last dim moved to `dim`.
pub(crate) fn from_last<R: Runtime>(x: &Tensor<Gpu<R>>, dim: usize) -> Tensor<Gpu<R>> {
    x.movedim(-1, dim as isize).contiguous()
}
