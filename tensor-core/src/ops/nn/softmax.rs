//! Softmax and its logarithm.

use crate::autocast::cast;
use crate::{Backend, DType, Error, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// `exp(x) / Σ exp(x)` along `dim`, without overflow.
    ///
    /// # Panics
    /// If there is no such dimension or the elements are not floats.
    #[track_caller]
    pub fn softmax(&self, dim: isize) -> Self {
        if let Some((_inside, [x])) = cast("softmax", [self]) {
            return x.softmax(dim);
        }
        self.floats("softmax");
        let (x, dim) = self.along("softmax", dim);
        B::softmax(&x, dim).shaped_as(self)
    }

    /// `x − ln Σ exp(x)` along `dim`, without overflow.
    ///
    /// # Panics
    /// If there is no such dimension or the elements are not floats.
    #[track_caller]
    pub fn log_softmax(&self, dim: isize) -> Self {
        if let Some((_inside, [x])) = cast("log_softmax", [self]) {
            return x.log_softmax(dim);
        }
        self.floats("log_softmax");
        let (x, dim) = self.along("log_softmax", dim);
        B::log_softmax(&x, dim).shaped_as(self)
    }

    /// Requires a float dtype.
    #[track_caller]
    pub(crate) fn floats(&self, op: &'static str) -> DType {
        if !self.dtype().is_float() {
            raise(Error::DType {
                op,
                dtypes: vec![self.dtype()],
                why: "floats are wanted; convert with `to_dtype`".into(),
            });
        }
        self.dtype()
    }

    /// Requires that all operands have this tensor's dtype and device.
    #[track_caller]
    pub(crate) fn alike<'a>(&self, op: &'static str, others: impl IntoIterator<Item = &'a Self>) {
        for other in others {
            self.same_device(op, other);
            if other.dtype() != self.dtype() {
                raise(Error::DType {
                    op,
                    dtypes: vec![self.dtype(), other.dtype()],
                    why: "all operands must have one dtype; convert one with `to_dtype`".into(),
                });
            }
        }
    }
}
