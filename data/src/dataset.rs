//! What a dataset is, and datasets made of others.

use std::sync::Arc;

use kiln_tensor_core::{Error, Result, raise};

use crate::collate::Collate;
use crate::{Rng, SplitSizes, Transform, Transformed, split};

/// Items by position. Reading an item may fail (a file may be damaged); what is asked for exists.
///
/// ```
/// use kiln_data::Dataset;
/// struct Squares;
/// impl Dataset for Squares {
///     type Item = usize;
///     fn len(&self) -> usize {
///         5
///     }
///     fn get(&self, index: usize) -> kiln_tensor_core::Result<usize> {
///         Ok(index * index)
///     }
/// }
/// assert_eq!(Squares.subset([4, 1]).get(0)?, 16);
/// # Ok::<(), kiln_tensor_core::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// What an item is: often an input and its label.
    type Item;

    /// Number of items.
    fn len(&self) -> usize;

    /// The item at `index`, which is below `len()`.
    ///
    /// # Errors
    /// If it cannot be read.
    fn get(&self, index: usize) -> Result<Self::Item>;

    /// The item at `index` as epoch `epoch` sees it: datasets that augment give another one each time.
    ///
    /// # Errors
    /// If it cannot be read.
    fn get_in_epoch(&self, index: usize, epoch: u64) -> Result<Self::Item> {
        let _ = epoch;
        self.get(index)
    }

    /// The items at `indices` as one batch. Datasets that have a faster way than item by item give
    /// the same batch by it.
    ///
    /// # Errors
    /// If an item cannot be read.
    ///
    /// # Panics
    /// If there are no indices and only items could tell the shape of a batch.
    #[track_caller]
    fn batch(&self, indices: &[usize], epoch: u64) -> Result<<Self::Item as Collate>::Batch>
    where
        Self::Item: Collate,
    {
        if indices.is_empty() {
            let why = "no items make no batch: their shape is unknown".into();
            raise(Error::Argument { op: "Dataset::batch", why });
        }
        let items = indices.iter().map(|&i| self.get_in_epoch(i, epoch));
        Ok(Collate::collate(items.collect::<Result<Vec<_>>>()?))
    }

    /// All items as one batch.
    ///
    /// # Errors
    /// If an item cannot be read.
    fn all(&self) -> Result<<Self::Item as Collate>::Batch>
    where
        Self::Item: Collate,
    {
        self.batch(&(0..self.len()).collect::<Vec<_>>(), 0)
    }

    /// Whether there are no items.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every item, changed by `f`.
    fn map<T, F: Fn(Self::Item) -> T + Send + Sync>(self, f: F) -> Map<Self, F>
    where
        Self: Sized,
    {
        Map { dataset: self, f }
    }

    /// Every item's image changed by `transform`, with random numbers that depend on seed, epoch and
    /// position alone.
    fn transform<T, L>(self, transform: T) -> Transformed<Self, T>
    where
        Self: Sized + Dataset<Item = (T::Input, L)>,
        T: Transform,
    {
        Transformed::new(self, transform)
    }

    /// The items at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is out of range.
    #[track_caller]
    fn subset(self, indices: impl Into<Vec<usize>>) -> Subset<Self>
    where
        Self: Sized,
    {
        Subset::new(self, indices.into())
    }

    /// The items of this dataset, then those of `other`.
    fn concat<D: Dataset<Item = Self::Item>>(self, other: D) -> Concat<Self, D>
    where
        Self: Sized,
    {
        Concat { first: self, second: other }
    }

    /// Disjoint random parts: `torch.utils.data.random_split`. Sizes are counts that add up to the
    /// length, or fractions that add up to 1 (each rounded down, what is left over goes to the first
    /// parts, one each).
    ///
    /// # Panics
    /// If the sizes do not add up.
    #[track_caller]
    fn random_split<const N: usize>(
        self,
        sizes: impl SplitSizes<N>,
        seed: u64,
    ) -> [Subset<Arc<Self>>; N]
    where
        Self: Sized,
    {
        let sizes = sizes.counts(self.len());
        parts(self, split::random(sizes, &mut Rng::new(seed, 0)))
    }

    /// Like `random_split`, with every class in the same proportion in each part, as nearly as whole
    /// items allow. `labels` holds the class of each item.
    ///
    /// # Panics
    /// If the sizes do not add up or there is not one label per item.
    #[track_caller]
    fn stratified_split<const N: usize>(
        self,
        labels: &[i64],
        sizes: impl SplitSizes<N>,
        seed: u64,
    ) -> [Subset<Arc<Self>>; N]
    where
        Self: Sized,
    {
        if labels.len() != self.len() {
            raise(Error::Argument {
                op: "stratified_split",
                why: format!("{} items want as many labels, not {}", self.len(), labels.len()),
            });
        }
        let sizes = sizes.counts(self.len());
        parts(self, split::stratified(labels, sizes, &mut Rng::new(seed, 0)))
    }
}

