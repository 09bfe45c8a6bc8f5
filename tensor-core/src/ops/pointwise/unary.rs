//! Elementwise ops of one tensor.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::{Takes, Unary};
use crate::{Backend, Tensor, Val};

macro_rules! unary {
    ($($name:ident $in_place:ident $takes:ident $doc:literal = |$x:ident| $f:expr;)*) => {
        impl<B: Backend> Tensor<B> {$(
            #[doc = $doc]
            ///
            /// # Panics
            /// If the op does not take elements of this dtype.
            #[must_use]
            #[track_caller]
            pub fn $name(&self) -> Self {
                rows::$name.call(self, &[])
            }

            #[doc = concat!("`", stringify!($name), "`, in place.")]
            ///
            /// # Panics
            /// If the result does not fit into `self`: its dtype's category, or memory that several
            /// elements share.
            #[track_caller]
            pub fn $in_place(&self) -> Self {
                rows::$name.call_in_place(self, &[]);
                self.clone()
            }
        )*}

        #[allow(non_upper_case_globals, reason = "a row has its method's name")]
        pub(super) mod rows {
            use super::*;
            $(pub static $name: Unary =
                Unary::new(stringify!($name), 0, |$x, _| $f).taking(Takes::$takes);)*
        }

        /// Every elementwise op of one tensor without numbers.
        pub static UNARY: &[&Unary] = &[$(&rows::$name),*];
    };
}

