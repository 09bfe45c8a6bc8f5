//! Vectors as one AVX-512 register.

use std::arch::x86_64::*;

use super::{Arch, Float, Work};

pub(crate) struct Avx512;

/// # Safety
/// The machine has these features.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
pub(super) unsafe fn run<W: Work>(work: W) -> W::Out {
    work.run::<Avx512>()
}

impl Arch for Avx512 {
    type F32 = V32;
    type F64 = V64;
    #[inline(always)]
    unsafe fn f16_to_f32(from: *const u16, to: *mut f32) {
        // SAFETY: by the caller's word.
        unsafe { _mm512_storeu_ps(to, _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn f32_to_f16(from: *const f32, to: *mut u16) {
        // SAFETY: by the caller's word.
        unsafe {
            let half = _mm512_cvtps_ph::<{ _MM_FROUND_TO_NEAREST_INT }>(_mm512_loadu_ps(from));
            _mm256_storeu_si256(to.cast(), half);
        }
    }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct V32(__m512);
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct V64(__m512d);

// SAFETY of all blocks below: an `Avx512` vector exists only inside `run`, which has the features;
// memory is accessed as the trait's methods demand of their callers.
macro_rules! vector {
    (
        $vec:ident, $elem:ident, $n:literal, $mask:ident, $int:ident,
        $loadu:ident $storeu:ident $set1:ident $set1i:ident $from_i:ident $to_i:ident
        $add:ident $sub:ident $mul:ident $div:ident $fma:ident $max:ident $min:ident $sqrt:ident
        $round:ident $and:ident $or:ident $xor:ident
        $addi:ident $sll:ident $srl:ident $cmp:ident $blend:ident
        $quarters:ident $low:ident $first:ident,
        [$($by:literal => $shuffle:literal)*], $load_mask:expr, $store_mask:expr
    ) => {
        #[allow(clippy::undocumented_unsafe_blocks, reason = "see above the macro")]
        impl Float for $vec {
            type Elem = $elem;
            type Mask = $mask;
            const N: usize = $n;

            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self {
                $vec(unsafe { $loadu(p) })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $elem) {
                unsafe { $storeu(p, self.0) }
            }
            #[inline(always)]
            fn splat(x: $elem) -> Self {
                $vec(unsafe { $set1(x) })
            }
            #[inline(always)]
            fn bits(bits: u64) -> Self {
                $vec(unsafe { $from_i($set1i(bits as $int)) })
            }
            #[inline(always)]
            fn num(x: f64) -> Self {
                Self::splat(x as $elem)
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                $vec(unsafe { $add(self.0, b.0) })
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                $vec(unsafe { $sub(self.0, b.0) })
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                $vec(unsafe { $mul(self.0, b.0) })
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                $vec(unsafe { $div(self.0, b.0) })
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                $vec(unsafe { $fma(self.0, b.0, c.0) })
            }
            #[inline(always)]
            fn pick_max(self, b: Self) -> Self {
                $vec(unsafe { $max(self.0, b.0) })
            }
            #[inline(always)]
            fn pick_min(self, b: Self) -> Self {
                $vec(unsafe { $min(self.0, b.0) })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $vec(unsafe { $sqrt(self.0) })
            }
            #[inline(always)]
            fn floor(self) -> Self {
                $vec(unsafe { $round::<0x09>(self.0) })
            }
            #[inline(always)]
            fn ceil(self) -> Self {
                $vec(unsafe { $round::<0x0a>(self.0) })
            }
            #[inline(always)]
            fn round(self) -> Self {
                $vec(unsafe { $round::<0x08>(self.0) })
            }
            #[inline(always)]
            fn trunc(self) -> Self {
                $vec(unsafe { $round::<0x0b>(self.0) })
            }
            #[inline(always)]
            fn and(self, b: Self) -> Self {
                $vec(unsafe { $and(self.0, b.0) })
            }
            #[inline(always)]
            fn or(self, b: Self) -> Self {
                $vec(unsafe { $or(self.0, b.0) })
            }
            #[inline(always)]
            fn xor(self, b: Self) -> Self {
                $vec(unsafe { $xor(self.0, b.0) })
            }
            #[inline(always)]
            fn add_bits(self, b: Self) -> Self {
                $vec(unsafe { $from_i($addi($to_i(self.0), $to_i(b.0))) })
            }
            #[inline(always)]
            fn shl(self, by: u32) -> Self {
                $vec(unsafe { $from_i($sll($to_i(self.0), $set1i(by as $int))) })
            }
            #[inline(always)]
            fn shr(self, by: u32) -> Self {
                $vec(unsafe { $from_i($srl($to_i(self.0), $set1i(by as $int))) })
            }
            #[inline(always)]
            fn eq(self, b: Self) -> $mask {
                unsafe { $cmp::<_CMP_EQ_OQ>(self.0, b.0) }
            }
            #[inline(always)]
            fn ne(self, b: Self) -> $mask {
                unsafe { $cmp::<_CMP_NEQ_UQ>(self.0, b.0) }
            }
            #[inline(always)]
            fn lt(self, b: Self) -> $mask {
                unsafe { $cmp::<_CMP_LT_OQ>(self.0, b.0) }
            }
            #[inline(always)]
            fn le(self, b: Self) -> $mask {
                unsafe { $cmp::<_CMP_LE_OQ>(self.0, b.0) }
            }
            #[inline(always)]
            fn select(mask: $mask, yes: Self, no: Self) -> Self {
                $vec(unsafe { $blend(mask, no.0, yes.0) })
            }
            #[inline(always)]
            fn any(mask: $mask) -> bool {
                mask != 0
            }
            #[inline(always)]
            fn down<const BY: usize>(self) -> Self {
                $vec(unsafe {
                    match BY {
                        $($by => $low::<$shuffle>(self.0),)*
                        _ if BY * 2 == $n => $quarters::<0b1110>(self.0, self.0),
                        _ => $quarters::<0b01>(self.0, self.0),
                    }
                })
            }
            #[inline(always)]
            fn first(self) -> $elem {
                unsafe { $first(self.0) }
            }
            #[inline(always)]
            unsafe fn load_mask(p: *const u8) -> $mask {
                unsafe { $load_mask(p) }
            }
            #[inline(always)]
            unsafe fn store_mask(mask: $mask, p: *mut u8) {
                unsafe { $store_mask(mask, p) }
            }
        }
    };
}

vector! {
    V32, f32, 16, __mmask16, i32,
    _mm512_loadu_ps _mm512_storeu_ps _mm512_set1_ps _mm512_set1_epi32 _mm512_castsi512_ps
    _mm512_castps_si512
    _mm512_add_ps _mm512_sub_ps _mm512_mul_ps _mm512_div_ps _mm512_fmadd_ps _mm512_max_ps
    _mm512_min_ps _mm512_sqrt_ps _mm512_roundscale_ps _mm512_and_ps _mm512_or_ps _mm512_xor_ps
    _mm512_add_epi32 _mm512_sllv_epi32 _mm512_srlv_epi32 _mm512_cmp_ps_mask
    _mm512_mask_blend_ps _mm512_shuffle_f32x4 _mm512_permute_ps _mm512_cvtss_f32,
    [2 => 0b1110 1 => 0b01],
    |p: *const u8| {
        let bytes = _mm_loadu_si128(p.cast());
        _mm_test_epi8_mask(bytes, bytes)
    },
    |mask, p: *mut u8| _mm_storeu_si128(p.cast(), _mm_maskz_set1_epi8(mask, 1))
}
vector! {
    V64, f64, 8, __mmask8, i64,
    _mm512_loadu_pd _mm512_storeu_pd _mm512_set1_pd _mm512_set1_epi64 _mm512_castsi512_pd
    _mm512_castpd_si512
    _mm512_add_pd _mm512_sub_pd _mm512_mul_pd _mm512_div_pd _mm512_fmadd_pd _mm512_max_pd
    _mm512_min_pd _mm512_sqrt_pd _mm512_roundscale_pd _mm512_and_pd _mm512_or_pd _mm512_xor_pd
    _mm512_add_epi64 _mm512_sllv_epi64 _mm512_srlv_epi64 _mm512_cmp_pd_mask
    _mm512_mask_blend_pd _mm512_shuffle_f64x2 _mm512_permute_pd _mm512_cvtsd_f64,
    [1 => 0b0101_0101],
    |p: *const u8| {
        let bytes = _mm_loadl_epi64(p.cast());
        _mm_test_epi8_mask(bytes, bytes) as u8
    },
    |mask: u8, p: *mut u8| _mm_storel_epi64(p.cast(), _mm_maskz_set1_epi8(mask.into(), 1))
}
