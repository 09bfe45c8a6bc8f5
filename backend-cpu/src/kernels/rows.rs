//! What kernels on rows of floats share: vectors up to a row's end, sums, and the walk over rows.

use kiln_tensor_core::{DType, Shape, Tensor};

use super::dispatch::{is_narrow, widen};
use super::simd::{Float, FloatElem};
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

/// Runs a body for the vectors of a row, four in turn: `each!(V, len, |k, at, count| …)` with `k` from 0
/// to 3. Macros, because a closure that is not inlined loses the level's instructions.
macro_rules! each {
    ($V:ty, $len:expr, |$k:pat_param, $at:ident, $count:ident| $body:expr $(, $after:expr)?) => {{
        let (len, lanes) = ($len, <$V as $crate::kernels::simd::Float>::N);
        let whole = len / (4 * lanes) * (4 * lanes);
        for first in (0..whole).step_by(4 * lanes) {
            for k in 0..4 {
                let ($k, $at, $count) = (k, first + k * lanes, lanes);
                $body;
            }
            $($after;)?
        }
        for (k, at) in (whole..len).step_by(lanes).enumerate() {
            let ($k, $at, $count) = (k, at, lanes.min(len - at));
            $body;
        }
        $(if whole < len { $after })?
    }};
}

/// The sums of several terms over the vectors of rows: `sums!(V, starts, len, |start, k, at, count| [a, b])`
/// with the start of each row, and the position of a vector in it. Gives for each term four vectors,
/// of the sums for each `k`. Terms are added up in groups of 64, so errors grow slowly.
macro_rules! sums {
    ($V:ty, $starts:expr, $len:expr, |$start:pat_param, $k:pat_param, $at:ident, $n:ident| $terms:expr) => {{
        let mut all = $crate::kernels::rows::Sums::<$V, _>::new();
        for $start in $starts {
            $crate::kernels::rows::each!(
                $V,
                $len,
                |k, $at, $n| {
                    let $k = k;
                    $crate::kernels::rows::add(&mut all.near[k], $terms);
                },
                all.step()
            );
        }
        all.finish()
    }};
}

pub(crate) use {each, sums};

/// What `sums!` adds up in.
pub(crate) struct Sums<V, const K: usize> {
    pub(crate) near: [[V; K]; 4],
    far: [[V; K]; 4],
    steps: usize,
}

impl<V: Float, const K: usize> Sums<V, K> {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        let zero = [[V::num(0.0); K]; 4];
        Sums { near: zero, far: zero, steps: 0 }
    }

    /// Notes that four vectors were added.
    #[inline(always)]
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        if self.steps == 64 {
            self.flush();
        }
    }

    #[inline(always)]
    fn flush(&mut self) {
        self.far.iter_mut().zip(self.near).for_each(|(far, near)| add(far, near));
        self.near = [[V::num(0.0); K]; 4];
        self.steps = 0;
    }

    #[inline(always)]
    pub(crate) fn finish(mut self) -> [[V; 4]; K] {
        self.flush();
        std::array::from_fn(|term| self.far.map(|far| far[term]))
    }
}

/// Adds each term.
#[inline(always)]
pub(crate) fn add<V: Float, const K: usize>(to: &mut [V; K], terms: [V; K]) {
    to.iter_mut().zip(terms).for_each(|(to, term)| *to = to.add(term));
}

/// The sum of all lanes of four vectors.
#[inline(always)]
pub(crate) fn total<V: Float>([a, b, c, d]: [V; 4]) -> V::Elem {
    a.add(b).add(c.add(d)).across(V::add)
}

/// Folds a row, eight vectors at a time, whose results meet once in a while: errors grow like a tree's.
///
/// # Safety
/// The row has `len` elements.
#[inline(always)]
pub(crate) unsafe fn fold<V: Float>(
    p: *const V::Elem,
    len: usize,
    empty: V,
    two: impl Fn(V, V) -> V + Copy,
) -> V::Elem {
    let n = V::N;
    let (mut at, whole) = (0, len / n * n);
    let mut total = empty;
    while at < whole {
        let end = whole.min(at + 64 * n);
        let mut acc = [empty; 8];
        while at + 8 * n <= end {
            for (k, acc) in acc.iter_mut().enumerate() {
                // SAFETY: `at + 8n ≤ len`.
                *acc = two(*acc, unsafe { V::load(p.add(at + k * n)) });
            }
            at += 8 * n;
        }
        while at < end {
            // SAFETY: as above.
            acc[0] = two(acc[0], unsafe { V::load(p.add(at)) });
            at += n;
        }
        let [a, b, c, d, e, f, g, h] = acc;
        total = two(total, two(two(two(a, b), two(c, d)), two(two(e, f), two(g, h))));
    }
    if whole < len {
        // SAFETY: these elements are left of the row.
        total = two(total, unsafe { load(p, whole, len - whole, empty) });
    }
    total.across(two)
}

/// Whether a kernel on the last `dims` dimensions takes this tensor: floats, and some of them.
pub(crate) fn takes(x: &Tensor<Cpu>, dim: usize) -> bool {
    x.dtype().is_float() && x.numel() > 0 && x.dims()[dim + 1..].iter().all(|&size| size == 1)
}

/// The tensor as rows: contiguous, narrow floats as `f32`.
pub(crate) fn plain(x: &Tensor<Cpu>) -> Tensor<Cpu> {
    widen(x).contiguous()
}

/// Calls `f` with pointers to the elements of inputs (null for absent ones) and of fresh outputs of
/// these shapes, all of them contiguous and of one dtype: `dtype`, or `f32` for narrow floats. Gives the
/// outputs in that dtype.
pub(crate) fn with_plain<const I: usize, const O: usize>(
    dtype: DType,
    inputs: [Option<&Tensor<Cpu>>; I],
    shapes: [&Shape; O],
    f: impl FnOnce([Shared<u8>; I], [Shared<u8>; O]),
) -> [Tensor<Cpu>; O] {
    let dtype = if is_narrow(dtype) { DType::F32 } else { dtype };
    let inputs = inputs.map(|x| x.map(|x| x.to_dtype(dtype).contiguous()));
    let mut outputs = shapes.map(|shape| Fresh::new(shape, dtype));
    let locked = Locked::read(&inputs.iter().flatten().collect::<Vec<_>>());
    let from =
        inputs.each_ref().map(|x| x.as_ref().map_or(std::ptr::null_mut(), |x| locked.ptr(x)));
    f(from.map(Shared), outputs.each_mut().map(|out| Shared(out.ptr())));
    drop(locked);
    outputs.map(Fresh::finish)
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
