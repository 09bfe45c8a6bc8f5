//! Views of a part: one position, a range, a diagonal, windows, the other way round.

use super::views::normal_bounds;
use crate::{Backend, Error, Tensor, ViewOp, raise};

impl<B: Backend> Tensor<B> {
    /// The slice at `index` of `dim`, without that dimension; a negative index counts from the end.
    ///
    /// # Panics
    /// If the dimension or the index is out of range.
    #[track_caller]
    pub fn select(&self, dim: isize, index: isize) -> Self {
        self.select_as("select", self.dim("select", dim), index)
    }

    /// `select`, in messages under the name of the operation that it is part of.
    #[track_caller]
    pub(super) fn select_as(&self, op: &'static str, dim: usize, index: isize) -> Self {
        let size = self.dims()[dim];
        let start = if index < 0 { index + size as isize } else { index };
        if start < 0 || start >= size as isize {
            raise(Error::Index {
                op,
                what: "index",
                index: index as i64,
                size,
                shape: self.shape().clone(),
                called: None,
            });
        }
        let one = ViewOp::Slice { dim, start: start as usize, len: 1, step: 1 };
        self.view_as_op(&one).squeeze(dim as isize).named("select", &[self])
    }

    /// Every `step`-th element of `dim` from `start` on, before `end`. Negative bounds count from the end,
    /// bounds outside are cut off, as in a Python slice.
    ///
    /// # Panics
    /// If the dimension is out of range or the step is 0.
    #[track_caller]
    pub fn slice(
        &self,
        dim: isize,
        start: impl Into<Option<isize>>,
        end: impl Into<Option<isize>>,
        step: usize,
    ) -> Self {
        let dim = self.dim("slice", dim);
        if step == 0 {
            raise(Error::Argument { op: "slice", why: "a step of 0 goes nowhere".into() });
        }
        let (start, end) = normal_bounds(self.dims()[dim], start.into(), end.into());
        let len = end.saturating_sub(start).div_ceil(step);
        self.view_as_op(&ViewOp::Slice { dim, start, len, step: step as isize })
    }

    /// The elements of `dims` in the opposite order. A view, where PyTorch copies.
    ///
    /// # Panics
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn flip(&self, dims: impl AsRef<[isize]>) -> Self {
        let dims = self.sorted_dims("flip", dims.as_ref());
        let flipped = dims.into_iter().fold(self.clone(), |x, dim| {
            let len = x.dims()[dim];
            let start = len.saturating_sub(1);
            x.view_as_op(&ViewOp::Slice { dim, start, len, step: -1 })
        });
        flipped.named("flip", &[self])
    }

    /// Windows of `size` every `step` elements of `dim`, as a new last dimension.
    ///
    /// # Panics
    /// If the dimension is out of range or shorter than a window, or the step is 0.
    #[track_caller]
    pub fn unfold(&self, dim: isize, size: usize, step: usize) -> Self {
        let (x, dim) = self.along("unfold", dim);
        let windows = x.view_as_op(&ViewOp::Unfold { dim, size, step });
        if self.rank() == 0 { windows.select(0, 0) } else { windows }
    }

    /// The diagonal of `dim1 × dim2`, `offset` above the main one, as a new last dimension in their place.
    ///
    /// # Panics
    /// If a dimension is out of range or both are the same.
    #[track_caller]
    pub fn diagonal(&self, offset: isize, dim1: isize, dim2: isize) -> Self {
        let (dim1, dim2) = (self.dim("diagonal", dim1), self.dim("diagonal", dim2));
        if dim1 == dim2 {
            raise(Error::Argument {
                op: "diagonal",
                why: format!("two different dims are wanted, not {dim1} twice"),
            });
        }
        self.view_as_op(&ViewOp::Diagonal { offset, dim1, dim2 })
    }

    /// Of a matrix, its diagonal `offset` above the main one; of a vector, the matrix with that diagonal.
    ///
    /// # Panics
    /// If this is neither.
    #[track_caller]
    pub fn diag(&self, offset: isize) -> Self {
        match *self.dims() {
            [_, _] => self.diagonal(offset, 0, 1).copy(),
            [len] => {
                let size = len + offset.unsigned_abs();
                let cells = Self::arange(len, self.device())
                    * Self::full((), (size + 1) as i64, self.device())
                    + if offset < 0 { offset.unsigned_abs() * size } else { offset as usize };
                let zeros = Self::zeros([size * size], (self.device(), self.dtype()));
                let flat = B::scatter(crate::ScatterOp::Set, &zeros, 0, &cells, self);
                flat.reshape_to(&[size, size].into())
            }
            _ => raise(Error::Shape {
                op: "diag",
                shapes: vec![self.shape().clone()],
                why: "a vector or a matrix is wanted; `diagonal` takes any rank".into(),
            }),
        }
    }

    /// The matrix whose diagonal, `offset` above the main one, has all elements of this tensor.
    pub fn diagflat(&self, offset: isize) -> Self {
        self.flatten(0, -1).diag(offset)
    }

    /// The sum of a matrix's diagonal.
    ///
    /// # Panics
    /// If this is not a matrix.
    #[track_caller]
    pub fn trace(&self) -> Self {
        if self.rank() != 2 {
            raise(Error::Shape {
                op: "trace",
                shapes: vec![self.shape().clone()],
                why: "a matrix is wanted".into(),
            });
        }
        self.diagonal(0, 0, 1).sum()
    }
}
