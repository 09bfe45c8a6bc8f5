//! Elementary functions on vectors, within a few units in the last place.
//!
//! Each reduces its argument as Cody and Waite (*Software Manual for the Elementary Functions*, 1980)
//! do and sums a power series that is long enough for the element type, so one text serves `f32` and
//! `f64`. The series are those of exp, artanh, sin and cos; only erf in `f32` uses fitted polynomials.

use kiln_tensor_core::expr::special;

use super::simd::{Arch, Float, FloatElem};

/// What the functions need to know of an element type.
pub(crate) trait Math: FloatElem {
    /// Bits of the mantissa.
    const MANTISSA: u32;
    /// The exponent's bias.
    const BIAS: f64;
    /// Added to a small whole number, it puts the number into the low bits.
    const MAGIC: f64;
    /// The smallest normal number.
    const TINY: f64;
    /// The bits of √½ and of 1.
    const ROOT_HALF: u64;
    const ONE: u64;
    /// Beyond these, exp is infinite or 0.
    const EXP_RANGE: [f64; 2];
    /// From here on tanh is 1.
    const TANH_ONE: f64;
    /// ln 2 and log₁₀ 2 in two parts.
    const LN2: [f64; 2];
    const LOG10_2: [f64; 2];
    /// π/2 in parts, and the largest argument that they reduce well.
    const HALF_PI: [f64; 3];
    const TRIG_MAX: f64;
    /// How many terms of the series are used.
    const EXP_TERMS: usize;
    const LOG_TERMS: usize;
    const TRIG_TERMS: usize;

    fn erf<A: Arch>(x: Self::V<A>) -> Self::V<A>;
    /// The number after `x` towards `y`.
    fn next_after(x: Self, y: Self) -> Self;
}

impl Math for f32 {
    const MANTISSA: u32 = 23;
    const BIAS: f64 = 127.0;
    const MAGIC: f64 = 12_582_912.0;
    const TINY: f64 = f32::MIN_POSITIVE as f64;
    const ROOT_HALF: u64 = 0x3f35_04f3;
    const ONE: u64 = 0x3f80_0000;
    const EXP_RANGE: [f64; 2] = [-104.0, 89.0];
    const TANH_ONE: f64 = 10.0;
    const LN2: [f64; 2] = split32(std::f64::consts::LN_2);
    const LOG10_2: [f64; 2] = split32(std::f64::consts::LOG10_2);
    const HALF_PI: [f64; 3] = {
        let [high, rest] = split32(std::f64::consts::FRAC_PI_2);
        let [middle, low] = split32(rest);
        [high, middle, low]
    };
    const TRIG_MAX: f64 = 30_000.0;
    const EXP_TERMS: usize = 7;
    const LOG_TERMS: usize = 5;
    const TRIG_TERMS: usize = 5;

    /// `x · (½ + P(s))` with `s = ERF_SCALE · x² + ERF_SHIFT`: P is the polynomial of the least relative
    /// error (Lawson's iteration, in double precision) for `erf(√t)/√t − ½` on `[0, ERF_ONE²]`.
    /// Beyond, the result is 1. The half is added last, and `s` is near 0 where P bends, so that few
    /// roundings count.
    #[inline(always)]
    fn erf<A: Arch>(x: Self::V<A>) -> Self::V<A> {
        let num = <f32 as FloatElem>::V::<A>::num;
        let a = num(ERF_ONE).pick_min(x.abs());
        let s = a.mul(a).mul_add(num(ERF_SCALE), num(ERF_SHIFT));
        let y = a.mul_add(poly(s, &ERF), a.mul(num(0.5)));
        num(1.0).pick_min(y).flip_sign(x)
    }

    fn next_after(x: f32, y: f32) -> f32 {
        special::next_after_f32(x, y)
    }
}

