//! Special functions of numbers, as programs have them: what the evaluator calls, the CPU calls for each lane,
//! and the GPUs' sources are written after. Constants are public so that they stand in one place.

use std::f64::consts::{FRAC_2_SQRT_PI, PI};

/// Giles, "Approximating the erfinv function" (GPU Computing Gems, 2011): the polynomials for single precision,
/// highest power first, in `w − 2.5` below `w = 5` and in `√w − 3` from there on, for `w = −ln(1 − x²)`.
pub const ERFINV: [[f64; 9]; 2] = [
    [
        2.81022636e-08,
        3.43273939e-07,
        -3.5233877e-06,
        -4.39150654e-06,
        0.00021858087,
        -0.00125372503,
        -0.00417768164,
        0.246640727,
        1.50140941,
    ],
    [
        -0.000200214257,
        0.000100950558,
        0.00134934322,
        -0.00367342844,
        0.00573950773,
        -0.0076224613,
        0.00943887047,
        1.00167406,
        2.83297682,
    ],
];

/// `B₂ₖ / 2k` for k = 1, 2, …: the asymptotic series of digamma.
pub const DIGAMMA: [f64; 7] = [
    1.0 / 12.0,
    -1.0 / 120.0,
    1.0 / 252.0,
    -1.0 / 240.0,
    1.0 / 132.0,
    -691.0 / 32760.0,
    1.0 / 12.0,
];

/// `B₂ₖ / (2k)!` for k = 1, 2, …: the tail of the sum of zeta after Euler and Maclaurin.
pub const ZETA: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 720.0,
    1.0 / 30240.0,
    -1.0 / 1_209_600.0,
    1.0 / 47_900_160.0,
    -691.0 / 1_307_674_368_000.0,
    1.0 / 74_724_249_600.0,
    -3617.0 / 10_670_622_842_880_000.0,
];

/// Terms that zeta adds up before the tail; digamma moves its argument up to here.
pub const SHIFT: f64 = 10.0;

/// Coefficients of Chebyshev's polynomials, worked out in 40 digits: of e⁻ˣ I₀(x) in `x/4 − 1` up to 8, of
/// e⁻ˣ √x I₀(x) in `16/x − 1` above.
pub const I0E: [&[f64]; 2] = [
    &[
        0.676_795_274_409_476_1,
        -0.304_682_672_343_198_4,
        0.171_620_901_522_208_77,
        -0.094_901_097_048_047_64,
        0.049_305_284_239_670_71,
        -0.023_737_414_805_899_47,
        0.010_546_460_394_594_998,
        -0.004_324_309_995_050_576,
        0.001_639_475_616_941_335_7,
        -0.000_576_375_574_538_582_4,
        0.000_188_502_885_095_841_65,
        -5.754_195_010_082_104e-5,
        1.644_844_807_072_889_6e-5,
        -4.416_738_358_458_750_5e-6,
        1.117_387_539_120_103_7e-6,
        -2.670_793_853_940_612e-7,
        6.046_995_022_541_919e-8,
        -1.300_025_009_986_248e-8,
        2.659_823_724_682_386_6e-9,
        -5.189_795_601_635_263e-10,
        9.675_809_035_373_237e-11,
        -1.726_826_291_441_556e-11,
        2.955_052_663_129_64e-12,
        -4.856_446_783_111_929e-13,
        7.676_185_498_604_936e-14,
        -1.168_533_287_799_345_1e-14,
        1.715_391_285_555_133e-15,
        -2.431_279_846_547_955e-16,
        3.330_794_518_822_238_4e-17,
        -4.415_341_646_479_339_5e-18,
    ],
    &[
        0.804_490_411_014_108_8,
        0.003_369_116_478_255_694_3,
        6.889_758_346_916_825e-5,
        2.891_370_520_834_756_7e-6,
        2.048_918_589_469_063_8e-7,
        2.266_668_990_498_178e-8,
        3.396_232_025_708_386_5e-9,
        4.940_602_388_224_97e-10,
        1.188_914_710_784_643_9e-11,
        -3.149_916_527_963_241_6e-11,
        -1.321_581_184_044_771_1e-11,
        -1.794_178_531_506_806_2e-12,
        7.180_124_451_383_666e-13,
        3.852_778_382_742_142_6e-13,
        1.540_086_217_521_41e-14,
        -4.150_569_347_287_222e-14,
        -9.554_846_698_828_307e-15,
        3.811_680_669_352_622_4e-15,
        1.772_560_133_056_526_3e-15,
        -3.425_485_619_677_219e-16,
        -2.827_623_980_516_583_6e-16,
        3.461_222_867_697_461e-17,
        4.465_621_420_296_76e-17,
        -4.830_504_485_944_182e-18,
        -7.233_180_487_874_754e-18,
    ],
];

