//! Steps between types: loads of narrow elements, casts, stores, and the leaves that make numbers.

use std::marker::PhantomData;

use half::bf16;
use kiln_tensor_core::{DType, philox};

use super::int::lanes1;
use super::{Body, Frame, Run, Step, at};
use crate::kernels::simd::{Arch, GROUP, Level};

/// A conversion of one element.
trait Convert {
    type From: Copy;
    type To: Copy;
    fn convert(x: Self::From) -> Self::To;
}

struct Each<C>(PhantomData<C>);

impl<C: Convert> Body for Each<C> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe { lanes1::<C::From, C::To>(frame, step, C::convert) }
    }
}

struct As<T, U>(PhantomData<(T, U)>);

macro_rules! as_casts {
    ($($T:ident => $($U:ident),*;)*) => {$($(
        impl Convert for As<$T, $U> {
            type From = $T;
            type To = $U;
            #[inline(always)]
            fn convert(x: $T) -> $U {
                x as $U
            }
        }
    )*)*};
}
as_casts! {
    f64 => f32, i64, i32;
    f32 => f64, i64, i32;
    i64 => f64, f32, i32;
    i32 => f64, f32, i64, i16, i8, u8;
    i16 => i32;
    i8 => i32;
    u8 => f64, f32, i64, i32;
}

/// Whether a number differs from zero.
struct Truth<T>(PhantomData<T>);

impl<T: Copy + PartialEq + Default> Convert for Truth<T> {
    type From = T;
    type To = u8;
    #[inline(always)]
    fn convert(x: T) -> u8 {
        u8::from(x != T::default())
    }
}

struct Same<T>(PhantomData<T>);

impl<T: Copy> Convert for Same<T> {
    type From = T;
    type To = T;
    #[inline(always)]
    fn convert(x: T) -> T {
        x
    }
}

struct FromBf16;

impl Convert for FromBf16 {
    type From = u16;
    type To = f32;
    #[inline(always)]
    fn convert(x: u16) -> f32 {
        f32::from_bits(u32::from(x) << 16)
    }
}

struct ToBf16;

impl Convert for ToBf16 {
    type From = f32;
    type To = u16;
    #[inline(always)]
    fn convert(x: f32) -> u16 {
        bf16::from_f32(x).to_bits()
    }
}

struct FromF16;

impl Body for FromF16 {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let ((to, _), (a, sa)) = (frame.at::<f32>(step.to), frame.at::<u16>(step.from[0]));
            for i in (0..frame.len).step_by(GROUP) {
                A::f16_to_f32(a.add(i * sa), to.add(i));
            }
        }
    }
}

struct ToF16;

impl Body for ToF16 {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let ((to, _), (a, sa)) = (frame.at::<u16>(step.to), frame.at::<f32>(step.from[0]));
            for i in (0..frame.len).step_by(GROUP) {
                A::f32_to_f16(a.add(i * sa), to.add(i));
            }
        }
    }
}

/// What brings stored elements into their compute type; `None` where they are in it.
pub(super) fn load(dtype: DType, level: Level) -> Option<Run> {
    Some(match dtype {
        DType::F16 => at::<FromF16>(level),
        DType::BF16 => at::<Each<FromBf16>>(level),
        DType::I16 => at::<Each<As<i16, i32>>>(level),
        DType::I8 => at::<Each<As<i8, i32>>>(level),
        DType::U8 => at::<Each<As<u8, i32>>>(level),
        DType::F64 | DType::F32 | DType::I64 | DType::I32 | DType::Bool => return None,
    })
}

/// What stores elements of the compute type of `dtype` as `dtype`: rounds, wraps or copies.
pub(super) fn store(dtype: DType, level: Level) -> Run {
    match dtype {
        DType::F16 => at::<ToF16>(level),
        DType::BF16 => at::<Each<ToBf16>>(level),
        DType::I16 => at::<Each<As<i32, i16>>>(level),
        DType::I8 => at::<Each<As<i32, i8>>>(level),
        DType::U8 => at::<Each<As<i32, u8>>>(level),
        DType::F64 | DType::I64 => at::<Each<Same<u64>>>(level),
        DType::F32 | DType::I32 => at::<Each<Same<u32>>>(level),
        DType::Bool => at::<Each<Same<u8>>>(level),
    }
}

/// What copies elements that are `size` bytes long.
pub(super) fn copy(size: usize, level: Level) -> Run {
    match size {
        8 => at::<Each<Same<u64>>>(level),
        4 => at::<Each<Same<u32>>>(level),
        2 => at::<Each<Same<u16>>>(level),
        _ => at::<Each<Same<u8>>>(level),
    }
}

