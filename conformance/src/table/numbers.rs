//! Elementwise ops with numbers: those of `NUMBERED`, and those of two tensors with a number on the
//! right, each with a float and with an integer, out of place and in place.

use kiln_tensor_core::{DType, Tensor};

use super::plain::values;
use super::special;
use super::{Kink, Oracle, in_place, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, INTS, NUMBERS};
use crate::strategies::{Fill, NORMAL, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const ROUNDED: Tolerance = Tolerance::ROUNDED;
const LIBRARY: Tolerance = Tolerance::LIBRARY;
const SUMS: Tolerance = Tolerance::new(4.0, 2.0, "a sum that cancels below 0");
const LOGIT: Tolerance = Tolerance::new(8.0, 2.0, "a logarithm of a quotient near 1");
const PLACES: Tolerance = Tolerance::new(2.0, 0.0, "a product and a quotient by a power of ten");
const SPECIAL: Tolerance =
    Tolerance::new(64.0, 8.0, "sums of powers that cancel, in f32 on some devices").stored(4.0);
const ALL: &[DType] = &DType::ALL;

const ANY: Fill = NORMAL.special();
const TENTHS: Fill = Fill::within(-2.7, 2.7);
/// Where an op jumps at the numbers that are tried with it, here all of them.
const JUMPY: Fill =
    ANY.kinks(&[-2.0, -1.5, -1.0, -0.75, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0]);
/// Quotients by 0.75 and 2 that are no integers.
const DIVIDEND: Fill = TENTHS.kinks(&[-2.25, -2.0, -1.5, -0.75, 0.0, 0.75, 1.5, 2.0, 2.25]);
const TENS: Fill = Fill::within(-10.0, 10.0);
/// Between bounds of 0.125, 0.25 and what is left to 1.
const INSIDE: Fill = Fill::within(0.0, 1.0).kinks(&[0.125, 0.25, 0.75, 0.875]);
/// Without halves of a tenth and of ten.
const CALM: Fill = Fill::within(0.301, 0.345);
const BASE: Fill = Fill::within(0.5, 2.0);

/// The results of a row with each of its numbers: twice, for the second is in place where it fits.
fn twice(sample: &Sample, formulas: &[&dyn Fn(f64) -> f64]) -> Vec<Vec<f64>> {
    let x = values(&sample.inputs[0]);
    let each = formulas.iter().map(|f| x.iter().map(|&x| f(x)).collect::<Vec<f64>>());
    each.flat_map(|values| [values.clone(), values]).collect()
}

/// Rows of ops of one tensor and numbers: dtypes, what the tensor holds, sets of numbers, the formula,
/// the tolerance, gradients at jumps with the first set, order.
macro_rules! numbered {
    (($d:tt) $($name:ident $in_place:ident $dtypes:ident $fill:ident [$(($($number:literal),+))+]
        |$x:ident, $numbers:pat_param| $formula:expr, $tolerance:ident,
        [$($at:expr => $grad:literal),*] $order:literal;)* @ { $($rest:tt)* }) => {
        make_rows! { ($d) numbers "numbers"; $($name {
            dtypes: $dtypes,
            sample: |g| {
                let shape = g.shape(0..=4);
                Sample::new([g.values(&shape, $fill)])
            },
            run: |x, _| {
                let mut all: Vec<Tensor<B>> = Vec::new();
                $(
                    let y = x[0].$name($($number),+);
                    let written = in_place(&x[0], &y, |x| x.$in_place($($number),+));
                    all.extend([y, written]);
                )+
                all
            },
            oracle: Oracle::Values(|s| twice(s, &[$(&|$x| {
                let $numbers = [$($number as f64),+];
                $formula
            }),+])),
            tolerance: $tolerance,
            kinks: &[$(Kink { inputs: &[&[$at]], args: &[], grads: &[&[$grad]] }),*],
            order: $order,
        })* $($rest)* }
    };
}

fn truth(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

/// NaN where `x` is, which `f64::max` and `f64::min` have not.
fn kept(x: f64, value: f64) -> f64 {
    if x.is_nan() { x } else { value }
}

fn shrunk(x: f64, lambda: f64, moved: f64) -> f64 {
    if x.abs() <= lambda { 0.0 } else { x - x.signum() * moved }
}

fn softplus(x: f64, beta: f64, limit: f64) -> f64 {
    if x * beta > limit { x } else { (x * beta).exp().ln_1p() / beta }
}

fn rounded(x: f64, places: f64) -> f64 {
    let scale = 10f64.powf(places);
    (x * scale).round_ties_even() / scale
}

fn nonfinite(x: f64, [nan, posinf, neginf]: [f64; 3]) -> f64 {
    match x {
        _ if x.is_nan() => nan,
        f64::INFINITY => posinf,
        f64::NEG_INFINITY => neginf,
        _ => x,
    }
}

numbered! { ($)
    clamp clamp_ NUMBERS JUMPY [(-0.5, 0.75) (1, 2) (1.5, 0.5)] |x, [min, max]| kept(x, x.max(min).min(max)), EXACT, [-0.5 => 0.0, 0.75 => 0.0, 0.0 => 1.0] 2;
    clamp_min clamp_min_ NUMBERS JUMPY [(-0.5) (1)] |x, [min]| kept(x, x.max(min)), EXACT, [-0.5 => 0.0, 0.0 => 1.0] 2;
    clamp_max clamp_max_ NUMBERS JUMPY [(0.75) (1)] |x, [max]| kept(x, x.min(max)), EXACT, [0.75 => 0.0, 0.0 => 1.0] 2;
    leaky_relu leaky_relu_ FLOATS JUMPY [(0.25) (2)] |x, [slope]| if x > 0.0 { x } else { x * slope }, ROUNDED, [0.0 => 0.25, -0.0 => 0.25] 2;
    elu elu_ FLOATS JUMPY [(1.5) (2)] |x, [alpha]| if x > 0.0 { x } else { alpha * x.exp_m1() }, LIBRARY, [0.0 => 1.5] 2;
    celu celu_ FLOATS JUMPY [(1.5) (2)] |x, [alpha]| if x > 0.0 { x } else { alpha * (x / alpha).exp_m1() }, LIBRARY, [0.0 => 1.0] 2;
    softplus softplus_ FLOATS JUMPY [(2.0, 3.0) (1, 20)] |x, [beta, limit]| softplus(x, beta, limit), LIBRARY, [2.0 => 1.0] 2;
    hardtanh hardtanh_ NUMBERS JUMPY [(-1.0, 1.0) (0, 2)] |x, [min, max]| kept(x, x.clamp(min, max)), EXACT, [-1.0 => 0.0, 1.0 => 0.0, 0.0 => 1.0] 2;
    threshold threshold_ NUMBERS JUMPY [(0.25, -1.0) (1, 3)] |x, [limit, value]| if x <= limit { value } else { x }, EXACT, [0.25 => 0.0, 1.0 => 1.0] 2;
    hardshrink hardshrink_ FLOATS JUMPY [(0.5) (1)] |x, [lambda]| shrunk(x, lambda, 0.0), EXACT, [0.5 => 0.0, -0.5 => 0.0, 1.0 => 1.0] 2;
    softshrink softshrink_ FLOATS JUMPY [(0.5) (1)] |x, [lambda]| shrunk(x, lambda, lambda), ROUNDED, [0.5 => 0.0, -0.5 => 0.0, 1.0 => 1.0] 2;
    logit_clamped logit_clamped_ FLOATS INSIDE [(0.125) (0.25)] |x, [eps]| { let p = kept(x, x.max(eps).min(1.0 - eps)); (p / (1.0 - p)).ln() }, LOGIT, [0.0 => 0.0] 2;
    round_decimals round_decimals_ FLOATS CALM [(1) (-1) (0)] |x, [n]| rounded(x, n), PLACES, [0.3125 => 0.0] 2;
    replace_nonfinite replace_nonfinite_ FLOATS ANY [(0.5, 2.0, -2.0) (0, 1, -1)] |x, numbers| nonfinite(x, numbers), EXACT, [f64::NAN => 0.0, f64::INFINITY => 0.0, 1.0 => 1.0] 2;
    add add_ NUMBERS ANY [(0.5) (3)] |x, [n]| x + n, ROUNDED, [] 2;
    sub sub_ NUMBERS ANY [(0.5) (3)] |x, [n]| x - n, ROUNDED, [] 2;
    mul mul_ NUMBERS ANY [(0.5) (3)] |x, [n]| x * n, ROUNDED, [] 2;
    div div_ NUMBERS ANY [(0.75) (3)] |x, [n]| x / n, ROUNDED, [] 2;
    // Whole and half exponents take shortcuts; the others do not.
    pow pow_ FLOATS BASE [(2) (3) (0.5) (-0.5) (-1.0) (4) (2.5) (0)] |x, [n]| x.powf(n), LIBRARY, [0.0 => 0.0] 2;
    remainder remainder_ NUMBERS DIVIDEND [(0.75) (2)] |x, [n]| x - n * (x / n).floor(), SUMS, [] 2;
    fmod fmod_ NUMBERS DIVIDEND [(0.75) (2)] |x, [n]| x % n, ROUNDED, [] 2;
    floor_divide floor_divide_ NUMBERS DIVIDEND [(0.75) (2)] |x, [n]| (x / n).floor(), EXACT, [] 2;
    maximum maximum_ ALL JUMPY [(0.5) (1)] |x, [n]| kept(x, x.max(n)), EXACT, [0.5 => 0.5, 1.0 => 1.0] 2;
    minimum minimum_ ALL JUMPY [(0.5) (1)] |x, [n]| kept(x, x.min(n)), EXACT, [0.5 => 0.5, 1.0 => 0.0] 2;
    atan2 atan2_ NUMBERS ANY [(0.5) (3)] |x, [n]| x.atan2(n), LIBRARY, [] 2;
    trunc_divide trunc_divide_ NUMBERS DIVIDEND [(0.75) (2)] |x, [n]| (x / n).trunc(), EXACT, [] 2;
    float_power float_power_ NUMBERS BASE [(2) (2.5)] |x, [n]| x.powf(n), LIBRARY, [] 2;
    logaddexp2 logaddexp2_ FLOATS NORMAL [(0.5) (3)] |x, [n]| x.max(n) + (-(x - n).abs()).exp2().ln_1p() / std::f64::consts::LN_2, SUMS, [0.5 => 0.5] 2;
    xlog1py xlog1py_ FLOATS NORMAL [(0.5) (3)] |x, [n]| x * n.ln_1p(), LIBRARY, [] 2;
    copysign copysign_ FLOATS JUMPY [(0.5) (-3)] |x, [n]| x.abs() * n.signum(), EXACT, [0.0 => 0.0, -1.0 => -1.0] 2;
    heaviside heaviside_ ALL JUMPY [(0.5) (1)] |x, [n]| if x == 0.0 { n } else { truth(x > 0.0) }, EXACT, [0.0 => 0.0] 2;
    ldexp ldexp_ FLOATS ANY [(2) (-1)] |x, [n]| x * n.exp2(), LIBRARY, [] 2;
    gcd gcd_ INTS ANY [(6) (4)] |x, [n]| special::gcd(x, n), EXACT, [] 0;
    lcm lcm_ INTS TENS [(6) (4)] |x, [n]| if x == 0.0 { 0.0 } else { (x / special::gcd(x, n) * n).abs() }, EXACT, [] 0;
    bitwise_left_shift bitwise_left_shift_ INTS ANY [(3) (7)] |x, [n]| x * n.exp2(), EXACT, [] 0;
    bitwise_right_shift bitwise_right_shift_ INTS ANY [(1) (7)] |x, [n]| (x / n.exp2()).floor(), EXACT, [] 0;
    eq eq_ ALL ANY [(0.5) (1)] |x, [n]| truth(x == n), EXACT, [] 0;
    ne ne_ ALL ANY [(0.5) (1)] |x, [n]| truth(x != n), EXACT, [] 0;
    lt lt_ ALL ANY [(0.5) (1)] |x, [n]| truth(x < n), EXACT, [] 0;
    le le_ ALL ANY [(0.5) (1)] |x, [n]| truth(x <= n), EXACT, [] 0;
    gt gt_ ALL ANY [(0.5) (1)] |x, [n]| truth(x > n), EXACT, [] 0;
    ge ge_ ALL ANY [(0.5) (1)] |x, [n]| truth(x >= n), EXACT, [] 0;
    logical_and logical_and_ ALL ANY [(0.5) (0)] |x, [n]| truth(x != 0.0 && n != 0.0), EXACT, [] 0;
    logical_or logical_or_ ALL ANY [(0.5) (0)] |x, [n]| truth(x != 0.0 || n != 0.0), EXACT, [] 0;
    logical_xor logical_xor_ ALL ANY [(0.5) (0)] |x, [n]| truth((x != 0.0) != (n != 0.0)), EXACT, [] 0;
    bitwise_and bitwise_and_ INTS ANY [(6) (1)] |x, [n]| (x as i64 & n as i64) as f64, EXACT, [] 0;
    bitwise_or bitwise_or_ INTS ANY [(6) (1)] |x, [n]| (x as i64 | n as i64) as f64, EXACT, [] 0;
    bitwise_xor bitwise_xor_ INTS ANY [(6) (1)] |x, [n]| (x as i64 ^ n as i64) as f64, EXACT, [] 0;
    fmax fmax_ NUMBERS JUMPY [(0.5) (1)] |x, [n]| x.max(n), EXACT, [0.5 => 0.5] 2;
    fmin fmin_ NUMBERS JUMPY [(0.5) (1)] |x, [n]| x.min(n), EXACT, [0.5 => 0.5] 2;
    xlogy xlogy_ FLOATS NORMAL [(0.5) (3)] |x, [n]| if x == 0.0 { 0.0 } else { x * n.ln() }, LIBRARY, [] 2;
    logaddexp logaddexp_ FLOATS NORMAL [(0.5) (3)] |x, [n]| x.max(n) + (-(x - n).abs()).exp().ln_1p(), SUMS, [0.5 => 0.5] 2;
    hypot hypot_ FLOATS NORMAL [(0.5) (3)] |x, [n]| x.hypot(n), LIBRARY, [] 2;
    @ {
        nextafter {
            dtypes: &[DType::F32, DType::F64],
            sample: |g| {
                let shape = g.shape(0..=4);
                Sample::new([g.values(&shape, ANY)])
            },
            run: |x, _| vec![x[0].nextafter(0.5)],
            oracle: Oracle::Values(|s| {
                let single = s.inputs[0].dtype == DType::F32;
                vec![values(&s.inputs[0]).iter().map(|&x| special::next_after(single, x, 0.5)).collect()]
            }),
            tolerance: EXACT,
            kinks: &[],
            order: 2,
        }
        frexp {
            dtypes: FLOATS,
            sample: |g| {
                let shape = g.shape(0..=4);
                Sample::new([g.values(&shape, ANY)])
            },
            run: |x, _| {
                let (fraction, exponent) = x[0].frexp();
                vec![fraction, exponent]
            },
            oracle: Oracle::Values(|s| {
                // Shifted by one until it fits.
                let split = |x: f64| {
                    let (mut fraction, mut exponent) = (x, 0);
                    while fraction.is_finite() && fraction.abs() >= 1.0 {
                        (fraction, exponent) = (fraction / 2.0, exponent + 1);
                    }
                    while fraction != 0.0 && fraction.abs() < 0.5 {
                        (fraction, exponent) = (fraction * 2.0, exponent - 1);
                    }
                    (fraction, f64::from(exponent))
                };
                let (fractions, exponents) = values(&s.inputs[0]).into_iter().map(split).unzip();
                vec![fractions, exponents]
            }),
            tolerance: EXACT,
            kinks: &[],
            order: 2,
        }
        polygamma {
            dtypes: FLOATS,
            sample: |g| {
                let shape = g.shape(0..=3);
                Sample::new([g.values(&shape, Fill::within(0.5, 3.0).special())])
            },
            run: |x, _| (0..4).map(|n| x[0].polygamma(n)).collect(),
            oracle: Oracle::Values(|s| {
                let each = |n| values(&s.inputs[0]).iter().map(|&x| special::polygamma(n, x)).collect();
                (0..4).map(each).collect()
            }),
            tolerance: SPECIAL,
            kinks: &[],
            order: 2,
        }
        mvlgamma {
            dtypes: FLOATS,
            sample: |g| {
                let shape = g.shape(0..=3);
                Sample::new([g.values(&shape, Fill::within(1.5, 4.0))])
            },
            run: |x, _| vec![x[0].mvlgamma(1), x[0].mvlgamma(3)],
            oracle: Oracle::Values(|s| {
                let x = values(&s.inputs[0]);
                let three = |x: f64| {
                    let sum: f64 = [0.0, 0.5, 1.0].iter().map(|i| special::lgamma(x - i)).sum();
                    sum + 1.5 * std::f64::consts::PI.ln()
                };
                vec![x.iter().map(|&x| special::lgamma(x)).collect(), x.iter().map(|&x| three(x)).collect()]
            }),
            tolerance: SPECIAL,
            kinks: &[],
            order: 2,
        }
        // Second names: each is what the op does that it names.
        aliases {
            dtypes: FLOATS,
            sample: |g| {
                let shape = g.shape(0..=3);
                Sample::new([g.values(&shape, ANY), g.values(&shape, ANY)])
            },
            run: |x, _| {
                let (x, y) = (x[0].detach(), x[1].detach());
                let same = |a: Tensor<B>, b: Tensor<B>| a.eq(&b).logical_or(a.isnan().logical_and(b.isnan()));
                vec![
                    same(x.absolute(), x.abs()),
                    same(x.negative(), x.neg()),
                    same(x.fix(), x.trunc()),
                    same(x.sgn(), x.sign()),
                    same(x.expit(), x.sigmoid()),
                    same(x.gammaln(), x.lgamma()),
                    same(x.arcsin(), x.asin()),
                    same(x.arccos(), x.acos()),
                    same(x.arctan(), x.atan()),
                    same(x.arcsinh(), x.asinh()),
                    same(x.arccosh(), x.acosh()),
                    same(x.arctanh(), x.atanh()),
                    same(x.positive(), x.clone()),
                    same(x.clip(-0.5, 0.5), x.clamp(-0.5, 0.5)),
                    same(x.subtract(&y), x.sub(&y)),
                    same(x.multiply(&y), x.mul(&y)),
                    same(x.divide(&y), x.div(&y)),
                    same(x.true_divide(&y), x.div(&y)),
                    same(x.arctan2(&y), x.atan2(&y)),
                    same(x.greater(&y), x.gt(&y)),
                    same(x.greater_equal(&y), x.ge(&y)),
                    same(x.less(&y), x.lt(&y)),
                    same(x.less_equal(&y), x.le(&y)),
                    same(x.not_equal(&y), x.ne(&y)),
                ]
            },
            oracle: Oracle::Values(|s| vec![vec![1.0; s.inputs[0].values.len()]; 24]),
            tolerance: EXACT,
            kinks: &[],
            order: 0,
        }
        nan_to_num {
            dtypes: NUMBERS,
            sample: |g| {
                let shape = g.shape(0..=4);
                Sample::new([g.values(&shape, ANY)])
            },
            run: |x, _| {
                vec![x[0].nan_to_num(0.5, Some(2.0), Some(-2.0)), x[0].nan_to_num(1.0, None, None)]
            },
            oracle: Oracle::Values(|s| {
                let largest = match s.inputs[0].dtype {
                    DType::F32 => f64::from(f32::MAX),
                    DType::F16 => 65_504.0,
                    DType::BF16 => f64::from(f32::from_bits(0x7f7f_0000)),
                    _ => f64::MAX,
                };
                let x = values(&s.inputs[0]);
                let each = |numbers| x.iter().map(|&x| nonfinite(x, numbers)).collect();
                vec![each([0.5, 2.0, -2.0]), each([1.0, largest, -largest])]
            }),
            tolerance: EXACT,
            kinks: &[Kink { inputs: &[&[f64::NAN, f64::INFINITY, 1.0]], args: &[], grads: &[&[0.0, 0.0, 1.0]] }],
            order: 2,
        }
    }
}
