//! Triangular systems: blocks of rows, each less the product of those that are known. Golub, Van Loan, Matrix
//! Computations, 4th edition, section 3.1.

use super::product::{View, product};
use super::vectors::{Real, add_of, get, put, zeros};
use crate::kernels::simd::{Arch, Float, Work, dispatch};

/// Rows that are solved together.
pub(super) const BLOCK: usize = 32;

/// Solves `a · x = b` for x `[n, k]`, which is b before. Only the triangle is read, and with `unit` not its diagonal.
pub(crate) fn solve<T: Real>(a: &[T], n: usize, upper: bool, unit: bool, x: &mut [T]) {
    let k = x.len() / n;
    if k == 1 {
        return solve_one(a, n, upper, unit, x);
    }
    let mut negative = zeros(BLOCK.min(n) * n);
    let blocks = n.div_ceil(BLOCK);
    for block in 0..blocks {
        let first = BLOCK * if upper { blocks - 1 - block } else { block };
        let end = n.min(first + BLOCK);
        let (before, after) = x.split_at_mut(first * k);
        let (rows, after) = after.split_at_mut((end - first) * k);
        let (known, from) = if upper { (&*after, end) } else { (&*before, 0) };
        let count = known.len() / k;
        if count > 0 {
            for (to, row) in negative.chunks_exact_mut(count).zip(first..end) {
                let from = &a[row * n + from..][..count];
                to.iter_mut().zip(from).for_each(|(to, &x)| *to = T::from_f64(-x.to_f64()));
            }
            let part = View::new(&negative, end - first, count, count);
            product(part, View::new(known, count, k, k), rows, k, true);
        }
        substitute(&a[first * n + first..], n, upper, unit, rows, k, end - first);
    }
}

/// One right side: a row's terms are known when its turn comes.
fn solve_one<T: Real>(a: &[T], n: usize, upper: bool, unit: bool, x: &mut [T]) {
    dispatch(One { a, n, upper, unit, x });
}

struct One<'a, T> {
    a: &'a [T],
    n: usize,
    upper: bool,
    unit: bool,
    x: &'a mut [T],
}

impl<T: Real> Work for One<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let One { a, n, upper, unit, x } = self;
        for step in 0..n {
            let i = if upper { n - 1 - step } else { step };
            let known = if upper { i + 1..n } else { 0..i };
            let (row, x_known) = (&a[i * n + known.start..i * n + known.end], &x[known]);
            let whole = row.len() / T::LANES * T::LANES;
            let mut sum = T::V::<A>::num(0.0);
            for at in (0..whole).step_by(T::LANES) {
                sum = get::<T::V<A>>(row, at).mul_add(get(x_known, at), sum);
            }
            let rest = row[whole..].iter().zip(&x_known[whole..]);
            let rest: f64 = rest.map(|(a, x)| a.to_f64() * x.to_f64()).sum();
            let left = x[i].to_f64() - (sum.across(T::V::<A>::add).to_f64() + rest);
            x[i] = T::from_f64(if unit { left } else { left / a[i * n + i].to_f64() });
        }
    }
}

/// Solves the first `n` rows of a triangle, rows of `a` being `stride` apart, for `n` rows of `x`, `k` long.
pub(super) fn substitute<T: Real>(
    a: &[T],
    stride: usize,
    upper: bool,
    unit: bool,
    x: &mut [T],
    k: usize,
    n: usize,
) {
    let lanes = 4 * T::LANES;
    let mut chunk = zeros(n * lanes);
    // Lanes that stay 0 must not become NaN, though they are not written back.
    for first in (0..k).step_by(lanes) {
        let len = lanes.min(k - first);
        let used = len.next_multiple_of(T::LANES);
        for (to, from) in chunk.chunks_exact_mut(used).zip(x.chunks_exact(k)) {
            to[..len].copy_from_slice(&from[first..first + len]);
            to[len..].fill(T::default());
        }
        dispatch(Substitute { a, stride, upper, unit, x: &mut chunk[..n * used], lanes: used });
        for (from, to) in chunk.chunks_exact(used).zip(x.chunks_exact_mut(k)) {
            to[first..first + len].copy_from_slice(&from[..len]);
        }
    }
}

struct Substitute<'a, T> {
    a: &'a [T],
    stride: usize,
    upper: bool,
    unit: bool,
    x: &'a mut [T],
    /// The length of a row, a few whole vectors.
    lanes: usize,
}

impl<T: Real> Work for Substitute<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Substitute { a, stride, upper, unit, x, lanes } = self;
        let n = x.len() / lanes;
        for step in 0..n {
            let i = if upper { n - 1 - step } else { step };
            let known = if upper { i + 1..n } else { 0..i };
            let (before, rest) = x.split_at_mut(i * lanes);
            let (row, after) = rest.split_at_mut(lanes);
            let others = if upper { &*after } else { &*before };
            if lanes == 4 * T::LANES {
                // All sums of a row stay in registers.
                let mut sums: [T::V<A>; 4] = std::array::from_fn(|k| get(row, k * T::LANES));
                for (other, &a) in others.chunks_exact(lanes).zip(&a[i * stride..][known]) {
                    let a = T::V::<A>::splat(a).neg();
                    for (k, sum) in sums.iter_mut().enumerate() {
                        *sum = a.mul_add(get(other, k * T::LANES), *sum);
                    }
                }
                for (k, sum) in sums.into_iter().enumerate() {
                    put(sum, row, k * T::LANES);
                }
            } else {
                for (other, &a) in others.chunks_exact(lanes).zip(&a[i * stride..][known]) {
                    add_of(row, T::V::<A>::splat(a).neg(), other);
                }
            }
            if !unit {
                let pivot = T::V::<A>::splat(a[i * stride + i]);
                for at in (0..lanes).step_by(T::LANES) {
                    put(get::<T::V<A>>(row, at).div(pivot), row, at);
                }
            }
        }
    }
}