/// What converts between compute types; `None` where they are the same.
pub(super) fn cast(from: DType, to: DType, level: Level) -> Option<Run> {
    use DType::{Bool, F32, F64, I32, I64};
    Some(match (from, to) {
        (F64, F32) => at::<Each<As<f64, f32>>>(level),
        (F64, I64) => at::<Each<As<f64, i64>>>(level),
        (F64, I32) => at::<Each<As<f64, i32>>>(level),
        (F64, Bool) => at::<Each<Truth<f64>>>(level),
        (F32, F64) => at::<Each<As<f32, f64>>>(level),
        (F32, I64) => at::<Each<As<f32, i64>>>(level),
        (F32, I32) => at::<Each<As<f32, i32>>>(level),
        (F32, Bool) => at::<Each<Truth<f32>>>(level),
        (I64, F64) => at::<Each<As<i64, f64>>>(level),
        (I64, F32) => at::<Each<As<i64, f32>>>(level),
        (I64, I32) => at::<Each<As<i64, i32>>>(level),
        (I64, Bool) => at::<Each<Truth<i64>>>(level),
        (I32, F64) => at::<Each<As<i32, f64>>>(level),
        (I32, F32) => at::<Each<As<i32, f32>>>(level),
        (I32, I64) => at::<Each<As<i32, i64>>>(level),
        (I32, Bool) => at::<Each<Truth<i32>>>(level),
        (Bool, F64) => at::<Each<As<u8, f64>>>(level),
        (Bool, F32) => at::<Each<As<u8, f32>>>(level),
        (Bool, I64) => at::<Each<As<u8, i64>>>(level),
        (Bool, I32) => at::<Each<As<u8, i32>>>(level),
        _ => return None,
    })
}

struct Wrap<T>(PhantomData<T>);

macro_rules! wraps {
    ($($T:ident),*) => {$(
        impl Convert for Wrap<$T> {
            type From = i32;
            type To = i32;
            #[inline(always)]
            fn convert(x: i32) -> i32 {
                i32::from(x as $T)
            }
        }
    )*};
}
wraps!(i16, i8, u8);

/// What keeps the low bits of a narrow integer; `None` where the dtype is not narrow.
pub(super) fn wrap(dtype: DType, level: Level) -> Option<Run> {
    Some(match dtype {
        DType::I16 => at::<Each<Wrap<i16>>>(level),
        DType::I8 => at::<Each<Wrap<i8>>>(level),
        DType::U8 => at::<Each<Wrap<u8>>>(level),
        _ => return None,
    })
}

/// Uniform numbers with so many random bits; `from` are the numbers of the seed and the stream.
struct Uniform<const BITS: u32>;
struct UniformF64;

impl<const BITS: u32> Body for Uniform<BITS> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        let [seed, stream] = [step.from[0], step.from[1]].map(|i| frame.numbers[usize::from(i)]);
        let unit = 1.0 / (1u32 << BITS) as f32;
        // SAFETY: by the caller's word.
        let (to, _) = unsafe { frame.at::<f32>(step.to) };
        for i in (0..frame.len).step_by(GROUP) {
            let first = (frame.index + i) as u64;
            let words = if first.is_multiple_of(4) {
                words16(seed, stream, first / 4)
            } else {
                std::array::from_fn(|lane| {
                    let at = first + lane as u64;
                    philox::words(seed, stream, at / 4)[(at % 4) as usize]
                })
            };
            let numbers = words.map(|word| (word >> (32 - BITS)) as f32 * unit);
            // SAFETY: by the caller's word.
            unsafe { to.add(i).cast::<[f32; GROUP]>().write_unaligned(numbers) }
        }
    }
}

/// The words of four consecutive blocks; the rounds run side by side.
#[inline(always)]
fn words16(seed: u64, stream: u64, number: u64) -> [u32; GROUP] {
    let mut out = [0; GROUP];
    let blocks: [[u32; 4]; 4] = side_by_side(seed, stream, number);
    for (block, words) in out.chunks_exact_mut(4).zip(blocks) {
        block.copy_from_slice(&words);
    }
    out
}

#[inline(always)]
fn side_by_side<const N: usize>(seed: u64, stream: u64, number: u64) -> [[u32; 4]; N] {
    std::array::from_fn(|i| philox::words(seed, stream, number + i as u64))
}

impl Body for UniformF64 {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        let [seed, stream] = [step.from[0], step.from[1]].map(|i| frame.numbers[usize::from(i)]);
        // SAFETY: by the caller's word.
        let (to, _) = unsafe { frame.at::<f64>(step.to) };
        for i in 0..frame.len {
            let u = philox::uniform(seed, stream, (frame.index + i) as u64, DType::F64);
            // SAFETY: by the caller's word.
            unsafe { to.add(i).write(u) }
        }
    }
}

/// What draws uniform numbers of a float dtype.
pub(super) fn uniform(dtype: DType, level: Level) -> Run {
    match dtype {
        DType::F64 => at::<UniformF64>(level),
        DType::F16 => at::<Uniform<{ philox::mantissa(DType::F16) }>>(level),
        DType::BF16 => at::<Uniform<{ philox::mantissa(DType::BF16) }>>(level),
        _ => at::<Uniform<{ philox::mantissa(DType::F32) }>>(level),
    }
}

struct Index;

impl Body for Index {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        let (to, _) = unsafe { frame.at::<i64>(step.to) };
        for i in 0..frame.len {
            // SAFETY: by the caller's word.
            unsafe { to.add(i).write((frame.index + i) as i64) }
        }
    }
}

/// What numbers the elements in row-major order.
pub(super) fn index(level: Level) -> Run {
    at::<Index>(level)
}
