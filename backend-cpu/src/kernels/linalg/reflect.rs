//! Reflections of Householder, one by one and in blocks. Golub, Van Loan, Matrix Computations, 4th edition, sections 5.1
//! and 5.2.3; the block form is that of Schreiber and Van Loan 1989, "A storage-efficient WY representation for
//! products of Householder transformations".

use std::ops::Range;

use super::product::{View, product};
use super::vectors::{PAD, Real, add_of, dot, dot_of, padded, scaled, zeros};
use crate::kernels::simd::{Arch, Float, Work, dispatch};

/// Reflections that are applied together. Fewer than two such blocks are applied one by one.
pub(super) const BLOCK: usize = 32;

/// Turns a vector into that of the reflection `I − tau · v · vᵀ` which leaves only `beta` at `head` of it, with
/// `v[head] = 1`; gives `beta` and `tau`. As LAPACK: `beta` has the sign opposite to the head's, and a vector that is 0
/// but for its head is not reflected. `v` is padded, and what it does not act on is 0.
pub(super) fn reflection<T: Real>(v: &mut [T], head: usize) -> (f64, f64) {
    let alpha = v[head].to_f64();
    v[head] = T::default();
    let mut squares = dot(v, v);
    let mut by = 1.0;
    if squares != 0.0 && !T::SQUARES.contains(&squares) || squares == 0.0 && !v.iter().all(zero) {
        // Once more with the largest at 1; in two steps, as its inverse may be out of range.
        let most = v.iter().fold(0.0f64, |most, x| most.max(x.to_f64().abs()));
        by = most;
        v.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() / most));
        squares = dot(v, v);
    }
    if squares == 0.0 {
        v[head] = T::from_f64(1.0);
        return (alpha, 0.0);
    }
    let beta = -(by * squares.sqrt()).hypot(alpha).copysign(alpha);
    scaled(v, by / (alpha - beta));
    v[head] = T::from_f64(1.0);
    (beta, (beta - alpha) / beta)
}

fn zero<T: Real>(x: &T) -> bool {
    *x == T::default()
}

/// Vectors of reflections as padded rows, and their factors.
pub(super) struct Reflections<T> {
    vectors: Vec<T>,
    tau: Vec<f64>,
    pub(super) stride: usize,
}

impl<T: Real> Reflections<T> {
    /// `count` reflections of vectors of `len` elements.
    pub(super) fn new(count: usize, len: usize) -> Self {
        let stride = padded(len);
        Reflections { vectors: zeros(count * stride), tau: vec![0.0; count], stride }
    }

    /// The vector of the next reflection, or of one that is made.
    pub(super) fn vector(&mut self, i: usize) -> &mut [T] {
        &mut self.vectors[i * self.stride..][..self.stride]
    }

    /// Makes reflection `i` from what is in its vector: see [`reflection`].
    pub(super) fn make(&mut self, i: usize, head: usize) -> (f64, f64) {
        let (beta, tau) = reflection(self.vector(i), head);
        self.tau[i] = tau;
        (beta, tau)
    }

    /// Reflects rows, which are padded as the vectors are: `x · H`. Elements before `from` are not touched.
    pub(super) fn reflect(&self, i: usize, rows: &mut [T], from: usize) {
        let v = &self.vectors[i * self.stride..][..self.stride];
        if self.tau[i] != 0.0 {
            let tau = T::from_f64(self.tau[i]);
            dispatch(Reflect { v, tau, rows, from: from / PAD * PAD });
        }
    }

    /// Reflects rows by some of the reflections, the first one first, or with `reversed` the last one first. They act on
    /// the columns `on` alone.
    pub(super) fn reflect_by(
        &self,
        which: Range<usize>,
        reversed: bool,
        rows: &mut [T],
        on: Range<usize>,
    ) {
        let count = which.len();
        if count < BLOCK / 2 || rows.len() / self.stride < BLOCK / 2 {
            let one = |i| self.reflect(i, rows, on.start);
            return if reversed { which.rev().for_each(one) } else { which.for_each(one) };
        }
        let (height, stride) = (rows.len() / self.stride, self.stride);
        let v = &self.vectors[which.start * stride + on.start..which.end * stride];
        let v = View::new(v, count, on.len(), stride);
        let factor = self.factor(which, v);
        let factor = View::new(&factor, count, count, count);
        let mut products = zeros(2 * height * count);
        let (w, by) = products.split_at_mut(height * count);
        let rows = &mut rows[on.start..];
        product(View::new(rows, height, on.len(), stride), v.t(), w, count, false);
        let factor = if reversed { factor.t() } else { factor };
        product(View::new(w, height, count, count), factor, by, count, false);
        product(View::new(by, height, count, count), v, rows, stride, true);
    }

    /// Upper triangular `−t` with `H₀ · H₁ · … = I − vᵀ · t · v`.
    fn factor(&self, which: Range<usize>, v: View<'_, T>) -> Vec<T> {
        let count = which.len();
        let mut dots = zeros(count * count);
        product(v, v.t(), &mut dots, count, false);
        let mut t = vec![0.0; count * count];
        for (j, i) in which.enumerate() {
            let tau = self.tau[i];
            t[j * count + j] = tau;
            for row in 0..j {
                let sum: f64 =
                    (row..j).map(|k| t[row * count + k] * dots[k * count + j].to_f64()).sum();
                t[row * count + j] = -tau * sum;
            }
        }
        t.iter().map(|&t| T::from_f64(-t)).collect()
    }
}

struct Reflect<'a, T> {
    v: &'a [T],
    tau: T,
    rows: &'a mut [T],
    from: usize,
}

impl<T: Real> Work for Reflect<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let (v, tau) = (&self.v[self.from..], T::V::<A>::splat(self.tau));
        for row in self.rows.chunks_exact_mut(self.v.len()) {
            let row = &mut row[self.from..];
            let by = T::V::<A>::splat(dot_of::<T::V<A>>(v, row)).mul(tau).neg();
            add_of(row, by, v);
        }
    }
}
