//! What the factorisations share: rows that are padded to whole vectors, and the few loops over them. Sums are taken
//! in an order that only the length decides.

use crate::kernels::gemm;
use crate::kernels::simd::{Arch, Float, FloatElem, Work, dispatch};

/// Elements of the widest vector: rows are padded with zeros to a multiple of it.
pub(super) const PAD: usize = 16;

/// A number that matrices are taken apart in. Single numbers (norms, pivots, rotations) are computed in `f64` for both.
pub(crate) trait Real: gemm::Float + FloatElem {
    /// Half the distance of 1 to the next number.
    const ROUNDING: f64;
    /// Sums of squares between these are exact to rounding: nothing that matters was lost below the range.
    const SQUARES: std::ops::Range<f64>;
    /// Matrices whose largest element is between these are not scaled.
    const RANGE: std::ops::Range<f64>;
}

impl Real for f64 {
    const ROUNDING: f64 = f64::EPSILON / 2.0;
    const SQUARES: std::ops::Range<f64> = 1e-280..1e300;
    const RANGE: std::ops::Range<f64> = 1e-60..1e60;
}

impl Real for f32 {
    const ROUNDING: f64 = f32::EPSILON as f64 / 2.0;
    const SQUARES: std::ops::Range<f64> = 1e-30..1e37;
    const RANGE: std::ops::Range<f64> = 1e-8..1e8;
}

/// The length of a padded row.
pub(super) fn padded(len: usize) -> usize {
    len.next_multiple_of(PAD)
}

/// Zeros.
pub(super) fn zeros<T: Real>(len: usize) -> Vec<T> {
    vec![T::default(); len]
}

/// A power of two that brings the largest element near to 1 where it is far from that, else 1. `None` where an element is
/// not finite: no factorisation by rotations would end.
pub(super) fn scale<T: Real>(x: &[T]) -> Option<f64> {
    let most = x.iter().try_fold(0.0f64, |most, x| {
        let x = x.to_f64().abs();
        x.is_finite().then(|| most.max(x))
    })?;
    if most == 0.0 || T::RANGE.contains(&most) {
        return Some(1.0);
    }
    // Both the power and its inverse are in the range of f64.
    Some((-most.log2().floor()).clamp(-1000.0, 1000.0).exp2())
}

/// A matrix as padded rows, each element times `scale`.
pub(super) fn padded_rows<T: Real>(x: &[T], cols: usize, scale: f64) -> Vec<T> {
    let stride = padded(cols);
    let mut rows = zeros(x.len() / cols * stride);
    for (to, from) in rows.chunks_exact_mut(stride).zip(x.chunks_exact(cols)) {
        to[..cols].copy_from_slice(from);
    }
    scaled(&mut rows, scale);
    rows
}

/// The transposed matrix as padded rows, each element times `scale`.
pub(super) fn padded_columns<T: Real>(x: &[T], cols: usize, scale: f64) -> Vec<T> {
    let rows = x.len() / cols;
    let stride = padded(rows);
    let mut columns = zeros(cols * stride);
    transpose(x, cols, [rows, cols], &mut columns, stride);
    scaled(&mut columns, scale);
    columns
}

/// `to[j, i] = from[i, j]`, in tiles that the first-level cache holds.
pub(super) fn transpose<T: Copy>(
    from: &[T],
    from_stride: usize,
    [rows, cols]: [usize; 2],
    to: &mut [T],
    to_stride: usize,
) {
    for i in (0..rows).step_by(PAD) {
        for j in (0..cols).step_by(PAD) {
            let height = PAD.min(rows - i);
            for j in j..cols.min(j + PAD) {
                let to = &mut to[j * to_stride + i..][..height];
                to.iter_mut().enumerate().for_each(|(k, to)| *to = from[(i + k) * from_stride + j]);
            }
        }
    }
}