const ERF_ONE: f64 = 3.925;
const ERF_SCALE: f64 = 0.129_822_710_860_481_17;
const ERF_SHIFT: f64 = -0.87;
const ERF: [f64; 17] = [
    -0.113_805_055_618_286_13,
    -0.221_154_063_940_048_22,
    0.187_580_332_159_996_03,
    -0.171_790_927_648_544_3,
    0.157_594_949_007_034_3,
    -0.139_666_706_323_623_66,
    0.117_180_638_015_270_23,
    -0.091_891_929_507_255_55,
    0.066_992_759_704_589_84,
    -0.045_997_973_531_484_604,
    0.029_931_697_994_470_596,
    -0.017_210_751_771_926_88,
    0.008_287_471_719_086_17,
    -0.004_527_993_034_571_409,
    0.003_305_376_274_511_218,
    -0.001_708_128_838_799_893_9,
    0.000_364_463_863_661_512_73,
];

impl Math for f64 {
    const MANTISSA: u32 = 52;
    const BIAS: f64 = 1023.0;
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    const TINY: f64 = f64::MIN_POSITIVE;
    const ROOT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    const EXP_RANGE: [f64; 2] = [-746.0, 710.0];
    const TANH_ONE: f64 = 20.0;
    const LN2: [f64; 2] = [std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17];
    const LOG10_2: [f64; 2] = [std::f64::consts::LOG10_2, -2.803_728_127_785_170_4e-18];
    const HALF_PI: [f64; 3] =
        [std::f64::consts::FRAC_PI_2, 6.123_233_995_736_766e-17, -1.497_384_904_859_17e-33];
    const TRIG_MAX: f64 = 1e6;
    const EXP_TERMS: usize = 13;
    const LOG_TERMS: usize = 10;
    const TRIG_TERMS: usize = 9;

    #[inline(always)]
    fn erf<A: Arch>(x: Self::V<A>) -> Self::V<A> {
        x.lanes(libm::erf)
    }

    fn next_after(x: f64, y: f64) -> f64 {
        special::next_after(x, y)
    }
}

/// A number as the sum of two that `f32` holds.
const fn split32(x: f64) -> [f64; 2] {
    let high = x as f32 as f64;
    [high, x - high]
}

/// 1/n! for n = 0, 1, …
const INVERSE_FACTORIAL: [f64; 22] = {
    let mut table = [1.0; 22];
    let mut n = 1;
    while n < 22 {
        table[n] = table[n - 1] / n as f64;
        n += 1;
    }
    table
};

/// `c[0] + c[1]·x + …`
#[inline(always)]
fn poly<V: Float, const N: usize>(x: V, c: &[f64; N]) -> V {
    let mut y = V::num(c[N - 1]);
    for i in (0..N - 1).rev() {
        y = y.mul_add(x, V::num(c[i]));
    }
    y
}

/// `2ᵏ` for a whole number in the range of normal exponents.
#[inline(always)]
fn power_of_two<E: Math, A: Arch>(k: E::V<A>) -> E::V<A> {
    k.add(E::V::<A>::num(E::MAGIC + E::BIAS)).shl(E::MANTISSA)
}

/// `x` as `n · ln 2 + r` with a whole `n`, and `exp(r) − 1`.
#[inline(always)]
fn exp_parts<E: Math, A: Arch>(x: E::V<A>) -> (E::V<A>, E::V<A>) {
    let num = E::V::<A>::num;
    let magic = num(E::MAGIC);
    let n = x.mul_add(num(std::f64::consts::LOG2_E), magic).sub(magic);
    let r = n.mul_add(num(-E::LN2[1]), n.mul_add(num(-E::LN2[0]), x));
    let mut sum = num(INVERSE_FACTORIAL[E::EXP_TERMS]);
    for k in (2..E::EXP_TERMS).rev() {
        sum = sum.mul_add(r, num(INVERSE_FACTORIAL[k]));
    }
    (n, sum.mul_add(r.mul(r), r))
}

