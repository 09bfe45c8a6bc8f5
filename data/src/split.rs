//! How a dataset is divided.

use kiln_tensor_core::{Error, raise};

use crate::Rng;

mod sealed {
    pub trait Sealed {}
    impl<const N: usize> Sealed for [usize; N] {}
    impl<const N: usize> Sealed for [f64; N] {}
}

/// Sizes of the parts of a split: counts (`[1500, 297]`) or fractions (`[0.8, 0.2]`).
pub trait SplitSizes<const N: usize>: sealed::Sealed {
    /// How many of `len` items each part gets.
    ///
    /// # Panics
    /// If counts do not add up to `len`, or fractions to 1.
    #[track_caller]
    fn counts(&self, len: usize) -> [usize; N];
}

impl<const N: usize> SplitSizes<N> for [usize; N] {
    #[track_caller]
    fn counts(&self, len: usize) -> [usize; N] {
        if self.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) != Some(len) {
            refuse(format!("the sizes {self:?} do not add up to {len} items"));
        }
        *self
    }
}

impl<const N: usize> SplitSizes<N> for [f64; N] {
    #[track_caller]
    fn counts(&self, len: usize) -> [usize; N] {
        if !self.iter().all(|&f| f >= 0.0) || (self.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
            refuse(format!("the fractions {self:?} are not parts of 1"));
        }
        let mut counts = self.map(|fraction| (fraction * len as f64).floor() as usize);
        let left = len.saturating_sub(counts.iter().sum());
        (0..left).for_each(|i| counts[i % N] += 1);
        counts
    }
}

#[track_caller]
fn refuse(why: String) -> ! {
    raise(Error::Argument { op: "split", why })
}

/// A random permutation cut into pieces.
pub(crate) fn random<const N: usize>(sizes: [usize; N], rng: &mut Rng) -> [Vec<usize>; N] {
    let order = rng.permutation(sizes.iter().sum());
    let mut start = 0;
    sizes.map(|size| {
        start += size;
        order[start - size..start].to_vec()
    })
}

/// Items class by class, each class in random order, dealt so that every part is always as near as
/// whole items allow to its share of what has been dealt; so it is near its share of each class.
pub(crate) fn stratified<const N: usize>(
    labels: &[i64],
    sizes: [usize; N],
    rng: &mut Rng,
) -> [Vec<usize>; N] {
    let mut order = rng.permutation(labels.len());
    order.sort_by_key(|&i| labels[i]);
    let total = labels.len() as f64;
    let mut parts: [Vec<usize>; N] = sizes.map(Vec::with_capacity);
    for (dealt, index) in order.into_iter().enumerate() {
        let lack = |p: usize| sizes[p] as f64 * (dealt + 1) as f64 / total - parts[p].len() as f64;
        let open = (0..N).filter(|&p| parts[p].len() < sizes[p]);
        let part = open.max_by(|&a, &b| lack(a).total_cmp(&lack(b)));
        parts[part.expect("the sizes add up to the number of labels")].push(index);
    }
    parts.iter_mut().for_each(|part| rng.shuffle(part));
    parts
}
