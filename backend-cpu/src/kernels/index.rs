//! `gather`, `scatter`, `index_select`, `index_add`. The latter two are the former with an index that
//! repeats along the other dimensions.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use kiln_tensor_core::{DType, Error, Layout, ScatterOp, Shape, Strides, Tensor, raise};

use super::dispatch::{by_number, by_size, is_narrow, widen};
use super::simd::{Arch, Work, dispatch};
use super::walk::{Walk, without};
use crate::Cpu;
use crate::kernels::workers::Shared;
use crate::storage::{Fresh, Locked, Plain};
use crate::threads::{parallel_for, parallel_pieces};

/// Elements that one thread handles at a time.
const GRAIN: usize = 1 << 14;

/// See `Backend::gather`.
pub(crate) fn gather(x: &Tensor<Cpu>, dim: usize, index: &Tensor<Cpu>) -> Tensor<Cpu> {
    pick("gather", x, dim, index)
}

/// See `Backend::index_select`.
pub(crate) fn select(x: &Tensor<Cpu>, dim: usize, index: &Tensor<Cpu>) -> Tensor<Cpu> {
    if x.rank() == 0 {
        return select(&x.unsqueeze(0), 0, index).reshape_to(x.shape());
    }
    let shape = x.shape().with(dim, index.numel());
    pick("index_select", x, dim, &spread(index, dim, &shape))
}

fn pick(op: &'static str, x: &Tensor<Cpu>, dim: usize, index: &Tensor<Cpu>) -> Tensor<Cpu> {
    if x.rank() == 0 {
        return pick(op, &x.unsqueeze(0), 0, &index.unsqueeze(0)).reshape_to(index.shape());
    }
    let mut out = Fresh::new(index.shape(), x.dtype());
    if index.numel() > 0 {
        let locked = Locked::read(&[x, index]);
        check(op, &locked, index, dim, x.shape());
        by_size!(x.dtype(), T => pick_as::<T>(&locked, x, dim, index, out.slice_mut()));
    }
    out.finish()
}

fn pick_as<T: Plain>(
    locked: &Locked<'_>,
    x: &Tensor<Cpu>,
    dim: usize,
    index: &Tensor<Cpu>,
    out: &mut [T],
) {
    let (from, indices) = (locked.slice::<T>(x), locked.slice::<i64>(index));
    let along = x.strides()[dim];
    let others = without(x.strides(), dim);
    let walk = Walk::new(index.dims(), [index.strides(), &others]);
    let start = [index.layout().offset() as isize, x.layout().offset() as isize];
    let [index_step, x_step] = walk.step;
    let rows = (GRAIN / walk.len).max(1);
    parallel_pieces(out, rows * walk.len, |piece, out| {
        let first = piece * rows;
        let mut rows = out.chunks_exact_mut(walk.len);
        walk.each(first..first + rows.len(), |at| {
            let out = rows.next().expect("one piece of output per row");
            let (i, x) = (at[0] + start[0], at[1] + start[1]);
            if index_step == 0 {
                let x = x + indices[i as usize] as isize * along;
                if x_step == 1 {
                    out.copy_from_slice(&from[x as usize..][..out.len()]);
                } else {
                    for (j, out) in out.iter_mut().enumerate() {
                        *out = from[(x + j as isize * x_step) as usize];
                    }
                }
            } else if index_step == 1 && x_step == 0 {
                for (out, &chosen) in out.iter_mut().zip(&indices[i as usize..]) {
                    *out = from[(x + chosen as isize * along) as usize];
                }
            } else {
                for (j, out) in out.iter_mut().enumerate() {
                    let j = j as isize;
                    let chosen = indices[(i + j * index_step) as usize] as isize;
                    *out = from[(x + j * x_step + chosen * along) as usize];
                }
            }
        });
    });
}

/// See `Backend::scatter`.
pub(crate) fn scatter(
    op: ScatterOp,
    x: &Tensor<Cpu>,
    dim: usize,
    index: &Tensor<Cpu>,
    src: &Tensor<Cpu>,
) -> Tensor<Cpu> {
    put("scatter", op, x, dim, index, src)
}

/// See `Backend::index_add`.
pub(crate) fn add(
    x: &Tensor<Cpu>,
    dim: usize,
    index: &Tensor<Cpu>,
    src: &Tensor<Cpu>,
) -> Tensor<Cpu> {
    if x.rank() == 0 {
        return add(&x.unsqueeze(0), 0, index, &src.reshape_to(&[1].into())).reshape_to(x.shape());
    }
    put("index_add", ScatterOp::Add, x, dim, &spread(index, dim, src.shape()), src)
}