#[inline(always)]
pub(crate) fn exp<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    // In this order the bound loses against NaN.
    let x = num(E::EXP_RANGE[0]).pick_max(num(E::EXP_RANGE[1]).pick_min(x));
    let (n, m) = exp_parts::<E, A>(x);
    // Two factors, so that results near both ends of the range neither overflow early nor flush.
    let half = n.mul(num(0.5)).floor();
    let scaled = m.add(num(1.0)).mul(power_of_two::<E, A>(half));
    scaled.mul(power_of_two::<E, A>(n.sub(half)))
}

/// exp for arguments up to 0, with 0 for results that are not normal: what softmax needs.
#[inline(always)]
pub(crate) fn exp_negative<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    let low = num((2.0 - E::BIAS) * std::f64::consts::LN_2);
    let (n, m) = exp_parts::<E, A>(low.pick_max(x));
    let y = m.add(num(1.0)).mul(power_of_two::<E, A>(n));
    E::V::<A>::select(x.lt(low), num(0.0), y)
}

#[inline(always)]
pub(crate) fn expm1<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    let low = num(-(f64::from(E::MANTISSA) + 4.0));
    let x = low.pick_max(num(E::EXP_RANGE[1]).pick_min(x));
    let (n, m) = exp_parts::<E, A>(x);
    let half = power_of_two::<E, A>(n.sub(num(1.0)));
    let y = half.mul_add(m, half.sub(num(0.5)));
    // Without a reduction the sum is already the result, −0 and the smallest numbers included.
    E::V::<A>::select(n.eq(num(0.0)), m, y.add(y))
}

/// A positive normal `u` as `2ᵏ · m` with `m` in `[√½, √2)`.
#[inline(always)]
fn split<E: Math, A: Arch>(u: E::V<A>) -> (E::V<A>, E::V<A>) {
    let bits = E::V::<A>::bits;
    let moved = u.add_bits(bits(E::ONE - E::ROOT_HALF));
    // The exponent as a whole number: into the low bits of 2^MANTISSA, which is then taken off.
    let base = (1u64 << E::MANTISSA) as f64;
    let k = moved.shr(E::MANTISSA).or(E::V::<A>::num(base)).sub(E::V::<A>::num(base + E::BIAS));
    let mask = bits((1 << E::MANTISSA) - 1);
    (k, moved.and(mask).add_bits(bits(E::ROOT_HALF)))
}

/// `ln(1 + f) − f` for `1 + f` in `[√½, √2)`: with `s = f / (2 + f)` it is `2 artanh(s) − f`, summed
/// so that the large parts cancel exactly.
#[inline(always)]
fn log_tail<E: Math, A: Arch>(f: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    let s = f.div(f.add(num(2.0)));
    let z = s.mul(s);
    let mut sum = num(2.0 / (2 * E::LOG_TERMS + 1) as f64);
    for k in (1..E::LOG_TERMS).rev() {
        sum = sum.mul_add(z, num(2.0 / (2 * k + 1) as f64));
    }
    let half_square = f.mul(f).mul(num(0.5));
    s.mul(sum.mul_add(z, half_square)).sub(half_square)
}

/// Logarithm of `u`: `k` times the first number, plus `ln m` times the second.
#[inline(always)]
fn log_base<E: Math, A: Arch>(u: E::V<A>, per_two: [f64; 2], per_e: f64) -> E::V<A> {
    let num = E::V::<A>::num;
    let select = E::V::<A>::select;
    let tiny = u.lt(num(E::TINY));
    let shift = f64::from(E::MANTISSA + 2);
    let normal = select(tiny, u.mul(num(shift.exp2())), u);
    let (k, m) = split::<E, A>(normal);
    let k = select(tiny, k.sub(num(shift)), k);
    let f = m.sub(num(1.0));
    let tail = log_tail::<E, A>(f);
    let y = if per_e == 1.0 {
        k.mul_add(num(per_two[0]), f.add(k.mul_add(num(per_two[1]), tail)))
    } else {
        k.mul_add(num(per_two[0]), k.mul_add(num(per_two[1]), f.add(tail).mul(num(per_e))))
    };
    log_edges::<E, A>(u, y)
}

