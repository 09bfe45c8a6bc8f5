//! Vectors as arrays: for machines without a level of their own (the compiler vectorises what it can).

use half::f16;

use super::{Arch, Float};

#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Array<T, const N: usize>([T; N]);

pub(crate) struct Scalar;

impl Arch for Scalar {
    type F32 = Array<f32, 16>;
    type F64 = Array<f64, 8>;
    #[inline(always)]
    unsafe fn f16_to_f32(from: *const u16, to: *mut f32) {
        for i in 0..16 {
            // SAFETY: by the caller's word.
            unsafe { *to.add(i) = f16::from_bits(*from.add(i)).to_f32() }
        }
    }
    #[inline(always)]
    unsafe fn f32_to_f16(from: *const f32, to: *mut u16) {
        for i in 0..16 {
            // SAFETY: by the caller's word.
            unsafe { *to.add(i) = f16::from_f32(*from.add(i)).to_bits() }
        }
    }
}

macro_rules! array {
    ($elem:ident, $int:ident, $n:literal) => {
        impl Array<$elem, $n> {
            #[inline(always)]
            fn zip(self, b: Self, f: impl Fn($elem, $elem) -> $elem) -> Self {
                Array(std::array::from_fn(|i| f(self.0[i], b.0[i])))
            }
            #[inline(always)]
            fn each(self, f: impl Fn($elem) -> $elem) -> Self {
                Array(self.0.map(f))
            }
            #[inline(always)]
            fn test(self, b: Self, f: impl Fn($elem, $elem) -> bool) -> [bool; $n] {
                std::array::from_fn(|i| f(self.0[i], b.0[i]))
            }
        }

        impl Float for Array<$elem, $n> {
            type Elem = $elem;
            type Mask = [bool; $n];
            const N: usize = $n;

            #[inline(always)]
            unsafe fn load(p: *const $elem) -> Self {
                // SAFETY: by the caller's word.
                Array(unsafe { p.cast::<[$elem; $n]>().read_unaligned() })
            }
            #[inline(always)]
            unsafe fn store(self, p: *mut $elem) {
                // SAFETY: by the caller's word.
                unsafe { p.cast::<[$elem; $n]>().write_unaligned(self.0) }
            }
            #[inline(always)]
            fn splat(x: $elem) -> Self {
                Array([x; $n])
            }
            #[inline(always)]
            fn bits(bits: u64) -> Self {
                Array([$elem::from_bits(bits as $int); $n])
            }
            #[inline(always)]
            fn num(x: f64) -> Self {
                Array([x as $elem; $n])
            }
            #[inline(always)]
            fn add(self, b: Self) -> Self {
                self.zip(b, |a, b| a + b)
            }
            #[inline(always)]
            fn sub(self, b: Self) -> Self {
                self.zip(b, |a, b| a - b)
            }
            #[inline(always)]
            fn mul(self, b: Self) -> Self {
                self.zip(b, |a, b| a * b)
            }
            #[inline(always)]
            fn div(self, b: Self) -> Self {
                self.zip(b, |a, b| a / b)
            }
            #[inline(always)]
            fn mul_add(self, b: Self, c: Self) -> Self {
                Array(std::array::from_fn(|i| self.0[i].mul_add(b.0[i], c.0[i])))
            }
            #[inline(always)]
            fn pick_max(self, b: Self) -> Self {
                self.zip(b, |a, b| if a > b { a } else { b })
            }
            #[inline(always)]
            fn pick_min(self, b: Self) -> Self {
                self.zip(b, |a, b| if a < b { a } else { b })
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                self.each($elem::sqrt)
            }
            #[inline(always)]
            fn floor(self) -> Self {
                self.each($elem::floor)
            }
            #[inline(always)]
            fn ceil(self) -> Self {
                self.each($elem::ceil)
            }
            #[inline(always)]
            fn round(self) -> Self {
                self.each($elem::round_ties_even)
            }
            #[inline(always)]
            fn trunc(self) -> Self {
                self.each($elem::trunc)
            }
            #[inline(always)]
            fn and(self, b: Self) -> Self {
                self.zip(b, |a, b| $elem::from_bits(a.to_bits() & b.to_bits()))
            }
            #[inline(always)]
            fn or(self, b: Self) -> Self {
                self.zip(b, |a, b| $elem::from_bits(a.to_bits() | b.to_bits()))
            }
            #[inline(always)]
            fn xor(self, b: Self) -> Self {
                self.zip(b, |a, b| $elem::from_bits(a.to_bits() ^ b.to_bits()))
            }
            #[inline(always)]
            fn add_bits(self, b: Self) -> Self {
                self.zip(b, |a, b| $elem::from_bits(a.to_bits().wrapping_add(b.to_bits())))
            }
            #[inline(always)]
            fn shl(self, by: u32) -> Self {
                self.each(|a| $elem::from_bits(a.to_bits() << by))
            }
            #[inline(always)]
            fn shr(self, by: u32) -> Self {
                self.each(|a| $elem::from_bits(a.to_bits() >> by))
            }
            #[inline(always)]
            fn eq(self, b: Self) -> [bool; $n] {
                self.test(b, |a, b| a == b)
            }
            #[inline(always)]
            fn ne(self, b: Self) -> [bool; $n] {
                self.test(b, |a, b| a != b)
            }
            #[inline(always)]
            fn lt(self, b: Self) -> [bool; $n] {
                self.test(b, |a, b| a < b)
            }
            #[inline(always)]
            fn le(self, b: Self) -> [bool; $n] {
                self.test(b, |a, b| a <= b)
            }
            #[inline(always)]
            fn select(mask: [bool; $n], yes: Self, no: Self) -> Self {
                Array(std::array::from_fn(|i| if mask[i] { yes.0[i] } else { no.0[i] }))
            }
            #[inline(always)]
            fn any(mask: [bool; $n]) -> bool {
                mask.contains(&true)
            }
            #[inline(always)]
            fn down<const BY: usize>(self) -> Self {
                Array(std::array::from_fn(|i| self.0[(i + BY) % $n]))
            }
            #[inline(always)]
            fn first(self) -> $elem {
                self.0[0]
            }
            #[inline(always)]
            unsafe fn load_mask(p: *const u8) -> [bool; $n] {
                // SAFETY: by the caller's word.
                unsafe { p.cast::<[u8; $n]>().read_unaligned() }.map(|b| b != 0)
            }
            #[inline(always)]
            unsafe fn store_mask(mask: [bool; $n], p: *mut u8) {
                // SAFETY: by the caller's word.
                unsafe { p.cast::<[u8; $n]>().write_unaligned(mask.map(u8::from)) }
            }
        }
    };
}
array!(f32, u32, 16);
array!(f64, u64, 8);