/// Multiplies each element by a power of two, or by anything else.
pub(super) fn scaled<T: Real>(x: &mut [T], scale: f64) {
    if scale != 1.0 {
        x.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64() * scale));
    }
}

/// The vector at a place.
#[inline(always)]
pub(super) fn get<V: Float>(x: &[V::Elem], at: usize) -> V {
    let lanes = &x[at..at + V::N];
    // SAFETY: these are `N` elements.
    unsafe { V::load(lanes.as_ptr()) }
}

/// Writes a vector to a place.
#[inline(always)]
pub(super) fn put<V: Float>(v: V, x: &mut [V::Elem], at: usize) {
    let lanes = &mut x[at..at + V::N];
    // SAFETY: these are `N` elements.
    unsafe { v.store(lanes.as_mut_ptr()) }
}

/// `Σ x · y` of padded rows.
#[inline(always)]
pub(super) fn dot_of<V: Float>(x: &[V::Elem], y: &[V::Elem]) -> V::Elem {
    let y = &y[..x.len()];
    let mut sums = [V::num(0.0); 4];
    let whole = x.len() / (4 * V::N) * (4 * V::N);
    for at in (0..whole).step_by(4 * V::N) {
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum = get::<V>(x, at + k * V::N).mul_add(get(y, at + k * V::N), *sum);
        }
    }
    for at in (whole..x.len()).step_by(V::N) {
        sums[0] = get::<V>(x, at).mul_add(get(y, at), sums[0]);
    }
    let [a, b, c, d] = sums;
    a.add(b).add(c.add(d)).across(V::add)
}

/// `y += by · x` of padded rows.
#[inline(always)]
pub(super) fn add_of<V: Float>(y: &mut [V::Elem], by: V, x: &[V::Elem]) {
    let x = &x[..y.len()];
    for at in (0..y.len()).step_by(V::N) {
        put(by.mul_add(get(x, at), get(y, at)), y, at);
    }
}

struct Dot<'a, T>(&'a [T], &'a [T]);

impl<T: Real> Work for Dot<'_, T> {
    type Out = T;
    #[inline(always)]
    fn run<A: Arch>(self) -> T {
        dot_of::<T::V<A>>(self.0, self.1)
    }
}

/// `Σ x · y` of padded rows.
pub(super) fn dot<T: Real>(x: &[T], y: &[T]) -> f64 {
    dispatch(Dot(x, y)).to_f64()
}

struct Combine<'a, T> {
    to: &'a mut [T],
    rows: &'a [T],
    stride: usize,
    weights: &'a [T],
}

impl<T: Real> Work for Combine<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Combine { to, rows, stride, weights } = self;
        let lanes = T::LANES;
        let mut at = 0;
        while at < to.len() {
            // Four vectors of sums stay in registers.
            if at + 4 * lanes <= to.len() {
                let mut sums: [T::V<A>; 4] = std::array::from_fn(|k| get(to, at + k * lanes));
                for (row, &weight) in rows.chunks(stride).zip(weights) {
                    let weight = T::V::<A>::splat(weight);
                    for (k, sum) in sums.iter_mut().enumerate() {
                        *sum = weight.mul_add(get(row, at + k * lanes), *sum);
                    }
                }
                for (k, sum) in sums.into_iter().enumerate() {
                    put(sum, to, at + k * lanes);
                }
                at += 4 * lanes;
            } else {
                let mut sum: T::V<A> = get(to, at);
                for (row, &weight) in rows.chunks(stride).zip(weights) {
                    sum = T::V::<A>::splat(weight).mul_add(get(row, at), sum);
                }
                put(sum, to, at);
                at += lanes;
            }
        }
    }
}

/// `to += Σ weights[k] · rows[k]`, with rows `stride` apart, all as long as `to`, which is padded.
pub(super) fn combine<T: Real>(to: &mut [T], rows: &[T], stride: usize, weights: &[T]) {
    dispatch(Combine { to, rows, stride, weights });
}
