//! Copies, dtypes, and the way back to the program's memory.

use std::sync::OnceLock;

use super::pointwise::writable;
use crate::{Backend, DType, Element, Error, Expr, Kernel, Scalar, Tensor, raise};

/// The program that converts (or just copies) elements.
pub(crate) fn cast_program(from: DType, to: DType) -> &'static Expr {
    static PROGRAMS: [OnceLock<Expr>; 100] = [const { OnceLock::new() }; 100];
    PROGRAMS[from as usize * 10 + to as usize]
        .get_or_init(|| Expr::new("to_dtype", [from], |[x]| x.cast(to)))
}

impl<B: Backend> Tensor<B> {
    /// New elements, contiguous.
    pub fn copy(&self) -> Self {
        self.converted(self.dtype()).named("copy", &[self])
    }

    /// This tensor if it is contiguous, else a contiguous copy.
    pub fn contiguous(&self) -> Self {
        if self.is_contiguous() { self.clone() } else { self.copy() }
    }

    /// The elements converted; the same tensor if the dtype is this already. Floats become integers
    /// by truncation towards zero.
    pub fn to_dtype(&self, dtype: DType) -> Self {
        if dtype == self.dtype() { self.clone() } else { self.converted(dtype) }
    }

    fn converted(&self, dtype: DType) -> Self {
        let expr = cast_program(self.dtype(), dtype);
        B::map(Kernel::new(expr), &[self], self.shape(), self.device())
    }

    /// The elements on another device; the same tensor if it is there already.
    pub fn to(&self, device: &B::Device) -> Self {
        if device == self.device() { self.clone() } else { B::to_device(self, device) }
    }

    /// Overwrites the elements with those of `src`, broadcast, converted and, if they are on another
    /// device, moved.
    ///
    /// # Panics
    /// If `src` does not broadcast to this shape, or elements of this view share memory.
    #[track_caller]
    pub fn copy_(&self, src: &Self) -> Self {
        if src.device() != self.device() {
            return self.copy_(&src.to(self.device()));
        }
        if src.layout().broadcast_to(self.shape()).is_none() {
            raise(Error::Shape {
                op: "copy_",
                shapes: vec![self.shape().clone(), src.shape().clone()],
                why: "the source does not broadcast to the target".into(),
            });
        }
        writable("copy_", self, DType::Bool);
        let apart = !B::shares_storage(self, src) || self.layout() == src.layout();
        let copied = if apart { None } else { Some(src.copy()) };
        let expr = cast_program(src.dtype(), self.dtype());
        B::map_into(Kernel::new(expr), &[copied.as_ref().unwrap_or(src)], &[self]);
        self.clone()
    }

    /// The elements in row-major order, as `T`.
    ///
    /// # Panics
    /// If `T` is not the tensor's dtype.
    #[track_caller]
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        if T::DTYPE != self.dtype() {
            raise(Error::DType {
                op: "to_vec",
                dtypes: vec![self.dtype(), T::DTYPE],
                why: "ask for the tensor's own dtype, or convert with `to_dtype` first".into(),
            });
        }
        T::from_bytes(&B::download(self))
    }

    /// The elements in row-major order, whatever their dtype.
    pub fn to_scalars(&self) -> Vec<Scalar> {
        let dtype = self.dtype();
        B::download(self).chunks_exact(dtype.size()).map(|bytes| dtype.decode(bytes)).collect()
    }

    /// The only element, as a number.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[track_caller]
    pub fn to_scalar(&self) -> Scalar {
        if self.numel() != 1 {
            raise(Error::Shape {
                op: "item",
                shapes: vec![self.shape().clone()],
                why: "only a tensor of one element is a number; reduce or index it first".into(),
            });
        }
        self.to_scalars()[0]
    }

    /// The only element, as `f64`.
    ///
    /// # Panics
    /// If there is not exactly one.
    #[track_caller]
    pub fn item(&self) -> f64 {
        self.to_scalar().to_f64()
    }
}
