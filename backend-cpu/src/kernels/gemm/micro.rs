//! The innermost loop of a product: a few rows of packed `a` times a few columns of packed `b`, with all
//! sums in registers. Chosen once for the machine that runs it.

use std::ops::{Add, Mul};
use std::sync::OnceLock;

use super::correlate::{Correlate, Correlation, RIGHT, Sums, correlate};
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2F32, Avx2F64, Avx512F32, Avx512F64};
use super::lanes::{Lanes, Scalar};
use crate::storage::Plain;

/// A block of the result: `c = from + a · b`.
pub(crate) struct Tile<T> {
    /// Terms of each sum.
    pub(crate) k: usize,
    /// `[k][rows]`, where `rows` is the kernel's.
    pub(crate) a: *const T,
    /// `[k][vectors · lanes]`, where `vectors` is the kernel's; for shifted kernels, where the terms'
    /// offsets count from.
    pub(crate) b: *const T,
    /// For shifted kernels, where each term's columns start; else null.
    pub(crate) offsets: *const usize,
    /// The first element; rows are `c_row` apart and `cols` long, which ends in the last vector.
    pub(crate) c: *mut T,
    pub(crate) c_row: isize,
    pub(crate) cols: usize,
    /// What the sums start from, or null for 0.
    pub(crate) from: *const T,
    pub(crate) from_row: isize,
}

/// A kernel of a fixed number of rows and vectors.
pub(crate) type Micro<T> = unsafe fn(&Tile<T>);

/// The kernels of a machine.
pub(crate) struct Kernels<T: 'static> {
    /// Elements of a vector.
    pub(crate) lanes: usize,
    /// Kernels of 1, 2, … rows; each with 1 and 2 vectors.
    pub(crate) table: &'static [[Micro<T>; 2]],
    /// The same, with columns of `b` that lie apart, each term's at an offset of its own.
    pub(crate) shifted: &'static [[Micro<T>; 2]],
    /// Kernels of 1, 2, … left rows, with one right row and with all of them.
    pub(crate) correlate: &'static [[Correlate<T>; 2]],
    /// `to[i] = Σ weights[t] · source[offsets[t] + i]` for a number of `i`.
    pub(crate) sum: unsafe fn(*mut T, usize, *const T, &[T], &[usize]),
    /// The sums of products of four rows, or of one, with a vector of as many elements.
    pub(super) dots: unsafe fn([*const T; 4], &[T]) -> [T; 4],
    pub(super) dot: unsafe fn([*const T; 1], &[T]) -> [T; 1],
    /// Adds four rows of as many elements, or one, each times a number.
    pub(super) add_rows: unsafe fn(&mut [T], [*const T; 4], [T; 4]),
    pub(super) add_row: unsafe fn(&mut [T], [*const T; 1], [T; 1]),
}

impl<T> Kernels<T> {
    /// The most rows a kernel takes.
    pub(crate) fn rows(&self) -> usize {
        self.table.len()
    }

    /// The most columns a kernel takes.
    pub(crate) fn cols(&self) -> usize {
        2 * self.lanes
    }
}

/// What else a float needs: a routine of BLAS, where that is used.
#[cfg(not(feature = "blas"))]
pub(crate) trait Routine {}
#[cfg(not(feature = "blas"))]
impl<T> Routine for T {}
#[cfg(feature = "blas")]
pub(crate) use super::blas::Blas as Routine;

/// A float that products are computed in.
pub(crate) trait Float:
    Plain + kiln_tensor_core::Element + Default + Add<Output = Self> + Mul<Output = Self> + Routine
{
    /// The kernels of this machine.
    fn kernels() -> &'static Kernels<Self>;
}

