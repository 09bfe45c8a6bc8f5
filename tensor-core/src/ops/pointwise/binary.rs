//! Elementwise ops of two tensors, or of a tensor and a number.

use std::f64::consts::{LN_2, LOG2_E};

use super::unary::minus;
use super::{Binary, Takes, Unary};
use crate::{Backend, DType, Operand, Scalar, Tensor, Val};

macro_rules! binary {
    ($($name:ident $in_place:ident $takes:ident $($shortcut:ident)? $doc:literal = |$a:ident, $b:ident| $f:expr;)*) => {
        impl<B: Backend> Tensor<B> {$(
            #[doc = $doc]
            ///
            /// Operands broadcast and are promoted by PyTorch's rules; `other` is a tensor or a number.
            ///
            /// # Panics
            /// If the shapes do not broadcast, the devices differ, or the op does not take these dtypes.
            #[track_caller]
            pub fn $name(&self, other: impl Operand<B>) -> Self {
                rows::$name.call(self, &other)
            }

            #[doc = concat!("`", stringify!($name), "`, in place.")]
            ///
            /// # Panics
            /// If the result does not fit into `self`: its shape, its dtype's category, or memory
            /// that several elements share.
            #[track_caller]
            pub fn $in_place(&self, other: impl Operand<B>) -> Self {
                rows::$name.call_in_place(self, &other);
                self.clone()
            }
        )*}

        #[allow(non_upper_case_globals, reason = "a row has its method's name")]
        pub(super) mod rows {
            use super::*;
            $(pub static $name: Binary = Binary::new(
                stringify!($name),
                |$a, $b| $f,
                |$a, numbers| { let $b = numbers[0]; $f },
                |$b, numbers| { let $a = numbers[0]; $f },
            )
            .taking(Takes::$takes)
            $(.shortened($shortcut))?;)*
        }

        /// Every elementwise op of two tensors.
        pub static BINARY: &[&Binary] = &[$(&rows::$name),*];
    };
}

