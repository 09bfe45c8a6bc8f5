//! What kernels on rows of floats share: vectors up to a row's end, sums, and the walk over rows.

use kiln_tensor_core::{DType, Shape, Tensor};

use super::dispatch::widen;
use super::simd::{Float, FloatElem, GROUP};
use super::workers::Shared;
use crate::Cpu;
use crate::storage::{Fresh, Locked};
use crate::threads::parallel_for;

/// Elements of rows that one chunk of parallel work takes.
const CHUNK: usize = 1 << 14;

/// Vector `count` elements from `at` on; a tail is filled up with `pad`.
///
/// # Safety
/// These elements exist, and `count` is at most `V::N`.
#[inline(always)]
pub(crate) unsafe fn load<V: Float>(p: *const V::Elem, at: usize, count: usize, pad: V) -> V {
    // SAFETY: by the caller's word; the array has room for the widest vector.
    unsafe {
        if count == V::N {
            return V::load(p.add(at));
        }
        let mut lanes = [pad; 1];
        p.add(at).copy_to_nonoverlapping(lanes.as_mut_ptr().cast(), count);
        lanes[0]
    }
}

/// Stores the first `count` lanes from `at` on.
///
/// # Safety
/// These elements exist, and `count` is at most `V::N`.
#[inline(always)]
pub(crate) unsafe fn store<V: Float>(x: V, p: *mut V::Elem, at: usize, count: usize) {
    // SAFETY: by the caller's word.
    unsafe {
        if count == V::N {
            return x.store(p.add(at));
        }
        let lanes = [x];
        p.add(at).copy_from_nonoverlapping(lanes.as_ptr().cast(), count);
    }
}

/// Calls `f(at, count)` for the vectors of a row.
#[inline(always)]
pub(crate) fn each<V: Float>(len: usize, mut f: impl FnMut(usize, usize)) {
    let whole = len / V::N * V::N;
    for at in (0..whole).step_by(V::N) {
        f(at, V::N);
    }
    if whole < len {
        f(whole, len - whole);
    }
}

/// Folds `f(at, count)` over the vectors of a row, four at a time, into one lane. Results are added
/// up once in a while, so errors grow like a tree's.
#[inline(always)]
pub(crate) fn fold<V: Float>(
    len: usize,
    empty: V,
    two: impl Fn(V, V) -> V,
    mut f: impl FnMut(usize, usize) -> V,
) -> V::Elem {
    let n = V::N;
    let (mut at, whole) = (0, len / n * n);
    let mut total = empty;
    while at < whole {
        let end = whole.min(at + 64 * n);
        let mut acc = [empty; 4];
        while at + 4 * n <= end {
            for (k, acc) in acc.iter_mut().enumerate() {
                *acc = two(*acc, f(at + k * n, n));
            }
            at += 4 * n;
        }
        while at < end {
            acc[0] = two(acc[0], f(at, n));
            at += n;
        }
        total = two(total, two(two(acc[0], acc[1]), two(acc[2], acc[3])));
    }
    if whole < len {
        total = two(total, f(whole, len - whole));
    }
    let mut lanes = [V::Elem::default(); 2 * GROUP];
    // SAFETY: each vector fits into its half.
    unsafe {
        let mut width = n;
        total.store(lanes.as_mut_ptr());
        while width > 1 {
            // The upper lanes come down to the lower; what is beyond them does not matter.
            width /= 2;
            let (low, high) = (V::load(lanes.as_ptr()), V::load(lanes.as_ptr().add(width)));
            two(low, high).store(lanes.as_mut_ptr());
        }
    }
    lanes[0]
}

/// The sum of `f(at, count)` over the vectors of a row.
#[inline(always)]
pub(crate) fn sum<V: Float>(len: usize, f: impl FnMut(usize, usize) -> V) -> V::Elem {
    fold(len, V::num(0.0), V::add, f)
}

/// Whether a kernel on the last `dims` dimensions takes this tensor: floats, and some of them.
pub(crate) fn takes(x: &Tensor<Cpu>, dim: usize) -> bool {
    x.dtype().is_float() && x.numel() > 0 && x.dims()[dim + 1..].iter().all(|&size| size == 1)
}

/// The tensor as rows: contiguous, narrow floats as `f32`.
pub(crate) fn plain(x: &Tensor<Cpu>) -> Tensor<Cpu> {
    widen(x).contiguous()
}

/// Calls `f(from, to)` for chunks of `rows` rows of `len` elements, in parallel.
pub(crate) fn parallel_rows(rows: usize, len: usize, f: impl Fn(usize, usize) + Sync) {
    let step = (CHUNK / len.max(1)).max(1);
    parallel_for(rows.div_ceil(step), |i| f(i * step, rows.min((i + 1) * step)));
}

/// Rows of plain tensors in, a fresh tensor of the first one's shape out: `f(inputs, output, rows)`
/// with pointers to the first elements, and a range of rows.
pub(crate) fn map_rows<E: FloatElem, const N: usize>(
    inputs: [&Tensor<Cpu>; N],
    len: usize,
    dtype: DType,
    f: impl Fn([*const E; N], *mut E, std::ops::Range<usize>) + Sync,
) -> Tensor<Cpu> {
    let shape: &Shape = inputs[0].shape();
    let mut out = Fresh::new(shape, inputs[0].dtype());
    let locked = Locked::read(&inputs);
    let sources = inputs.map(|x| Shared(locked.ptr(x).cast::<E>()));
    let target = Shared(out.ptr().cast::<E>());
    parallel_rows(shape.numel() / len, len, |from, to| {
        let sources = sources.each_ref().map(|x| x.at(0).cast_const());
        f(sources, target.at(0), from..to);
    });
    drop(locked);
    out.finish().to_dtype(dtype)
}