fn put(
    name: &'static str,
    op: ScatterOp,
    x: &Tensor<Cpu>,
    dim: usize,
    index: &Tensor<Cpu>,
    src: &Tensor<Cpu>,
) -> Tensor<Cpu> {
    if x.rank() == 0 {
        let (index, src) = (index.unsqueeze(0), src.unsqueeze(0));
        return put(name, op, &x.unsqueeze(0), 0, &index, &src).reshape_to(x.shape());
    }
    let dtype = x.dtype();
    if is_narrow(dtype) && matches!(op, ScatterOp::Add | ScatterOp::Mul) {
        return put(name, op, &widen(x), dim, index, &widen(src)).to_dtype(dtype);
    }
    let mut out = Fresh::copy_of(x);
    if index.numel() == 0 {
        return out.finish();
    }
    let locked = Locked::read(&[index, src]);
    check(name, &locked, index, dim, x.shape());
    let work = Put { dim, index, src, shape: x.shape() };
    let to = &mut out;
    match (op, dtype) {
        (ScatterOp::Set, _) => by_size!(dtype, T => work.run::<T>(&locked, to, |_, new| new)),
        // Truth values: 0 or 1 in a byte.
        (ScatterOp::Add | ScatterOp::Max, DType::Bool) => {
            work.run::<u8>(&locked, to, |a, b| a | b);
        }
        (ScatterOp::Mul | ScatterOp::Min, DType::Bool) => {
            work.run::<u8>(&locked, to, |a, b| a & b);
        }
        (ScatterOp::Max, DType::F16) => work.run(&locked, to, half::f16::max_nan),
        (ScatterOp::Min, DType::F16) => work.run(&locked, to, half::f16::min_nan),
        (ScatterOp::Max, DType::BF16) => work.run(&locked, to, half::bf16::max_nan),
        (ScatterOp::Min, DType::BF16) => work.run(&locked, to, half::bf16::min_nan),
        (ScatterOp::Add, _) => by_number!(name, dtype, T => work.run(&locked, to, T::plus)),
        (ScatterOp::Mul, _) => by_number!(name, dtype, T => work.run(&locked, to, T::times)),
        (ScatterOp::Max, _) => by_number!(name, dtype, T => work.run(&locked, to, T::max_nan)),
        (ScatterOp::Min, _) => by_number!(name, dtype, T => work.run(&locked, to, T::min_nan)),
    }
    out.finish()
}

/// Writing `src` into a copy of a tensor of `shape`.
struct Put<'a> {
    dim: usize,
    index: &'a Tensor<Cpu>,
    src: &'a Tensor<Cpu>,
    shape: &'a Shape,
}

impl Put<'_> {
    /// Two writes to one place agree in all dims but `dim`. So the longest other dim is cut into
    /// parts, and inside a part the writes come in row-major order.
    fn run<T: Plain>(
        &self,
        locked: &Locked<'_>,
        out: &mut Fresh,
        f: impl Fn(T, T) -> T + Copy + Sync,
    ) {
        let shape = self.index.shape();
        let layout = Layout::contiguous(self.shape);
        let cut = (0..shape.rank()).filter(|&d| d != self.dim).max_by_key(|&d| shape[d]);
        let size = cut.map_or(1, |d| shape[d]);
        // Where the cut dim's elements lie side by side, a part keeps some of them together.
        let together = if cut == Some(shape.rank() - 1) { 16 } else { 1 };
        let parts = (self.index.numel() / GRAIN).clamp(1, size.div_ceil(together));
        let (indices, src) = (locked.slice::<i64>(self.index), locked.slice::<T>(self.src));
        let to = Shared(out.slice_mut::<T>().as_mut_ptr());
        parallel_for(parts, |part| {
            let (first, end) = (size * part / parts, size * (part + 1) / parts);
            let mut shape = shape.clone();
            let mut start = [self.index, self.src].map(|x| x.layout().offset() as isize);
            let mut to_start = 0;
            if let Some(dim) = cut {
                shape[dim] = end - first;
                start[0] += first as isize * self.index.strides()[dim];
                start[1] += first as isize * self.src.strides()[dim];
                to_start = first as isize * layout.strides()[dim];
            }
            self.part(&shape, &layout, [start[0], start[1], to_start], (indices, src), &to, f);
        });
    }

    fn part<T: Plain>(
        &self,
        shape: &Shape,
        layout: &Layout,
        start: [isize; 3],
        (indices, src): (&[i64], &[T]),
        to: &Shared<T>,
        f: impl Fn(T, T) -> T,
    ) {
        let along = layout.strides()[self.dim];
        let others = without(layout.strides(), self.dim);
        let walk = Walk::new(shape, [self.index.strides(), self.src.strides(), &others]);
        let [index_step, src_step, to_step] = walk.step;
        walk.each(0..walk.rows(), |at| {
            let [i, from, place] = [at[0] + start[0], at[1] + start[1], at[2] + start[2]];
            if index_step == 0 && src_step == 1 && to_step == 1 {
                let place = place + indices[i as usize] as isize * along;
                let from = &src[from as usize..][..walk.len];
                // SAFETY: the index is in range, so the row lies inside the output; other parts
                // write to other places.
                let to = unsafe { std::slice::from_raw_parts_mut(to.at(place as usize), walk.len) };
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = f(*to, from));
                return;
            }
            if index_step == 1 && src_step == 1 {
                let row = indices[i as usize..][..walk.len].iter().zip(&src[from as usize..]);
                for ((&chosen, &from), j) in row.zip(0..) {
                    let to = to.at((place + j * to_step + chosen as isize * along) as usize);
                    // SAFETY: as above.
                    unsafe { *to = f(*to, from) };
                }
                return;
            }
            for j in 0..walk.len as isize {
                let chosen = indices[(i + j * index_step) as usize] as isize;
                let to = to.at((place + j * to_step + chosen * along) as usize);
                // SAFETY: the index is in range, so the place lies inside the output; other parts
                // write to other places.
                unsafe { *to = f(*to, src[(from + j * src_step) as usize]) };
            }
        });
    }
}

