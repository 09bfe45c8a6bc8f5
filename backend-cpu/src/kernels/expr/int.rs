//! Steps on integers and bools (a byte, 0 or 1): plain loops over sixteen lanes, which the compiler
//! turns into vectors.

use std::marker::PhantomData;

use kiln_tensor_core::expr::{BinaryOp, CmpOp, UnaryOp};

use super::{Body, Frame, Run, Step, at};
use crate::kernels::simd::{Arch, GROUP, Level};

/// The types of these steps.
pub(super) trait Int: Copy + Ord + 'static {
    fn unary(op: UnaryOp, level: Level) -> Run;
    fn binary(op: BinaryOp, level: Level) -> Run;
}

/// Runs `f` on groups of lanes. A group is read before it is written, so registers may coincide.
///
/// # Safety
/// As [`Run`]: `T` in the first register read, `U` in the one written.
#[inline(always)]
pub(super) unsafe fn lanes1<T: Copy, U: Copy>(frame: &Frame<'_>, step: &Step, f: impl Fn(T) -> U) {
    // SAFETY: by the caller's word.
    unsafe {
        let (to, _) = frame.at::<U>(step.to);
        let (a, sa) = frame.at::<T>(step.from[0]);
        for i in (0..frame.len).step_by(GROUP) {
            let x = a.add(i * sa).cast::<[T; GROUP]>().read_unaligned();
            to.add(i).cast::<[U; GROUP]>().write_unaligned(x.map(&f));
        }
    }
}

/// Like `lanes1`, for two operands of one type.
///
/// # Safety
/// As [`Run`].
#[inline(always)]
pub(super) unsafe fn lanes2<T: Copy, U: Copy>(
    frame: &Frame<'_>,
    step: &Step,
    f: impl Fn(T, T) -> U,
) {
    // SAFETY: by the caller's word.
    unsafe {
        let (to, _) = frame.at::<U>(step.to);
        let (a, sa) = frame.at::<T>(step.from[0]);
        let (b, sb) = frame.at::<T>(step.from[1]);
        for i in (0..frame.len).step_by(GROUP) {
            let x = a.add(i * sa).cast::<[T; GROUP]>().read_unaligned();
            let y = b.add(i * sb).cast::<[T; GROUP]>().read_unaligned();
            let z: [U; GROUP] = std::array::from_fn(|lane| f(x[lane], y[lane]));
            to.add(i).cast::<[U; GROUP]>().write_unaligned(z);
        }
    }
}

macro_rules! body {
    ($name:ident<$T:ident>, $lanes:ident($($x:ident),*) = $f:expr) => {{
        struct $name;
        impl Body for $name {
            #[inline(always)]
            unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
                // SAFETY: by the caller's word.
                unsafe { $lanes::<$T, _>(frame, step, |$($x: $T),*| $f) }
            }
        }
        at::<$name>
    }};
}

macro_rules! int {
    ($($T:ident),*) => {$(
        impl Int for $T {
            fn unary(op: UnaryOp, level: Level) -> Run {
                let run = match op {
                    UnaryOp::Neg => body!(Neg<$T>, lanes1(x) = x.wrapping_neg()),
                    UnaryOp::Abs => body!(Abs<$T>, lanes1(x) = x.wrapping_abs()),
                    UnaryOp::Sign => body!(Sign<$T>, lanes1(x) = x.signum()),
                    UnaryOp::Not => body!(Not<$T>, lanes1(x) = !x),
                    other => unreachable!("{other:?} on integers"),
                };
                run(level)
            }

            fn binary(op: BinaryOp, level: Level) -> Run {
                let run = match op {
                    BinaryOp::Add => body!(Add<$T>, lanes2(x, y) = x.wrapping_add(y)),
                    BinaryOp::Sub => body!(Sub<$T>, lanes2(x, y) = x.wrapping_sub(y)),
                    BinaryOp::Mul => body!(Mul<$T>, lanes2(x, y) = x.wrapping_mul(y)),
                    BinaryOp::Div => {
                        body!(Div<$T>, lanes2(x, y) = if y == 0 { 0 } else { x.wrapping_div(y) })
                    }
                    BinaryOp::Rem => {
                        body!(Rem<$T>, lanes2(x, y) = if y == 0 { 0 } else { x.wrapping_rem(y) })
                    }
                    BinaryOp::Pow => body!(Pow<$T>, lanes2(x, y) = {
                        let (mut result, mut square, mut left): ($T, $T, $T) = (1, x, y);
                        while left > 0 {
                            if left & 1 == 1 {
                                result = result.wrapping_mul(square);
                            }
                            square = square.wrapping_mul(square);
                            left >>= 1;
                        }
                        match (y < 0, x) {
                            (false, _) => result,
                            (true, 1) => 1,
                            (true, -1) => 1 - 2 * (y & 1),
                            (true, _) => 0,
                        }
                    }),
                    BinaryOp::Max => body!(Max<$T>, lanes2(x, y) = x.max(y)),
                    BinaryOp::Min => body!(Min<$T>, lanes2(x, y) = x.min(y)),
                    BinaryOp::And => body!(And<$T>, lanes2(x, y) = x & y),
                    BinaryOp::Or => body!(Or<$T>, lanes2(x, y) = x | y),
                    BinaryOp::Xor => body!(Xor<$T>, lanes2(x, y) = x ^ y),
                    BinaryOp::Gcd => body!(Gcd<$T>, lanes2(x, y) = {
                        let (mut x, mut y): ($T, $T) = (x, y);
                        while y != 0 {
                            (x, y) = (y, x.wrapping_rem(y));
                        }
                        x.wrapping_abs()
                    }),
                    BinaryOp::Atan2 | BinaryOp::Zeta | BinaryOp::NextAfter => {
                        unreachable!("{op:?} on integers")
                    }
                };
                run(level)
            }
        }
    )*};
}
int!(i32, i64);

