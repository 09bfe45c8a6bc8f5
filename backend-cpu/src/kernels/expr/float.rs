//! Steps on floats.

use std::marker::PhantomData;

use kiln_tensor_core::DType;
use kiln_tensor_core::expr::{BinaryOp, CmpOp, UnaryOp, special};

use super::{Body, Frame, Run, Step, at};
use crate::kernels::math::{self, Math};
use crate::kernels::simd::{Arch, Float, Level};

trait Op1 {
    fn f<E: Math, A: Arch>(x: E::V<A>) -> E::V<A>;
}

pub(super) trait Op2 {
    fn f<E: Math, A: Arch>(a: E::V<A>, b: E::V<A>) -> E::V<A>;
}

trait Test {
    fn f<V: Float>(a: V, b: V) -> V::Mask;
}

struct Unary<E, K>(PhantomData<(E, K)>);
struct Binary<E, K>(PhantomData<(E, K)>);
struct Compare<E, K>(PhantomData<(E, K)>);
struct CompareSelect<E, K>(PhantomData<(E, K)>);
struct Select<E>(PhantomData<E>);
struct Power<E>(PhantomData<E>);

impl<E: Math, K: Op1> Body for Unary<E, K> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let (to, _) = frame.at::<E>(step.to);
            let (a, sa) = frame.at::<E>(step.from[0]);
            for i in (0..frame.len).step_by(E::V::<A>::N) {
                K::f::<E, A>(E::V::<A>::load(a.add(i * sa))).store(to.add(i));
            }
        }
    }
}

/// Runs `f` on pairs of vectors.
///
/// # Safety
/// As [`Run`].
#[inline(always)]
unsafe fn pairs<E: Math, A: Arch>(
    frame: &Frame<'_>,
    step: &Step,
    f: impl Fn(E::V<A>, E::V<A>) -> E::V<A>,
) {
    // SAFETY: by the caller's word.
    unsafe {
        let (to, _) = frame.at::<E>(step.to);
        let (a, sa) = frame.at::<E>(step.from[0]);
        let (b, sb) = frame.at::<E>(step.from[1]);
        for i in (0..frame.len).step_by(E::V::<A>::N) {
            let (x, y) = (E::V::<A>::load(a.add(i * sa)), E::V::<A>::load(b.add(i * sb)));
            f(x, y).store(to.add(i));
        }
    }
}

impl<E: Math, K: Op2> Body for Binary<E, K> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe { pairs::<E, A>(frame, step, K::f::<E, A>) }
    }
}

impl<E: Math> Body for Power<E> {
    /// A whole exponent that all elements share is a few multiplications.
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let (b, shared) = frame.at::<E>(step.from[1]);
            let exponent = (*b).to_f64();
            if shared == 0 && exponent.fract() == 0.0 && exponent.abs() <= 8.0 {
                let n = exponent.abs() as u32;
                pairs::<E, A>(frame, step, |x, _| {
                    let mut y = E::V::<A>::num(1.0);
                    for bit in (0..4).rev() {
                        y = y.mul(y);
                        if n >> bit & 1 == 1 {
                            y = y.mul(x);
                        }
                    }
                    if exponent < 0.0 { E::V::<A>::num(1.0).div(y) } else { y }
                });
            } else {
                pairs::<E, A>(frame, step, |x, y| {
                    x.lanes2(y, |x, y| E::from_f64(x.to_f64().powf(y.to_f64())))
                });
            }
        }
    }
}

impl<E: Math, K: Test> Body for Compare<E, K> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let (to, _) = frame.at::<u8>(step.to);
            let (a, sa) = frame.at::<E>(step.from[0]);
            let (b, sb) = frame.at::<E>(step.from[1]);
            for i in (0..frame.len).step_by(E::V::<A>::N) {
                let (x, y) = (E::V::<A>::load(a.add(i * sa)), E::V::<A>::load(b.add(i * sb)));
                E::V::<A>::store_mask(K::f(x, y), to.add(i));
            }
        }
    }
}