/// A 1-d index seen as one of shape `shape` that varies along `dim` alone.
fn spread(index: &Tensor<Cpu>, dim: usize, shape: &Shape) -> Tensor<Cpu> {
    let mut strides: Strides = smallvec::smallvec![0; shape.rank()];
    strides[dim] = index.strides().first().copied().unwrap_or(0);
    index.with_layout(Layout::new(shape.clone(), strides, index.layout().offset()))
}

/// Raises for the first index that is not in `0..shape[dim]`.
pub(crate) fn check(
    op: &'static str,
    locked: &Locked<'_>,
    index: &Tensor<Cpu>,
    dim: usize,
    shape: &Shape,
) {
    let size = shape[dim];
    // Repeated elements are looked at once.
    let distinct: Shape = index
        .dims()
        .iter()
        .zip(index.strides())
        .map(|(&n, &s)| if s == 0 { n.min(1) } else { n })
        .collect();
    let values = locked.slice::<i64>(index);
    let walk = Walk::new(&distinct, [index.strides()]);
    let start = index.layout().offset() as isize;
    let wrong = AtomicUsize::new(usize::MAX);
    let rows = (GRAIN / walk.len.max(1)).max(1);
    parallel_for(walk.rows().div_ceil(rows), |chunk| {
        let first = chunk * rows;
        let mut row = first;
        walk.each(first..(first + rows).min(walk.rows()), |at| {
            let place = |j: usize| (at[0] + start + j as isize * walk.step[0]) as usize;
            if walk.step[0] == 1 && dispatch(Inside(&values[place(0)..][..walk.len], size)) {
                row += 1;
                return;
            }
            let outside = |j: usize| values[place(j)] as u64 >= size as u64;
            if (0..walk.len).fold(false, |any, j| any | outside(j)) {
                let j = (0..walk.len).find(|&j| outside(j)).expect("one is outside");
                wrong.fetch_min(row * walk.len + j, Relaxed);
            }
            row += 1;
        });
    });
    let wrong = wrong.into_inner();
    if wrong < usize::MAX {
        let mut index = 0;
        let row = wrong / walk.len;
        walk.each(row..row + 1, |at| {
            let place = at[0] + start + (wrong % walk.len) as isize * walk.step[0];
            index = values[place as usize];
        });
        raise(Error::Index { op, what: "index", index, size, shape: shape.clone(), called: None });
    }
}

/// Whether all these indices are below a size.
struct Inside<'a>(&'a [i64], usize);

impl Work for Inside<'_> {
    type Out = bool;
    /// The compiler makes vectors of it.
    #[inline(always)]
    fn run<A: Arch>(self) -> bool {
        let mut inside = true;
        for &index in self.0 {
            inside &= (index as u64) < self.1 as u64;
        }
        inside
    }
}

/// How scattered values combine. NaN wins over numbers, and of equals the older stays.
trait Combine: Copy {
    fn plus(self, new: Self) -> Self;
    fn times(self, new: Self) -> Self;
    fn max_nan(self, new: Self) -> Self;
    fn min_nan(self, new: Self) -> Self;
}

macro_rules! combine {
    ($plus:ident, $times:ident: $($T:ty)*) => {$(
        #[allow(clippy::eq_op, reason = "NaN differs from itself")]
        impl Combine for $T {
            fn plus(self, new: Self) -> Self {
                self.$plus(new)
            }
            fn times(self, new: Self) -> Self {
                self.$times(new)
            }
            fn max_nan(self, new: Self) -> Self {
                if new > self || (new != new && self == self) { new } else { self }
            }
            fn min_nan(self, new: Self) -> Self {
                if new < self || (new != new && self == self) { new } else { self }
            }
        }
    )*};
}
use std::ops::{Add, Mul};
combine!(add, mul: f64 f32 half::f16 half::bf16);
combine!(wrapping_add, wrapping_mul: i64 i32 i16 i8 u8);
