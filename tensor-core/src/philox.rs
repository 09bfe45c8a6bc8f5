//! Philox 4×32-10 (Salmon, Moraes, Dror, Shaw: *Parallel random numbers: as easy as 1, 2, 3*, SC'11):
//! random bits as a function of a counter, so they depend on no thread count and no device.
//!
//! Element `i` of draw `stream` uses the counter `(i / lanes, stream)` under the key `seed`, where a
//! block of four 32-bit words serves four elements (`f64`: two).

use crate::DType;

const ROUND: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// Four random words for one counter.
#[inline]
pub fn block(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..10 {
        let a = u64::from(ROUND[0]) * u64::from(c0);
        let b = u64::from(ROUND[1]) * u64::from(c2);
        (c0, c1, c2, c3) =
            ((b >> 32) as u32 ^ c1 ^ k0, b as u32, (a >> 32) as u32 ^ c3 ^ k1, a as u32);
        k0 = k0.wrapping_add(WEYL[0]);
        k1 = k1.wrapping_add(WEYL[1]);
    }
    [c0, c1, c2, c3]
}

/// The words that serve block `number` of draw `stream`.
#[inline]
pub fn words(seed: u64, stream: u64, number: u64) -> [u32; 4] {
    block(
        [number as u32, (number >> 32) as u32, stream as u32, (stream >> 32) as u32],
        [seed as u32, (seed >> 32) as u32],
    )
}

/// How many elements of `dtype` one block serves.
pub const fn lanes(dtype: DType) -> usize {
    if matches!(dtype, DType::F64) { 2 } else { 4 }
}

/// How many random bits a uniform number of `dtype` has: its mantissa, so that it never rounds to 1.
pub const fn mantissa(dtype: DType) -> u32 {
    match dtype {
        DType::F64 => 53,
        DType::F16 => 11,
        DType::BF16 => 8,
        _ => 24,
    }
}

/// A uniform number in `[0, 1)` for element `index`.
pub fn uniform(seed: u64, stream: u64, index: u64, dtype: DType) -> f64 {
    let lanes = lanes(dtype) as u64;
    let words = words(seed, stream, index / lanes);
    let lane = (index % lanes) as usize;
    let bits = mantissa(dtype);
    if dtype == DType::F64 {
        let word = u64::from(words[2 * lane]) << 32 | u64::from(words[2 * lane + 1]);
        (word >> (64 - bits)) as f64 * 2f64.powi(-(bits as i32))
    } else {
        f64::from(words[lane] >> (32 - bits)) * 2f64.powi(-(bits as i32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Known answers of the Random123 distribution.
    #[test]
    fn known_answers() {
        assert_eq!(block([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(
            block([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
    }

    #[test]
    fn uniform_stays_below_one() {
        for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
            for i in 0..2000 {
                let u = uniform(7, 3, i, dtype);
                assert!((0.0..1.0).contains(&u));
                let stored = match dtype {
                    DType::F16 => half::f16::from_f64(u).to_f64(),
                    DType::BF16 => half::bf16::from_f64(u).to_f64(),
                    DType::F32 => f64::from(u as f32),
                    _ => u,
                };
                assert_eq!(u, stored);
            }
        }
    }
}
