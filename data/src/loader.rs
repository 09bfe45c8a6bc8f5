//! `DataLoader`: batches of a dataset, epoch after epoch.

use std::fmt;
use std::sync::Arc;

use kiln_tensor_core::{Error, Result, raise};
use parking_lot::Mutex;

use crate::collate::Collate;
use crate::epoch::{Cursor, Epoch, Position, TryEpoch};
use crate::{BatchSampler, Dataset, RandomSampler, Sampler, SequentialSampler, sampler};

/// Batches of a dataset: `torch.utils.data.DataLoader`.
///
/// Which items a batch holds depends on the seed and the epoch, never on the number of workers.
///
/// ```
/// use kiln_conformance::{Reference, ReferenceDevice};
/// use kiln_data::{DataLoader, TensorDataset};
/// use kiln_tensor_core::Tensor;
///
/// let x = Tensor::<Reference>::zeros([10, 3], &ReferenceDevice);
/// let y = Tensor::<Reference>::from_slice(&[1i64; 10], [10], &ReferenceDevice);
/// let loader = DataLoader::new(TensorDataset::new((x, y))).batch_size(4).shuffle(42);
/// assert_eq!(loader.len(), 3);
/// for (x, y) in loader.epoch() {
///     assert_eq!(x.dims()[0], y.dims()[0]);
/// }
/// ```
pub struct DataLoader<D, T> {
    dataset: Arc<D>,
    make: Arc<Make<D, T>>,
    order: Order,
    batch_size: usize,
    drop_last: bool,
    workers: usize,
    prefetch: usize,
    cursor: Arc<Mutex<Cursor>>,
}

/// Makes the batch of some positions in an epoch.
type Make<D, T> = dyn Fn(&D, &[usize], u64) -> Result<T> + Send + Sync;

#[derive(Clone)]
enum Order {
    Items(Arc<dyn Sampler>),
    Batches(Arc<dyn BatchSampler>),
}

impl<D: Dataset + 'static> DataLoader<D, <D::Item as Collate>::Batch>
where
    D::Item: Collate,
{
    /// Batches of one item in the dataset's order, made on the calling thread; the methods change that.
    pub fn new(dataset: D) -> Self {
        Self::with_make(
            dataset,
            Arc::new(|dataset: &D, at: &[usize], epoch| dataset.batch(at, epoch)),
        )
    }
}

impl<D: Dataset + 'static, T: Send + 'static> DataLoader<D, T> {
    /// A loader whose batches are made of their items by `collate`.
    ///
    /// ```
    /// use kiln_data::{DataLoader, Dataset, digits};
    /// // Batches as plain vectors of images and labels.
    /// let loader = DataLoader::with_collate(digits(), |items| items).batch_size(32);
    /// assert_eq!(loader.epoch().next().unwrap().len(), 32);
    /// ```
    pub fn with_collate(
        dataset: D,
        collate: impl Fn(Vec<D::Item>) -> T + Send + Sync + 'static,
    ) -> Self {
        let make = move |dataset: &D, at: &[usize], epoch| {
            let items = at.iter().map(|&i| dataset.get_in_epoch(i, epoch));
            Ok(collate(items.collect::<Result<Vec<_>>>()?))
        };
        Self::with_make(dataset, Arc::new(make))
    }

    fn with_make(dataset: D, make: Arc<Make<D, T>>) -> Self {
        DataLoader {
            order: Order::Items(Arc::new(SequentialSampler(dataset.len()))),
            dataset: Arc::new(dataset),
            make,
            batch_size: 1,
            drop_last: false,
            workers: 0,
            prefetch: 2,
            cursor: Arc::default(),
        }
    }

