//! Attention in blocks of queries and of keys: the weights where they meet stay in the cache, and are never
//! stored (Dao et al. 2022, Milakov and Gimelshein 2018). Blocks are cut by shape alone.

use kiln_tensor_core::{AttentionSpec, DType, Shape, Tensor, compose};

use super::dispatch::{by_float, is_narrow, widen};
use super::gemm::{Float, Product, Source, scratch};
use super::math::{self, Math};
use super::rows::{each, load, store, sums, total};
use super::simd::{Arch, Float as _, Work, dispatch};
use super::workers::Shared;
use crate::Cpu;
use crate::storage::{Fresh, Locked};
use crate::threads::{num_threads, parallel_for};

/// Queries and keys of a block.
const QUERIES: usize = 128;
const KEYS: usize = 256;

/// See `Backend::scaled_dot_product_attention`.
pub(crate) fn attention(
    q: &Tensor<Cpu>,
    k: &Tensor<Cpu>,
    v: &Tensor<Cpu>,
    mask: Option<&Tensor<Cpu>>,
    spec: &AttentionSpec,
) -> [Tensor<Cpu>; 2] {
    if !q.dtype().is_float() || q.numel() * v.numel() == 0 {
        return compose::scaled_dot_product_attention(q, k, v, mask, spec);
    }
    if is_narrow(q.dtype()) {
        let [out, log] = attention(&widen(q), &widen(k), &widen(v), mask, spec);
        return [out.to_dtype(q.dtype()), log];
    }
    let rank = q.rank();
    let mut out = Fresh::new(&q.shape().with(rank - 1, v.dims()[rank - 1]), q.dtype());
    let mut log = Fresh::new(&Shape::from(&q.dims()[..rank - 1]), q.dtype());
    let mask = mask.map(|mask| additive(mask, q.dtype()));
    let locked = Locked::read(&[q, k, v].into_iter().chain(&mask).collect::<Vec<_>>());
    by_float!("scaled_dot_product_attention", q.dtype(), T => {
        let operands = Operands::<T>::new([q, k, v], mask.as_ref(), *spec, &locked);
        let (out, log) = (Shared(out.ptr().cast::<T>()), Shared(log.ptr().cast::<T>()));
        let blocks = operands.l.div_ceil(QUERIES);
        parallel_for(operands.batches * blocks, |task| {
            let (batch, first) = (task / blocks, task % blocks * QUERIES);
            let row = batch * operands.l + first;
            // SAFETY: each task has its own queries, whose results lie side by side.
            unsafe { operands.block(batch, first, out.at(row * operands.ev), log.at(row)) };
        });
    });
    drop(locked);
    [out.finish(), log.finish()]
}

/// A mask as numbers to add, `[…, l, s]`. Expanded dims stay so; the last one has stride 1 or 0.
fn additive(mask: &Tensor<Cpu>, dtype: DType) -> Tensor<Cpu> {
    let expanded = |dim: &usize| mask.strides()[*dim] == 0 && mask.dims()[*dim] > 1;
    let held = (0..mask.rank())
        .filter(expanded)
        .fold(mask.clone(), |held, dim| held.narrow(dim as isize, 0, 1))
        .to_dtype(dtype);
    // ln 1 = 0 and ln 0 = −∞.
    let held = if mask.dtype() == DType::Bool { held.log() } else { held };
    held.contiguous().expand(mask.shape())
}

/// Where the matrices of a batch lie, and how far apart the elements of their last two dims.
struct Matrices<T> {
    data: *const T,
    starts: Vec<isize>,
    steps: [isize; 2],
}

impl<T> Matrices<T> {
    fn new(x: &Tensor<Cpu>, data: *const T) -> Self {
        let (lead, last) = x.strides().split_at(x.rank() - 2);
        let starts = lead.iter().zip(x.dims()).fold(vec![0], |starts, (&step, &size)| {
            let inner = |start: isize| (0..size as isize).map(move |i| start + i * step);
            starts.into_iter().flat_map(inner).collect()
        });
        Matrices { data, starts, steps: [last[0], last[1]] }
    }

