//! Reductions.

use super::convert::cast_program;
use crate::{Backend, Kernel, ReduceOp, Shape, Tensor};

impl<B: Backend> Tensor<B> {
    /// The sum of all elements; integers and bools add up in `i64`.
    pub fn sum(&self) -> Self {
        let dims: Vec<usize> = (0..self.rank()).collect();
        self.reduced(ReduceOp::Sum, &dims, false)
    }

    /// The sums along `dims`.
    ///
    /// # Panics
    /// If a dimension is out of range.
    #[track_caller]
    pub fn sum_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        let dims = self.sorted_dims("sum", dims.as_ref());
        self.reduced(ReduceOp::Sum, &dims, keepdim)
    }

    /// The sums that undo a broadcast from `shape` to this shape.
    pub fn sum_to(&self, shape: &Shape) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        let lead = self.rank() - shape.rank();
        let dims: Vec<usize> = (0..self.rank())
            .filter(|&d| d < lead || (shape[d - lead] == 1 && self.dims()[d] != 1))
            .collect();
        self.reduced(ReduceOp::Sum, &dims, true).reshape_to(shape)
    }

    #[track_caller]
    pub(crate) fn sorted_dims(&self, op: &'static str, dims: &[isize]) -> Vec<usize> {
        let mut sorted: Vec<usize> = dims.iter().map(|&d| self.dim(op, d)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        sorted
    }

    pub(crate) fn reduced(&self, op: ReduceOp, dims: &[usize], keepdim: bool) -> Self {
        let dtype = match op {
            ReduceOp::Sum | ReduceOp::Prod => self.dtype().sum(),
            ReduceOp::Any | ReduceOp::All => crate::DType::Bool,
            _ => self.dtype(),
        };
        let kernel = Kernel::new(cast_program(self.dtype(), dtype));
        let kept = B::reduce(op, kernel, &[self], self.shape(), dims);
        if keepdim { kept } else { kept.without(dims) }
    }

    /// Without `dims`, which have size 1.
    pub(crate) fn without(&self, dims: &[usize]) -> Self {
        if dims.is_empty() {
            return self.clone();
        }
        let shape: Shape =
            (0..self.rank()).filter(|d| !dims.contains(d)).map(|d| self.dims()[d]).collect();
        self.reshape_to(&shape)
    }
}
