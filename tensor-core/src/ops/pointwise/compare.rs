//! Whole tensors compared, with one answer.

use crate::{Backend, DType, FusedWith, Tensor};

static CLOSE: FusedWith<2, 3> = FusedWith::new("isclose", |[a, b], [rtol, atol, equal_nan]| {
    // A difference of integers could wrap.
    let common = a.dtype().promote(b.dtype());
    let wide = if common.is_float() { common } else { DType::F64 };
    let (x, y) = (a.cast(wide), b.cast(wide));
    let (apart, both_nan) = ((x - y).abs(), x.is_nan() & y.is_nan() & equal_nan.ne(0.0));
    let near = apart.le(atol + (rtol * y).abs()) & !apart.is_inf();
    a.eq(b) | near | both_nan
});

impl<B: Backend> Tensor<B> {
    /// Whether |a − b| ≤ atol + rtol · |b|, as bool; infinities are close to themselves, and so is NaN
    /// with `equal_nan`. PyTorch's defaults are 1e-5, 1e-8 and false.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn isclose(&self, other: &Self, rtol: f64, atol: f64, equal_nan: bool) -> Self {
        CLOSE.call([self, other], [rtol, atol, f64::from(u8::from(equal_nan))])
    }

    /// Whether all elements are close; see [`Tensor::isclose`].
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn allclose(&self, other: &Self, rtol: f64, atol: f64, equal_nan: bool) -> bool {
        self.isclose(other, rtol, atol, equal_nan).all().to_scalar().to_bool()
    }

    /// Whether both tensors have one shape and equal elements; NaN equals nothing.
    ///
    /// # Panics
    /// If the devices differ.
    #[track_caller]
    pub fn equal(&self, other: &Self) -> bool {
        self.same_device("equal", other);
        self.shape() == other.shape() && self.eq(other).all().to_scalar().to_bool()
    }
}
