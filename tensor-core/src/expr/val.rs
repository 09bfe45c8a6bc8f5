//! [`Val`]: a scalar that records what is done to it.

use std::fmt;

use super::{BinaryOp, Builder, CmpOp, Instr, IntoVal, Op, UnaryOp};
use crate::{DType, Error, Scalar, raise};

/// A scalar inside a closure that describes a kernel. Operators and methods record instructions;
/// operands of different dtypes are promoted as tensors are.
#[derive(Clone, Copy)]
pub struct Val<'b> {
    builder: &'b Builder,
    id: u32,
}

impl fmt::Debug for Val<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}: {}", self.id, self.dtype())
    }
}

impl<'b> Val<'b> {
    pub(super) fn new(builder: &'b Builder, id: u32) -> Self {
        Val { builder, id }
    }

    /// Its number in the program, for [`Builder::finish`].
    pub fn id(self) -> u32 {
        self.id
    }

    pub(super) fn instr(self) -> Instr {
        self.builder.instr(self.id)
    }

    /// The dtype that this value would be stored as.
    pub fn dtype(self) -> DType {
        self.instr().dtype
    }

    /// A constant of this value's dtype (of a higher category where the number demands it).
    pub fn lit(self, value: impl Into<Scalar>) -> Val<'b> {
        let value = value.into();
        self.builder.constant(value, self.dtype().promote_scalar(value))
    }

    /// Conversion, as `Tensor::to_dtype` does it.
    pub fn cast(self, dtype: DType) -> Val<'b> {
        let from = self.dtype();
        if from == dtype {
            return self;
        }
        let cast = self.builder.push(Op::Cast, dtype, [self.id, 0, 0]);
        let fits = from == DType::Bool || (from == DType::U8 && dtype == DType::I16);
        if dtype.compute() != dtype && dtype.is_int() && !fits { cast.wrapped() } else { cast }
    }

    pub(super) fn wrapped(self) -> Val<'b> {
        self.builder.push(Op::Wrap, self.dtype(), [self.id, 0, 0])
    }

    #[track_caller]
    pub(super) fn unary(self, op: UnaryOp) -> Val<'b> {
        let fits = match op {
            UnaryOp::Not => !self.dtype().is_float(),
            UnaryOp::Neg | UnaryOp::Abs => self.dtype() != DType::Bool,
            _ => true,
        };
        if !fits {
            unfit(&format!("{op:?}"), self.dtype());
        }
        self.builder.push(Op::Unary(op), self.dtype(), [self.id, 0, 0])
    }

    /// A function whose result is a float whatever the operand is.
    fn float(self, op: UnaryOp) -> Val<'b> {
        self.cast(self.dtype().float()).unary(op)
    }

    /// A rounding function: integers are left as they are.
    fn rounding(self, op: UnaryOp) -> Val<'b> {
        if self.dtype().is_float() { self.unary(op) } else { self }
    }

    #[track_caller]
    pub(super) fn binary(self, op: BinaryOp, other: impl IntoVal<'b>) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        let fits = match op {
            BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => !a.dtype().is_float(),
            BinaryOp::Gcd => a.dtype().is_int(),
            BinaryOp::NextAfter => matches!(a.dtype(), DType::F64 | DType::F32),
            BinaryOp::Sub | BinaryOp::Div | BinaryOp::Rem | BinaryOp::Pow => {
                a.dtype() != DType::Bool
            }
            _ => true,
        };
        if !fits {
            unfit(&format!("{op:?}"), a.dtype());
        }
        let out = self.builder.push(Op::Binary(op), a.dtype(), [a.id, b.id, 0]);
        let grows = matches!(
            op,
            BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Pow
        );
        let narrow = out.dtype().is_int() && out.dtype().compute() != out.dtype();
        if grows && narrow { out.wrapped() } else { out }
    }

    pub(super) fn promoted(self, other: Val<'b>) -> (Val<'b>, Val<'b>) {
        let dtype = self.dtype().promote(other.dtype());
        (self.cast(dtype), other.cast(dtype))
    }

    fn compare(self, op: CmpOp, other: impl IntoVal<'b>) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        self.builder.push(Op::Compare(op), DType::Bool, [a.id, b.id, 0])
    }

    /// `self ? yes : no`; `self` is a bool.
    ///
    /// # Panics
    /// If `self` is not a bool.
    pub fn select(self, yes: Val<'b>, no: impl IntoVal<'b>) -> Val<'b> {
        assert_eq!(self.dtype(), DType::Bool, "select: the condition is a bool");
        let (yes, no) = yes.promoted(no.into_val(yes));
        self.builder.push(Op::Select, yes.dtype(), [self.id, yes.id, no.id])
    }

    /// The larger; NaN if either is.
    pub fn max(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Max, other)
    }

    /// The smaller; NaN if either is.
    pub fn min(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Min, other)
    }

    /// `self` to the power of `other`.
    pub fn pow(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Pow, other)
    }

    /// The angle of the point (other, self).
    pub fn atan2(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.cast(self.dtype().float()).binary(BinaryOp::Atan2, other)
    }

    /// Hurwitz' zeta ζ(s, self) = Σ (self + k)⁻ˢ; `s` is a number above 1, or a parameter.
    pub fn zeta(self, s: impl IntoVal<'b>) -> Val<'b> {
        let q = self.cast(self.dtype().float());
        s.into_val(q).cast(q.dtype()).binary(BinaryOp::Zeta, q)
    }

    /// The number after `self` towards `other`, of those that the dtype has.
    pub fn next_after(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::NextAfter, other)
    }

    /// The greatest common divisor of integers.
    pub fn gcd(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Gcd, other)
    }

    /// I₀(x), the modified Bessel function of order 0.
    pub fn i0(self) -> Val<'b> {
        let size = self.cast(self.dtype().float()).abs();
        size.is_inf().select(size, self.i0e() * size.exp())
    }

    /// I₁(x), the modified Bessel function of order 1.
    pub fn i1(self) -> Val<'b> {
        let x = self.cast(self.dtype().float());
        x.is_inf().select(x, self.i1e() * x.abs().exp())
    }

    /// Division that gives a float for integers too, as `/` on tensors does.
    pub fn true_div(self, other: impl IntoVal<'b>) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        let dtype = a.dtype().float();
        a.cast(dtype).binary(BinaryOp::Div, b.cast(dtype))
    }

    /// Integer division truncated towards zero; plain division for floats.
    pub fn trunc_div(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Div, other)
    }

    /// The remainder with the sign of `self` (`torch.fmod`).
    pub fn fmod(self, other: impl IntoVal<'b>) -> Val<'b> {
        self.binary(BinaryOp::Rem, other)
    }

    /// ln(1 + eˣ), without overflow.
    pub fn softplus(self) -> Val<'b> {
        let x = self.cast(self.dtype().float());
        x.max(0.0) + (-x.abs()).exp().log1p()
    }

    /// 1 / (1 + e⁻ˣ)
    pub fn sigmoid(self) -> Val<'b> {
        let x = self.cast(self.dtype().float());
        // The exponential never overflows: an infinite one would make the gradient 0 · ∞.
        let negative = x.lt(0.0);
        let e = negative.select(x, -x).exp();
        negative.select(e, 1.0) / (e + 1.0)
    }

    /// `max(self, 0)`; NaN stays NaN, and the derivative at 0 is 0.
    pub fn relu(self) -> Val<'b> {
        self.le(0).select(self.lit(0), self)
    }

    /// x · sigmoid(x)
    pub fn silu(self) -> Val<'b> {
        self * self.sigmoid()
    }

    /// x · Φ(x), with Φ the standard normal distribution.
    pub fn gelu(self) -> Val<'b> {
        self * 0.5 * ((self * std::f64::consts::FRAC_1_SQRT_2).erf() + 1.0)
    }

    /// ⌊a / b⌋, in the dtype that the two promote to.
    pub fn floor_div(self, other: impl IntoVal<'b>) -> Val<'b> {
        let (a, b) = self.promoted(other.into_val(self));
        let r = a.fmod(b);
        let zero = r.lit(0);
        let below = r.ne(zero) & r.lt(zero).ne(b.lt(zero));
        if !a.dtype().is_float() {
            let q = a.trunc_div(b);
            return below.select(q - q.lit(1), q);
        }
        // Rounding the rounded quotient down may miss by one; without the remainder it is whole but for
        // its own rounding.
        let q = ((a - r) / b).round();
        b.eq(zero).select(a / b, below.select(q - 1.0, q))
    }

    /// Whether the value differs from zero.
    pub fn truth(self) -> Val<'b> {
        self.cast(DType::Bool)
    }

    /// `self` where it is above `low`, else `low`; NaN stays NaN, and the derivative at the bound is 0.
    pub fn clamp_min(self, low: impl IntoVal<'b>) -> Val<'b> {
        let low = low.into_val(self);
        self.le(low).select(low, self)
    }

    /// `self` where it is below `high`, else `high`; NaN stays NaN, and the derivative at the bound is 0.
    pub fn clamp_max(self, high: impl IntoVal<'b>) -> Val<'b> {
        let high = high.into_val(self);
        self.ge(high).select(high, self)
    }

    /// 1 / x
    pub fn recip(self) -> Val<'b> {
        let x = self.cast(self.dtype().float());
        x.lit(1.0) / x
    }

    /// 1 / √x
    pub fn rsqrt(self) -> Val<'b> {
        self.sqrt().recip()
    }

    /// x²
    pub fn square(self) -> Val<'b> {
        self * self
    }

    /// Whether the value is NaN; `false` for integers.
    pub fn is_nan(self) -> Val<'b> {
        self.classify(UnaryOp::IsNan)
    }

    /// Whether the value is infinite; `false` for integers.
    pub fn is_inf(self) -> Val<'b> {
        self.classify(UnaryOp::IsInf)
    }

    fn classify(self, op: UnaryOp) -> Val<'b> {
        if self.dtype().is_float() {
            self.builder.push(Op::Unary(op), DType::Bool, [self.id, 0, 0])
        } else {
            self.builder.constant(false, DType::Bool)
        }
    }
}

