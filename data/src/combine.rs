//! Datasets one after the other, and side by side.

use kiln_tensor_core::{Error, Result, raise};

use crate::Dataset;

/// The items of many datasets of one type, one dataset after the other: `torch.utils.data.ConcatDataset`.
/// For two of different types there is [`Dataset::concat`].
///
/// ```
/// use kiln_data::{ConcatDataset, Dataset, digits};
/// let all = ConcatDataset::new([digits(), digits(), digits()]);
/// assert_eq!(all.len(), 3 * digits().len());
/// ```
#[derive(Clone, Debug)]
pub struct ConcatDataset<D> {
    datasets: Vec<D>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl<D: Dataset> ConcatDataset<D> {
    /// These datasets, in this order.
    pub fn new(datasets: impl Into<Vec<D>>) -> Self {
        let datasets = datasets.into();
        let mut end = 0;
        let ends = datasets.iter().map(|dataset| (end += dataset.len(), end).1).collect();
        ConcatDataset { datasets, ends }
    }

    /// The datasets.
    pub fn datasets(&self) -> &[D] {
        &self.datasets
    }
}

impl<D: Dataset> Dataset for ConcatDataset<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn get(&self, index: usize) -> Result<D::Item> {
        self.get_in_epoch(index, 0)
    }

    fn get_in_epoch(&self, index: usize, epoch: u64) -> Result<D::Item> {
        let at = self.ends.partition_point(|&end| end <= index);
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        self.datasets[at].get_in_epoch(index - start, epoch)
    }
}

/// Item `i` is a pair of items `i` of two datasets: `torch.utils.data.StackDataset`. For more, stack stacks.
///
/// ```
/// use kiln_data::{Dataset, StackDataset, digits};
/// let pairs = StackDataset::new(digits(), digits().map(|(_, label)| label % 2));
/// let ((_, label), odd) = pairs.get(5)?;
/// assert_eq!(label % 2, odd);
/// # Ok::<(), kiln_tensor_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct StackDataset<A, B> {
    first: A,
    second: B,
}

impl<A: Dataset, B: Dataset> StackDataset<A, B> {
    /// Two datasets of one length.
    ///
    /// # Panics
    /// If the lengths differ.
    #[track_caller]
    pub fn new(first: A, second: B) -> Self {
        let (a, b) = (first.len(), second.len());
        if a != b {
            let why = format!("datasets side by side have one length, not {a} and {b}");
            raise(Error::Argument { op: "StackDataset", why });
        }
        StackDataset { first, second }
    }
}

impl<A: Dataset, B: Dataset> Dataset for StackDataset<A, B> {
    type Item = (A::Item, B::Item);

    fn len(&self) -> usize {
        self.first.len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        self.get_in_epoch(index, 0)
    }

    fn get_in_epoch(&self, index: usize, epoch: u64) -> Result<Self::Item> {
        Ok((self.first.get_in_epoch(index, epoch)?, self.second.get_in_epoch(index, epoch)?))
    }
}
