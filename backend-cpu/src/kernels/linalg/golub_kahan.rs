//! Singular values of bidiagonal matrices by QR with implicit shifts, and without them where they would cost small singular
//! values their digits. Golub, Kahan 1965, "Calculating the singular values and pseudo-inverse of a matrix"; Demmel,
//! Kahan 1990, "Accurate singular values of bidiagonal matrices" (LAPACK working note 3), as LAPACK's bdsqr has it.

use super::rotate::rotation;

/// Rotations for each pair of singular values: two are usual.
const ROTATIONS: usize = 6;

/// What the vectors are turned by.
pub(super) enum Step {
    /// A sweep from row `first` on.
    Begin { first: usize, down: bool },
    /// Cosine and sine for the next rows of vᵀ and of uᵀ.
    Turn { v: [f64; 2], u: [f64; 2] },
}

/// Makes what is above the diagonal vanish; `None` if that takes too long. Singular values may come out negative.
pub(super) fn converge(
    d: &mut [f64],
    e: &mut [f64],
    rounding: f64,
    mut step: impl FnMut(Step),
) -> Option<()> {
    let n = d.len();
    let tolerance = rounding.powf(-0.125).clamp(10.0, 100.0) * rounding;
    // A bound from below for the smallest singular value.
    let mut least = d[0].abs();
    let mut mu = least;
    for i in 1..n {
        mu = carried(mu, d[i], e[i - 1]);
        least = least.min(mu);
    }
    let threshold =
        (tolerance * least / (n as f64).sqrt()).max((ROTATIONS * n * n) as f64 * f64::MIN_POSITIVE);
    let mut left = ROTATIONS * n * n;
    let mut end = n - 1;
    let (mut block, mut turned) = ([0, 0], false);
    while end > 0 {
        if e[end - 1].abs() <= threshold {
            e[end - 1] = 0.0;
            end -= 1;
            continue;
        }
        let mut start = end - 1;
        while start > 0 && e[start - 1].abs() > threshold {
            start -= 1;
        }
        if start > 0 {
            e[start - 1] = 0.0;
        }
        // From the larger end to the smaller one, decided once for what is left of a block.
        if start >= block[1] || end <= block[0] || block == [0, 0] {
            turned = d[start].abs() < d[end].abs();
        }
        block = [start, end];
        let mut part = Part { d, e, start, end, turned };
        let Some(least) = part.deflated(tolerance) else { continue };
        left = left.checked_sub(end - start)?;
        let most = (start..=end).fold(0.0f64, |most, i| most.max(d[i].abs()));
        let most = (start..end).fold(most, |most, i| most.max(e[i].abs()));
        let mut part = Part { d, e, start, end, turned };
        let shift = part.shift(n as f64 * tolerance * (least / most), tolerance, rounding);
        part.sweep(shift, &mut step);
    }
    Some(())
}

/// The bound of Demmel and Kahan for the next element of the diagonal.
fn carried(mu: f64, d: f64, e: f64) -> f64 {
    if mu == 0.0 { 0.0 } else { d.abs() * (mu / (mu + e.abs())) }
}

/// What is not diagonal yet, from its larger end on: with `turned`, from the last element to the first, which is the
/// transposed matrix.
struct Part<'a> {
    d: &'a mut [f64],
    e: &'a mut [f64],
    start: usize,
    end: usize,
    turned: bool,
}

impl Part<'_> {
    fn last(&self) -> usize {
        self.end - self.start
    }

    fn d(&mut self, k: usize) -> &mut f64 {
        &mut self.d[if self.turned { self.end - k } else { self.start + k }]
    }

    fn e(&mut self, k: usize) -> &mut f64 {
        &mut self.e[if self.turned { self.end - 1 - k } else { self.start + k }]
    }

    /// A bound for the smallest singular value; `None` if an element was found to be as good as 0.
    fn deflated(&mut self, tolerance: f64) -> Option<f64> {
        let last = self.last();
        if self.e(last - 1).abs() <= tolerance * self.d(last).abs() {
            *self.e(last - 1) = 0.0;
            return None;
        }
        let mut mu = self.d(0).abs();
        let mut least = mu;
        for k in 0..last {
            if self.e(k).abs() <= tolerance * mu {
                *self.e(k) = 0.0;
                return None;
            }
            mu = carried(mu, *self.d(k + 1), *self.e(k));
            least = least.min(mu);
        }
        Some(least)
    }

    /// The smaller singular value of the last two rows, or 0 where a shift would lose digits.
    fn shift(&mut self, lost: f64, tolerance: f64, rounding: f64) -> f64 {
        if lost <= rounding.max(0.01 * tolerance) {
            return 0.0;
        }
        let last = self.last();
        let shift = smaller(*self.d(last - 1), *self.e(last - 1), *self.d(last));
        let first = self.d(0).abs();
        if first > 0.0 && (shift / first).powi(2) < rounding { 0.0 } else { shift }
    }

    fn sweep(&mut self, shift: f64, step: &mut impl FnMut(Step)) {
        let (last, turned) = (self.last(), self.turned);
        step(Step::Begin { first: if turned { self.end } else { self.start }, down: !turned });
        let mut turn = |right: [f64; 2], left: [f64; 2]| {
            let (v, u) = if turned { (left, right) } else { (right, left) };
            step(Step::Turn { v, u });
        };
        if shift == 0.0 {
            let (mut c, mut s, mut r);
            let (mut old_c, mut old_s) = (1.0, 0.0);
            let mut f = *self.d(0);
            for k in 0..last {
                (c, s, r) = rotation(f, *self.e(k));
                if k > 0 {
                    *self.e(k - 1) = old_s * r;
                }
                let next = *self.d(k + 1);
                (old_c, old_s, *self.d(k)) = rotation(old_c * r, next * s);
                turn([c, s], [old_c, old_s]);
                f = next * c;
            }
            *self.d(last) = f * old_c;
            *self.e(last - 1) = f * old_s;
            return;
        }
        let first = *self.d(0);
        let mut f = (first.abs() - shift) * (1f64.copysign(first) + shift / first);
        let mut g = *self.e(0);
        for k in 0..last {
            let (c, s, r) = rotation(f, g);
            if k > 0 {
                *self.e(k - 1) = r;
            }
            let (d, e, next) = (*self.d(k), *self.e(k), *self.d(k + 1));
            f = c * d + s * e;
            let e = c * e - s * d;
            let (left_c, left_s, r) = rotation(f, s * next);
            *self.d(k) = r;
            let next = c * next;
            f = left_c * e + left_s * next;
            *self.d(k + 1) = left_c * next - left_s * e;
            if k + 1 < last {
                g = left_s * *self.e(k + 1);
                *self.e(k + 1) *= left_c;
            }
            turn([c, s], [left_c, left_s]);
        }
        *self.e(last - 1) = f;
    }
}

/// The smaller singular value of `[[f, g], [0, h]]`: LAPACK's las2.
fn smaller(f: f64, g: f64, h: f64) -> f64 {
    let (f, g, h) = (f.abs(), g.abs(), h.abs());
    let (least, most) = (f.min(h), f.max(h));
    if least == 0.0 {
        return 0.0;
    }
    let (sum, difference) = (1.0 + least / most, (most - least) / most);
    if g < most {
        let by = (g / most).powi(2);
        least * 2.0 / ((sum * sum + by).sqrt() + (difference * difference + by).sqrt())
    } else {
        let by = most / g;
        if by == 0.0 {
            return least * most / g;
        }
        let root = |x: f64| (1.0 + (x * by).powi(2)).sqrt();
        2.0 * (least * (1.0 / (root(sum) + root(difference)))) * by
    }
}