impl<E: Math, K: Test> Body for CompareSelect<E, K> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let (to, _) = frame.at::<E>(step.to);
            let from = step.from.map(|register| frame.at::<E>(register));
            for i in (0..frame.len).step_by(E::V::<A>::N) {
                let [a, b, yes, no] = from.map(|(p, step)| E::V::<A>::load(p.add(i * step)));
                E::V::<A>::select(K::f(a, b), yes, no).store(to.add(i));
            }
        }
    }
}

impl<E: Math> Body for Select<E> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe {
            let (to, _) = frame.at::<E>(step.to);
            let (mask, sm) = frame.at::<u8>(step.from[0]);
            let (a, sa) = frame.at::<E>(step.from[1]);
            let (b, sb) = frame.at::<E>(step.from[2]);
            for i in (0..frame.len).step_by(E::V::<A>::N) {
                let mask = E::V::<A>::load_mask(mask.add(i * sm));
                let (x, y) = (E::V::<A>::load(a.add(i * sa)), E::V::<A>::load(b.add(i * sb)));
                E::V::<A>::select(mask, x, y).store(to.add(i));
            }
        }
    }
}

macro_rules! unary_ops {
    ($($op:ident($x:ident) = $f:expr;)*) => {
        $(
            struct $op;
            impl Op1 for $op {
                #[inline(always)]
                fn f<E: Math, A: Arch>($x: E::V<A>) -> E::V<A> {
                    $f
                }
            }
        )*

        /// What runs a function of one float. Not for the tests `IsNan` and `IsInf`.
        pub(super) fn unary<E: Math>(op: UnaryOp, level: Level) -> Run {
            match op {
                $(UnaryOp::$op => at::<Unary<E, $op>>(level),)*
                UnaryOp::Not | UnaryOp::IsNan | UnaryOp::IsInf => {
                    unreachable!("{op:?} gives no float")
                }
            }
        }
    };
}

/// A function of each lane in `f64`.
#[inline(always)]
fn wide<E: Math, A: Arch>(x: E::V<A>, f: impl Fn(f64) -> f64) -> E::V<A> {
    x.lanes(|x| E::from_f64(f(x.to_f64())))
}

unary_ops! {
    Neg(x) = x.neg();
    Abs(x) = x.abs();
    Sign(x) = {
        let zero = E::V::<A>::num(0.0);
        let sign = E::V::<A>::num(1.0).flip_sign(x);
        let y = E::V::<A>::select(x.eq(zero), x, sign);
        E::V::<A>::select(x.ne(x), x, y)
    };
    Floor(x) = x.floor();
    Ceil(x) = x.ceil();
    Round(x) = x.round();
    Trunc(x) = x.trunc();
    Sqrt(x) = x.sqrt();
    Exp(x) = math::exp::<E, A>(x);
    Expm1(x) = math::expm1::<E, A>(x);
    Log(x) = math::log::<E, A>(x);
    Log2(x) = math::log2::<E, A>(x);
    Log10(x) = math::log10::<E, A>(x);
    Log1p(x) = math::log1p::<E, A>(x);
    Sin(x) = math::sin::<E, A>(x);
    Cos(x) = math::cos::<E, A>(x);
    Tan(x) = math::tan::<E, A>(x);
    Asin(x) = wide::<E, A>(x, f64::asin);
    Acos(x) = wide::<E, A>(x, f64::acos);
    Atan(x) = wide::<E, A>(x, f64::atan);
    Sinh(x) = math::sinh::<E, A>(x);
    Cosh(x) = math::cosh::<E, A>(x);
    Tanh(x) = math::tanh::<E, A>(x);
    Asinh(x) = wide::<E, A>(x, libm::asinh);
    Acosh(x) = wide::<E, A>(x, libm::acosh);
    Atanh(x) = wide::<E, A>(x, libm::atanh);
    Erf(x) = E::erf::<A>(x);
    Erfc(x) = wide::<E, A>(x, libm::erfc);
    Erfinv(x) = wide::<E, A>(x, special::erfinv);
    Lgamma(x) = wide::<E, A>(x, libm::lgamma);
    Digamma(x) = wide::<E, A>(x, special::digamma);
    I0e(x) = wide::<E, A>(x, special::i0e);
    I1e(x) = wide::<E, A>(x, special::i1e);
}

