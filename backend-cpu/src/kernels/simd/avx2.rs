//! Vectors as two AVX2 registers.

use std::arch::x86_64::*;

use super::{Arch, Float, Work};

pub(crate) struct Avx2;

/// # Safety
/// The machine has these features.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<W: Work>(work: W) -> W::Out {
    work.run::<Avx2>()
}

impl Arch for Avx2 {
    type F32 = V32;
    type F64 = V64;
    #[inline(always)]
    unsafe fn f16_to_f32(from: *const u16, to: *mut f32) {
        for at in [0, 8] {
            // SAFETY: by the caller's word.
            unsafe {
                let half = _mm_loadu_si128(from.add(at).cast());
                _mm256_storeu_ps(to.add(at), _mm256_cvtph_ps(half));
            }
        }
    }
    #[inline(always)]
    unsafe fn f32_to_f16(from: *const f32, to: *mut u16) {
        for at in [0, 8] {
            // SAFETY: by the caller's word.
            unsafe {
                let half =
                    _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(from.add(at)));
                _mm_storeu_si128(to.add(at).cast(), half);
            }
        }
    }
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct V32(__m256, __m256);
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct V64(__m256d, __m256d);

// SAFETY of all blocks below: an `Avx2` vector exists only inside `run`, which has the features;
// memory is accessed as the trait's methods demand of their callers.
macro_rules! vector {
    (
        $vec:ident, $elem:ident, $n:literal, $mask:ident, $int:ident,
        $loadu:ident $storeu:ident $set1:ident $set1i:ident $from_i:ident $to_i:ident
        $add:ident $sub:ident $mul:ident $div:ident $fma:ident $max:ident $min:ident $sqrt:ident
        $round:ident $and:ident $or:ident $xor:ident
        $addi:ident $sll:ident $srl:ident $cmp:ident $blend:ident $movemask:ident
        $swap:ident $low:ident $first:ident,
        [$($by:literal => $shuffle:literal)*], $load_mask:expr, $store_mask:expr
    ) => {
        #[allow(clippy::undocumented_unsafe_blocks, reason = "see above the macro")]
        impl Float for $vec {
            type Elem = $elem;
            type Mask = ($mask, $mask);
            const N: usize = $n;

            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self {
                unsafe { $vec($loadu(p), $loadu(p.add($n / 2))) }
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $elem) {
                unsafe {
                    $storeu(p, self.0);
                    $storeu(p.add($n / 2), self.1);
                }
            }
            #[inline(always)]
            fn splat(x: $elem) -> Self {
                let x = unsafe { $set1(x) };
                $vec(x, x)
            }
            #[inline(always)]
            fn bits(bits: u64) -> Self {
                let x = unsafe { $from_i($set1i(bits as $int)) };
                $vec(x, x)
            }
            #[inline(always)]
            fn num(x: f64) -> Self {
                Self::splat(x as $elem)
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                unsafe { $vec($add(self.0, b.0), $add(self.1, b.1)) }
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                unsafe { $vec($sub(self.0, b.0), $sub(self.1, b.1)) }
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                unsafe { $vec($mul(self.0, b.0), $mul(self.1, b.1)) }
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                unsafe { $vec($div(self.0, b.0), $div(self.1, b.1)) }
            }
            #[inline(always)]
            fn pick_max(self, b: Self) -> Self {
                unsafe { $vec($max(self.0, b.0), $max(self.1, b.1)) }
            }
            #[inline(always)]
            fn pick_min(self, b: Self) -> Self {
                unsafe { $vec($min(self.0, b.0), $min(self.1, b.1)) }
            }
            #[inline(always)]
            fn and(self, b: Self) -> Self {
                unsafe { $vec($and(self.0, b.0), $and(self.1, b.1)) }
            }
            #[inline(always)]
            fn or(self, b: Self) -> Self {
                unsafe { $vec($or(self.0, b.0), $or(self.1, b.1)) }
            }
            #[inline(always)]
            fn xor(self, b: Self) -> Self {
                unsafe { $vec($xor(self.0, b.0), $xor(self.1, b.1)) }
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                unsafe { $vec($fma(self.0, b.0, c.0), $fma(self.1, b.1, c.1)) }
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                unsafe { $vec($sqrt(self.0), $sqrt(self.1)) }
            }
            #[inline(always)]
            fn floor(self) -> Self {
                unsafe { $vec($round::<0x09>(self.0), $round::<0x09>(self.1)) }
            }
            #[inline(always)]
            fn ceil(self) -> Self {
                unsafe { $vec($round::<0x0a>(self.0), $round::<0x0a>(self.1)) }
            }
            #[inline(always)]
            fn round(self) -> Self {
                unsafe { $vec($round::<0x08>(self.0), $round::<0x08>(self.1)) }
            }
            #[inline(always)]
            fn trunc(self) -> Self {
                unsafe { $vec($round::<0x0b>(self.0), $round::<0x0b>(self.1)) }
            }
            #[inline(always)]
            fn add_bits(self, b: Self) -> Self {
                let f = |a, b| unsafe { $from_i($addi($to_i(a), $to_i(b))) };
                $vec(f(self.0, b.0), f(self.1, b.1))
            }
            #[inline(always)]
            fn shl(self, by: u32) -> Self {
                let f = |a| unsafe { $from_i($sll($to_i(a), $set1i(by as $int))) };
                $vec(f(self.0), f(self.1))
            }
            #[inline(always)]
            fn shr(self, by: u32) -> Self {
                let f = |a| unsafe { $from_i($srl($to_i(a), $set1i(by as $int))) };
                $vec(f(self.0), f(self.1))
            }
            #[inline(always)]
            fn eq(self, b: Self) -> Self::Mask {
                unsafe { ($cmp::<_CMP_EQ_OQ>(self.0, b.0), $cmp::<_CMP_EQ_OQ>(self.1, b.1)) }
            }
            #[inline(always)]
            fn ne(self, b: Self) -> Self::Mask {
                unsafe { ($cmp::<_CMP_NEQ_UQ>(self.0, b.0), $cmp::<_CMP_NEQ_UQ>(self.1, b.1)) }
            }
            #[inline(always)]
            fn lt(self, b: Self) -> Self::Mask {
                unsafe { ($cmp::<_CMP_LT_OQ>(self.0, b.0), $cmp::<_CMP_LT_OQ>(self.1, b.1)) }
            }
            #[inline(always)]
            fn le(self, b: Self) -> Self::Mask {
                unsafe { ($cmp::<_CMP_LE_OQ>(self.0, b.0), $cmp::<_CMP_LE_OQ>(self.1, b.1)) }
            }
            #[inline(always)]
            fn select(mask: Self::Mask, yes: Self, no: Self) -> Self {
                unsafe { $vec($blend(no.0, yes.0, mask.0), $blend(no.1, yes.1, mask.1)) }
            }
            #[inline(always)]
            fn any(mask: Self::Mask) -> bool {
                unsafe { $movemask(mask.0) | $movemask(mask.1) != 0 }
            }
            #[inline(always)]
            fn down<const BY: usize>(self) -> Self {
                match BY {
                    $($by => $vec(unsafe { $low::<$shuffle>(self.0) }, self.1),)*
                    _ if BY * 2 == $n => $vec(self.1, self.1),
                    _ => $vec(unsafe { $swap::<1>(self.0, self.0) }, self.1),
                }
            }
            #[inline(always)]
            fn first(self) -> $elem {
                unsafe { $first(self.0) }
            }
            #[inline(always)]
            unsafe fn load_mask(p: *const u8) -> Self::Mask {
                unsafe { ($load_mask(p), $load_mask(p.add($n / 2))) }
            }
            #[inline(always)]
            unsafe fn store_mask(mask: Self::Mask, p: *mut u8) {
                unsafe {
                    $store_mask(mask.0, p);
                    $store_mask(mask.1, p.add($n / 2));
                }
            }
        }
    };
}

