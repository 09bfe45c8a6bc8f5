//! Elementwise programs over blocks of elements.
//!
//! `program` translates an `Expr` once into instructions on registers (blocks of up to [`BLOCK`]
//! elements), `float`, `int` and `convert` hold what an instruction runs, `chain` joins
//! such, `place` says where elements are,
//! `block` feeds blocks of them through a program, `tiles` those of transposed operands.

mod block;
mod chain;
mod convert;
mod float;
mod int;
mod place;
mod program;
mod tiles;

pub(crate) use block::{Job, Runner};
pub(crate) use place::{Operand, Place};
pub(crate) use program::{Program, program, wide_program};
pub(crate) use tiles::Tiles;

use super::simd::{Arch, Level};

/// Elements of a block: small ones let loading, computing and storing overlap.
pub(crate) const BLOCK: usize = 256;

/// Where a register's elements are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register {
    pub(crate) ptr: *mut u8,
    /// 1, or 0 where the first sixteen elements (all equal) stand for every element.
    pub(crate) step: usize,
}

/// A block that instructions run on.
pub(crate) struct Frame<'a> {
    pub(crate) registers: &'a [Register],
    /// How many elements: a multiple of sixteen.
    pub(crate) len: usize,
    /// The row-major number of the first element.
    pub(crate) index: usize,
    /// The program's parameters as integers, for random numbers.
    pub(crate) numbers: &'a [u64],
}

/// One step: what to run, on which registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) run: Run,
    pub(crate) to: u16,
    pub(crate) from: [u16; 4],
}

/// Runs a step on a block.
///
/// # Safety
/// The registers hold as many elements of the types that the step was made for as the frame says, and
/// the machine has the level that it was made for.
pub(crate) type Run = unsafe fn(&Frame<'_>, &Step);

/// What a step runs, at any level.
pub(crate) trait Body {
    /// # Safety
    /// As [`Run`].
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step);
}

/// A body at a level.
pub(crate) fn at<B: Body>(level: Level) -> Run {
    #[cfg(target_arch = "x86_64")]
    use super::simd::{Avx2, Avx512};
    /// # Safety
    /// As [`Run`].
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
    unsafe fn avx512<B: Body>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe { B::run::<Avx512>(frame, step) }
    }
    /// # Safety
    /// As [`Run`].
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,f16c")]
    unsafe fn avx2<B: Body>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe { B::run::<Avx2>(frame, step) }
    }
    match level {
        Level::Scalar => B::run::<super::simd::Scalar>,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => avx2::<B>,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => avx512::<B>,
    }
}

impl Frame<'_> {
    /// The elements of a register as `T`, and their step.
    ///
    /// # Safety
    /// The register exists.
    #[inline(always)]
    unsafe fn at<T>(&self, register: u16) -> (*mut T, usize) {
        // SAFETY: by the caller's word.
        let register = unsafe { self.registers.get_unchecked(usize::from(register)) };
        (register.ptr.cast(), register.step)
    }
}
