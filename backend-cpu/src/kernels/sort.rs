//! `sort` and `topk`: elements become unsigned keys that order as the elements do, and a key with its
//! position is unique, so a fast unstable sort of both is a stable one of the elements.

use half::{bf16, f16};
use kiln_tensor_core::{DType, Tensor};

use super::walk::{Walk, without};
use crate::Cpu;
use crate::kernels::workers::Shared;
use crate::storage::{Fresh, Locked, Plain};
use crate::threads::parallel_for;

/// Elements that one thread handles at a time.
const GRAIN: usize = 1 << 12;

/// See `Backend::sort`.
pub(crate) fn sort(x: &Tensor<Cpu>, dim: usize, descending: bool) -> (Tensor<Cpu>, Tensor<Cpu>) {
    let len = if x.rank() == 0 { 1 } else { x.dims()[dim] };
    ordered(x, len, dim, descending)
}

/// See `Backend::topk`.
pub(crate) fn topk(
    x: &Tensor<Cpu>,
    k: usize,
    dim: usize,
    largest: bool,
) -> (Tensor<Cpu>, Tensor<Cpu>) {
    ordered(x, k, dim, largest)
}

/// The first `k` elements along `dim` in order, and their positions.
fn ordered(x: &Tensor<Cpu>, k: usize, dim: usize, descending: bool) -> (Tensor<Cpu>, Tensor<Cpu>) {
    if x.rank() == 0 {
        let (values, positions) = ordered(&x.unsqueeze(0), k, 0, descending);
        return (values.squeeze(0), positions.squeeze(0));
    }
    match x.dtype() {
        DType::F64 => run::<f64>(x, k, dim, descending),
        DType::F32 => run::<f32>(x, k, dim, descending),
        DType::F16 => run::<f16>(x, k, dim, descending),
        DType::BF16 => run::<bf16>(x, k, dim, descending),
        DType::I64 => run::<i64>(x, k, dim, descending),
        DType::I32 => run::<i32>(x, k, dim, descending),
        DType::I16 => run::<i16>(x, k, dim, descending),
        DType::I8 => run::<i8>(x, k, dim, descending),
        DType::U8 | DType::Bool => run::<u8>(x, k, dim, descending),
    }
}

fn run<T: Key>(
    x: &Tensor<Cpu>,
    k: usize,
    dim: usize,
    descending: bool,
) -> (Tensor<Cpu>, Tensor<Cpu>) {
    let shape = x.shape().with(dim, k);
    let mut values = Fresh::new(&shape, x.dtype());
    let mut positions = Fresh::new(&shape, DType::I64);
    if shape.numel() > 0 {
        let locked = Locked::read(&[x]);
        let source = Lanes {
            data: locked.slice::<T>(x),
            len: x.dims()[dim],
            stride: x.strides()[dim],
            start: x.layout().offset() as isize,
            flip: if descending { T::Bits::ALL } else { T::Bits::NONE },
        };
        let out_strides = kiln_tensor_core::Layout::contiguous(&shape);
        let (from, to) = (without(x.strides(), dim), without(out_strides.strides(), dim));
        let out_stride = out_strides.strides()[dim] as usize;
        let walk = Walk::new(&shape.with(dim, 1), [&from, &to]);
        let (values, positions) = (
            Shared(values.slice_mut::<T>().as_mut_ptr()),
            Shared(positions.slice_mut::<i64>().as_mut_ptr()),
        );
        let lanes = walk.rows() * walk.len;
        let each = (GRAIN / source.len).max(1);
        parallel_for(lanes.div_ceil(each), |chunk| {
            let mut scratch = Vec::with_capacity(source.len);
            let lanes = chunk * each..((chunk + 1) * each).min(lanes);
            let rows = lanes.start / walk.len..lanes.end.div_ceil(walk.len);
            let mut lane = rows.start * walk.len;
            walk.each(rows, |at| {
                for j in 0..walk.len {
                    if lanes.contains(&(lane + j)) {
                        let from = at[0] + j as isize * walk.step[0];
                        let to = (at[1] + j as isize * walk.step[1]) as usize;
                        source.order(from, k, &mut scratch, |i, value, position| {
                            // SAFETY: `i < k`, so this is an element of lane `to` of the outputs,
                            // and each lane is written by one chunk.
                            unsafe {
                                *values.at(to + i * out_stride) = value;
                                *positions.at(to + i * out_stride) = position;
                            }
                        });
                    }
                }
                lane += walk.len;
            });
        });
    }
    (values.finish(), positions.finish())
}

