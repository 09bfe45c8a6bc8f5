//! What may stand beside a tensor in an elementwise op: another tensor or a number.

use crate::{Backend, DType, Scalar, Tensor};

/// A tensor or a number.
#[allow(missing_debug_implementations, reason = "a passing value")]
pub enum Term<'a, B: Backend> {
    /// A tensor; it broadcasts and promotes.
    Tensor(&'a Tensor<B>),
    /// A number; it changes the dtype only by its category.
    Scalar(Scalar),
}

/// What may stand beside a tensor: `&Tensor`, `Tensor`, `f64`, `f32`, `i64`, `i32`, `usize`, `bool`.
pub trait Operand<B: Backend> {
    /// The operand, borrowed.
    fn term(&self) -> Term<'_, B>;
}

impl<B: Backend> Operand<B> for Tensor<B> {
    fn term(&self) -> Term<'_, B> {
        Term::Tensor(self)
    }
}

impl<B: Backend, T: Operand<B>> Operand<B> for &T {
    fn term(&self) -> Term<'_, B> {
        (**self).term()
    }
}

macro_rules! numbers {
    ($($ty:ty),*) => {$(
        impl<B: Backend> Operand<B> for $ty {
            fn term(&self) -> Term<'_, B> {
                Term::Scalar((*self).into())
            }
        }
    )*};
}
numbers!(f64, f32, i64, i32, usize, bool, Scalar);

/// The dtype that two tensors meet in: `torch.result_type`. A 0-d tensor, like a number, changes the
/// dtype only when its category is higher.
pub(crate) fn result_dtype<B: Backend>(a: &Tensor<B>, b: &Tensor<B>) -> DType {
    let (da, db) = (a.dtype(), b.dtype());
    match (a.rank() == 0, b.rank() == 0) {
        (false, true) if da.category() >= db.category() => da,
        (true, false) if db.category() >= da.category() => db,
        _ => da.promote(db),
    }
}
