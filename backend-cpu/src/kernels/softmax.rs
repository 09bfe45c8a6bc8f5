//! softmax, log_softmax, cross_entropy and their gradients, a row at a time.

use std::marker::PhantomData;
use std::ops::Range;

use kiln_tensor_core::{DType, Error, Shape, Tensor, compose, raise};

use super::math::{self, Math};
use super::rows::{each, fold, load, map_rows, parallel_rows, plain, store, sums, takes, total};
use super::simd::{Arch, Float, Work, dispatch};
use super::workers::Shared;
use crate::Cpu;
use crate::storage::{Fresh, Locked};

/// See `Backend::softmax`.
pub(crate) fn softmax(x: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    if !takes(x, dim) {
        return compose::softmax(x, dim);
    }
    rows1::<Softmax>(x, dim)
}

/// See `Backend::log_softmax`.
pub(crate) fn log_softmax(x: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    if !takes(x, dim) {
        return compose::log_softmax(x, dim);
    }
    rows1::<LogSoftmax>(x, dim)
}

/// See `Backend::softmax_grad`.
pub(crate) fn softmax_grad(grad: &Tensor<Cpu>, y: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    if !takes(y, dim) {
        return compose::softmax_grad(grad, y, dim);
    }
    rows2::<SoftmaxGrad>(grad, y, dim)
}

/// See `Backend::log_softmax_grad`.
pub(crate) fn log_softmax_grad(grad: &Tensor<Cpu>, y: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    if !takes(y, dim) {
        return compose::log_softmax_grad(grad, y, dim);
    }
    rows2::<LogSoftmaxGrad>(grad, y, dim)
}

/// What happens to one row.
trait Row<const N: usize> {
    /// # Safety
    /// The rows have `len` elements.
    unsafe fn row<E: Math, A: Arch>(from: [*const E; N], to: *mut E, len: usize);
}

struct Softmax;
struct LogSoftmax;
struct SoftmaxGrad;
struct LogSoftmaxGrad;

/// A range of rows.
struct Rows<E, R, const N: usize> {
    from: [*const E; N],
    to: *mut E,
    len: usize,
    rows: Range<usize>,
    row: PhantomData<fn() -> R>,
}

impl<E: Math, R: Row<N>, const N: usize> Work for Rows<E, R, N> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        for row in self.rows {
            let at = row * self.len;
            // SAFETY: the tensors have these rows.
            unsafe {
                R::row::<E, A>(self.from.map(|p| p.add(at)), self.to.add(at), self.len);
            }
        }
    }
}

fn rows1<R: Row<1>>(x: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    run::<R, 1>([&plain(x)], x.dims()[dim], x.dtype())
}

fn rows2<R: Row<2>>(a: &Tensor<Cpu>, b: &Tensor<Cpu>, dim: usize) -> Tensor<Cpu> {
    run::<R, 2>([&plain(a), &plain(b)], b.dims()[dim], b.dtype())
}

fn run<R: Row<N>, const N: usize>(
    inputs: [&Tensor<Cpu>; N],
    len: usize,
    dtype: DType,
) -> Tensor<Cpu> {
    let row = PhantomData::<fn() -> R>;
    if inputs[0].dtype() == DType::F64 {
        map_rows::<f64, N>(inputs, len, dtype, |from, to, rows| {
            dispatch(Rows { from, to, len, rows, row });
        })
    } else {
        map_rows::<f32, N>(inputs, len, dtype, |from, to, rows| {
            dispatch(Rows { from, to, len, rows, row });
        })
    }
}

/// The largest of a row (NaN if any is), with 0 in place of an infinity.
///
/// # Safety
/// The row has `len` elements.
#[inline(always)]
unsafe fn shift<E: Math, A: Arch>(x: *const E, len: usize) -> (E, bool) {
    let low = E::V::<A>::num(f64::NEG_INFINITY);
    // SAFETY: by the caller's word.
    let max = unsafe { fold(x, len, low, E::V::<A>::max) };
    let infinite = max.to_f64().is_infinite();
    (if infinite { E::from_f64(0.0) } else { max }, max.to_f64() == f64::INFINITY)
}

