//! Random numbers on the host: Philox, so a draw is a function of seed, stream and position alone.

use kiln_tensor_core::philox;

/// Keeps the bits for items apart from the bits for shuffles under one seed.
const ITEM_KEY: u64 = 0x9E37_79B9_7F4A_7C15;

/// A small generator. Equal arguments give equal numbers, on every machine and in every version.
///
/// ```
/// use kiln_data::Rng;
/// let mut rng = Rng::new(7, 0);
/// assert!(rng.below(10) < 10);
/// assert_eq!(Rng::new(7, 0).permutation(5), Rng::new(7, 0).permutation(5));
/// ```
#[derive(Clone, Debug)]
pub struct Rng {
    seed: u64,
    stream: u64,
    next: u64,
    spare: Option<u64>,
}

impl Rng {
    /// The numbers of `stream` under `seed`; streams are independent of each other.
    pub fn new(seed: u64, stream: u64) -> Self {
        Rng { seed, stream, next: 0, spare: None }
    }

    /// The numbers for one item of a dataset in one epoch.
    pub fn for_item(seed: u64, epoch: u64, index: usize) -> Self {
        // 2²⁰ blocks of 128 bits for each item.
        Rng { seed: seed ^ ITEM_KEY, stream: epoch, next: (index as u64) << 20, spare: None }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        if let Some(bits) = self.spare.take() {
            return bits;
        }
        let [a, b, c, d] = philox::words(self.seed, self.stream, self.next).map(u64::from);
        self.next = self.next.wrapping_add(1);
        self.spare = Some(c << 32 | d);
        a << 32 | b
    }

    /// A uniform number in `[0, 1)`.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A uniform number from `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A uniform whole number below `n`.
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "below: there is no number below 0");
        let n = n as u64;
        // Lemire, "Fast random integer generation in an interval", 2019: multiply, and reject the
        // few products that would favour some results.
        loop {
            let wide = u128::from(self.bits()) * u128::from(n);
            if wide as u64 >= n.wrapping_neg() % n {
                return (wide >> 64) as usize;
            }
        }
    }

    /// Puts the elements in a uniformly random order (Fisher–Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// The numbers `0 .. n` in random order.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_the_same_for_ever() {
        assert_eq!(Rng::new(1, 2).permutation(8), [0, 3, 5, 2, 6, 4, 1, 7]);
    }

    #[test]
    fn streams_and_items_differ() {
        let mut seen: Vec<u64> = (0..4).map(|s| Rng::new(9, s).bits()).collect();
        seen.extend((0..4).map(|i| Rng::for_item(9, 0, i).bits()));
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 8);
    }

    #[test]
    fn below_is_uniform() {
        let mut rng = Rng::new(3, 0);
        let mut counts = [0u32; 7];
        (0..70_000).for_each(|_| counts[rng.below(7)] += 1);
        // Six standard deviations of a binomial count around 10,000.
        assert!(counts.iter().all(|&c| c.abs_diff(10_000) < 560), "{counts:?}");
    }
}
