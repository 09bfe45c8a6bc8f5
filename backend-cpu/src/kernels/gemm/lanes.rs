//! Vectors of floats, as wide as the machine has them.

/// Operations on one vector of `N` elements.
///
/// # Safety
/// All functions need the instruction set that the type is named after; pointers are good for `N`
/// elements, or for as many as the count says.
pub(super) trait Lanes {
    type T: Copy;
    type V: Copy;
    const N: usize;
    unsafe fn zero() -> Self::V;
    unsafe fn splat(x: Self::T) -> Self::V;
    unsafe fn load(from: *const Self::T) -> Self::V;
    unsafe fn store(to: *mut Self::T, v: Self::V);
    /// Loads the first `count` elements, less than `N`; the others are 0.
    unsafe fn load_some(from: *const Self::T, count: usize) -> Self::V;
    /// Stores the first `count` elements, less than `N`.
    unsafe fn store_some(to: *mut Self::T, v: Self::V, count: usize);
    /// `x · y + z`.
    unsafe fn fma(x: Self::V, y: Self::V, z: Self::V) -> Self::V;
    unsafe fn add(x: Self::V, y: Self::V) -> Self::V;
}

/// Plain arrays, for any machine. Multiplies and adds with two roundings.
pub(super) struct Scalar<T>(std::marker::PhantomData<T>);

macro_rules! scalar {
    ($($T:ty)*) => {$(
        impl Lanes for Scalar<$T> {
            type T = $T;
            type V = [$T; 4];
            const N: usize = 4;
            #[inline(always)]
            unsafe fn zero() -> [$T; 4] {
                [0.0; 4]
            }
            #[inline(always)]
            unsafe fn splat(x: $T) -> [$T; 4] {
                [x; 4]
            }
            #[inline(always)]
            unsafe fn load(from: *const $T) -> [$T; 4] {
                // SAFETY: the caller's pointer is good for four elements.
                unsafe { from.cast::<[$T; 4]>().read() }
            }
            #[inline(always)]
            unsafe fn store(to: *mut $T, v: [$T; 4]) {
                // SAFETY: as above.
                unsafe { to.cast::<[$T; 4]>().write(v) }
            }
            #[inline(always)]
            unsafe fn load_some(from: *const $T, count: usize) -> [$T; 4] {
                let mut v = [0.0; 4];
                for (i, x) in v.iter_mut().enumerate().take(count) {
                    // SAFETY: the caller's pointer is good for `count` elements.
                    *x = unsafe { *from.add(i) };
                }
                v
            }
            #[inline(always)]
            unsafe fn store_some(to: *mut $T, v: [$T; 4], count: usize) {
                for (i, &x) in v.iter().enumerate().take(count) {
                    // SAFETY: as above.
                    unsafe { *to.add(i) = x };
                }
            }
            #[inline(always)]
            unsafe fn fma(x: [$T; 4], y: [$T; 4], z: [$T; 4]) -> [$T; 4] {
                [0, 1, 2, 3].map(|i| x[i] * y[i] + z[i])
            }
            #[inline(always)]
            unsafe fn add(x: [$T; 4], y: [$T; 4]) -> [$T; 4] {
                [0, 1, 2, 3].map(|i| x[i] + y[i])
            }
        }
    )*};
}
scalar!(f32 f64);

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Lanes;

    pub(crate) struct Avx512F32;
    pub(crate) struct Avx512F64;
    pub(crate) struct Avx2F32;
    pub(crate) struct Avx2F64;

    /// All ones, then all zeros: a window that starts `count` before the middle is a mask.
    static MASK32: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    static MASK64: [i64; 8] = [-1, -1, -1, -1, 0, 0, 0, 0];

    macro_rules! lanes {
        (
            $name:ident: $T:ty, $V:ty, $n:literal, $zero:ident, $splat:ident, $load:ident, $store:ident,
            $fma:ident, $add:ident, |$count:ident| $mask:expr, $some:ident, $put:ident
        ) => {
            impl Lanes for $name {
                type T = $T;
                type V = $V;
                const N: usize = $n;
                #[inline(always)]
                unsafe fn zero() -> $V {
                    // SAFETY: the caller has checked the instruction set.
                    unsafe { $zero() }
                }
                #[inline(always)]
                unsafe fn splat(x: $T) -> $V {
                    // SAFETY: as above.
                    unsafe { $splat(x) }
                }
                #[inline(always)]
                unsafe fn load(from: *const $T) -> $V {
                    // SAFETY: as above; the pointer is good for a vector.
                    unsafe { $load(from) }
                }
                #[inline(always)]
                unsafe fn store(to: *mut $T, v: $V) {
                    // SAFETY: as above.
                    unsafe { $store(to, v) }
                }
                #[inline(always)]
                unsafe fn load_some(from: *const $T, $count: usize) -> $V {
                    // SAFETY: as above; only `count` elements are touched.
                    unsafe { lanes!(@load $some, from, $mask) }
                }
                #[inline(always)]
                unsafe fn store_some(to: *mut $T, v: $V, $count: usize) {
                    // SAFETY: as above.
                    unsafe { $put(to, $mask, v) }
                }
                #[inline(always)]
                unsafe fn fma(x: $V, y: $V, z: $V) -> $V {
                    // SAFETY: as above.
                    unsafe { $fma(x, y, z) }
                }
                #[inline(always)]
                unsafe fn add(x: $V, y: $V) -> $V {
                    // SAFETY: as above.
                    unsafe { $add(x, y) }
                }
            }
        };
        (@load _mm512_maskz_loadu_ps, $from:expr, $mask:expr) => { _mm512_maskz_loadu_ps($mask, $from) };
        (@load _mm512_maskz_loadu_pd, $from:expr, $mask:expr) => { _mm512_maskz_loadu_pd($mask, $from) };
        (@load $some:ident, $from:expr, $mask:expr) => { $some($from, $mask) };
    }
    lanes!(Avx512F32: f32, __m512, 16, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps,
        _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps, |count| (1u16 << count) - 1,
        _mm512_maskz_loadu_ps, _mm512_mask_storeu_ps);
    lanes!(Avx512F64: f64, __m512d, 8, _mm512_setzero_pd, _mm512_set1_pd, _mm512_loadu_pd,
        _mm512_storeu_pd, _mm512_fmadd_pd, _mm512_add_pd, |count| (1u8 << count) - 1,
        _mm512_maskz_loadu_pd, _mm512_mask_storeu_pd);
    lanes!(Avx2F32: f32, __m256, 8, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps,
        _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps,
        |count| _mm256_loadu_si256(MASK32.as_ptr().add(8 - count).cast()),
        _mm256_maskload_ps, _mm256_maskstore_ps);
    lanes!(Avx2F64: f64, __m256d, 4, _mm256_setzero_pd, _mm256_set1_pd, _mm256_loadu_pd,
        _mm256_storeu_pd, _mm256_fmadd_pd, _mm256_add_pd,
        |count| _mm256_loadu_si256(MASK64.as_ptr().add(4 - count).cast()),
        _mm256_maskload_pd, _mm256_maskstore_pd);
}
