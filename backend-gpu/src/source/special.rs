//! Special functions in C, written after `kiln_tensor_core::expr::special`, whose constants they have. A kernel
//! gets those that it calls.

use std::fmt::Write;

use kiln_tensor_core::expr::special::{DIGAMMA, ERFINV, I0E, I1E, SHIFT, ZETA};

/// The functions that a kernel calls, for each type that the device computes in.
pub(super) fn functions(body: &str, f64: bool) -> String {
    let types: &[&str] = if f64 { &["f32", "f64"] } else { &["f32"] };
    let mut c = String::new();
    for (name, text) in [
        ("erfinv", erfinv as fn(&str) -> String),
        ("digamma", digamma),
        ("zeta", zeta),
        ("i0e", |ty| bessel(ty, "i0e", &I0E, ["", ""])),
        ("i1e", |ty| bessel(ty, "i1e", &I1E, [" * x", " * (x < 0 ? -1 : 1)"])),
        ("gcd", |_| gcd()),
    ] {
        if body.contains(&format!("{name}_f")) || (name == "gcd" && body.contains("gcd_i")) {
            let all = if name == "gcd" { &types[..1] } else { types };
            all.iter().for_each(|ty| c += &text(ty));
        }
    }
    c
}

/// A constant; of `f32` it is rounded once, here.
fn number(ty: &str, x: f64) -> String {
    if ty == "f32" { format!("{:e}f", x as f32) } else { format!("{x:e}") }
}

/// The value of a polynomial of `z`, highest power first.
fn horner(ty: &str, z: &str, c: &[f64]) -> String {
    let first = number(ty, c[0]);
    c[1..].iter().fold(first, |sum, &c| format!("({sum} * {z} + {})", number(ty, c)))
}

fn erfinv(ty: &str) -> String {
    let [near, far] = [0, 1].map(|i| horner(ty, "z", &ERFINV[i]));
    // One step is all that `f32` can use.
    let steps = if ty == "f32" { 1 } else { 3 };
    let slope = number(ty, std::f64::consts::FRAC_2_SQRT_PI);
    format!(
        "DEVICE {ty} erfinv_{ty}({ty} x) {{
  const {ty} a = fabs(x);
  if (!(a < 1)) return a == 1 ? x * INFINITY : NAN;
  if (a == 0) return x;
  const {ty} w = -log((1 - a) * (1 + a));
  const {ty} z = w < 5 ? w - 2.5f : sqrt(w) - 3;
  {ty} y = a * (w < 5 ? {near} : {far});
  for (int i = 0; i < {steps}; ++i) {{
    const {ty} error = a < 0.5f ? erf(y) - a : (1 - a) - erfc(y);
    y -= error / ({slope} * exp(-y * y));
  }}
  return x < 0 ? -y : y;
}}
"
    )
}

fn digamma(ty: &str) -> String {
    let mut tail = String::from("0");
    for &c in DIGAMMA.iter().rev() {
        tail = format!("({tail} + {}) * square", number(ty, c));
    }
    let pi = number(ty, std::f64::consts::PI);
    format!(
        "DEVICE {ty} digamma_{ty}({ty} x) {{
  if (x == 0) return 1 / x < 0 ? INFINITY : -INFINITY;
  {ty} y = x, below = 0;
  if (x < 0) {{
    if (x == floor(x)) return NAN;
    below = {pi} / tan({pi} * (x - rint(x)));
    y = 1 - x;
  }}
  while (y < {SHIFT}) {{ below += 1 / y; y += 1; }}
  if (y * 0 != 0) return y;
  const {ty} square = 1 / (y * y);
  return log(y) - 0.5f / y - {tail} - below;
}}
"
    )
}

fn zeta(ty: &str) -> String {
    let mut tail = String::new();
    for (k, &c) in ZETA.iter().enumerate() {
        let j = 2 * k;
        let _ = writeln!(
            tail,
            "  sum += {} * factor * power; factor *= (s + {}) * (s + {}); power /= w * w;",
            number(ty, c),
            j + 1,
            j + 2
        );
    }
    format!(
        "DEVICE {ty} zeta_above_{ty}({ty} s, {ty} q) {{
  {ty} sum = 0;
  for (int k = 0; k < {SHIFT}; ++k) sum += pow(q + k, -s);
  const {ty} w = q + {SHIFT}, last = pow(w, -s);
  sum += w * last / (s - 1) + 0.5f * last;
  {ty} factor = s, power = last / w;
{tail}  return q * 0 != 0 ? 0 : sum;
}}
DEVICE {ty} zeta_{ty}({ty} s, {ty} q) {{
  if (s == 1) return INFINITY;
  if (!(s >= 1) || q != q) return NAN;
  if (q > 0) return zeta_above_{ty}(s, q);
  if (q == floor(q)) return INFINITY;
  if (s != floor(s)) return NAN;
  const {ty} first = q - floor(q);
  const {ty} mirrored = zeta_above_{ty}(s, 1 - first) - zeta_above_{ty}(s, 1 - q);
  return zeta_above_{ty}(s, first) + (fmod(s, ({ty})2) == 0 ? mirrored : -mirrored);
}}
"
    )
}

/// One loop over a table would read memory; the sum is written out.
fn bessel(ty: &str, name: &str, tables: &[&[f64]; 2], ends: [&str; 2]) -> String {
    let clenshaw = |c: &[f64]| -> String {
        let mut steps = String::from("    a = 0; b = 0;\n");
        for &c in c.iter().skip(1).rev() {
            let _ = writeln!(steps, "    u = 2 * t * a - b + {}; b = a; a = u;", number(ty, c));
        }
        let _ = writeln!(steps, "    u = t * a - b + {};", number(ty, 0.5 * c[0]));
        steps
    };
    let [near, far] = tables.map(clenshaw);
    let [near_end, far_end] = ends;
    format!(
        "DEVICE {ty} {name}_{ty}({ty} x) {{
  const {ty} size = fabs(x);
  {ty} a, b, u;
  if (size <= 8) {{
    const {ty} t = size / 4 - 1;
{near}    return u{near_end};
  }} else {{
    const {ty} t = 16 / size - 1;
{far}    return u / sqrt(size){far_end};
  }}
}}
"
    )
}

fn gcd() -> String {
    let mut c = String::new();
    for ty in ["i32", "i64"] {
        let _ = writeln!(
            c,
            "DEVICE {ty} gcd_{ty}({ty} a, {ty} b) {{
  while (b != 0) {{ const {ty} r = rem_{ty}(a, b); a = b; b = r; }}
  return abs_{ty}(a);
}}"
        );
    }
    c
}