/// The sum of `exp(x − shift)` over a row, with each term stored at `to` unless that is null.
///
/// # Safety
/// The rows have `len` elements.
#[inline(always)]
unsafe fn exp_sum<E: Math, A: Arch>(
    x: *const E,
    len: usize,
    (shift, infinite): (E, bool),
    to: *mut E,
) -> E {
    let low = E::V::<A>::num(f64::NEG_INFINITY);
    let shift = E::V::<A>::splat(shift);
    let [sum] = sums!(E::V<A>, [0], len, |_, _, at, n| {
        // SAFETY: by the caller's word.
        let x = unsafe { load(x, at, n, low) }.sub(shift);
        let y = if infinite { math::exp::<E, A>(x) } else { math::exp_negative::<E, A>(x) };
        if !to.is_null() {
            // SAFETY: by the caller's word.
            unsafe { store(y, to, at, n) };
        }
        [y]
    });
    total(sum)
}

impl Row<1> for Softmax {
    #[inline(always)]
    unsafe fn row<E: Math, A: Arch>([x]: [*const E; 1], to: *mut E, len: usize) {
        // SAFETY: by the caller's word.
        unsafe {
            let total = exp_sum::<E, A>(x, len, shift::<E, A>(x, len), to);
            let scale = E::V::<A>::num(1.0).div(E::V::<A>::splat(total));
            each!(E::V<A>, len, |_, at, count| {
                store(load(to, at, count, scale).mul(scale), to, at, count);
            });
        }
    }
}

/// The logarithm of a positive number, in `f64`.
fn ln<E: Math>(x: E) -> f64 {
    x.to_f64().ln()
}

impl Row<1> for LogSoftmax {
    #[inline(always)]
    unsafe fn row<E: Math, A: Arch>([x]: [*const E; 1], to: *mut E, len: usize) {
        // SAFETY: by the caller's word.
        unsafe {
            let max = shift::<E, A>(x, len);
            let log = ln(exp_sum::<E, A>(x, len, max, std::ptr::null_mut()));
            let (max, log) = (E::V::<A>::splat(max.0), E::V::<A>::num(log));
            each!(E::V<A>, len, |_, at, count| {
                store(load(x, at, count, max).sub(max).sub(log), to, at, count);
            });
        }
    }
}

impl Row<2> for SoftmaxGrad {
    #[inline(always)]
    unsafe fn row<E: Math, A: Arch>([g, y]: [*const E; 2], to: *mut E, len: usize) {
        let zero = E::V::<A>::num(0.0);
        // SAFETY: by the caller's word.
        unsafe {
            let [dot] = sums!(E::V<A>, [0], len, |_, _, at, n| {
                [load(g, at, n, zero).mul(load(y, at, n, zero))]
            });
            let dot = E::V::<A>::splat(total(dot));
            each!(E::V<A>, len, |_, at, n| {
                let out = load(g, at, n, zero).sub(dot).mul(load(y, at, n, zero));
                store(out, to, at, n);
            });
        }
    }
}

impl Row<2> for LogSoftmaxGrad {
    #[inline(always)]
    unsafe fn row<E: Math, A: Arch>([g, y]: [*const E; 2], to: *mut E, len: usize) {
        let zero = E::V::<A>::num(0.0);
        // SAFETY: by the caller's word.
        unsafe {
            let [level] = sums!(E::V<A>, [0], len, |_, _, at, n| [load(g, at, n, zero)]);
            let level = E::V::<A>::splat(total(level));
            each!(E::V<A>, len, |_, at, n| {
                let exp = math::exp::<E, A>(load(y, at, n, zero));
                store(load(g, at, n, zero).sub(exp.mul(level)), to, at, n);
            });
        }
    }
}

/// The classes of the rows, checked; `None` for an ignored one.
fn classes(target: &Tensor<Cpu>, classes: usize, ignore: i64) -> Vec<Option<usize>> {
    let bytes = crate::storage::to_bytes(&target.contiguous());
    let class = |bytes: &[u8]| {
        let class = i64::from_ne_bytes(bytes.try_into().expect("eight bytes"));
        if class == ignore {
            return None;
        }
        if class < 0 || class as usize >= classes {
            raise(Error::Index {
                op: "cross_entropy",
                what: "class",
                index: class,
                size: classes,
                shape: target.shape().clone(),
                called: None,
            });
        }
        Some(class as usize)
    };
    bytes.chunks_exact(8).map(class).collect()
}