    /// Items per batch.
    ///
    /// # Panics
    /// If `size` is 0.
    #[track_caller]
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = sampler::items("DataLoader::batch_size", size);
        self
    }

    /// Every epoch in a random order of its own, which follows from `seed` and the epoch.
    pub fn shuffle(self, seed: u64) -> Self {
        let len = self.dataset.len();
        self.sampler(RandomSampler::new(len, seed))
    }

    /// The items of each epoch and their order.
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Self {
        self.order = Order::Items(Arc::new(sampler));
        self
    }

    /// The batches of each epoch; `batch_size` and `drop_last` do not count then.
    pub fn batch_sampler(mut self, sampler: impl BatchSampler + 'static) -> Self {
        self.order = Order::Batches(Arc::new(sampler));
        self
    }

    /// Whether to leave out a last batch that is not full.
    pub fn drop_last(mut self, yes: bool) -> Self {
        self.drop_last = yes;
        self
    }

    /// How many threads make batches; with 0 (the default) the calling thread does, when it asks.
    /// Threads pay where an item costs more than about 100 µs, such as an image file.
    pub fn workers(mut self, threads: usize) -> Self {
        self.workers = threads;
        self
    }

    /// How many batches each worker may be ahead (2).
    ///
    /// # Panics
    /// If `batches` is 0.
    #[track_caller]
    pub fn prefetch(mut self, batches: usize) -> Self {
        if batches == 0 {
            let why = "a worker makes at least one batch ahead".into();
            raise(Error::Argument { op: "DataLoader::prefetch", why });
        }
        self.prefetch = batches;
        self
    }

    /// The dataset.
    pub fn dataset(&self) -> &D {
        &self.dataset
    }

    /// Number of batches in an epoch.
    pub fn len(&self) -> usize {
        match &self.order {
            Order::Batches(sampler) => sampler.count(),
            Order::Items(sampler) if self.drop_last => sampler.count() / self.batch_size,
            Order::Items(sampler) => sampler.count().div_ceil(self.batch_size),
        }
    }

    /// Whether an epoch has no batches.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The batches of the next epoch. Dropping the iterator stops its workers.
    ///
    /// # Panics
    /// While iterating, with the typed error if an item cannot be read ([`DataLoader::try_epoch`] gives
    /// it as a value), or with the panic of a dataset or collate function, wherever it ran. At once, if
    /// the sampler names an item that does not exist.
    #[track_caller]
    pub fn epoch(&self) -> Epoch<T> {
        Epoch::new(self.try_epoch())
    }

    /// Like [`DataLoader::epoch`], with a `Result` for each batch; after an error the next batch follows.
    #[track_caller]
    pub fn try_epoch(&self) -> TryEpoch<T> {
        let start = self.cursor.lock().begin();
        let plan = self.plan(start.epoch);
        plan.check(self.dataset.len());
        let end = plan.len();
        let (dataset, make) = (self.dataset.clone(), self.make.clone());
        let batch = move |at: usize| make(&dataset, plan.batch(at), start.epoch);
        let cursor = self.cursor.clone();
        TryEpoch::new(Arc::new(batch), start, end, cursor, self.workers, self.prefetch)
    }

    /// Where the loader stands: the epoch, and how many of its batches have been handed out. Save it
    /// with a checkpoint. After the last batch that is the beginning of the next epoch: what is done at the end of an
    /// epoch, as a step of its schedule, comes before the checkpoint or is made up for after it.
    pub fn position(&self) -> Position {
        self.cursor.lock().at
    }

    /// Makes the next call of `epoch` go on from `position`.
    pub fn resume(&self, position: Position) {
        *self.cursor.lock() = Cursor { start: position, at: position };
    }

    fn plan(&self, epoch: u64) -> Plan {
        match &self.order {
            Order::Batches(sampler) => Plan::Batches(sampler.batches(epoch)),
            Order::Items(sampler) => {
                let mut indices = sampler.indices(epoch);
                if self.drop_last {
                    indices.truncate(indices.len() / self.batch_size * self.batch_size);
                }
                Plan::Items { indices, size: self.batch_size }
            }
        }
    }
}

impl<D, T> fmt::Debug for DataLoader<D, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLoader")
            .field("batch_size", &self.batch_size)
            .field("drop_last", &self.drop_last)
            .field("workers", &self.workers)
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}

/// The items of an epoch's batches.
enum Plan {
    Items { indices: Vec<usize>, size: usize },
    Batches(Vec<Vec<usize>>),
}

impl Plan {
    fn len(&self) -> usize {
        match self {
            Plan::Items { indices, size } => indices.len().div_ceil(*size),
            Plan::Batches(batches) => batches.len(),
        }
    }

    fn batch(&self, at: usize) -> &[usize] {
        match self {
            Plan::Items { indices, size } => {
                &indices[at * size..((at + 1) * size).min(indices.len())]
            }
            Plan::Batches(batches) => &batches[at],
        }
    }

    #[track_caller]
    fn check(&self, items: usize) {
        let refuse = |why| raise(Error::Argument { op: "DataLoader::epoch", why });
        for batch in (0..self.len()).map(|at| self.batch(at)) {
            if batch.is_empty() {
                refuse("the sampler gave an empty batch".into());
            }
            if let Some(index) = batch.iter().find(|&&i| i >= items) {
                refuse(format!("the sampler named item {index} of {items}"));
            }
        }
    }
}