    /// The rows from `row` on of a matrix, as the lanes of a product.
    fn rows(&self, batch: usize, row: usize) -> Source<T> {
        let [lane, term] = self.steps;
        Source { data: self.data.wrapping_offset(self.starts[batch]), lane, term }.at(row, 0)
    }
}

/// A matrix whose lanes are its columns.
fn turned<T>(rows: Source<T>) -> Source<T> {
    Source { data: rows.data, lane: rows.term, term: rows.lane }
}

/// A block of a matrix whose rows lie `row` apart.
fn stored<T>(data: *mut T, row: usize) -> Source<T> {
    Source { data: data.cast_const(), lane: row as isize, term: 1 }
}

struct Operands<T> {
    q: Matrices<T>,
    k: Matrices<T>,
    v: Matrices<T>,
    mask: Option<Matrices<T>>,
    spec: AttentionSpec,
    batches: usize,
    l: usize,
    s: usize,
    e: usize,
    ev: usize,
}

// SAFETY: describes memory that is only read; whoever reads keeps it locked.
unsafe impl<T: Sync> Sync for Operands<T> {}

impl<T: Float + Math> Operands<T> {
    fn new(
        [q, k, v]: [&Tensor<Cpu>; 3],
        mask: Option<&Tensor<Cpu>>,
        spec: AttentionSpec,
        locked: &Locked<'_>,
    ) -> Self {
        let of = |x: &Tensor<Cpu>| Matrices::new(x, locked.ptr(x).cast::<T>().cast_const());
        let last = |x: &Tensor<Cpu>| x.dims()[x.rank() - 1];
        let (l, s) = (q.dims()[q.rank() - 2], k.dims()[k.rank() - 2]);
        let batches = q.dims()[..q.rank() - 2].iter().product();
        let (mask, q_rows) = (mask.map(of), of(q));
        Operands {
            q: q_rows,
            k: of(k),
            v: of(v),
            mask,
            spec,
            batches,
            l,
            s,
            e: last(q),
            ev: last(v),
        }
    }

    /// How many keys from `j` on the queries `i .. i + rows` see: none where all come after the last of them.
    fn keys(&self, i: usize, rows: usize, j: usize) -> usize {
        let sees = if self.spec.causal { self.s.min(i + rows) } else { self.s };
        sees.saturating_sub(j).min(KEYS)
    }

    /// `q · kᵀ` of a block, to rows of `KEYS`.
    ///
    /// # Safety
    /// The block lies inside the operands, and `to` has room.
    unsafe fn scores(
        &self,
        batch: usize,
        [i, rows]: [usize; 2],
        [j, cols]: [usize; 2],
        to: *mut T,
    ) {
        let (a, b) = (self.q.rows(batch, i), self.k.rows(batch, j));
        // SAFETY: the caller's.
        unsafe { product([rows, cols, self.e], a, b, (to, KEYS), true).run() };
    }

    fn part(
        &self,
        batch: usize,
        [i, rows]: [usize; 2],
        [j, cols]: [usize; 2],
        p: *mut T,
    ) -> Part<T> {
        let mask = self.mask.as_ref().map(|mask| {
            let line = mask.rows(batch, i).data;
            (line.wrapping_offset(j as isize * mask.steps[1]), mask.steps)
        });
        Part { p, rows, cols, mask, first: [i, j], spec: self.spec }
    }

    /// The results of the queries from `i` on, a block of them.
    ///
    /// # Safety
    /// The results have room for them, and nobody else writes there.
    unsafe fn block(&self, batch: usize, i: usize, out: *mut T, log: *mut T) {
        let (rows, ev) = (QUERIES.min(self.l - i), self.ev);
        let mut weights = scratch::<T>(rows * KEYS);
        let weights = weights.ptr().cast::<T>();
        let mut state = vec![(f64::NEG_INFINITY, 0.0); rows];
        let mut j = 0;
        // The first key is seen by every query but one that has no keys.
        while j == 0 || self.keys(i, rows, j) > 0 {
            let cols = self.keys(i, rows, j);
            // SAFETY: the blocks lie inside the operands, the results have these rows.
            unsafe {
                self.scores(batch, [i, rows], [j, cols], weights);
                let part = self.part(batch, [i, rows], [j, cols], weights);
                dispatch(Soften { part, out: (j > 0).then_some(out), ev, state: &mut state });
                let v = turned(self.v.rows(batch, j));
                product([rows, ev, cols], stored(weights, KEYS), v, (out, ev), j == 0).run();
            }
            j += KEYS;
        }
        dispatch(Finish { out, log, ev, state: &state });
    }

