//! log, sin and cos, as backend-cpu/src/kernels/math.rs has them, step by step: random numbers of the normal
//! distribution are made of these, and a seed gives the same bits everywhere. What drivers offer differs in
//! the last place.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, LN_2};

use kiln_tensor_core::DType;

/// What the functions need to know of a type; the names are those of backend-cpu.
struct Type {
    dtype: DType,
    mantissa: u32,
    bias: f64,
    magic: f64,
    tiny: f64,
    root_half: u64,
    one: u64,
    ln2: [f64; 2],
    half_pi: [f64; 3],
    trig_max: f64,
    log_terms: usize,
    trig_terms: usize,
}

/// A number as the sum of two that `f32` holds.
fn split(x: f64) -> [f64; 2] {
    let high = f64::from(x as f32);
    [high, x - high]
}

fn single() -> Type {
    let [high, rest] = split(FRAC_PI_2);
    let [middle, low] = split(rest);
    Type {
        dtype: DType::F32,
        mantissa: 23,
        bias: 127.0,
        magic: 12_582_912.0,
        tiny: f64::from(f32::MIN_POSITIVE),
        root_half: 0x3f35_04f3,
        one: 0x3f80_0000,
        ln2: split(LN_2),
        half_pi: [high, middle, low],
        trig_max: 30_000.0,
        log_terms: 5,
        trig_terms: 5,
    }
}

fn double() -> Type {
    Type {
        dtype: DType::F64,
        mantissa: 52,
        bias: 1023.0,
        magic: 6_755_399_441_055_744.0,
        tiny: f64::MIN_POSITIVE,
        root_half: 0x3fe6_a09e_667f_3bcd,
        one: 0x3ff0_0000_0000_0000,
        ln2: [LN_2, 2.319_046_813_846_299_6e-17],
        half_pi: [FRAC_PI_2, 6.123_233_995_736_766e-17, -1.497_384_904_859_17e-33],
        trig_max: 1e6,
        log_terms: 10,
        trig_terms: 9,
    }
}

/// The functions for each type that the device computes in.
pub(super) fn functions(f64: bool) -> String {
    let mut c = single().functions();
    if f64 {
        c += &double().functions();
    }
    c
}

impl Type {
    /// A constant, by its bits.
    fn number(&self, x: f64) -> String {
        match self.dtype {
            DType::F64 => format!("BITS_F64((u64)0x{:x}UL)", x.to_bits()),
            _ => format!("BITS_F32(0x{:x}u)", (x as f32).to_bits()),
        }
    }

    /// A polynomial without its last step: coefficients `from`, `from − 1`, …, 1 as `{name}`.
    fn series(&self, name: &str, from: usize, coefficient: impl Fn(usize) -> f64) -> String {
        let mut c = format!("  F {name} = {};\n", self.number(coefficient(from)));
        for k in (1..from).rev() {
            c += &format!("  {name} = fma({name}, z, {});\n", self.number(coefficient(k)));
        }
        c
    }

    fn functions(&self) -> String {
        let (ty, bits, suffix) = match self.dtype {
            DType::F64 => ("f64", "u64", "F64"),
            _ => ("f32", "u32", "F32"),
        };
        let number = |x| self.number(x);
        let base = (1u64 << self.mantissa) as f64;
        let shift = f64::from(self.mantissa + 2);
        let sign = |k: usize| if k.is_multiple_of(2) { 1.0 } else { -1.0 };
        // The table of backend-cpu divides step by step.
        let inverse = |n: usize| (1..=n).fold(1.0, |inverse, i| inverse / i as f64);
        let log_series = self.series("sum", self.log_terms, |k| 2.0 / (2 * k + 1) as f64);
        let sin_series = self.series("s", self.trig_terms, |k| inverse(2 * k + 1) * sign(k));
        let cos_series = self.series("c", self.trig_terms, |k| inverse(2 * k) * sign(k));
        let reduce: String = self
            .half_pi
            .iter()
            .map(|&part| format!("  r = fma(q, {}, r);\n", number(-part)))
            .collect();
        format!(
            "#define F {ty}
DEVICE F log_{ty}(F u) {{
  const int small = u < {tiny};
  const F normal = small ? u * {scale} : u;
  const {bits} moved = {suffix}_BITS(normal) + ({bits})0x{away:x}UL;
  F k = BITS_{suffix}((moved >> {mantissa}) | {suffix}_BITS({base})) - {base_and_bias};
  k = small ? k - {shift} : k;
  const F f = BITS_{suffix}((moved & ({bits})0x{mask:x}UL) + ({bits})0x{root_half:x}UL) - 1;
  const F s = f / (f + 2), z = s * s;
{log_series}  const F half_square = f * f * {half};
  const F tail = s * fma(sum, z, half_square) - half_square;
  F y = fma(k, {ln2_high}, f + fma(k, {ln2_low}, tail));
  y = u < INFINITY ? y : u;
  y = u < 0 ? (F)NAN : y;
  return u == 0 ? -(F)INFINITY : y;
}}
DEVICE F turned_{ty}(F x, {bits} by) {{
  const F number = fma(x, {two_pi}, {magic}), q = number - {magic};
  F r = x;
{reduce}  const F z = r * r;
{sin_series}{cos_series}  const {bits} n = {suffix}_BITS(number) + by;
  const F y = (n & 1) ? fma(c, z, (F)1) : fma(s * z, r, r);
  return (n & 2) ? -y : y;
}}
DEVICE F sin_{ty}(F x) {{ return fabs(x) > {trig_max} ? sin(x) : turned_{ty}(x, 0); }}
DEVICE F cos_{ty}(F x) {{ return fabs(x) > {trig_max} ? cos(x) : turned_{ty}(x, 1); }}
#undef F
",
            tiny = number(self.tiny),
            scale = number(shift.exp2()),
            away = self.one - self.root_half,
            mantissa = self.mantissa,
            base = number(base),
            base_and_bias = number(base + self.bias),
            shift = number(shift),
            mask = (1u64 << self.mantissa) - 1,
            root_half = self.root_half,
            half = number(0.5),
            ln2_high = number(self.ln2[0]),
            ln2_low = number(self.ln2[1]),
            two_pi = number(FRAC_2_PI),
            magic = number(self.magic),
            trig_max = number(self.trig_max),
        )
    }
}