/// The logarithm of 0, of negative numbers, of infinity and of NaN.
#[inline(always)]
fn log_edges<E: Math, A: Arch>(u: E::V<A>, y: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    let select = E::V::<A>::select;
    let y = select(u.lt(num(f64::INFINITY)), y, u);
    let y = select(u.lt(num(0.0)), num(f64::NAN), y);
    select(u.eq(num(0.0)), num(f64::NEG_INFINITY), y)
}

#[inline(always)]
pub(crate) fn log<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    log_base::<E, A>(x, E::LN2, 1.0)
}

#[inline(always)]
pub(crate) fn log2<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    log_base::<E, A>(x, [1.0, 0.0], std::f64::consts::LOG2_E)
}

#[inline(always)]
pub(crate) fn log10<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    log_base::<E, A>(x, E::LOG10_2, std::f64::consts::LOG10_E)
}

#[inline(always)]
pub(crate) fn log1p<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    let select = E::V::<A>::select;
    let one = num(1.0);
    let u = x.add(one);
    let (k, m) = split::<E, A>(u);
    // What rounding 1 + x lost, relative to it.
    let lost = select(x.lt(one), x.sub(u.sub(one)), one.sub(u.sub(x))).div(u);
    let whole = k.eq(num(0.0));
    let f = select(whole, x, m.sub(one));
    let lost = select(whole, num(0.0), lost);
    let tail = log_tail::<E, A>(f);
    let low = k.mul_add(num(E::LN2[1]), lost).add(tail);
    let y = k.mul_add(num(E::LN2[0]), f.add(low));
    log_edges::<E, A>(u, y)
}

#[inline(always)]
pub(crate) fn tanh<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    let a = num(E::TANH_ONE).pick_min(x.abs());
    let t = expm1::<E, A>(a.add(a));
    t.div(t.add(num(2.0))).flip_sign(x)
}

#[inline(always)]
pub(crate) fn sinh<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    let a = x.abs();
    let t = expm1::<E, A>(a);
    let y = t.add(t.div(t.add(num(1.0)))).mul(num(0.5));
    let large = num(E::EXP_RANGE[1] - 2.0).lt(a);
    E::V::<A>::select(large, half_exp::<E, A>(a), y).flip_sign(x)
}

#[inline(always)]
pub(crate) fn cosh<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    let num = E::V::<A>::num;
    let a = x.abs();
    let half = exp::<E, A>(a).mul(num(0.5));
    let y = half.add(num(0.25).div(half));
    let large = num(E::EXP_RANGE[1] - 2.0).lt(a);
    E::V::<A>::select(large, half_exp::<E, A>(a), y)
}

/// `exp(a) / 2` where exp itself may overflow.
#[inline(always)]
fn half_exp<E: Math, A: Arch>(a: E::V<A>) -> E::V<A> {
    let root = exp::<E, A>(a.mul(E::V::<A>::num(0.5)));
    root.mul(E::V::<A>::num(0.5)).mul(root)
}

/// Sine and cosine of `x − q · π/2`, and the sum whose lowest bits are those of `q`.
#[inline(always)]
fn quarter<E: Math, A: Arch>(x: E::V<A>) -> (E::V<A>, E::V<A>, E::V<A>) {
    let num = E::V::<A>::num;
    let magic = num(E::MAGIC);
    let number = x.mul_add(num(std::f64::consts::FRAC_2_PI), magic);
    let q = number.sub(magic);
    let mut r = x;
    for part in E::HALF_PI {
        r = q.mul_add(num(-part), r);
    }
    let z = r.mul(r);
    let terms = E::TRIG_TERMS;
    let term = |n: usize, k: usize| {
        num(INVERSE_FACTORIAL[n] * if k.is_multiple_of(2) { 1.0 } else { -1.0 })
    };
    let (mut sin, mut cos) = (term(2 * terms + 1, terms), term(2 * terms, terms));
    for k in (1..terms).rev() {
        sin = sin.mul_add(z, term(2 * k + 1, k));
        cos = cos.mul_add(z, term(2 * k, k));
    }
    (sin.mul(z).mul_add(r, r), cos.mul_add(z, num(1.0)), number)
}