    /// The gradients of one matrix of the batch.
    ///
    /// # Safety
    /// `given` are its rows of the gradient (contiguous), the logarithms, and `Σ grad · out`; the three gradients
    /// have room for it, and nobody else writes there.
    unsafe fn gradients(&self, batch: usize, given: [*const T; 3], [dq, dk, dv]: [*mut T; 3]) {
        let &Operands { l, s, e, ev, .. } = self;
        let [grad, log, dot] = given;
        let mut space = scratch::<T>(2 * QUERIES.min(l) * KEYS);
        let p = space.ptr().cast::<T>();
        let d = p.wrapping_add(QUERIES.min(l) * KEYS);
        for j in (0..s).step_by(KEYS) {
            let all = KEYS.min(s - j);
            let (dk, dv) = (dk.wrapping_add(j * e), dv.wrapping_add(j * ev));
            let mut fresh = true;
            for i in (0..l).step_by(QUERIES) {
                let rows = QUERIES.min(l - i);
                if self.keys(i, rows, j) == 0 {
                    continue;
                }
                // All keys of the block, so that each block of gradients is written whole.
                let cols = all;
                let lines = Source { data: grad.wrapping_add(i * ev), lane: ev as isize, term: 1 };
                let (weights, slopes) = (stored(p, KEYS), stored(d, KEYS));
                // SAFETY: blocks lie inside the operands and the gradients.
                unsafe {
                    self.scores(batch, [i, rows], [j, cols], p);
                    product([rows, cols, ev], lines, self.v.rows(batch, j), (d, KEYS), true).run();
                    let part = self.part(batch, [i, rows], [j, cols], p);
                    let [log, dot] = [log, dot].map(|x| x.wrapping_add(i));
                    dispatch(Slopes { part, d, log, dot });
                    product([cols, ev, rows], turned(weights), turned(lines), (dv, ev), fresh)
                        .run();
                    let k = turned(self.k.rows(batch, j));
                    product([rows, e, cols], slopes, k, (dq.wrapping_add(i * e), e), j == 0).run();
                    let q = turned(self.q.rows(batch, i));
                    product([cols, e, rows], turned(slopes), q, (dk, e), fresh).run();
                }
                fresh = false;
            }
            if fresh {
                // SAFETY: no query sees these keys, so nothing was written.
                unsafe {
                    dk.write_bytes(0, all * e);
                    dv.write_bytes(0, all * ev);
                }
            }
        }
    }
}

/// `c = a · b`, or `c + a · b` where it is not the first.
fn product<T: Float>(
    [m, n, k]: [usize; 3],
    a: Source<T>,
    b: Source<T>,
    (c, row): (*mut T, usize),
    first: bool,
) -> Product<T> {
    let from = if first { std::ptr::null() } else { c.cast_const() };
    Product { m, n, k, a, b, c, row: row as isize, from, from_row: row as isize }
}

/// Scores where a block of queries meets a block of keys, in rows of `KEYS`.
struct Part<T> {
    p: *mut T,
    rows: usize,
    cols: usize,
    /// The mask's block, and its steps.
    mask: Option<(*const T, [isize; 2])>,
    /// The first query and key.
    first: [usize; 2],
    spec: AttentionSpec,
}

impl<T: Math> Part<T> {
    /// How many keys query `row` sees.
    fn seen(&self, row: usize) -> usize {
        let [i, j] = self.first;
        let end = if self.spec.causal { (i + row + 1).saturating_sub(j) } else { self.cols };
        end.min(self.cols)
    }

