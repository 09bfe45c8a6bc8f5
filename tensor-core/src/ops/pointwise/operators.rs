//! Rust's operators, with a tensor or a number on the other side.

use super::{binary, unary};
use crate::{Backend, Operand, Tensor};

macro_rules! operators {
    ($($tr:ident $method:ident $assign:ident $assign_method:ident $row:ident;)*) => {$(
        impl<B: Backend, T: Operand<B>> std::ops::$tr<T> for &Tensor<B> {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: T) -> Tensor<B> {
                binary::rows::$row.call(self, &other)
            }
        }

        /// Uses the memory of the left operand for the result where nobody else holds it.
        impl<B: Backend, T: Operand<B>> std::ops::$tr<T> for Tensor<B> {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: T) -> Tensor<B> {
                binary::rows::$row.call_owned(self, &other)
            }
        }

        impl<B: Backend, T: Operand<B>> std::ops::$assign<T> for Tensor<B> {
            #[track_caller]
            fn $assign_method(&mut self, other: T) {
                binary::rows::$row.call_in_place(self, &other);
            }
        }
    )*};
}

macro_rules! left_numbers {
    ($tr:ident $method:ident $row:ident: $($ty:ty),*) => {$(
        impl<B: Backend> std::ops::$tr<&Tensor<B>> for $ty {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: &Tensor<B>) -> Tensor<B> {
                binary::rows::$row.call_left(self, other)
            }
        }

        impl<B: Backend> std::ops::$tr<Tensor<B>> for $ty {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: Tensor<B>) -> Tensor<B> {
                binary::rows::$row.call_left_owned(self, other)
            }
        }
    )*};
}

operators! {
    Add add AddAssign add_assign add;
    Sub sub SubAssign sub_assign sub;
    Mul mul MulAssign mul_assign mul;
    Div div DivAssign div_assign div;
    Rem rem RemAssign rem_assign remainder;
    BitAnd bitand BitAndAssign bitand_assign bitwise_and;
    BitOr bitor BitOrAssign bitor_assign bitwise_or;
    BitXor bitxor BitXorAssign bitxor_assign bitwise_xor;
}

left_numbers!(Add add add: f64, i64);
left_numbers!(Sub sub sub: f64, i64);
left_numbers!(Mul mul mul: f64, i64);
left_numbers!(Div div div: f64, i64);
left_numbers!(Rem rem remainder: f64, i64);

impl<B: Backend> std::ops::Neg for &Tensor<B> {
    type Output = Tensor<B>;
    #[track_caller]
    fn neg(self) -> Tensor<B> {
        unary::rows::neg.call(self, &[])
    }
}

impl<B: Backend> std::ops::Neg for Tensor<B> {
    type Output = Tensor<B>;
    #[track_caller]
    fn neg(self) -> Tensor<B> {
        unary::rows::neg.call_owned(self, &[])
    }
}

impl<B: Backend> std::ops::Not for &Tensor<B> {
    type Output = Tensor<B>;
    #[track_caller]
    fn not(self) -> Tensor<B> {
        unary::rows::bitwise_not.call(self, &[])
    }
}

impl<B: Backend> std::ops::Not for Tensor<B> {
    type Output = Tensor<B>;
    #[track_caller]
    fn not(self) -> Tensor<B> {
        unary::rows::bitwise_not.call_owned(self, &[])
    }
}