vector! {
    V32, f32, 16, __m256, i32,
    _mm256_loadu_ps _mm256_storeu_ps _mm256_set1_ps _mm256_set1_epi32 _mm256_castsi256_ps
    _mm256_castps_si256
    _mm256_add_ps _mm256_sub_ps _mm256_mul_ps _mm256_div_ps _mm256_fmadd_ps _mm256_max_ps
    _mm256_min_ps _mm256_sqrt_ps _mm256_round_ps _mm256_and_ps _mm256_or_ps _mm256_xor_ps
    _mm256_add_epi32 _mm256_sllv_epi32 _mm256_srlv_epi32 _mm256_cmp_ps
    _mm256_blendv_ps _mm256_movemask_ps _mm256_permute2f128_ps _mm256_permute_ps _mm256_cvtss_f32,
    [2 => 0b1110 1 => 0b01],
    |p: *const u8| {
        let wide = _mm256_cvtepu8_epi32(_mm_loadl_epi64(p.cast()));
        _mm256_castsi256_ps(_mm256_cmpgt_epi32(wide, _mm256_setzero_si256()))
    },
    |mask, p: *mut u8| {
        let ints = _mm256_castps_si256(mask);
        let low = _mm_packs_epi32(_mm256_castsi256_si128(ints), _mm256_extracti128_si256::<1>(ints));
        let bytes = _mm_packs_epi16(low, low);
        _mm_storel_epi64(p.cast(), _mm_and_si128(bytes, _mm_set1_epi8(1)));
    }
}
vector! {
    V64, f64, 8, __m256d, i64,
    _mm256_loadu_pd _mm256_storeu_pd _mm256_set1_pd _mm256_set1_epi64x _mm256_castsi256_pd
    _mm256_castpd_si256
    _mm256_add_pd _mm256_sub_pd _mm256_mul_pd _mm256_div_pd _mm256_fmadd_pd _mm256_max_pd
    _mm256_min_pd _mm256_sqrt_pd _mm256_round_pd _mm256_and_pd _mm256_or_pd _mm256_xor_pd
    _mm256_add_epi64 _mm256_sllv_epi64 _mm256_srlv_epi64 _mm256_cmp_pd
    _mm256_blendv_pd _mm256_movemask_pd _mm256_permute2f128_pd _mm256_permute_pd _mm256_cvtsd_f64,
    [1 => 0b01],
    |p: *const u8| {
        let bytes = _mm_cvtsi32_si128(p.cast::<i32>().read_unaligned());
        let wide = _mm256_cvtepu8_epi64(bytes);
        _mm256_castsi256_pd(_mm256_cmpgt_epi64(wide, _mm256_setzero_si256()))
    },
    |mask, p: *mut u8| {
        let lanes = _mm256_movemask_pd(mask) as u32;
        let bytes = (lanes & 1) | (lanes & 2) << 7 | (lanes & 4) << 14 | (lanes & 8) << 21;
        p.cast::<u32>().write_unaligned(bytes);
    }
}