/// See `Backend::cross_entropy`.
pub(crate) fn cross_entropy(
    logits: &Tensor<Cpu>,
    target: &Tensor<Cpu>,
    ignore: i64,
) -> Tensor<Cpu> {
    let x = plain(logits);
    let (n, len) = (x.dims()[0], x.dims()[1]);
    let classes = classes(target, len, ignore);
    let mut out = Fresh::new(&Shape::from(n), x.dtype());
    let locked = Locked::read(&[&x]);
    let losses = |from: usize, to: usize, base: &Shared<u8>, out: &Shared<u8>| {
        let (classes, from_, rows) = (&classes[..], base.at(0), from..to);
        if x.dtype() == DType::F64 {
            dispatch(Losses { x: from_.cast::<f64>(), out: out.at(0).cast(), len, classes, rows });
        } else {
            dispatch(Losses { x: from_.cast::<f32>(), out: out.at(0).cast(), len, classes, rows });
        }
    };
    let (base, place) = (Shared(locked.ptr(&x)), Shared(out.ptr()));
    parallel_rows(n, len, |from, to| losses(from, to, &base, &place));
    out.finish().to_dtype(logits.dtype())
}

struct Losses<'a, E> {
    x: *mut E,
    out: *mut E,
    len: usize,
    classes: &'a [Option<usize>],
    rows: Range<usize>,
}

impl<E: Math> Work for Losses<'_, E> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        for row in self.rows {
            let loss = match self.classes[row] {
                None => 0.0,
                // SAFETY: the logits have these rows, and a class is one of a row's elements.
                Some(class) => unsafe {
                    let x = self.x.add(row * self.len).cast_const();
                    let max = shift::<E, A>(x, self.len);
                    let log = ln(exp_sum::<E, A>(x, self.len, max, std::ptr::null_mut()));
                    log - ((*x.add(class)).to_f64() - max.0.to_f64())
                },
            };
            // SAFETY: there is one loss per row.
            unsafe { self.out.add(row).write(E::from_f64(loss)) };
        }
    }
}

/// See `Backend::cross_entropy_grad`.
pub(crate) fn cross_entropy_grad(
    grad: &Tensor<Cpu>,
    logits: &Tensor<Cpu>,
    target: &Tensor<Cpu>,
    ignore: i64,
) -> Tensor<Cpu> {
    let (x, grad) = (plain(logits), plain(grad));
    let len = x.dims()[1];
    let classes = &classes(target, len, ignore)[..];
    if x.numel() == 0 {
        return Fresh::new(x.shape(), logits.dtype()).finish();
    }
    if x.dtype() == DType::F64 {
        map_rows::<f64, 2>([&x, &grad], len, logits.dtype(), |[x, grad], to, rows| {
            dispatch(Slopes { x, grad, to, len, classes, rows });
        })
    } else {
        map_rows::<f32, 2>([&x, &grad], len, logits.dtype(), |[x, grad], to, rows| {
            dispatch(Slopes { x, grad, to, len, classes, rows });
        })
    }
}

struct Slopes<'a, E> {
    x: *const E,
    grad: *const E,
    to: *mut E,
    len: usize,
    classes: &'a [Option<usize>],
    rows: Range<usize>,
}

impl<E: Math> Work for Slopes<'_, E> {
    type Out = ();
    /// `(softmax(x) − one_hot(class)) · grad`
    #[inline(always)]
    fn run<A: Arch>(self) {
        let zero = E::V::<A>::num(0.0);
        for row in self.rows {
            // SAFETY: the tensors have these rows, and a class is one of a row's elements.
            unsafe {
                let (x, to) = (self.x.add(row * self.len), self.to.add(row * self.len));
                let Some(class) = self.classes[row] else {
                    each!(E::V<A>, self.len, |_, at, n| store(zero, to, at, n));
                    continue;
                };
                let grad = *self.grad.add(row);
                let total = exp_sum::<E, A>(x, self.len, shift::<E, A>(x, self.len), to);
                let scale = E::V::<A>::splat(grad).div(E::V::<A>::splat(total));
                each!(E::V<A>, self.len, |_, at, n| {
                    store(load(to, at, n, zero).mul(scale), to, at, n);
                });
                *to.add(class) = E::from_f64((*to.add(class)).to_f64() - grad.to_f64());
            }
        }
    }
}