/// # Safety
/// The machine has the instruction set of `L`, and the tile's pointers cover what it describes.
#[inline(always)]
#[allow(clippy::needless_range_loop, reason = "rows and vectors stay in registers")]
unsafe fn micro<L: Lanes, const R: usize, const W: usize, const SHIFTED: bool>(tile: &Tile<L::T>) {
    // SAFETY: packed rows of `a` and `b` are `R` and `W · N` long, and the tile's rows are `cols` long.
    unsafe {
        let mut sums = [[L::zero(); W]; R];
        let (mut a, mut b) = (tile.a, tile.b);
        for p in 0..tile.k {
            if SHIFTED {
                b = tile.b.add(*tile.offsets.add(p));
            }
            let mut right = [L::zero(); W];
            for w in 0..W {
                right[w] = L::load(b.add(w * L::N));
            }
            for r in 0..R {
                let left = L::splat(*a.add(r));
                for w in 0..W {
                    sums[r][w] = L::fma(left, right[w], sums[r][w]);
                }
            }
            a = a.add(R);
            if !SHIFTED {
                b = b.add(W * L::N);
            }
        }
        let last = tile.cols - (W - 1) * L::N;
        for r in 0..R {
            let to = tile.c.offset(r as isize * tile.c_row);
            for w in 0..W {
                let to = to.add(w * L::N);
                let whole = w + 1 < W || last == L::N;
                let mut v = sums[r][w];
                if !tile.from.is_null() {
                    let from = tile.from.offset(r as isize * tile.from_row).add(w * L::N);
                    let start = if whole { L::load(from) } else { L::load_some(from, last) };
                    v = L::add(start, v);
                }
                if whole {
                    L::store(to, v);
                } else {
                    L::store_some(to, v, last);
                }
            }
        }
    }
}

/// See `Kernels::sum`.
///
/// # Safety
/// The machine has the instruction set of `L`; `to` has room for `len` elements, and the source has as
/// many from each offset on.
#[inline(always)]
unsafe fn sum<L: Lanes>(
    to: *mut L::T,
    len: usize,
    source: *const L::T,
    weights: &[L::T],
    offsets: &[usize],
) {
    // SAFETY: whole vectors and the rest lie inside `len`.
    unsafe {
        for i in (0..len).step_by(L::N) {
            let count = L::N.min(len - i);
            let mut v = L::zero();
            for (&weight, &offset) in weights.iter().zip(offsets) {
                let from = source.add(offset + i);
                let x = if count == L::N { L::load(from) } else { L::load_some(from, count) };
                v = L::fma(L::splat(weight), x, v);
            }
            if count == L::N {
                L::store(to.add(i), v);
            } else {
                L::store_some(to.add(i), v, count);
            }
        }
    }
}

/// See `Kernels::dots`.
///
/// # Safety
/// The machine has the instruction set of `L`, and each row has as many elements as `x`.
#[inline(always)]
unsafe fn dots<L: Lanes, const R: usize>(rows: [*const L::T; R], x: &[L::T]) -> [L::T; R]
where
    L::T: Add<Output = L::T> + Default,
{
    // SAFETY: whole vectors and the rest lie inside the rows; no vector is longer than 16 elements.
    unsafe {
        let mut sums = [L::zero(); R];
        for i in (0..x.len()).step_by(L::N) {
            let count = L::N.min(x.len() - i);
            let load = |from: *const L::T| {
                if count == L::N { L::load(from.add(i)) } else { L::load_some(from.add(i), count) }
            };
            let v = load(x.as_ptr());
            for (sum, &row) in sums.iter_mut().zip(&rows) {
                *sum = L::fma(load(row), v, *sum);
            }
        }
        sums.map(|sum| {
            let mut lanes = [L::T::default(); 16];
            L::store(lanes.as_mut_ptr(), sum);
            lanes.into_iter().take(L::N).fold(L::T::default(), L::T::add)
        })
    }
}

/// See `Kernels::add_rows`.
///
/// # Safety
/// The machine has the instruction set of `L`, and each row has as many elements as `to`.
#[inline(always)]
unsafe fn add_rows<L: Lanes, const R: usize>(
    to: &mut [L::T],
    rows: [*const L::T; R],
    x: [L::T; R],
) {
    // SAFETY: whole vectors and the rest lie inside the rows.
    unsafe {
        let whole = to.len() / L::N * L::N;
        let rest = to.len() - whole;
        let to = to.as_mut_ptr();
        for i in (0..whole).step_by(L::N) {
            let mut v = L::load(to.add(i));
            for (&row, &x) in rows.iter().zip(&x) {
                v = L::fma(L::splat(x), L::load(row.add(i)), v);
            }
            L::store(to.add(i), v);
        }
        if rest > 0 {
            let mut v = L::load_some(to.add(whole), rest);
            for (&row, &x) in rows.iter().zip(&x) {
                v = L::fma(L::splat(x), L::load_some(row.add(whole), rest), v);
            }
            L::store_some(to.add(whole), v, rest);
        }
    }
}