fn parts<D: Dataset, const N: usize>(dataset: D, indices: [Vec<usize>; N]) -> [Subset<Arc<D>>; N] {
    let dataset = Arc::new(dataset);
    indices.map(|indices| Subset { dataset: dataset.clone(), indices: indices.into() })
}

/// See [`Dataset::map`].
#[derive(Clone)]
#[allow(missing_debug_implementations, reason = "holds a closure")]
pub struct Map<D, F> {
    dataset: D,
    f: F,
}

impl<D: Dataset, T, F: Fn(D::Item) -> T + Send + Sync> Dataset for Map<D, F> {
    type Item = T;

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, index: usize) -> Result<T> {
        self.get_in_epoch(index, 0)
    }

    fn get_in_epoch(&self, index: usize, epoch: u64) -> Result<T> {
        self.dataset.get_in_epoch(index, epoch).map(&self.f)
    }
}

/// See [`Dataset::subset`].
#[derive(Clone, Debug)]
pub struct Subset<D> {
    dataset: D,
    indices: Arc<[usize]>,
}

impl<D: Dataset> Subset<D> {
    #[track_caller]
    fn new(dataset: D, indices: Vec<usize>) -> Self {
        if let Some(index) = indices.iter().find(|&&i| i >= dataset.len()) {
            raise(Error::Argument {
                op: "subset",
                why: format!("index {index} is out of range for {} items", dataset.len()),
            });
        }
        Subset { dataset, indices: indices.into() }
    }

    /// The dataset that this is a part of.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }

    /// Which items of it, in order.
    pub fn indices(&self) -> &[usize] {
        &self.indices
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, index: usize) -> Result<D::Item> {
        self.dataset.get(self.indices[index])
    }

    fn get_in_epoch(&self, index: usize, epoch: u64) -> Result<D::Item> {
        self.dataset.get_in_epoch(self.indices[index], epoch)
    }

    fn batch(&self, indices: &[usize], epoch: u64) -> Result<<D::Item as Collate>::Batch>
    where
        D::Item: Collate,
    {
        let indices: Vec<usize> = indices.iter().map(|&i| self.indices[i]).collect();
        self.dataset.batch(&indices, epoch)
    }
}

/// See [`Dataset::concat`].
#[derive(Clone, Debug)]
pub struct Concat<A, B> {
    first: A,
    second: B,
}

impl<A: Dataset, B: Dataset<Item = A::Item>> Dataset for Concat<A, B> {
    type Item = A::Item;

    fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    fn get(&self, index: usize) -> Result<A::Item> {
        self.get_in_epoch(index, 0)
    }

    fn get_in_epoch(&self, index: usize, epoch: u64) -> Result<A::Item> {
        match index.checked_sub(self.first.len()) {
            None => self.first.get_in_epoch(index, epoch),
            Some(index) => self.second.get_in_epoch(index, epoch),
        }
    }
}

impl<D: Dataset> Dataset for Arc<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> Result<D::Item> {
        (**self).get(index)
    }

    fn get_in_epoch(&self, index: usize, epoch: u64) -> Result<D::Item> {
        (**self).get_in_epoch(index, epoch)
    }

    fn batch(&self, indices: &[usize], epoch: u64) -> Result<<D::Item as Collate>::Batch>
    where
        D::Item: Collate,
    {
        (**self).batch(indices, epoch)
    }
}