/// Sine of `x + shift · π/2`; `exact` serves arguments that are too large to reduce.
#[inline(always)]
fn sine<E: Math, A: Arch>(x: E::V<A>, shift: u64, exact: impl Fn(f64) -> f64) -> E::V<A> {
    let (sin, cos, number) = quarter::<E, A>(x);
    let number = number.add_bits(E::V::<A>::bits(shift));
    let odd = sign_bit::<E, A>(number, 0).lt(E::V::<A>::num(0.0));
    let y = E::V::<A>::select(odd, cos, sin).flip_sign(sign_bit::<E, A>(number, 1));
    exact_where_large::<E, A>(x, y, exact)
}

/// ±1 with the sign of a bit of `number`.
#[inline(always)]
fn sign_bit<E: Math, A: Arch>(number: E::V<A>, bit: u32) -> E::V<A> {
    let top = size_of::<E>() as u32 * 8 - 1;
    number.shl(top - bit).and(E::V::<A>::num(-0.0)).or(E::V::<A>::num(1.0))
}

#[inline(always)]
fn exact_where_large<E: Math, A: Arch>(
    x: E::V<A>,
    y: E::V<A>,
    exact: impl Fn(f64) -> f64,
) -> E::V<A> {
    let large = E::V::<A>::num(E::TRIG_MAX).lt(x.abs());
    if !E::V::<A>::any(large) {
        return y;
    }
    E::V::<A>::select(large, x.lanes(|x| E::from_f64(exact(x.to_f64()))), y)
}

#[inline(always)]
pub(crate) fn sin<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    sine::<E, A>(x, 0, f64::sin)
}

#[inline(always)]
pub(crate) fn cos<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    sine::<E, A>(x, 1, f64::cos)
}

