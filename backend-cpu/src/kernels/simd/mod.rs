//! Vectors of 16 `f32` or 8 `f64`, the same at every level of SIMD: one register with AVX-512, two with
//! AVX2, an array elsewhere. Every operation rounds alike at all levels, so results agree bit for bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use scalar::Scalar;

use std::sync::OnceLock;

use kiln_tensor_core::{Error, raise};

/// Lanes of a block are processed in groups of this many; both vector widths divide it.
pub(crate) const GROUP: usize = 16;

/// A vector of floats. Comparisons are false for NaN, except `ne`.
pub(crate) trait Float: Copy {
    /// One lane.
    type Elem: Copy + PartialOrd + Default + 'static;
    /// One truth value per lane.
    type Mask: Copy;
    /// Number of lanes.
    const N: usize;

    /// # Safety
    /// `N` elements can be read at `p`.
    unsafe fn load(p: *const Self::Elem) -> Self;
    /// # Safety
    /// `N` elements can be written at `p`.
    unsafe fn store(self, p: *mut Self::Elem);
    fn splat(x: Self::Elem) -> Self;
    /// Every lane has these bits.
    fn bits(bits: u64) -> Self;
    /// The number rounded to the element type, in every lane.
    fn num(x: f64) -> Self;

    fn add(self, b: Self) -> Self;
    fn sub(self, b: Self) -> Self;
    fn mul(self, b: Self) -> Self;
    fn div(self, b: Self) -> Self;
    /// `self · b + c`, rounded once.
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self > b ? self : b`
    fn pick_max(self, b: Self) -> Self;
    /// `self < b ? self : b`
    fn pick_min(self, b: Self) -> Self;
    fn sqrt(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round(self) -> Self;
    fn trunc(self) -> Self;

    fn and(self, b: Self) -> Self;
    fn or(self, b: Self) -> Self;
    fn xor(self, b: Self) -> Self;
    /// The sum of the bit patterns, as integers.
    fn add_bits(self, b: Self) -> Self;
    fn shl(self, by: u32) -> Self;
    /// Fills with zeros.
    fn shr(self, by: u32) -> Self;

    fn eq(self, b: Self) -> Self::Mask;
    fn ne(self, b: Self) -> Self::Mask;
    fn lt(self, b: Self) -> Self::Mask;
    fn le(self, b: Self) -> Self::Mask;
    fn select(mask: Self::Mask, yes: Self, no: Self) -> Self;
    /// Whether the mask is set in any lane.
    fn any(mask: Self::Mask) -> bool;
    /// # Safety
    /// `N` bytes can be read at `p`.
    unsafe fn load_mask(p: *const u8) -> Self::Mask;
    /// Writes 0 or 1 per lane.
    ///
    /// # Safety
    /// `N` bytes can be written at `p`.
    unsafe fn store_mask(mask: Self::Mask, p: *mut u8);

    /// Lane `i` is lane `i + BY`, for a power of two below `N`; what the last `BY` lanes hold is open.
    fn down<const BY: usize>(self) -> Self;
    /// Lane 0.
    fn first(self) -> Self::Elem;

    /// All lanes folded into one: the upper half onto the lower, until one is left.
    #[inline(always)]
    fn across(self, two: impl Fn(Self, Self) -> Self) -> Self::Elem {
        let x = if Self::N > 8 { two(self, self.down::<8>()) } else { self };
        let x = two(x, x.down::<4>());
        let x = two(x, x.down::<2>());
        two(x, x.down::<1>()).first()
    }
    #[inline(always)]
    fn gt(self, b: Self) -> Self::Mask {
        b.lt(self)
    }
    #[inline(always)]
    fn ge(self, b: Self) -> Self::Mask {
        b.le(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.xor(self.and(Self::num(-0.0)))
    }
    #[inline(always)]
    fn neg(self) -> Self {
        self.xor(Self::num(-0.0))
    }
    /// The larger; NaN if either is.
    #[inline(always)]
    fn max(self, b: Self) -> Self {
        Self::select(self.ne(self), self, self.pick_max(b))
    }
    /// The smaller; NaN if either is.
    #[inline(always)]
    fn min(self, b: Self) -> Self {
        Self::select(self.ne(self), self, self.pick_min(b))
    }
    /// `self` with the sign bit of `b` flipped in.
    #[inline(always)]
    fn flip_sign(self, b: Self) -> Self {
        self.xor(b.and(Self::num(-0.0)))
    }
    /// A scalar function of each lane.
    #[inline(always)]
    fn lanes(self, mut f: impl FnMut(Self::Elem) -> Self::Elem) -> Self {
        self.lanes2(self, |a, _| f(a))
    }
    /// A scalar function of each pair of lanes.
    #[inline(always)]
    fn lanes2(self, b: Self, mut f: impl FnMut(Self::Elem, Self::Elem) -> Self::Elem) -> Self {
        let (mut x, mut y) = ([self], [b]);
        // SAFETY: a vector has the size of its lanes.
        unsafe {
            let (px, py) =
                (x.as_mut_ptr().cast::<Self::Elem>(), y.as_mut_ptr().cast::<Self::Elem>());
            for i in 0..Self::N {
                *px.add(i) = f(*px.add(i), *py.add(i));
            }
        }
        x[0]
    }
}

/// The vectors of one level of SIMD.
pub(crate) trait Arch: 'static {
    type F32: Float<Elem = f32>;
    type F64: Float<Elem = f64>;
    /// Sixteen numbers.
    ///
    /// # Safety
    /// 16 elements at both places.
    unsafe fn f16_to_f32(from: *const u16, to: *mut f32);
    /// Sixteen numbers, rounded to nearest, halves to even.
    ///
    /// # Safety
    /// 16 elements at both places.
    unsafe fn f32_to_f16(from: *const f32, to: *mut u16);
}

/// An element type with vectors.
pub(crate) trait FloatElem: Copy + PartialOrd + Default + Send + Sync + 'static {
    /// Its vector at a level.
    type V<A: Arch>: Float<Elem = Self>;
    /// Its vectors' number of lanes.
    const LANES: usize;
    fn from_f64(x: f64) -> Self;
    fn to_f64(self) -> f64;
}

impl FloatElem for f32 {
    type V<A: Arch> = A::F32;
    const LANES: usize = 16;
    fn from_f64(x: f64) -> Self {
        x as f32
    }
    fn to_f64(self) -> f64 {
        self.into()
    }
}

impl FloatElem for f64 {
    type V<A: Arch> = A::F64;
    const LANES: usize = 8;
    fn from_f64(x: f64) -> Self {
        x
    }
    fn to_f64(self) -> f64 {
        self
    }
}

/// What the machine offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// The levels that this machine can run, lowest first.
pub(crate) fn levels() -> Vec<Level> {
    #[allow(unused_mut, reason = "other machines have the one")]
    let mut levels = vec![Level::Scalar];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx2") && has!("fma") && has!("f16c") {
            levels.push(Level::Avx2);
            if has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
                levels.push(Level::Avx512);
            }
        }
    }
    levels
}

/// The level in use: the machine's highest, or that of the environment variable `KILN_SIMD`
/// (`scalar`, `avx2`, `avx512`).
pub(crate) fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| {
        let levels = levels();
        match std::env::var("KILN_SIMD") {
            Err(_) => levels[levels.len() - 1],
            Ok(name) => {
                let found = levels.iter().find(|level| format!("{level:?}").to_lowercase() == name);
                *found.unwrap_or_else(|| {
                    raise(Error::Argument {
                        op: "KILN_SIMD",
                        why: format!("{name:?} is not one of this machine's levels {levels:?}"),
                    })
                })
            }
        }
    })
}

/// Something to compute with the vectors of one level.
pub(crate) trait Work {
    type Out;
    /// `#[inline(always)]` in every implementation, so that the level's instructions are used.
    fn run<A: Arch>(self) -> Self::Out;
}

/// Runs `work` with the best vectors.
#[inline]
pub(crate) fn dispatch<W: Work>(work: W) -> W::Out {
    dispatch_at(level(), work)
}

/// Runs `work` with the vectors of a level, which the machine has.
#[inline]
pub(crate) fn dispatch_at<W: Work>(level: Level, work: W) -> W::Out {
    match level {
        Level::Scalar => work.run::<Scalar>(),
        // SAFETY: `levels` found the features.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2::run(work) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512::run(work) },
    }
}