binary! {
    add add_ All "a + b" = |a, b| a + b;
    sub sub_ Numbers "a − b" = |a, b| a - b;
    mul mul_ All "a · b" = |a, b| a * b;
    div div_ All "a / b; integers give a float." = |a, b| a / b;
    pow pow_ Numbers power "aᵇ. Where integers meet a negative exponent: an error if it is a number, else 0 unless a is ±1, as in PyTorch." = |a, b| a.pow(b);
    remainder remainder_ Numbers "a − b · ⌊a / b⌋, with the sign of `b`." = |a, b| a % b;
    fmod fmod_ Numbers "The remainder with the sign of `a`." = |a, b| a.fmod(b);
    floor_divide floor_divide_ Numbers "⌊a / b⌋, of the exact quotient; integers over zero give 0." = |a, b| a.floor_div(b);
    trunc_divide trunc_divide_ Numbers "a / b, truncated towards zero; integers over zero give 0. `torch.div` with `rounding_mode=\"trunc\"`." = |a, b| {
        if a.dtype().promote(b.dtype()).is_float() { (a / b).trunc() } else { a.trunc_div(b) }
    };
    float_power float_power_ Numbers "aᵇ in `f64`." = |a, b| a.cast(DType::F64).pow(b.cast(DType::F64));
    maximum maximum_ All "The larger; NaN if either is. Equal operands share the gradient." = |a, b| a.max(b);
    minimum minimum_ All "The smaller; NaN if either is. Equal operands share the gradient." = |a, b| a.min(b);
    atan2 atan2_ All "The angle of the point (b, a), in radians." = |a, b| a.atan2(b);
    eq eq_ All "a = b, as bool." = |a, b| a.eq(b);
    ne ne_ All "a ≠ b, as bool." = |a, b| a.ne(b);
    lt lt_ All "a < b, as bool." = |a, b| a.lt(b);
    le le_ All "a ≤ b, as bool." = |a, b| a.le(b);
    gt gt_ All "a > b, as bool." = |a, b| a.gt(b);
    ge ge_ All "a ≥ b, as bool." = |a, b| a.ge(b);
    logical_and logical_and_ All "Whether both differ from zero." = |a, b| a.truth() & b.truth();
    logical_or logical_or_ All "Whether one differs from zero." = |a, b| a.truth() | b.truth();
    logical_xor logical_xor_ All "Whether exactly one differs from zero." = |a, b| a.truth() ^ b.truth();
    bitwise_and bitwise_and_ Whole "Bits that both have." = |a, b| a & b;
    bitwise_or bitwise_or_ Whole "Bits that one has." = |a, b| a | b;
    bitwise_xor bitwise_xor_ Whole "Bits that exactly one has." = |a, b| a ^ b;
    fmax fmax_ All "The larger; the other where one is NaN." = |a, b| b.is_nan().select(a, a.is_nan().select(b, a.max(b)));
    fmin fmin_ All "The smaller; the other where one is NaN." = |a, b| b.is_nan().select(a, a.is_nan().select(b, a.min(b)));
    xlogy xlogy_ All "a · ln b; 0 where a is 0, unless b is NaN." = |a, b| {
        let (a, b) = floats(a, b);
        let zero = a.eq(0.0) & (b.le(0.0) | b.is_inf());
        a * zero.select(b.lit(1.0), b).log()
    };
    logaddexp logaddexp_ All "ln(eᵃ + eᵇ), without overflow." = |a, b| {
        let (a, b) = floats(a, b);
        let (max, away) = (a.max(b), (a - b).abs());
        // Equal infinities have no distance.
        (a.eq(b) & a.is_inf()).select(a, max + (-away).exp().log1p())
    };
    logaddexp2 logaddexp2_ All "log₂(2ᵃ + 2ᵇ), without overflow." = |a, b| {
        let (a, b) = floats(a, b);
        let (max, away) = (a.max(b), (a - b).abs());
        let sum = max + (away * -LN_2).exp().log1p() * LOG2_E;
        (a.eq(b) & a.is_inf()).select(a, sum)
    };
    xlog1py xlog1py_ All "a · ln (1 + b); 0 where a is 0, unless b is NaN." = |a, b| {
        let (a, b) = floats(a, b);
        let zero = a.eq(0.0) & (b.le(-1.0) | b.is_inf());
        a * zero.select(b.lit(0.0), b).log1p()
    };
    copysign copysign_ All "|a| with the sign of b, that of −0 too; of a NaN in b, plus." = |a, b| {
        let (a, b) = floats(a, b);
        minus(b).select(-a.abs(), a.abs())
    };
    nextafter nextafter_ WideFloats "The number after a towards b, of those that the dtype has." = |a, b| a.next_after(b);
    heaviside heaviside_ All "0 below 0, 1 above, b at 0. NaN gives 0, as in PyTorch." = |a, b| a.eq(a.lit(0)).select(b, a.gt(a.lit(0)).cast(b.dtype()));
    ldexp ldexp_ All "a · 2ᵇ" = |a, b| {
        let (a, b) = floats(a, b);
        a * b.lit(2.0).pow(b)
    };
    gcd gcd_ Ints "The greatest common divisor, not negative; of two zeros 0." = |a, b| a.gcd(b);
    lcm lcm_ Ints "The least common multiple, not negative; 0 with a 0." = |a, b| (a.trunc_div(a.gcd(b)) * b).abs();
    bitwise_left_shift bitwise_left_shift_ Ints "a · 2ᵇ without what leaves the dtype's bits; 0 where b is negative or not below their number." = |a, b| {
        let outside = b.lt(b.lit(0)) | b.ge(b.lit(bits(b)));
        outside.select(b.lit(0), a * b.lit(2).pow(b))
    };
    bitwise_right_shift bitwise_right_shift_ Ints "⌊a / 2ᵇ⌋; the sign alone is left where b is negative or not below the number of bits." = |a, b| {
        let unsigned = b.dtype() == DType::U8;
        // The highest power of a signed integer would be negative.
        let outside = b.lt(b.lit(0)) | b.ge(b.lit(bits(b) - i64::from(!unsigned)));
        let sign = if unsigned { b.lit(0) } else { a.lt(a.lit(0)).select(b.lit(-1), b.lit(0)) };
        outside.select(sign, a.floor_div(b.lit(2).pow(b)))
    };
    hypot hypot_ All "√(a² + b²), without overflow." = |a, b| {
        let (a, b) = floats(a, b);
        let max = a.abs().max(b.abs());
        let scale = (max.eq(0.0) | max.is_inf()).select(max.lit(1.0), max);
        ((a / scale).square() + (b / scale).square()).sqrt() * scale
    };
}

/// How many bits an integer has.
fn bits(x: Val<'_>) -> i64 {
    8 * x.dtype().size() as i64
}

fn floats<'b>(a: Val<'b>, b: Val<'b>) -> (Val<'b>, Val<'b>) {
    let dtype = a.dtype().promote(b.dtype()).float();
    (a.cast(dtype), b.cast(dtype))
}

/// Powers that are cheaper, and exact, as products and roots; none of integers is negative.
fn power(dtype: DType, exponent: Scalar) -> Result<Option<&'static Unary>, &'static str> {
    static SQUARE: Unary = Unary::new("pow", 0, |x, _| x.square());
    static CUBE: Unary = Unary::new("pow", 0, |x, _| x * x * x);
    static SQRT: Unary = Unary::new("pow", 0, |x, _| x.sqrt());
    static RSQRT: Unary = Unary::new("pow", 0, |x, _| x.rsqrt());
    static RECIP: Unary = Unary::new("pow", 0, |x, _| x.recip());
    let whole = !dtype.is_float();
    if !dtype.promote_scalar(exponent).is_float() && exponent.to_i64() < 0 {
        return Err(
            "integers have no negative integer powers; a float exponent, as in -1.0, gives floats",
        );
    }
    Ok(match exponent.to_f64() {
        _ if dtype.promote_scalar(exponent) != dtype || dtype == DType::Bool => None,
        2.0 => Some(&SQUARE),
        3.0 => Some(&CUBE),
        _ if whole => None,
        0.5 => Some(&SQRT),
        -0.5 => Some(&RSQRT),
        -1.0 => Some(&RECIP),
        _ => None,
    })
}