#[cold]
#[track_caller]
fn unfit(op: &str, dtype: DType) -> ! {
    raise(Error::DType {
        op: "Expr",
        dtypes: vec![dtype],
        why: format!("{} is not defined on {dtype}; `cast` first", op.to_lowercase()),
    })
}

macro_rules! methods {
    ($through:ident: $($name:ident $op:ident $doc:literal;)*) => {
        impl<'b> Val<'b> {$(
            #[doc = $doc]
            pub fn $name(self) -> Val<'b> {
                self.$through(UnaryOp::$op)
            }
        )*}
    };
}
methods! { unary:
    sign Sign "−1, 0 or 1; NaN stays NaN.";
}
methods! { rounding:
    floor Floor "The integer below.";
    ceil Ceil "The integer above.";
    round Round "The nearest integer, halves to even.";
    trunc Trunc "The integer towards zero.";
}
methods! { float:
    sqrt Sqrt "√x";
    exp Exp "eˣ";
    expm1 Expm1 "eˣ − 1, exact near 0.";
    log Log "ln x";
    log2 Log2 "log₂ x";
    log10 Log10 "log₁₀ x";
    log1p Log1p "ln (1 + x), exact near 0.";
    sin Sin "Sine.";
    cos Cos "Cosine.";
    tan Tan "Tangent.";
    asin Asin "Inverse sine.";
    acos Acos "Inverse cosine.";
    atan Atan "Inverse tangent.";
    sinh Sinh "Hyperbolic sine.";
    cosh Cosh "Hyperbolic cosine.";
    tanh Tanh "Hyperbolic tangent.";
    asinh Asinh "Inverse hyperbolic sine.";
    acosh Acosh "Inverse hyperbolic cosine.";
    atanh Atanh "Inverse hyperbolic tangent.";
    erf Erf "The error function.";
    erfc Erfc "1 − erf, without cancellation.";
    erfinv Erfinv "The inverse of the error function.";
    lgamma Lgamma "ln |Γ(x)|";
    digamma Digamma "The derivative of ln Γ.";
    i0e I0e "e^−|x| · I₀(x), a modified Bessel function.";
    i1e I1e "e^−|x| · I₁(x), a modified Bessel function.";
}

impl<'b> Val<'b> {
    /// |x|; the smallest integer wraps to itself.
    pub fn abs(self) -> Val<'b> {
        let unsigned = matches!(self.dtype(), DType::U8 | DType::Bool);
        let narrow = self.dtype().is_int() && self.dtype().compute() != self.dtype();
        match (unsigned, narrow) {
            (true, _) => self,
            (_, true) => self.unary(UnaryOp::Abs).wrapped(),
            _ => self.unary(UnaryOp::Abs),
        }
    }
}

macro_rules! comparisons {
    ($($name:ident $op:ident $sign:literal;)*) => {
        impl<'b> Val<'b> {$(
            #[doc = concat!("`self ", $sign, " other`, as a bool.")]
            pub fn $name(self, other: impl IntoVal<'b>) -> Val<'b> {
                self.compare(CmpOp::$op, other)
            }
        )*}
    };
}
comparisons! { eq Eq "=="; ne Ne "!="; lt Lt "<"; le Le "<="; gt Gt ">"; ge Ge ">="; }