macro_rules! table {
    ($name:ident, $L:ty, $T:ty, [$($rows:literal)*], [$($left:literal)*] $(, $feature:literal)?) => {
        static $name: Kernels<$T> = {
            /// # Safety
            /// See `micro`.
            $(#[target_feature(enable = $feature)])?
            unsafe fn run<const R: usize, const W: usize, const S: bool>(tile: &Tile<$T>) {
                // SAFETY: the caller's.
                unsafe { micro::<$L, R, W, S>(tile) }
            }
            /// # Safety
            /// See `correlate`.
            $(#[target_feature(enable = $feature)])?
            unsafe fn correlate_of<const A: usize, const B: usize>(
                work: &Correlation<'_, $T>,
                sums: &mut Sums<$T>,
            ) {
                // SAFETY: the caller's.
                unsafe { correlate::<$L, A, B>(work, sums) }
            }
            /// # Safety
            /// See `sum`.
            $(#[target_feature(enable = $feature)])?
            unsafe fn sum_of(
                to: *mut $T,
                len: usize,
                source: *const $T,
                weights: &[$T],
                offsets: &[usize],
            ) {
                // SAFETY: the caller's.
                unsafe { sum::<$L>(to, len, source, weights, offsets) }
            }
            /// # Safety
            /// See `dots`.
            $(#[target_feature(enable = $feature)])?
            unsafe fn dots_of<const R: usize>(rows: [*const $T; R], x: &[$T]) -> [$T; R] {
                // SAFETY: the caller's.
                unsafe { dots::<$L, R>(rows, x) }
            }
            /// # Safety
            /// See `add_rows`.
            $(#[target_feature(enable = $feature)])?
            unsafe fn add_rows_of<const R: usize>(
                to: &mut [$T],
                rows: [*const $T; R],
                x: [$T; R],
            ) {
                // SAFETY: the caller's.
                unsafe { add_rows::<$L, R>(to, rows, x) }
            }
            Kernels {
                lanes: <$L as Lanes>::N,
                table: &[$([run::<$rows, 1, false>, run::<$rows, 2, false>]),*],
                shifted: &[$([run::<$rows, 1, true>, run::<$rows, 2, true>]),*],
                correlate: &[$([correlate_of::<$left, 1>, correlate_of::<$left, RIGHT>]),*],
                sum: sum_of,
                dots: dots_of::<4>,
                dot: dots_of::<1>,
                add_rows: add_rows_of::<4>,
                add_row: add_rows_of::<1>,
            }
        };
    };
}
table!(SCALAR_F32, Scalar<f32>, f32, [1 2 3 4], [1 2 3]);
table!(SCALAR_F64, Scalar<f64>, f64, [1 2 3 4], [1 2 3]);
#[cfg(target_arch = "x86_64")]
table!(AVX2_F32, Avx2F32, f32, [1 2 3 4 5 6], [1 2 3], "avx2,fma");
#[cfg(target_arch = "x86_64")]
table!(AVX2_F64, Avx2F64, f64, [1 2 3 4 5 6], [1 2 3], "avx2,fma");
#[cfg(target_arch = "x86_64")]
table!(AVX512_F32, Avx512F32, f32, [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6], "avx512f");
#[cfg(target_arch = "x86_64")]
table!(AVX512_F64, Avx512F64, f64, [1 2 3 4 5 6 7 8 9 10 11 12], [1 2 3 4 5 6], "avx512f");

macro_rules! float {
    ($T:ty, $scalar:ident, $avx2:ident, $avx512:ident) => {
        impl Float for $T {
            fn kernels() -> &'static Kernels<$T> {
                static CHOSEN: OnceLock<&Kernels<$T>> = OnceLock::new();
                CHOSEN.get_or_init(|| {
                    #[cfg(target_arch = "x86_64")]
                    {
                        if is_x86_feature_detected!("avx512f") {
                            return &$avx512;
                        }
                        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                            return &$avx2;
                        }
                    }
                    &$scalar
                })
            }
        }
    };
}
float!(f32, SCALAR_F32, AVX2_F32, AVX512_F32);
float!(f64, SCALAR_F64, AVX2_F64, AVX512_F64);

#[cfg(test)]
mod tests;