/// As [`I0E`]: of e⁻ˣ I₁(x) / x up to 8, of e⁻ˣ √x I₁(x) above.
pub const I1E: [&[f64]; 2] = [
    &[
        0.252_587_186_443_633_65,
        -0.176_416_518_357_834_06,
        0.102_643_658_689_847_1,
        -0.052_945_981_208_094_99,
        0.024_726_449_030_626_516,
        -0.010_564_084_894_626_197,
        0.004_156_422_944_312_888,
        -0.001_513_572_450_631_253_2,
        0.000_512_285_956_168_575_8,
        -0.000_161_760_815_825_896_74,
        4.781_565_107_550_054e-5,
        -1.327_316_365_603_943_6e-5,
        3.470_251_308_137_678_5e-6,
        -8.568_720_264_695_455e-7,
        2.003_294_753_552_135_3e-7,
        -4.445_059_128_796_328e-8,
        9.381_537_386_495_773e-9,
        -1.887_249_751_722_829_4e-9,
        3.625_590_281_552_117e-10,
        -6.663_489_723_502_027e-11,
        1.173_618_629_889_090_1e-11,
        -1.983_974_397_764_943_6e-12,
        3.223_793_365_945_575e-13,
        -5.042_185_504_727_912e-14,
        7.600_684_294_735_408e-15,
        -1.105_596_947_735_386_2e-15,
        1.553_631_957_736_200_5e-16,
        -2.111_421_214_358_166e-17,
        2.777_914_112_761_046_4e-18,
    ],
    &[
        0.778_576_235_018_280_1,
        -0.009_761_097_491_361_469,
        -0.000_110_588_938_762_623_71,
        -3.882_564_808_877_691e-6,
        -2.512_236_237_870_209e-7,
        -2.631_468_846_889_519_6e-8,
        -3.835_380_385_964_237e-9,
        -5.589_743_462_196_584e-10,
        -1.897_495_812_350_541_3e-11,
        3.252_603_583_015_488_4e-11,
        1.412_580_744_366_137_8e-11,
        2.035_628_544_147_089_6e-12,
        -7.198_551_776_245_908e-13,
        -4.083_551_111_092_197_4e-13,
        -2.101_541_842_772_664_3e-14,
        4.272_440_016_711_951e-14,
        1.042_027_698_412_880_2e-14,
        -3.814_403_072_437_007_5e-15,
        -1.880_354_775_510_782_5e-15,
        3.308_202_310_920_928_5e-16,
        2.962_628_997_645_95e-16,
        -3.209_525_921_993_424e-17,
        -4.650_305_368_489_358_6e-17,
        4.414_348_323_071_708e-18,
        7.517_296_310_842_105e-18,
    ],
];

/// The inverse of erf: ±∞ at ±1, NaN beyond. Steps of Newton's from Giles' polynomials.
pub fn erfinv(x: f64) -> f64 {
    let a = x.abs();
    if a >= 1.0 || x == 0.0 || x.is_nan() {
        return if a == 1.0 {
            x * f64::INFINITY
        } else if a < 1.0 {
            x
        } else {
            f64::NAN
        };
    }
    let w = -((1.0 - a) * (1.0 + a)).ln();
    let (z, series) = if w < 5.0 { (w - 2.5, &ERFINV[0]) } else { (w.sqrt() - 3.0, &ERFINV[1]) };
    let mut y = a * series.iter().fold(0.0, |sum, c| sum * z + c);
    for _ in 0..3 {
        // Near 1 the complement keeps its digits.
        let error = if a < 0.5 { libm::erf(y) - a } else { (1.0 - a) - libm::erfc(y) };
        y -= error / (FRAC_2_SQRT_PI * (-y * y).exp());
    }
    y.copysign(x)
}