/// The lanes along one dimension of a tensor.
struct Lanes<'a, T: Key> {
    data: &'a [T],
    len: usize,
    stride: isize,
    start: isize,
    /// Xored to the keys: all ones turn the order around, and leave that of equals as it is.
    flip: T::Bits,
}

impl<T: Key> Lanes<'_, T> {
    /// Gives the first `k` elements in order to `put`.
    fn order(
        &self,
        from: isize,
        k: usize,
        keyed: &mut Vec<(T::Bits, usize)>,
        mut put: impl FnMut(usize, T, i64),
    ) {
        let value = |i: usize| self.data[(self.start + from + i as isize * self.stride) as usize];
        keyed.clear();
        let entry = |i: usize| (value(i).key().xor(self.flip), i);
        if k > self.len / 4 {
            keyed.extend((0..self.len).map(entry));
        } else {
            // Only what comes before the k-th so far; of equals, the earlier stays.
            let room = (4 * k).max(64);
            let mut last = T::Bits::ALL;
            for i in 0..self.len {
                let (key, i) = entry(i);
                if key < last || i < k {
                    keyed.push((key, i));
                    if keyed.len() == room {
                        keyed.select_nth_unstable(k - 1);
                        keyed.truncate(k);
                        last = keyed[k - 1].0;
                    }
                }
            }
        }
        if k < keyed.len() {
            keyed.select_nth_unstable(k - 1);
        }
        keyed[..k].sort_unstable();
        for (i, &(_, position)) in keyed[..k].iter().enumerate() {
            put(i, value(position), position as i64);
        }
    }
}

/// Bits that order as numbers.
trait Bits: Copy + Ord + Send + Sync {
    const NONE: Self;
    const ALL: Self;
    fn xor(self, other: Self) -> Self;
}

/// An element whose order an unsigned number can express: NaN last, and −0 equal to 0.
trait Key: Plain {
    type Bits: Bits;
    fn key(self) -> Self::Bits;
}

macro_rules! bits {
    ($($B:ty)*) => {$(
        impl Bits for $B {
            const NONE: $B = 0;
            const ALL: $B = <$B>::MAX;
            fn xor(self, other: $B) -> $B {
                self ^ other
            }
        }
    )*};
}
bits!(u64 u32 u16 u8);

macro_rules! key {
    (float: $($T:ty, $B:ty;)*) => {$(
        impl Key for $T {
            type Bits = $B;
            fn key(self) -> $B {
                const SIGN: $B = 1 << (<$B>::BITS - 1);
                if self.is_nan() {
                    return <$B>::MAX;
                }
                let bits = self.to_bits();
                // −0 would come before 0; numbers below zero order backwards.
                let bits = if bits == SIGN { 0 } else { bits };
                // All bits are turned, or the sign alone; signs have no order to predict a branch by.
                let negative = (bits >> (<$B>::BITS - 1)).wrapping_neg();
                bits ^ (negative | SIGN)
            }
        }
    )*};
    (signed: $($T:ty, $B:ty;)*) => {$(
        impl Key for $T {
            type Bits = $B;
            fn key(self) -> $B {
                (self as $B) ^ (1 << (<$B>::BITS - 1))
            }
        }
    )*};
}
key!(float: f64, u64; f32, u32; f16, u16; bf16, u16;);
key!(signed: i64, u64; i32, u32; i16, u16; i8, u8;);

impl Key for u8 {
    type Bits = u8;
    fn key(self) -> u8 {
        self
    }
}