/// Bools.
impl Int for u8 {
    fn unary(op: UnaryOp, level: Level) -> Run {
        let run = match op {
            UnaryOp::Not => body!(Not<u8>, lanes1(x) = x ^ 1),
            // The others leave a truth value as it is.
            _ => body!(Same<u8>, lanes1(x) = x),
        };
        run(level)
    }

    fn binary(op: BinaryOp, level: Level) -> Run {
        let run = match op {
            BinaryOp::Add | BinaryOp::Max | BinaryOp::Or => body!(Or<u8>, lanes2(x, y) = x | y),
            BinaryOp::Mul | BinaryOp::Min | BinaryOp::And => body!(And<u8>, lanes2(x, y) = x & y),
            BinaryOp::Xor | BinaryOp::Sub => body!(Xor<u8>, lanes2(x, y) = x ^ y),
            other => unreachable!("{other:?} on bools"),
        };
        run(level)
    }
}

/// What runs a function of one integer or bool.
pub(super) fn unary<T: Int>(op: UnaryOp, level: Level) -> Run {
    T::unary(op, level)
}

/// What runs a function of two integers or bools.
pub(super) fn binary<T: Int>(op: BinaryOp, level: Level) -> Run {
    T::binary(op, level)
}

struct Compare<T, const OP: u8>(PhantomData<T>);

impl<T: Int, const OP: u8> Body for Compare<T, OP> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            lanes2::<T, u8>(frame, step, |x, y| {
                u8::from(match OP {
                    0 => x == y,
                    1 => x != y,
                    2 => x < y,
                    3 => x <= y,
                    4 => x > y,
                    _ => x >= y,
                })
            });
        }
    }
}

/// What compares two integers.
pub(super) fn compare<T: Int>(op: CmpOp, level: Level) -> Run {
    match op {
        CmpOp::Eq => at::<Compare<T, 0>>(level),
        CmpOp::Ne => at::<Compare<T, 1>>(level),
        CmpOp::Lt => at::<Compare<T, 2>>(level),
        CmpOp::Le => at::<Compare<T, 3>>(level),
        CmpOp::Gt => at::<Compare<T, 4>>(level),
        CmpOp::Ge => at::<Compare<T, 5>>(level),
    }
}

struct Select<T>(PhantomData<T>);

impl<T: Int> Body for Select<T> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let (to, _) = frame.at::<T>(step.to);
            let (mask, sm) = frame.at::<u8>(step.from[0]);
            let (a, sa) = frame.at::<T>(step.from[1]);
            let (b, sb) = frame.at::<T>(step.from[2]);
            for i in (0..frame.len).step_by(GROUP) {
                let m = mask.add(i * sm).cast::<[u8; GROUP]>().read_unaligned();
                let x = a.add(i * sa).cast::<[T; GROUP]>().read_unaligned();
                let y = b.add(i * sb).cast::<[T; GROUP]>().read_unaligned();
                let z: [T; GROUP] =
                    std::array::from_fn(|lane| if m[lane] != 0 { x[lane] } else { y[lane] });
                to.add(i).cast::<[T; GROUP]>().write_unaligned(z);
            }
        }
    }
}

/// What chooses between two integers by a bool.
pub(super) fn select<T: Int>(level: Level) -> Run {
    at::<Select<T>>(level)
}
