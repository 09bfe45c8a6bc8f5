//! Special functions worked out plainly, for oracles: integrals, sums and bisection.

use std::f64::consts::PI;

/// The complement of the error function, far out by the continued fraction of Laplace.
pub(super) fn erfc(x: f64) -> f64 {
    if x.is_nan() || x < 2.0 {
        return 1.0 - libm::erf(x);
    }
    let fraction = (1..=200).rev().fold(x, |below, k| x + f64::from(k) / 2.0 / below);
    if x.is_infinite() { 0.0 } else { (-x * x).exp() / fraction / PI.sqrt() }
}

/// Where erf is `x`, by bisection.
pub(super) fn erfinv(x: f64) -> f64 {
    if x.is_nan() || x.abs() > 1.0 {
        return f64::NAN;
    }
    if x.abs() == 1.0 {
        return x * f64::INFINITY;
    }
    let (mut low, mut high) = (0.0, 6.0);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if libm::erf(middle) < x.abs() { low = middle } else { high = middle }
    }
    if x == 0.0 { 0.0 } else { low * x.signum() }
}

/// ln |Γ|: Stirling's series after 30 steps up, mirrored below 0.
pub(super) fn lgamma(x: f64) -> f64 {
    if x.is_infinite() {
        return f64::INFINITY;
    }
    if x <= 0.0 {
        let sine = (PI * (x - x.round())).sin().abs();
        return if sine == 0.0 { f64::INFINITY } else { (PI / sine).ln() - lgamma(1.0 - x) };
    }
    let y = x + 30.0;
    let series = 1.0 / (12.0 * y) - 1.0 / (360.0 * y.powi(3)) + 1.0 / (1260.0 * y.powi(5));
    let stirling = (y - 0.5) * y.ln() - y + 0.5 * (2.0 * PI).ln() + series;
    stirling - (0..30).map(|k| (x + f64::from(k)).ln()).sum::<f64>()
}

/// The derivative of ln Γ, after 30 steps up.
pub(super) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        let away = PI * (x - x.round());
        return if away == 0.0 || x.is_infinite() {
            f64::NAN
        } else {
            digamma(1.0 - x) - PI / away.tan()
        };
    }
    let y = x + 30.0;
    let series = 1.0 / (12.0 * y.powi(2)) - 1.0 / (120.0 * y.powi(4)) + 1.0 / (252.0 * y.powi(6));
    let below = (0..30).map(|k| 1.0 / (x + f64::from(k))).sum::<f64>();
    if x.is_infinite() { x } else { y.ln() - 0.5 / y - series - below }
}

/// The `n`-th derivative of digamma: its sum of powers, and an integral for what is left.
pub(super) fn polygamma(n: i32, x: f64) -> f64 {
    if n == 0 {
        return digamma(x);
    }
    let factorial: f64 = (1..=n).map(f64::from).product();
    let sign = if n % 2 == 1 { 1.0 } else { -1.0 };
    if x <= 0.0 && x == x.floor() {
        return sign * f64::INFINITY;
    }
    let terms = 400;
    let sum: f64 = (0..terms).rev().map(|k| (x + f64::from(k)).powi(-n - 1)).sum();
    let (y, s) = (x + f64::from(terms), f64::from(n + 1));
    let tail = y.powf(1.0 - s) / (s - 1.0) + y.powf(-s) / 2.0 + s * y.powf(-s - 1.0) / 12.0;
    if x.is_infinite() { 0.0 } else { sign * factorial * (sum + tail) }
}

/// e^−|x| times the modified Bessel function of order `n`, 0 or 1, from its integral over a period.
pub(super) fn bessel(n: u32, x: f64) -> f64 {
    if x.is_infinite() || (n == 1 && x == 0.0) {
        return 0.0;
    }
    let steps = 512;
    let value = |k: u32| {
        let t = PI * (f64::from(k) + 0.5) / f64::from(steps);
        // The two halves of the period together, all terms of one sign.
        let (up, down) = ((x * t.cos() - x.abs()).exp(), (-x * t.cos() - x.abs()).exp());
        if n == 0 { (up + down) / 2.0 } else { t.cos() * (x * t.cos()).sinh() * (-x.abs()).exp() }
    };
    (0..steps).map(value).sum::<f64>() / f64::from(steps)
}

/// The greatest common divisor.
pub(super) fn gcd(a: f64, b: f64) -> f64 {
    if b == 0.0 { a.abs() } else { gcd(b, a % b) }
}

/// The number of `f32` or `f64` after `a` towards `b`.
pub(super) fn next_after(single: bool, a: f64, b: f64) -> f64 {
    match (single, a < b, a > b) {
        (true, true, _) => f64::from((a as f32).next_up()),
        (true, _, true) => f64::from((a as f32).next_down()),
        (false, true, _) => a.next_up(),
        (false, _, true) => a.next_down(),
        _ if a == b => b,
        _ => f64::NAN,
    }
}