unary! {
    neg neg_ Numbers "−x" = |x| -x;
    abs abs_ Numbers "|x|" = |x| x.abs();
    sign sign_ All "−1, 0 or 1; NaN stays NaN." = |x| x.sign();
    square square_ All "x²" = |x| x.square();
    sqrt sqrt_ All "√x" = |x| x.sqrt();
    rsqrt rsqrt_ All "1 / √x" = |x| x.rsqrt();
    reciprocal reciprocal_ All "1 / x" = |x| x.recip();
    exp exp_ All "eˣ" = |x| x.exp();
    expm1 expm1_ All "eˣ − 1, exact near 0." = |x| x.expm1();
    log log_ All "ln x" = |x| x.log();
    log2 log2_ All "log₂ x" = |x| x.log2();
    log10 log10_ All "log₁₀ x" = |x| x.log10();
    log1p log1p_ All "ln (1 + x), exact near 0." = |x| x.log1p();
    sin sin_ All "Sine of radians." = |x| x.sin();
    cos cos_ All "Cosine of radians." = |x| x.cos();
    tan tan_ All "Tangent of radians." = |x| x.tan();
    asin asin_ All "Inverse sine, in radians." = |x| x.asin();
    acos acos_ All "Inverse cosine, in radians." = |x| x.acos();
    atan atan_ All "Inverse tangent, in radians." = |x| x.atan();
    sinh sinh_ All "Hyperbolic sine." = |x| x.sinh();
    cosh cosh_ All "Hyperbolic cosine." = |x| x.cosh();
    tanh tanh_ All "Hyperbolic tangent." = |x| x.tanh();
    asinh asinh_ All "Inverse hyperbolic sine." = |x| x.asinh();
    acosh acosh_ All "Inverse hyperbolic cosine." = |x| x.acosh();
    atanh atanh_ All "Inverse hyperbolic tangent." = |x| x.atanh();
    erf erf_ All "The error function, 2/√π · ∫₀ˣ e^(−t²) dt." = |x| x.erf();
    erfc erfc_ All "1 − erf(x), exact where that is near 0." = |x| x.erfc();
    erfinv erfinv_ All "The inverse of the error function: ±∞ at ±1, NaN beyond." = |x| x.erfinv();
    ndtr ndtr_ All "The area under the standard normal curve up to x, (1 + erf(x / √2)) / 2." = |x| (x.cast(x.dtype().float()) * -FRAC_1_SQRT_2).erfc() * 0.5;
    lgamma lgamma_ All "ln |Γ(x)|" = |x| x.lgamma();
    digamma digamma_ All "The derivative of ln Γ(x); `polygamma` has the further ones." = |x| x.digamma();
    i0 i0_ All "The modified Bessel function of order 0." = |x| x.i0();
    i0e i0e_ All "`i0`, times e^−|x|." = |x| x.i0e();
    i1 i1_ All "The modified Bessel function of order 1." = |x| x.i1();
    i1e i1e_ All "`i1`, times e^−|x|." = |x| x.i1e();
    logit logit_ All "ln (x / (1 − x)), the inverse of `sigmoid`; `logit_clamped` keeps away from its ends." = |x| {
        let x = x.cast(x.dtype().float());
        // Apart, so that the derivative at 0 and 1 is ∞.
        x.log() - (x.lit(1.0) - x).log()
    };
    signbit signbit_ All "Whether the sign is minus, as it is of −0. A NaN counts as positive." = |x| minus(x);
    angle angle_ All "π where x is below 0, else 0; NaN stays NaN." = |x| {
        let x = x.cast(x.dtype().float());
        x.is_nan().select(x, x.lt(0.0).select(x.lit(std::f64::consts::PI), x.lit(0.0)))
    };
    floor floor_ Numbers "The integer below." = |x| x.floor();
    ceil ceil_ Numbers "The integer above." = |x| x.ceil();
    round round_ Numbers "The nearest integer, halves to even." = |x| x.round();
    trunc trunc_ Numbers "The integer towards zero." = |x| x.trunc();
    relu relu_ Numbers "max(x, 0); NaN stays NaN, and the derivative at 0 is 0." = |x| x.relu();
    sigmoid sigmoid_ All "1 / (1 + e⁻ˣ)" = |x| x.sigmoid();
    silu silu_ All "x · sigmoid(x), also called swish." = |x| x.silu();
    gelu gelu_ All "x · Φ(x), the exact form with erf (Hendrycks, Gimpel 2016)." = |x| x.gelu();
    mish mish_ All "x · tanh(softplus(x)) (Misra 2019)." = |x| x * x.softplus().tanh();
    softsign softsign_ All "x / (1 + |x|)" = |x| x / (x.abs() + 1.0);
    log_sigmoid log_sigmoid_ All "ln sigmoid(x), without overflow." = |x| {
        let x = x.cast(x.dtype().float());
        x.min(0.0) - (-x.abs()).exp().log1p()
    };
    logical_not logical_not_ All "Whether the element is zero." = |x| x.eq(x.lit(0));
    isnan isnan_ All "Whether the element is NaN." = |x| x.is_nan();
    isinf isinf_ All "Whether the element is infinite." = |x| x.is_inf();
    isfinite isfinite_ All "Whether the element is neither infinite nor NaN." = |x| !(x.is_nan() | x.is_inf());
    isposinf isposinf_ All "Whether the element is +∞." = |x| x.is_inf() & x.gt(x.lit(0));
    isneginf isneginf_ All "Whether the element is −∞." = |x| x.is_inf() & x.lt(x.lit(0));
    bitwise_not bitwise_not_ Whole "All bits flipped; of a bool, its opposite." = |x| !x;
    exp2 exp2_ All "2ˣ" = |x| x.cast(x.dtype().float()).lit(2.0).pow(x.cast(x.dtype().float()));
    frac frac_ Floats "x − trunc(x), with the sign of x." = |x| x - x.trunc();
    deg2rad deg2rad_ All "Degrees as radians." = |x| x * (std::f64::consts::PI / 180.0);
    rad2deg rad2deg_ All "Radians as degrees." = |x| x * (180.0 / std::f64::consts::PI);
    sinc sinc_ All "sin(πx) / (πx), 1 at 0." = |x| {
        let (x, zero) = (x * std::f64::consts::PI, x.eq(x.lit(0)));
        let safe = zero.select(x.lit(1.0), x);
        zero.select(x.lit(1.0), safe.sin() / safe)
    };
    relu6 relu6_ Numbers "min(max(x, 0), 6); the derivative at 0 and 6 is 0." = |x| x.le(0).select(x.lit(0), x.ge(6).select(x.lit(6), x));
    selu selu_ Floats "scale · elu(x, α) with the fixed point of Klambauer et al. 2017; the derivative at 0 is scale · α." = |x| exp_linear(x, x.lit(SELU_ALPHA)) * SELU_SCALE;
    gelu_tanh gelu_tanh_ Floats "x / 2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), close to `gelu` (Hendrycks, Gimpel 2016)." = |x| {
        let inner = (x + x * x * x * 0.044715) * (FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
        x * 0.5 * (inner.tanh() + 1.0)
    };
    hardsigmoid hardsigmoid_ Floats "min(max(x + 3, 0), 6) / 6 (Courbariaux et al. 2016); the derivative at ±3 is 0." = |x| {
        x.le(-3.0).select(x.lit(0.0), x.ge(3.0).select(x.lit(1.0), (x + 3.0) / 6.0))
    };
    hardswish hardswish_ Floats "x · min(max(x + 3, 0), 6) / 6 (Howard et al. 2019); the derivative at −3 is 0, at 3 it is 1." = |x| {
        x.le(-3.0).select(x.lit(0.0), x.ge(3.0).select(x, x * (x + 3.0) / 6.0))
    };
    tanhshrink tanhshrink_ Floats "x − tanh(x)" = |x| x - x.tanh();
}

// The solution of the fixed-point equations for mean 0 and variance 1, in full precision.
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// Whether the sign is minus, of −0 too, which shows when it is divided by.
pub(super) fn minus(x: Val<'_>) -> Val<'_> {
    let below = x.lt(x.lit(0));
    if x.dtype().is_float() { below | (x.eq(0.0) & x.recip().lt(0.0)) } else { below }
}

/// x above 0, else α(eˣ − 1); the derivative at 0 is α.
pub(super) fn exp_linear<'b>(x: Val<'b>, alpha: Val<'b>) -> Val<'b> {
    // Above 0 the exponential could overflow, and infinity times a gradient of 0 is NaN.
    let below = x.gt(0.0).select(x.lit(0.0), x);
    x.gt(0.0).select(x, alpha * below.expm1())
}