    /// `scale · score + mask` of the vector at `at` of a row.
    ///
    /// # Safety
    /// The block has these elements.
    #[inline(always)]
    unsafe fn score<A: Arch>(&self, row: usize, at: usize, n: usize, scale: T::V<A>) -> T::V<A> {
        let zero = T::V::<A>::num(0.0);
        // SAFETY: the caller's.
        unsafe {
            let x = load(self.p.add(row * KEYS), at, n, zero).mul(scale);
            let Some((mask, [down, along])) = self.mask else { return x };
            let line = mask.offset(row as isize * down);
            x.add(if along == 0 { T::V::<A>::splat(*line) } else { load(line, at, n, zero) })
        }
    }
}

/// One step of the softmax in blocks: scores become weights relative to the largest score so far, and what was
/// summed up before is scaled to it.
struct Soften<'a, T> {
    part: Part<T>,
    /// The results of the blocks before, if there are any.
    out: Option<*mut T>,
    ev: usize,
    /// For each query the largest score, and the sum of weights.
    state: &'a mut [(f64, f64)],
}

impl<T: Math> Work for Soften<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Soften { part, out, ev, state } = self;
        let (zero, low) = (T::V::<A>::num(0.0), T::V::<A>::num(f64::NEG_INFINITY));
        let scale = T::V::<A>::num(part.spec.scale);
        for (row, (largest, sum)) in state.iter_mut().enumerate() {
            let (line, seen) = (part.p.wrapping_add(row * KEYS), part.seen(row));
            let mut top = [low; 4];
            // SAFETY: the block has these rows.
            each!(T::V<A>, seen, |k, at, n| unsafe {
                store(part.score::<A>(row, at, n, scale), line, at, n);
                top[k % 4] = top[k % 4].max(load(line, at, n, low));
            });
            let [a, b, c, d] = top;
            let top = a.max(b).max(c.max(d)).across(T::V::<A>::max).to_f64();
            let now = if top > *largest || top.is_nan() { top } else { *largest };
            // A query that has seen nothing subtracts nothing.
            let shift = if now == f64::NEG_INFINITY { 0.0 } else { now };
            let shift_v = T::V::<A>::num(shift);
            // SAFETY: as above.
            let [weights] = sums!(T::V<A>, [0], seen, |_, _, at, n| unsafe {
                let x = load(line, at, n, low).sub(shift_v);
                let y = math::exp_negative::<T, A>(x);
                store(y, line, at, n);
                [y]
            });
            let after = line.wrapping_add(seen);
            // SAFETY: as above.
            each!(T::V<A>, part.cols - seen, |_, at, n| unsafe { store(zero, after, at, n) });
            let fade = (*largest - shift).exp();
            *sum = *sum * fade + total(weights).to_f64();
            *largest = now;
            if let Some(out) = out {
                let (out, fade) = (out.wrapping_add(row * ev), T::V::<A>::num(fade));
                // SAFETY: the results have these rows.
                each!(T::V<A>, ev, |_, at, n| unsafe {
                    store(load(out, at, n, zero).mul(fade), out, at, n);
                });
            }
        }
    }
}

/// The last step: division by the sums, and their logarithms.
struct Finish<'a, T> {
    out: *mut T,
    log: *mut T,
    ev: usize,
    state: &'a [(f64, f64)],
}

impl<T: Math> Work for Finish<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let zero = T::V::<A>::num(0.0);
        for (row, &(largest, sum)) in self.state.iter().enumerate() {
            let out = self.out.wrapping_add(row * self.ev);
            let share = T::V::<A>::num(if sum == 0.0 { 1.0 } else { 1.0 / sum });
            // SAFETY: the results have these rows.
            each!(T::V<A>, self.ev, |_, at, n| unsafe {
                store(load(out, at, n, zero).mul(share), out, at, n);
            });
            // SAFETY: as above.
            unsafe { self.log.add(row).write(T::from_f64(largest + sum.ln())) };
        }
    }
}

/// From scores and the gradients in the weights to weights and the gradients in the scores.
struct Slopes<T> {
    part: Part<T>,
    d: *mut T,
    /// For each query.
    log: *const T,
    dot: *const T,
}