macro_rules! binary_ops {
    ($($op:ident($a:ident, $b:ident) = $f:expr;)*) => {
        pub(super) mod two {
            use super::*;
            $(
                pub(in crate::kernels::expr) struct $op;
                impl Op2 for $op {
                    #[inline(always)]
                    fn f<E: Math, A: Arch>($a: E::V<A>, $b: E::V<A>) -> E::V<A> {
                        $f
                    }
                }
            )*
        }

        /// What runs a function of two floats.
        pub(super) fn binary<E: Math>(op: BinaryOp, level: Level) -> Run {
            match op {
                $(BinaryOp::$op => at::<Binary<E, two::$op>>(level),)*
                BinaryOp::Pow => at::<Power<E>>(level),
                BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Gcd => {
                    unreachable!("{op:?} on floats")
                }
            }
        }
    };
}
binary_ops! {
    Add(a, b) = a.add(b);
    Sub(a, b) = a.sub(b);
    Mul(a, b) = a.mul(b);
    Div(a, b) = a.div(b);
    Rem(a, b) = a.lanes2(b, |a, b| E::from_f64(a.to_f64() % b.to_f64()));
    Max(a, b) = a.max(b);
    Min(a, b) = a.min(b);
    Atan2(a, b) = a.lanes2(b, |a, b| E::from_f64(a.to_f64().atan2(b.to_f64())));
    Zeta(a, b) = a.lanes2(b, |a, b| E::from_f64(special::zeta(a.to_f64(), b.to_f64())));
    NextAfter(a, b) = a.lanes2(b, E::next_after);
}

macro_rules! tests {
    ($($op:ident $f:ident;)*) => {
        mod test {
            use super::*;
            $(
                pub(super) struct $op;
                impl Test for $op {
                    #[inline(always)]
                    fn f<V: Float>(a: V, b: V) -> V::Mask {
                        a.$f(b)
                    }
                }
            )*
        }

        /// What compares two floats.
        pub(super) fn compare<E: Math>(op: CmpOp, level: Level) -> Run {
            match op {
                $(CmpOp::$op => at::<Compare<E, test::$op>>(level),)*
            }
        }

        /// What compares two floats and chooses between two others.
        pub(super) fn compare_select<E: Math>(op: CmpOp, level: Level) -> Run {
            match op {
                $(CmpOp::$op => at::<CompareSelect<E, test::$op>>(level),)*
            }
        }
    };
}
tests! { Eq eq; Ne ne; Lt lt; Le le; Gt gt; Ge ge; }

/// What chooses between two floats by a bool.
pub(super) fn select<E: Math>(level: Level) -> Run {
    at::<Select<E>>(level)
}

struct IsNan<E>(PhantomData<E>);
struct IsInf<E>(PhantomData<E>);

/// Runs `f` on vectors and stores masks.
///
/// # Safety
/// As [`Run`].
#[inline(always)]
unsafe fn classify<V: Float>(frame: &Frame<'_>, step: &Step, f: impl Fn(V) -> V::Mask) {
    // SAFETY: by the caller's word.
    unsafe {
        let (to, _) = frame.at::<u8>(step.to);
        let (a, sa) = frame.at::<V::Elem>(step.from[0]);
        for i in (0..frame.len).step_by(V::N) {
            V::store_mask(f(V::load(a.add(i * sa))), to.add(i));
        }
    }
}

impl<E: Math> Body for IsNan<E> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe { classify::<E::V<A>>(frame, step, |x| x.ne(x)) }
    }
}

impl<E: Math> Body for IsInf<E> {
    #[inline(always)]
    unsafe fn run<A: Arch>(frame: &Frame<'_>, step: &Step) {
        // SAFETY: by the caller's word.
        unsafe { classify::<E::V<A>>(frame, step, |x| x.abs().eq(E::V::<A>::num(f64::INFINITY))) }
    }
}

/// What tests floats of a compute type for NaN.
pub(super) fn is_nan(dtype: DType, level: Level) -> Run {
    if dtype == DType::F64 { at::<IsNan<f64>>(level) } else { at::<IsNan<f32>>(level) }
}

/// What tests floats of a compute type for infinity.
pub(super) fn is_inf(dtype: DType, level: Level) -> Run {
    if dtype == DType::F64 { at::<IsInf<f64>>(level) } else { at::<IsInf<f32>>(level) }
}