/// The logarithmic derivative of gamma: ∓∞ at ±0, NaN at the other poles.
pub fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        if x == x.floor() {
            return f64::NAN;
        }
        return digamma(1.0 - x) - PI / (PI * (x - x.round())).tan();
    }
    let (mut y, mut below) = (x, 0.0);
    while y < SHIFT {
        below += 1.0 / y;
        y += 1.0;
    }
    let square = 1.0 / (y * y);
    let tail = DIGAMMA.iter().rev().fold(0.0, |sum, c| (sum + c) * square);
    if y.is_infinite() { y } else { y.ln() - 0.5 / y - tail - below }
}

/// Hurwitz' zeta, Σ (q + k)⁻ˢ over k = 0, 1, …: ∞ at the poles 0, −1, … of `q`. NaN for `s` below 1, and for
/// a negative `q` unless `s` is an integer.
pub fn zeta(s: f64, q: f64) -> f64 {
    if s == 1.0 {
        return f64::INFINITY;
    }
    if s.is_nan() || q.is_nan() || s < 1.0 {
        return f64::NAN;
    }
    if q > 0.0 {
        return zeta_above(s, q);
    }
    if q == q.floor() {
        return f64::INFINITY;
    }
    if s != s.floor() {
        return f64::NAN;
    }
    // The terms below 0 are those of another such sum, from which the ones further below are taken off.
    let first = q - q.floor();
    let mirrored = zeta_above(s, 1.0 - first) - zeta_above(s, 1.0 - q);
    zeta_above(s, first) + if s % 2.0 == 0.0 { mirrored } else { -mirrored }
}

fn zeta_above(s: f64, q: f64) -> f64 {
    let head: f64 = (0..SHIFT as usize).map(|k| (q + k as f64).powf(-s)).sum();
    let w = q + SHIFT;
    let last = w.powf(-s);
    let mut sum = head + w * last / (s - 1.0) + 0.5 * last;
    let (mut factor, mut power) = (s, last / w);
    for (k, c) in ZETA.iter().enumerate() {
        sum += c * factor * power;
        let j = 2.0 * k as f64;
        factor *= (s + j + 1.0) * (s + j + 2.0);
        power /= w * w;
    }
    if q.is_infinite() { 0.0 } else { sum }
}

/// Clenshaw's sum of Chebyshev's polynomials at `t`; the first coefficient counts half.
fn chebyshev(c: &[f64], t: f64) -> f64 {
    let (mut a, mut b) = (0.0, 0.0);
    for c in c.iter().skip(1).rev() {
        (a, b) = (2.0 * t * a - b + c, a);
    }
    t * a - b + 0.5 * c[0]
}

/// e^−|x| · I₀(x), the modified Bessel function of order 0, scaled.
pub fn i0e(x: f64) -> f64 {
    let a = x.abs();
    if a <= 8.0 {
        chebyshev(I0E[0], a / 4.0 - 1.0)
    } else {
        chebyshev(I0E[1], 16.0 / a - 1.0) / a.sqrt()
    }
}

/// e^−|x| · I₁(x), the modified Bessel function of order 1, scaled.
pub fn i1e(x: f64) -> f64 {
    let a = x.abs();
    if a <= 8.0 {
        chebyshev(I1E[0], a / 4.0 - 1.0) * x
    } else {
        (chebyshev(I1E[1], 16.0 / a - 1.0) / a.sqrt()).copysign(x)
    }
}

/// The number after `x` towards `y`, of the numbers that `f64` has.
pub fn next_after(x: f64, y: f64) -> f64 {
    match x.partial_cmp(&y) {
        None => f64::NAN,
        Some(std::cmp::Ordering::Less) => x.next_up(),
        Some(std::cmp::Ordering::Greater) => x.next_down(),
        Some(std::cmp::Ordering::Equal) => y,
    }
}

/// `next_after` of the numbers that `f32` has.
pub fn next_after_f32(x: f32, y: f32) -> f32 {
    match x.partial_cmp(&y) {
        None => f32::NAN,
        Some(std::cmp::Ordering::Less) => x.next_up(),
        Some(std::cmp::Ordering::Greater) => x.next_down(),
        Some(std::cmp::Ordering::Equal) => y,
    }
}

/// The greatest common divisor, not negative but for that of the smallest integer, which wraps; of two zeros 0.
pub fn gcd(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a.wrapping_rem(b));
    }
    a.wrapping_abs()
}
