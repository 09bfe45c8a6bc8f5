//! Symmetric matrices to tridiagonal ones, by reflections from both sides. Golub, Van Loan, Matrix Computations, 4th edition,
//! section 8.3.1, from the last row upwards, so that a row of the lower triangle is what is reflected. A pass over the
//! matrix brings it up to date and multiplies it with the next vector.

use super::reflect::{BLOCK, Reflections};
use super::vectors::{PAD, Real, combine, dot, get, padded_rows, put, zeros};
use crate::kernels::simd::{Arch, Float, Work, dispatch};

/// `q · t · qᵀ`.
pub(super) struct Tridiagonal<T> {
    pub(super) diagonal: Vec<f64>,
    /// What is beside the diagonal: element `i` between `i` and `i + 1`.
    pub(super) beside: Vec<f64>,
    /// `qᵀ` in padded rows.
    pub(super) q: Vec<T>,
    pub(super) stride: usize,
}

/// Takes a matrix apart, of which the lower triangle is read, times `scale`.
pub(super) fn tridiagonal<T: Real>(x: &[T], n: usize, scale: f64) -> Tridiagonal<T> {
    let mut a = padded_rows(x, n, scale);
    // Reflection `i` makes row `i + 1` vanish left of what is beside the diagonal.
    let mut made = Reflections::new(n - 1, n);
    let stride = made.stride;
    for i in 0..n {
        for j in 0..i {
            a[j * stride + i] = a[i * stride + j];
        }
    }
    let (mut diagonal, mut beside) = (vec![0.0; n], vec![0.0; n - 1]);
    // The last reflection's vectors, which the matrix is behind by.
    let (mut v, mut w, mut p) = (zeros::<T>(stride), zeros::<T>(stride), zeros::<T>(stride));
    for i in (0..n).rev() {
        let (rows, row) = a.split_at_mut(i * stride);
        let row = &mut row[..stride];
        let [vi, wi] = [&v, &w].map(|x| T::from_f64(-x[i].to_f64()));
        combine(row, &w, stride, &[vi]);
        combine(row, &v, stride, &[wi]);
        diagonal[i] = row[i].to_f64();
        if i == 0 {
            break;
        }
        made.vector(i - 1)[..i].copy_from_slice(&row[..i]);
        let (beta, tau) = made.make(i - 1, i - 1);
        beside[i - 1] = beta;
        let next = &*made.vector(i - 1);
        p.fill(T::default());
        dispatch(Pass { rows, stride, v: &v, w: &w, next, p: &mut p });
        // w = tau · (p − tau / 2 · (pᵀ · v) · v)
        p[i..].fill(T::default());
        let by = tau / 2.0 * dot(&p, next);
        for ((w, p), v) in w.iter_mut().zip(&p).zip(next) {
            *w = T::from_f64(tau * (p.to_f64() - by * v.to_f64()));
        }
        v.copy_from_slice(next);
    }
    Tridiagonal { diagonal, beside, q: product_of(&made, n), stride }
}

/// The rows of `H₀ · H₁ · …`, where reflection `i` acts on what is up to `i`.
fn product_of<T: Real>(made: &Reflections<T>, n: usize) -> Vec<T> {
    let stride = made.stride;
    let mut product = zeros(n * stride);
    (0..n).for_each(|i| product[i * stride + i] = T::from_f64(1.0));
    for first in (0..n - 1).step_by(BLOCK) {
        let end = (n - 1).min(first + BLOCK);
        made.reflect_by(first..end, false, &mut product[..end * stride], 0..end);
    }
    product
}

/// `rows −= v · wᵀ + w · vᵀ`, and `p = rows · next`. The rows are those of a symmetric matrix, of which the lower triangle and
/// the blocks of vectors on its diagonal are kept. `next` is 0 behind the rows.
struct Pass<'a, T> {
    rows: &'a mut [T],
    stride: usize,
    v: &'a [T],
    w: &'a [T],
    next: &'a [T],
    p: &'a mut [T],
}

impl<T: Real> Work for Pass<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Pass { rows, stride, v, w, next, p } = self;
        let len = (rows.len() / stride).next_multiple_of(PAD).min(stride);
        let (v, w, next, p) = (&v[..len], &w[..len], &next[..len], &mut p[..len]);
        for (i, row) in rows.chunks_exact_mut(stride).enumerate() {
            let [vi, wi] = [v[i], w[i]].map(|x| T::V::<A>::splat(x).neg());
            let ni = T::V::<A>::splat(next[i]);
            let (block, mut sum) = (i / T::LANES * T::LANES, T::V::<A>::num(0.0));
            let row = &mut row[..block + T::LANES];
            for at in (0..block).step_by(T::LANES) {
                let x = wi.mul_add(get(v, at), vi.mul_add(get(w, at), get(row, at)));
                put(x, row, at);
                sum = x.mul_add(get(next, at), sum);
                put(x.mul_add(ni, get(p, at)), p, at);
            }
            // On the diagonal the block is whole: what is right of it is not added from below.
            let x: T::V<A> = wi.mul_add(get(v, block), vi.mul_add(get(w, block), get(row, block)));
            put(x, row, block);
            sum = x.mul_add(get(next, block), sum);
            p[i] = T::from_f64(p[i].to_f64() + sum.across(T::V::<A>::add).to_f64());
        }
    }
}