#[inline(always)]
pub(crate) fn tan<E: Math, A: Arch>(x: E::V<A>) -> E::V<A> {
    let (sin, cos, number) = quarter::<E, A>(x);
    let odd = sign_bit::<E, A>(number, 0).lt(E::V::<A>::num(0.0));
    let select = E::V::<A>::select;
    let y = select(odd, cos.neg(), sin).div(select(odd, sin, cos));
    exact_where_large::<E, A>(x, y, f64::tan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::{Level, Work, dispatch_at, levels};

    /// One of the functions on eight or sixteen numbers.
    #[derive(Clone, Copy, Debug)]
    enum F {
        Exp,
        Expm1,
        Log,
        Log2,
        Log10,
        Log1p,
        Tanh,
        Sinh,
        Cosh,
        Sin,
        Cos,
        Tan,
        Erf,
    }

    struct Apply<'a, E>(F, &'a [E]);

    impl<E: Math> Work for Apply<'_, E> {
        type Out = Vec<E>;
        #[inline(always)]
        fn run<A: Arch>(self) -> Vec<E> {
            let mut out = self.1.to_vec();
            for piece in out.chunks_exact_mut(E::V::<A>::N) {
                // SAFETY: the piece has `N` elements.
                let x = unsafe { E::V::<A>::load(piece.as_ptr()) };
                let y = match self.0 {
                    F::Exp => exp::<E, A>(x),
                    F::Expm1 => expm1::<E, A>(x),
                    F::Log => log::<E, A>(x),
                    F::Log2 => log2::<E, A>(x),
                    F::Log10 => log10::<E, A>(x),
                    F::Log1p => log1p::<E, A>(x),
                    F::Tanh => tanh::<E, A>(x),
                    F::Sinh => sinh::<E, A>(x),
                    F::Cosh => cosh::<E, A>(x),
                    F::Sin => sin::<E, A>(x),
                    F::Cos => cos::<E, A>(x),
                    F::Tan => tan::<E, A>(x),
                    F::Erf => E::erf::<A>(x),
                };
                // SAFETY: as above.
                unsafe { y.store(piece.as_mut_ptr()) };
            }
            out
        }
    }

    const ALL: [(F, fn(f64) -> f64); 13] = [
        (F::Exp, f64::exp),
        (F::Expm1, f64::exp_m1),
        (F::Log, f64::ln),
        (F::Log2, f64::log2),
        (F::Log10, f64::log10),
        (F::Log1p, f64::ln_1p),
        (F::Tanh, f64::tanh),
        (F::Sinh, f64::sinh),
        (F::Cosh, f64::cosh),
        (F::Sin, f64::sin),
        (F::Cos, f64::cos),
        (F::Tan, f64::tan),
        (F::Erf, libm::erf),
    ];

    /// Edges, and numbers of both signs over the whole range of exponents, evenly in the logarithm.
    fn arguments<E: Math>(largest: f64, smallest: f64) -> Vec<E> {
        let mut all = vec![
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            88.5,
            89.5,
            -87.5,
            -103.5,
            709.5,
            -744.0,
            8.0,
            1024.0,
            0.5,
            -0.5,
            1e-300,
            1.5e5,
            3e9,
        ];
        let steps = 6000;
        for i in 0..steps {
            let t = f64::from(i) / f64::from(steps);
            let x = (smallest.ln() * (1.0 - t) + largest.ln() * t).exp();
            all.extend([x, -x, (t - 0.5) * 200.0, (t - 0.5) * 8.0]);
        }
        all.resize(all.len().next_multiple_of(16), 1.0);
        all.into_iter().map(E::from_f64).collect()
    }

    /// The largest distance to the exact function, in units in the last place of the result.
    fn worst<E: Math>(f: F, exact: fn(f64) -> f64, x: &[E], epsilon: f64, tiny: f64) -> (f64, f64) {
        let y = dispatch_at(*levels().last().unwrap(), Apply(f, x));
        let mut worst = (0.0, 0.0);
        for (x, y) in x.iter().zip(y) {
            let (x, y, exact) = (x.to_f64(), y.to_f64(), exact(x.to_f64()));
            let rounded = E::from_f64(exact).to_f64();
            if y == rounded || (y.is_nan() && rounded.is_nan()) {
                continue;
            }
            let ulp = epsilon * exact.abs().max(tiny);
            let error = if rounded.is_finite() { ((y - exact) / ulp).abs() } else { f64::INFINITY };
            if error.is_nan() || error > worst.0 {
                worst = (error, x);
            }
        }
        worst
    }

    #[test]
    fn f32_is_within_three_units() {
        let x = arguments::<f32>(3e38, 1e-40);
        for (f, exact) in ALL {
            let (error, at) = worst(f, exact, &x, f32::EPSILON.into(), f32::TINY);
            assert!(error <= 3.0, "{f:?}({at:e}): {error} ulp");
        }
    }

    #[test]
    fn f64_is_within_four_units() {
        let x = arguments::<f64>(1e300, 1e-300);
        for (f, exact) in ALL {
            let (error, at) = worst(f, exact, &x, f64::EPSILON, f64::TINY);
            assert!(error <= 4.0, "{f:?}({at:e}): {error} ulp");
        }
    }

    #[test]
    fn levels_agree_bit_for_bit() {
        let (x, y) = (arguments::<f32>(3e38, 1e-40), arguments::<f64>(1e300, 1e-300));
        for (f, _) in ALL {
            let at = |level: Level| {
                let a =
                    dispatch_at(level, Apply(f, &x)).into_iter().map(|v| u64::from(v.to_bits()));
                let b = dispatch_at(level, Apply(f, &y)).into_iter().map(f64::to_bits);
                // The payload of a NaN is nobody's business.
                a.map(|v| if f32::from_bits(v as u32).is_nan() { 0 } else { v })
                    .chain(b.map(|v| if f64::from_bits(v).is_nan() { 0 } else { v }))
                    .collect::<Vec<u64>>()
            };
            for level in levels() {
                assert!(at(level) == at(Level::Scalar), "{f:?} at {level:?}");
            }
        }
    }
}
