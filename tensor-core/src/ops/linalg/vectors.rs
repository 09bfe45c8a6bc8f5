//! What `torch.linalg` has that tensors have as methods.

use crate::{Backend, Tensor};

/// Products of three-vectors along a dim, the last one as a rule: `torch.linalg.cross`. See [`Tensor::cross`].
///
/// # Panics
/// As that.
#[track_caller]
pub fn cross<B: Backend>(a: &Tensor<B>, b: &Tensor<B>, dim: isize) -> Tensor<B> {
    a.cross(b, dim)
}

/// Sums of products along a dim, the last one as a rule: `torch.linalg.vecdot`.
///
/// # Panics
/// If the shapes do not broadcast, dtypes or devices do not fit, or the dim is out of range.
#[track_caller]
pub fn vecdot<B: Backend>(a: &Tensor<B>, b: &Tensor<B>, dim: isize) -> Tensor<B> {
    (a * b).sum_dims([dim], false)
}

/// Powers of the elements of a vector, 0 first, as columns; as many as there are elements unless `n` says: `torch.linalg.vander`.
/// See [`Tensor::vander`].
///
/// # Panics
/// As that.
#[track_caller]
pub fn vander<B: Backend>(x: &Tensor<B>, n: Option<usize>) -> Tensor<B> {
    x.vander(n.unwrap_or_else(|| x.numel()), true)
}

/// A view of the diagonals of matrices, `offset` above the main one: `torch.linalg.diagonal`.
///
/// # Panics
/// If these are no matrices.
#[track_caller]
pub fn diagonal<B: Backend>(a: &Tensor<B>, offset: isize) -> Tensor<B> {
    a.diagonal(offset, -2, -1)
}

/// The product: `torch.linalg.matmul`. See [`Tensor::matmul`].
///
/// # Panics
/// As that.
#[track_caller]
pub fn matmul<B: Backend>(a: &Tensor<B>, b: &Tensor<B>) -> Tensor<B> {
    a.matmul(b)
}