impl<T: Math> Work for Slopes<T> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let Slopes { part, d, log, dot } = self;
        let zero = T::V::<A>::num(0.0);
        let scale = T::V::<A>::num(part.spec.scale);
        for row in 0..part.rows {
            // SAFETY: there is one for each query.
            let (log, dot) = unsafe { ((*log.add(row)).to_f64(), *dot.add(row)) };
            // A query that sees nothing has no weights.
            let seen = if log == f64::NEG_INFINITY { 0 } else { part.seen(row) };
            let (line, slopes) = (part.p.wrapping_add(row * KEYS), d.wrapping_add(row * KEYS));
            let (log, dot) = (T::V::<A>::num(log), T::V::<A>::splat(dot));
            // SAFETY: the blocks have these rows.
            each!(T::V<A>, seen, |_, at, n| unsafe {
                let p = math::exp_negative::<T, A>(part.score::<A>(row, at, n, scale).sub(log));
                let slope = load(slopes, at, n, zero).sub(dot).mul(p).mul(scale);
                store(p, line, at, n);
                store(slope, slopes, at, n);
            });
            let (line, slopes) = (line.wrapping_add(seen), slopes.wrapping_add(seen));
            // SAFETY: as above.
            each!(T::V<A>, part.cols - seen, |_, at, n| unsafe {
                store(zero, line, at, n);
                store(zero, slopes, at, n);
            });
        }
    }
}

/// See `Backend::scaled_dot_product_attention_grad`.
#[allow(clippy::too_many_arguments, reason = "the operands of the op, and its results")]
pub(crate) fn attention_grad(
    grad: &Tensor<Cpu>,
    q: &Tensor<Cpu>,
    k: &Tensor<Cpu>,
    v: &Tensor<Cpu>,
    mask: Option<&Tensor<Cpu>>,
    out: &Tensor<Cpu>,
    log: &Tensor<Cpu>,
    spec: &AttentionSpec,
) -> [Tensor<Cpu>; 3] {
    if !q.dtype().is_float() || q.numel() * v.numel() == 0 {
        return compose::scaled_dot_product_attention_grad(grad, q, k, v, mask, spec);
    }
    if is_narrow(q.dtype()) {
        let [grad, wide_q, k, v, out] = [grad, q, k, v, out].map(widen);
        return attention_grad(&grad, &wide_q, &k, &v, mask, &out, log, spec)
            .map(|x| x.to_dtype(q.dtype()));
    }
    let dot = (grad * out).sum_dims([-1], false);
    let given = [&grad.contiguous(), &log.contiguous(), &dot];
    let mut made = [q, k, v].map(|x| Fresh::new(x.shape(), x.dtype()));
    let mask = mask.map(|mask| additive(mask, q.dtype()));
    let reads = [q, k, v].into_iter().chain(given).chain(&mask);
    let locked = Locked::read(&reads.collect::<Vec<_>>());
    by_float!("scaled_dot_product_attention_grad", q.dtype(), T => {
        let operands = Operands::<T>::new([q, k, v], mask.as_ref(), *spec, &locked);
        let given = given.map(|x| Shared(locked.ptr(x).cast::<T>()));
        let to = made.each_mut().map(|x| Shared(x.ptr().cast::<T>()));
        let &Operands { batches, l, s, e, ev, .. } = &operands;
        let each = |batch: usize| {
            let sizes = [l * ev, l, l];
            let from = [0, 1, 2].map(|i| given[i].at(batch * sizes[i]).cast_const());
            let sizes = [l * e, s * e, s * ev];
            let to = [0, 1, 2].map(|i| to[i].at(batch * sizes[i]));
            // SAFETY: each has its own part of the results.
            unsafe { operands.gradients(batch, from, to) };
        };
        // Products are the same whether other threads help or not: few matrices are cut up themselves.
        if batches < num_threads() { (0..batches).for_each(each) } else { parallel_for(batches, each) }
    });
    drop(locked);
    made.map(Fresh::finish)
}
