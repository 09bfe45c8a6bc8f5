//! Elementwise ops with numbers: those of `NUMBERED`, and those of two tensors with a number on the
//! right, each with a float and with an integer, out of place and in place.

use kiln_tensor_core::{DType, Tensor};

use super::plain::values;
use super::{Kink, Oracle, in_place, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, INTS, NUMBERS};
use crate::strategies::{Fill, NORMAL, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const ROUNDED: Tolerance = Tolerance::ROUNDED;
const LIBRARY: Tolerance = Tolerance::LIBRARY;
const SUMS: Tolerance = Tolerance::new(4.0, 2.0, "a sum that cancels below 0");
const ALL: &[DType] = &DType::ALL;

const ANY: Fill = NORMAL.special();
const TENTHS: Fill = Fill::within(-2.7, 2.7);
/// Where an op jumps at the numbers that are tried with it, here all of them.
const JUMPY: Fill =
    ANY.kinks(&[-2.0, -1.5, -1.0, -0.75, -0.5, 0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0]);
/// Quotients by 0.75 and 2 that are no integers.
const DIVIDEND: Fill = TENTHS.kinks(&[-2.25, -2.0, -1.5, -0.75, 0.0, 0.75, 1.5, 2.0, 2.25]);
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
