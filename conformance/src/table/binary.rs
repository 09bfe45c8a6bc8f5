//! Elementwise ops of two tensors, which broadcast and are promoted, each against its formula.

use kiln_tensor_core::DType;

use super::plain::values;
use super::special;
use super::{Kink, Oracle, in_place, make_rows};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, INTS, NUMBERS};
use crate::strategies::{Fill, Gen, NORMAL, POSITIVE, Purpose, Sample};

const EXACT: Tolerance = Tolerance::EXACT;
const ROUNDED: Tolerance = Tolerance::ROUNDED;
const LIBRARY: Tolerance = Tolerance::LIBRARY;
const SUMS: Tolerance = Tolerance::new(4.0, 2.0, "a sum that cancels below 0");
const ALL: &[DType] = &DType::ALL;

const ANY: Fill = NORMAL.special();
const NONZERO: Fill = Fill::within(0.4, 2.0).special().divisor();
const BASE: Fill = Fill::within(0.5, 2.0).special();
const AWAY: Fill = ANY.kinks(&[0.0]);
const TENS: Fill = Fill::within(-10.0, 10.0);
const PLACES: Fill = Fill::within(-1.0, 9.0);
const EXPONENT: Fill = Fill::within(0.0, 3.0);
/// Values that keep apart from [`OTHERS`].
const SOME: Fill = Fill { spacing: 0.5, ..ANY };
const OTHERS: Fill = Fill { offset: 0.8, ..SOME };
/// A dividend and a divisor whose quotient is no integer.
const DIVIDEND: Fill = Fill::within(-2.7, 2.7)
    .special()
    .kinks(&[-2.0, -1.0, 0.0, 1.0, 2.0, -2.05, 2.05, -1.95, 1.95, -1.05, 1.05, -0.95, 0.95]);
const DIVISOR: Fill = Fill::within(0.99, 1.01).special().divisor();

/// Two operands that broadcast together. Results are compared in mixed dtypes too.
fn pair(g: &mut Gen, dtypes: &[DType], left: Fill, right: Fill) -> Sample {
    let (_, shapes) = g.broadcast(2, 0..=4);
    // A 0-d integer takes the other's dtype and wraps, which the formulas do not know.
    let whole = !g.dtype.is_float() && shapes.iter().any(|shape| shape.rank() == 0);
    let mixed = g.purpose == Purpose::Forward && g.below(3) == 0 && !whole;
    let other = if mixed { g.pick(dtypes) } else { g.dtype };
    Sample::new([g.values(&shapes[0], left), g.values_as(other, &shapes[1], right)])
}

/// Rows of ops of two tensors, which also run in place: dtypes, what the operands hold, the formula, the tolerance, gradients
/// at jumps, order.
macro_rules! binary {
    (($d:tt) $($name:ident $in_place:ident $dtypes:ident $left:ident $right:ident |$a:ident, $b:ident| $formula:expr,
        $tolerance:ident, [$(($x:literal, $y:literal) => ($dx:literal, $dy:literal)),*] $order:literal;)*
        @ { $($rest:tt)* }) => {
        make_rows! { ($d) binary "binary"; $($name {
            dtypes: $dtypes,
            sample: |g| pair(g, $dtypes, $left, $right),
            run: |x, _| {
                let y = x[0].$name(&x[1]);
                let written = in_place(&x[0], &y, |a| a.$in_place(&x[1]));
                vec![y, written]
            },
            oracle: Oracle::Each(|x| { let ($a, $b) = (x[0], x[1]); $formula }),
            tolerance: $tolerance,
            kinks: &[$(Kink { inputs: &[&[$x], &[$y]], args: &[], grads: &[&[$dx], &[$dy]] }),*],
            order: $order,
        })* $($rest)* }
    };
}

fn truth(condition: bool) -> f64 {
    f64::from(u8::from(condition))
}

fn floor_mod(a: f64, b: f64) -> f64 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

/// ⌊a / b⌋ as Python has it: an infinite dividend has no remainder, so it has no whole quotient.
fn floor_quotient(a: f64, b: f64) -> f64 {
    match (a.is_infinite(), b.is_infinite()) {
        _ if a.is_nan() || b.is_nan() => f64::NAN,
        (true, _) if b != 0.0 => f64::NAN,
        (_, true) if a != 0.0 && (a < 0.0) != (b < 0.0) => -1.0,
        _ => (a / b).floor(),
    }
}

fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

