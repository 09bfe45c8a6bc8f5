//! Elementwise ops, each against its formula.

use kiln_tensor_core::DType;

use super::special;
use super::{Kink, Oracle, in_place, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, INTS, NUMBERS};
use crate::strategies::{Fill, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const ROUNDED: Tolerance = Tolerance::ROUNDED;
const LIBRARY: Tolerance = Tolerance::LIBRARY;
const CIRCLE: Tolerance =
    Tolerance::new(4.0, 1.0, "near its zeros a circular function has the error of its reduction");
const OVERFLOWS: Tolerance =
    Tolerance::new(6.0, 1e-30, "composed of an exponential, which overflows in f32 far below 0");
const CANCELS: Tolerance =
    Tolerance::new(4.0, 8.0, "a difference of numbers near 1, times |x|, cancels below 0");

const SHRINKS: Tolerance = Tolerance::new(4.0, 1.0, "a difference of nearly equal numbers");
const WAVE: Tolerance = Tolerance::new(8.0, 1.0, "π·x is rounded before its sine is taken");

const SPECIAL: Tolerance =
    Tolerance::new(16.0, 16.0, "sums of numbers up to 16 that cancel, in f32 on some devices");
const ROUGH: Tolerance =
    Tolerance::new(16.0, 1e-30, "an approximation that a step of Newton's improves");
const BESSEL: Tolerance =
    Tolerance::new(64.0, 0.0, "an exponential of up to 100 and a series of 30 terms");
const TAIL: Tolerance = Tolerance::new(
    256.0,
    1e-30,
    "the square of x is in an exponent; it vanishes in f32 far above 0",
);

const THREES: &[f64] = &[-3.0, 3.0];
const INTEGERS: &[f64] = &[-2.0, -1.0, 0.0, 1.0, 2.0];
const HALVES: &[f64] = &[-1.5, -0.5, 0.5, 1.5];
const ZERO: &[f64] = &[0.0];
const SMOOTH: &[f64] = &[];
const ALL: &[DType] = &DType::ALL;

/// The gradient of an op of one tensor at the points where it jumps.
macro_rules! at {
    ($($x:literal => $grad:literal),*) => {
        &[$(Kink { inputs: &[&[$x]], args: &[], grads: &[&[$grad]] }),*]
    };
}

/// Rows of ops of one tensor, which also run in place: dtypes, where it is differentiated, how far from jumps, the formula, the
/// tolerance, gradients at jumps, order.
macro_rules! unary {
    (($d:tt) $($name:ident $in_place:ident $dtypes:ident $low:literal..$high:literal $away:ident |$v:ident| $formula:expr,
        $tolerance:ident, [$($x:literal => $grad:literal),*] $order:literal;)*) => {
        make_rows! { ($d) pointwise "pointwise"; $($name {
            dtypes: $dtypes,
            sample: |g| {
                let shape = g.shape(0..=4);
                let fill = Fill::within($low, $high).special().kinks($away);
                Sample::new([g.values(&shape, fill)])
            },
            run: |x, _| {
                let y = x[0].$name();
                let written = in_place(&x[0], &y, |x| x.$in_place());
                vec![y, written]
            },
            oracle: Oracle::Each(|x| { let $v = x[0]; $formula }),
            tolerance: $tolerance,
            kinks: at![$($x => $grad),*],
            order: $order,
        })* }
    };
}

fn truth(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

fn sign(x: f64) -> f64 {
    if x == 0.0 || x.is_nan() { x } else { x.signum() }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sinc(x: f64) -> f64 {
    let angle = x * std::f64::consts::PI;
    if x == 0.0 { 1.0 } else { angle.sin() / angle }
}

fn gelu_tanh(x: f64) -> f64 {
    let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
    x / 2.0 * (1.0 + inner.tanh())
}

// Klambauer et al., "Self-normalizing neural networks" (2017).
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SIX: &[f64] = &[0.0, 6.0];

unary! { ($)
    neg neg_ NUMBERS -2.0..2.0 SMOOTH |x| -x, EXACT, [] 2;
    abs abs_ NUMBERS -2.0..2.0 ZERO |x| x.abs(), EXACT, [0.0 => 0.0] 2;
    sign sign_ NUMBERS -2.0..2.0 ZERO |x| sign(x), EXACT, [0.0 => 0.0] 2;
    square square_ NUMBERS -2.0..2.0 SMOOTH |x| x * x, ROUNDED, [] 2;
    sqrt sqrt_ NUMBERS 0.2..3.0 SMOOTH |x| x.sqrt(), ROUNDED, [] 2;
    rsqrt rsqrt_ NUMBERS 0.2..3.0 SMOOTH |x| 1.0 / x.sqrt(), LIBRARY, [] 2;
    reciprocal reciprocal_ NUMBERS 0.3..3.0 SMOOTH |x| 1.0 / x, ROUNDED, [] 2;
    exp exp_ NUMBERS -2.0..2.0 SMOOTH |x| x.exp(), LIBRARY, [] 2;
    expm1 expm1_ NUMBERS -2.0..2.0 SMOOTH |x| x.exp_m1(), LIBRARY, [] 2;
    log log_ NUMBERS 0.3..3.0 SMOOTH |x| x.ln(), LIBRARY, [] 2;
    log2 log2_ NUMBERS 0.3..3.0 SMOOTH |x| x.log2(), LIBRARY, [] 2;
    log10 log10_ NUMBERS 0.3..3.0 SMOOTH |x| x.log10(), LIBRARY, [] 2;
    log1p log1p_ NUMBERS -0.7..3.0 SMOOTH |x| x.ln_1p(), LIBRARY, [] 2;
    sin sin_ NUMBERS -2.0..2.0 SMOOTH |x| x.sin(), CIRCLE, [] 2;
    cos cos_ NUMBERS -2.0..2.0 SMOOTH |x| x.cos(), CIRCLE, [] 2;
    tan tan_ NUMBERS -1.2..1.2 SMOOTH |x| x.tan(), CIRCLE, [] 2;
    asin asin_ NUMBERS -0.8..0.8 SMOOTH |x| x.asin(), LIBRARY, [] 2;
    acos acos_ NUMBERS -0.8..0.8 SMOOTH |x| x.acos(), LIBRARY, [] 2;
    atan atan_ NUMBERS -2.0..2.0 SMOOTH |x| x.atan(), LIBRARY, [] 2;
    sinh sinh_ NUMBERS -2.0..2.0 SMOOTH |x| x.sinh(), LIBRARY, [] 2;
    cosh cosh_ NUMBERS -2.0..2.0 SMOOTH |x| x.cosh(), LIBRARY, [] 2;
    tanh tanh_ NUMBERS -2.0..2.0 SMOOTH |x| x.tanh(), LIBRARY, [] 2;
    asinh asinh_ NUMBERS -2.0..2.0 SMOOTH |x| libm::asinh(x), LIBRARY, [] 2;
    acosh acosh_ NUMBERS 1.2..3.0 SMOOTH |x| libm::acosh(x), LIBRARY, [] 2;
    atanh atanh_ NUMBERS -0.8..0.8 SMOOTH |x| libm::atanh(x), LIBRARY, [] 2;
    erf erf_ NUMBERS -2.0..2.0 SMOOTH |x| libm::erf(x), LIBRARY, [] 2;
    erfc erfc_ FLOATS -2.0..2.0 SMOOTH |x| special::erfc(x), TAIL, [] 2;
    erfinv erfinv_ FLOATS -0.9..0.9 SMOOTH |x| special::erfinv(x), ROUGH, [] 2;
    ndtr ndtr_ FLOATS -2.0..2.0 SMOOTH |x| 0.5 * special::erfc(-x / 2f64.sqrt()), TAIL, [] 2;
    lgamma lgamma_ FLOATS 0.3..3.0 SMOOTH |x| special::lgamma(x), SPECIAL, [] 2;
    digamma digamma_ FLOATS 0.3..3.0 SMOOTH |x| special::digamma(x), SPECIAL, [] 2;
    i0 i0_ FLOATS -2.0..2.0 SMOOTH |x| if x.is_infinite() { x.abs() } else { special::bessel(0, x) * x.abs().exp() }, BESSEL, [0.0 => 0.0] 2;
    i0e i0e_ FLOATS -2.0..2.0 ZERO |x| special::bessel(0, x), BESSEL, [0.0 => 0.0] 2;
    i1 i1_ FLOATS -2.0..2.0 SMOOTH |x| if x.is_infinite() { x } else { special::bessel(1, x) * x.abs().exp() }, BESSEL, [0.0 => 0.5] 2;
    i1e i1e_ FLOATS -2.0..2.0 ZERO |x| special::bessel(1, x), BESSEL, [0.0 => 0.5] 2;
    logit logit_ FLOATS 0.1..0.9 SMOOTH |x| (x / (1.0 - x)).ln(), SPECIAL, [] 2;
    signbit signbit_ ALL -2.0..2.0 SMOOTH |x| truth(x.is_sign_negative() && !x.is_nan()), EXACT, [] 0;
    angle angle_ FLOATS -2.0..2.0 ZERO |x| if x < 0.0 { std::f64::consts::PI } else if x.is_nan() { x } else { 0.0 }, ROUNDED, [0.0 => 0.0, -1.0 => 0.0] 2;
    floor floor_ NUMBERS -2.0..2.0 INTEGERS |x| x.floor(), EXACT, [1.0 => 0.0] 2;
    ceil ceil_ NUMBERS -2.0..2.0 INTEGERS |x| x.ceil(), EXACT, [1.0 => 0.0] 2;
    round round_ NUMBERS -2.0..2.0 HALVES |x| x.round_ties_even(), EXACT, [0.5 => 0.0] 2;
    trunc trunc_ NUMBERS -2.0..2.0 INTEGERS |x| x.trunc(), EXACT, [1.0 => 0.0] 2;
    relu relu_ NUMBERS -2.0..2.0 ZERO |x| if x <= 0.0 { 0.0 } else { x }, EXACT, [0.0 => 0.0, -0.0 => 0.0] 2;
    sigmoid sigmoid_ NUMBERS -2.0..2.0 SMOOTH |x| sigmoid(x), OVERFLOWS, [] 2;
    silu silu_ FLOATS -2.0..2.0 SMOOTH |x| x * sigmoid(x), OVERFLOWS, [] 2;
    gelu gelu_ FLOATS -2.0..2.0 SMOOTH |x| x * 0.5 * (1.0 + libm::erf(x / 2f64.sqrt())), CANCELS, [] 2;
    mish mish_ FLOATS -2.0..2.0 SMOOTH |x| x * softplus(x).tanh(), OVERFLOWS, [] 2;
    softsign softsign_ FLOATS -2.0..2.0 ZERO |x| x / (1.0 + x.abs()), LIBRARY, [0.0 => 1.0] 2;
    log_sigmoid log_sigmoid_ FLOATS -2.0..2.0 ZERO |x| if x < 0.0 { x - x.exp().ln_1p() } else { -(-x).exp().ln_1p() }, OVERFLOWS, [0.0 => 0.5] 2;
    logical_not logical_not_ ALL -2.0..2.0 SMOOTH |x| truth(x == 0.0), EXACT, [] 0;
    isnan isnan_ ALL -2.0..2.0 SMOOTH |x| truth(x.is_nan()), EXACT, [] 0;
    isinf isinf_ ALL -2.0..2.0 SMOOTH |x| truth(x.is_infinite()), EXACT, [] 0;
    isfinite isfinite_ ALL -2.0..2.0 SMOOTH |x| truth(x.is_finite()), EXACT, [] 0;
    isposinf isposinf_ ALL -2.0..2.0 SMOOTH |x| truth(x == f64::INFINITY), EXACT, [] 0;
    isneginf isneginf_ ALL -2.0..2.0 SMOOTH |x| truth(x == f64::NEG_INFINITY), EXACT, [] 0;
    bitwise_not bitwise_not_ INTS -2.0..2.0 SMOOTH |x| !(x as i64) as f64, EXACT, [] 0;
    exp2 exp2_ FLOATS -2.0..2.0 SMOOTH |x| x.exp2(), LIBRARY, [] 2;
    frac frac_ FLOATS -2.0..2.0 INTEGERS |x| x - x.trunc(), EXACT, [1.0 => 1.0] 2;
    deg2rad deg2rad_ FLOATS -2.0..2.0 SMOOTH |x| x.to_radians(), LIBRARY, [] 2;
    rad2deg rad2deg_ FLOATS -2.0..2.0 SMOOTH |x| x.to_degrees(), LIBRARY, [] 2;
    sinc sinc_ FLOATS 0.2..2.0 SMOOTH |x| sinc(x), WAVE, [0.0 => 0.0] 2;
    relu6 relu6_ NUMBERS -2.0..8.0 SIX |x| x.clamp(0.0, 6.0), EXACT, [0.0 => 0.0, 6.0 => 0.0] 2;
    selu selu_ FLOATS -2.0..2.0 ZERO |x| if x > 0.0 { SELU_SCALE * x } else { SELU_SCALE * SELU_ALPHA * x.exp_m1() }, OVERFLOWS, [] 2;
    gelu_tanh gelu_tanh_ FLOATS -2.0..2.0 SMOOTH |x| gelu_tanh(x), CANCELS, [] 2;
    hardsigmoid hardsigmoid_ FLOATS -4.0..4.0 THREES |x| if x <= -3.0 { 0.0 } else if x >= 3.0 { 1.0 } else { (x + 3.0) / 6.0 }, LIBRARY, [-3.0 => 0.0, 3.0 => 0.0] 2;
    hardswish hardswish_ FLOATS -4.0..4.0 THREES |x| if x <= -3.0 { 0.0 } else if x >= 3.0 { x } else { x * (x + 3.0) / 6.0 }, LIBRARY, [-3.0 => 0.0, 3.0 => 1.0] 2;
    tanhshrink tanhshrink_ FLOATS -2.0..2.0 SMOOTH |x| x - x.tanh(), SHRINKS, [] 2;
}
