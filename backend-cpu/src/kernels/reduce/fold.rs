//! How elements are folded, per operation and type.

use std::marker::PhantomData;

use crate::kernels::math::Math;
use crate::kernels::rows::fold;
use crate::kernels::simd::{Arch, Float, FloatElem, Work, dispatch};

pub(super) const SUM: u8 = 0;
pub(super) const PROD: u8 = 1;
pub(super) const MAX: u8 = 2;
pub(super) const MIN: u8 = 3;

/// An associative operation; its result depends on the length of a row alone, not on the machine.
pub(super) trait Fold {
    type T: Copy + Send + Sync + bytemuck::Pod;
    /// Neutral.
    const EMPTY: Self::T;
    fn two(a: Self::T, b: Self::T) -> Self::T;
    /// Folds a row.
    ///
    /// # Safety
    /// `len` elements can be read.
    unsafe fn row(p: *const Self::T, len: usize) -> Self::T;
    /// Folds a row into an accumulator, element by element.
    ///
    /// # Safety
    /// `len` elements can be read, and written in `acc`.
    unsafe fn column(acc: *mut Self::T, p: *const Self::T, len: usize);
}

/// Floats.
pub(super) struct Floats<E, const OP: u8>(PhantomData<E>);

#[inline(always)]
fn vector<V: Float, const OP: u8>(a: V, b: V) -> V {
    match OP {
        SUM => a.add(b),
        PROD => a.mul(b),
        MAX => a.max(b),
        _ => a.min(b),
    }
}

struct Row<E, const OP: u8>(*const E, usize);
struct Column<E, const OP: u8>(*mut E, *const E, usize);

impl<E: Math + Element, const OP: u8> Work for Row<E, OP> {
    type Out = E;
    #[inline(always)]
    fn run<A: Arch>(self) -> E {
        let empty = E::V::<A>::splat(Floats::<E, OP>::EMPTY);
        // SAFETY: the caller vouches for the elements.
        unsafe { fold(self.0, self.1, empty, vector::<E::V<A>, OP>) }
    }
}

impl<E: Math + Element, const OP: u8> Work for Column<E, OP> {
    type Out = ();

    #[inline(always)]
    fn run<A: Arch>(self) {
        let Column(acc, p, len) = self;
        let n = E::V::<A>::N;
        let whole = len / n * n;
        for at in (0..whole).step_by(n) {
            // SAFETY: `at + n ≤ len`, and the caller vouches for `len` elements.
            unsafe {
                let (a, b) = (E::V::<A>::load(acc.add(at)), E::V::<A>::load(p.add(at)));
                vector::<E::V<A>, OP>(a, b).store(acc.add(at));
            }
        }
        for at in whole..len {
            // SAFETY: as above.
            unsafe { *acc.add(at) = Floats::<E, OP>::two(*acc.add(at), *p.add(at)) };
        }
    }
}

/// Arithmetic of one lane.
pub(super) trait Element: FloatElem + bytemuck::Pod {
    fn add(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    const EMPTY: [Self; 4];
}

macro_rules! element {
    ($($E:ident),*) => {$(
        impl Element for $E {
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                self + b
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                self * b
            }
            const EMPTY: [Self; 4] = [0.0, 1.0, $E::NEG_INFINITY, $E::INFINITY];
        }
    )*};
}
element!(f32, f64);

#[allow(clippy::eq_op, reason = "a NaN differs from itself")]
impl<E: Math + Element, const OP: u8> Fold for Floats<E, OP> {
    type T = E;
    const EMPTY: E = <E as Element>::EMPTY[OP as usize];

    #[inline(always)]
    fn two(a: E, b: E) -> E {
        match OP {
            SUM => a.add(b),
            PROD => a.mul(b),
            MAX if a != a || a > b => a,
            MIN if a != a || a < b => a,
            _ => b,
        }
    }
    unsafe fn row(p: *const E, len: usize) -> E {
        dispatch(Row::<E, OP>(p, len))
    }
    unsafe fn column(acc: *mut E, p: *const E, len: usize) {
        dispatch(Column::<E, OP>(acc, p, len));
    }
}

/// Integers, which wrap.
pub(super) struct Ints<T, const OP: u8>(PhantomData<T>);
/// Bools: the largest is "any", the smallest "all".
pub(super) struct Bools<const OP: u8>;

macro_rules! plain_folds {
    ($([$($generic:tt)*] $Fold:ty, $T:ident, [$($empty:expr),*];)*) => {$(
        impl<$($generic)*> Fold for $Fold {
            type T = $T;
            const EMPTY: $T = [$($empty),*][OP as usize];

            #[inline(always)]
            fn two(a: $T, b: $T) -> $T {
                match OP {
                    SUM => a.wrapping_add(b),
                    PROD => a.wrapping_mul(b),
                    MAX => a.max(b),
                    _ => a.min(b),
                }
            }
            unsafe fn row(p: *const $T, len: usize) -> $T {
                // SAFETY: by the caller's word.
                let row = unsafe { std::slice::from_raw_parts(p, len) };
                row.iter().fold(Self::EMPTY, |acc, &x| Self::two(acc, x))
            }
            unsafe fn column(acc: *mut $T, p: *const $T, len: usize) {
                // SAFETY: by the caller's word; an accumulator is apart from what it folds.
                let (acc, row) = unsafe {
                    (std::slice::from_raw_parts_mut(acc, len), std::slice::from_raw_parts(p, len))
                };
                acc.iter_mut().zip(row).for_each(|(a, &x)| *a = Self::two(*a, x));
            }
        }
    )*};
}
plain_folds! {
    [const OP: u8] Ints<i64, OP>, i64, [0, 1, i64::MIN, i64::MAX];
    [const OP: u8] Ints<i32, OP>, i32, [0, 1, i32::MIN, i32::MAX];
    [const OP: u8] Bools<OP>, u8, [0, 1, 0, 1];
}