binary! { ($)
    add add_ NUMBERS ANY ANY |a, b| a + b, ROUNDED, [] 2;
    sub sub_ NUMBERS ANY ANY |a, b| a - b, ROUNDED, [] 2;
    mul mul_ NUMBERS ANY ANY |a, b| a * b, ROUNDED, [] 2;
    div div_ NUMBERS ANY NONZERO |a, b| a / b, ROUNDED, [] 2;
    pow pow_ NUMBERS BASE EXPONENT |a, b| a.powf(b), LIBRARY, [(0.0, 2.0) => (0.0, 0.0), (0.0, 0.0) => (0.0, 0.0), (1.0, 0.0) => (0.0, 0.0)] 2;
    remainder remainder_ NUMBERS DIVIDEND DIVISOR |a, b| floor_mod(a, b), ROUNDED, [] 2;
    fmod fmod_ NUMBERS DIVIDEND DIVISOR |a, b| a % b, ROUNDED, [] 2;
    floor_divide floor_divide_ NUMBERS DIVIDEND DIVISOR |a, b| floor_quotient(a, b), EXACT, [] 2;
    trunc_divide trunc_divide_ NUMBERS DIVIDEND DIVISOR |a, b| (a / b).trunc(), EXACT, [] 2;
    float_power float_power_ NUMBERS BASE EXPONENT |a, b| a.powf(b), LIBRARY, [] 2;
    maximum maximum_ ALL SOME OTHERS |a, b| larger(a, b), EXACT, [(1.0, 1.0) => (0.5, 0.5), (2.0, 1.0) => (1.0, 0.0)] 2;
    minimum minimum_ ALL SOME OTHERS |a, b| -larger(-a, -b), EXACT, [(1.0, 1.0) => (0.5, 0.5), (2.0, 1.0) => (0.0, 1.0)] 2;
    atan2 atan2_ NUMBERS NONZERO ANY |a, b| a.atan2(b), LIBRARY, [] 2;
    eq eq_ ALL ANY ANY |a, b| truth(a == b), EXACT, [] 0;
    ne ne_ ALL ANY ANY |a, b| truth(a != b), EXACT, [] 0;
    lt lt_ ALL ANY ANY |a, b| truth(a < b), EXACT, [] 0;
    le le_ ALL ANY ANY |a, b| truth(a <= b), EXACT, [] 0;
    gt gt_ ALL ANY ANY |a, b| truth(a > b), EXACT, [] 0;
    ge ge_ ALL ANY ANY |a, b| truth(a >= b), EXACT, [] 0;
    logical_and logical_and_ ALL ANY ANY |a, b| truth(a != 0.0 && b != 0.0), EXACT, [] 0;
    logical_or logical_or_ ALL ANY ANY |a, b| truth(a != 0.0 || b != 0.0), EXACT, [] 0;
    logical_xor logical_xor_ ALL ANY ANY |a, b| truth((a != 0.0) != (b != 0.0)), EXACT, [] 0;
    bitwise_and bitwise_and_ INTS ANY ANY |a, b| (a as i64 & b as i64) as f64, EXACT, [] 0;
    bitwise_or bitwise_or_ INTS ANY ANY |a, b| (a as i64 | b as i64) as f64, EXACT, [] 0;
    bitwise_xor bitwise_xor_ INTS ANY ANY |a, b| (a as i64 ^ b as i64) as f64, EXACT, [] 0;
    fmax fmax_ NUMBERS SOME OTHERS |a, b| a.max(b), EXACT, [(1.0, 1.0) => (0.5, 0.5)] 2;
    fmin fmin_ NUMBERS SOME OTHERS |a, b| a.min(b), EXACT, [(1.0, 1.0) => (0.5, 0.5)] 2;
    xlogy xlogy_ FLOATS NORMAL POSITIVE |a, b| if a == 0.0 { 0.0 } else { a * b.ln() }, LIBRARY, [] 2;
    logaddexp logaddexp_ FLOATS NORMAL NORMAL |a, b| a.max(b) + (-(a - b).abs()).exp().ln_1p(), SUMS, [] 2;
    logaddexp2 logaddexp2_ FLOATS NORMAL NORMAL |a, b| a.max(b) + (-(a - b).abs()).exp2().ln_1p() / std::f64::consts::LN_2, SUMS, [] 2;
    xlog1py xlog1py_ FLOATS NORMAL POSITIVE |a, b| if a == 0.0 { 0.0 } else { a * b.ln_1p() }, LIBRARY, [] 2;
    copysign copysign_ FLOATS AWAY AWAY |a, b| if b.is_sign_negative() && !b.is_nan() { -a.abs() } else { a.abs() }, EXACT, [(0.0, -1.0) => (0.0, 0.0), (2.0, -0.0) => (-1.0, 0.0)] 2;
    heaviside heaviside_ ALL AWAY ANY |a, b| if a == 0.0 { b } else { truth(a > 0.0) }, EXACT, [(0.0, 3.0) => (0.0, 1.0), (1.0, 3.0) => (0.0, 0.0)] 2;
    ldexp ldexp_ FLOATS ANY EXPONENT |a, b| a * b.exp2(), LIBRARY, [] 2;
    gcd gcd_ INTS ANY ANY |a, b| special::gcd(a, b), EXACT, [] 0;
    lcm lcm_ INTS TENS TENS |a, b| if a * b == 0.0 { 0.0 } else { (a / special::gcd(a, b) * b).abs() }, EXACT, [] 0;
    bitwise_left_shift bitwise_left_shift_ INTS ANY PLACES |a, b| if b < 0.0 { 0.0 } else { a * b.exp2() }, EXACT, [] 0;
    bitwise_right_shift bitwise_right_shift_ INTS ANY PLACES |a, b| if b < 0.0 { -truth(a < 0.0) } else { (a / b.exp2()).floor() }, EXACT, [] 0;
    hypot hypot_ FLOATS POSITIVE POSITIVE |a, b| a.hypot(b), LIBRARY, [] 2;
    @ {
        nextafter {
            dtypes: &[DType::F32, DType::F64],
            sample: |g| {
                let shape = g.shape(0..=4);
                Sample::new([g.values(&shape, ANY), g.values(&shape, ANY)])
            },
            run: |x, _| {
                let y = x[0].nextafter(&x[1]);
                let written = in_place(&x[0], &y, |a| a.nextafter_(&x[1]));
                vec![y, written]
            },
            oracle: Oracle::Values(|s| {
                let [a, b] = [0, 1].map(|i| values(&s.inputs[i]));
                let single = s.inputs[0].dtype == DType::F32;
                let y: Vec<f64> = a.iter().zip(&b).map(|(&a, &b)| special::next_after(single, a, b)).collect();
                vec![y.clone(), y]
            }),
            tolerance: EXACT,
            kinks: &[],
            order: 2,
        }
    }
}
