//! New tensors that are stored as another one is, and lie where it lies.

use crate::{Backend, Scalar, Shape, Tensor};

impl<B: Backend> Tensor<B> {
    /// A tensor of `shape` filled with one number, in the dtype and on the device of this one.
    #[must_use]
    pub fn new_full(&self, shape: impl Into<Shape>, value: impl Into<Scalar>) -> Self {
        Self::full(shape, value, (self.device(), self.dtype()))
    }

    /// Zeros of `shape`, in the dtype and on the device of this tensor.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::{DType, Tensor};
    /// let x = Tensor::<Cpu>::ones([2, 3], (&CpuDevice, DType::F64));
    /// let state = x.new_zeros([2, 8]);
    /// assert_eq!((state.dims(), state.dtype()), (&[2, 8][..], DType::F64));
    /// ```
    #[must_use]
    pub fn new_zeros(&self, shape: impl Into<Shape>) -> Self {
        self.new_full(shape, 0)
    }

    /// Ones of `shape`, in the dtype and on the device of this tensor.
    #[must_use]
    pub fn new_ones(&self, shape: impl Into<Shape>) -> Self {
        self.new_full(shape, 1)
    }

    /// A tensor of `shape` to be written to, in the dtype and on the device of this one. It holds zeros.
    #[must_use]
    pub fn new_empty(&self, shape: impl Into<Shape>) -> Self {
        self.new_zeros(shape)
    }

    /// This tensor in the dtype and on the device of `other`.
    ///
    /// # Panics
    /// If the other device cannot hold that dtype.
    #[must_use]
    #[track_caller]
    pub fn type_as(&self, other: &Self) -> Self {
        self.to(other.device()).to_dtype(other.dtype())
    }
}
