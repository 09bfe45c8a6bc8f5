//! Rust's operators on [`Val`], with a value or a number on the other side.

use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Rem, Sub};

use super::{BinaryOp, UnaryOp, Val};
use crate::{DType, Scalar};

/// What may stand on the other side of an operator: a value or a number.
pub trait IntoVal<'b> {
    /// The value; a number takes the dtype that `beside` promotes it to.
    fn into_val(self, beside: Val<'b>) -> Val<'b>;
}

impl<'b> IntoVal<'b> for Val<'b> {
    fn into_val(self, _: Val<'b>) -> Val<'b> {
        self
    }
}

impl<'b> IntoVal<'b> for Scalar {
    fn into_val(self, beside: Val<'b>) -> Val<'b> {
        beside.lit(self)
    }
}

macro_rules! numbers {
    ($($ty:ty),*) => {$(
        impl<'b> IntoVal<'b> for $ty {
            fn into_val(self, beside: Val<'b>) -> Val<'b> {
                beside.lit(self)
            }
        }
        operators_on_number!($ty: Add add, Sub sub, Mul mul, Div div);
    )*};
}

macro_rules! operators_on_number {
    ($ty:ty: $($tr:ident $method:ident),*) => {$(
        impl<'b> $tr<Val<'b>> for $ty {
            type Output = Val<'b>;
            fn $method(self, other: Val<'b>) -> Val<'b> {
                $tr::$method(self.into_val(other), other)
            }
        }
    )*};
}
numbers!(f64, f32, i64, i32);

impl<'b, T: IntoVal<'b>> Div<T> for Val<'b> {
    type Output = Val<'b>;
    fn div(self, other: T) -> Val<'b> {
        self.true_div(other)
    }
}

macro_rules! operators {
    ($($tr:ident $method:ident $op:ident),*) => {$(
        impl<'b, T: IntoVal<'b>> $tr<T> for Val<'b> {
            type Output = Val<'b>;
            fn $method(self, other: T) -> Val<'b> {
                self.binary(BinaryOp::$op, other)
            }
        }
    )*};
}
operators! {
    Add add Add, Sub sub Sub, Mul mul Mul, BitAnd bitand And, BitOr bitor Or, BitXor bitxor Xor
}

/// The remainder with the sign of the divisor, as `%` on tensors (`torch.remainder`).
impl<'b, T: IntoVal<'b>> Rem<T> for Val<'b> {
    type Output = Val<'b>;
    fn rem(self, other: T) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        let r = a.fmod(b);
        let zero = r.lit(0);
        (r.ne(zero) & r.lt(zero).ne(b.lt(zero))).select(r + b, r)
    }
}

impl<'b> Neg for Val<'b> {
    type Output = Val<'b>;
    fn neg(self) -> Val<'b> {
        let narrow = self.dtype().is_int() && self.dtype().compute() != self.dtype();
        let out = self.unary(UnaryOp::Neg);
        if narrow { out.wrapped() } else { out }
    }
}

impl<'b> Not for Val<'b> {
    type Output = Val<'b>;
    fn not(self) -> Val<'b> {
        let out = self.unary(UnaryOp::Not);
        if self.dtype() == DType::U8 { out.wrapped() } else { out }
    }
}
