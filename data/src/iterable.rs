//! Datasets that are streams: items come in their own order, and nobody knows how many.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

use kiln_tensor_core::{Error, Result, catch, raise};

use crate::collate::Collate;
use crate::sampler;

/// A stream of items: `torch.utils.data.IterableDataset`.
///
/// ```
/// use kiln_conformance::{Reference, ReferenceDevice};
/// use kiln_data::{IterableDataset, IterableLoader, Shard};
/// use kiln_tensor_core::{Result, Tensor};
///
/// /// The squares below a hundred, as if somebody sent them.
/// struct Squares;
/// impl IterableDataset for Squares {
///     type Item = Tensor<Reference>;
///     fn iter(&self, shard: Shard, _epoch: u64) -> Box<dyn Iterator<Item = Result<Self::Item>> + Send> {
///         let squares = (0i64..).map(|i| i * i).take_while(|s| *s < 100);
///         Box::new(shard.of(squares).map(|s| Ok(Tensor::from_slice(&[s], [], &ReferenceDevice))))
///     }
/// }
///
/// let loader = IterableLoader::new(Squares).batch_size(4);
/// let batches: Vec<Vec<i64>> = loader.epoch(0).map(|batch| batch.to_vec()).collect();
/// assert_eq!(batches, [vec![0, 1, 4, 9], vec![16, 25, 36, 49], vec![64, 81]]);
/// ```
pub trait IterableDataset: Send + Sync {
    /// What an item is.
    type Item;

    /// The items of epoch `epoch` that belong to `shard`: each worker of a loader gets another one.
    fn iter(
        &self,
        shard: Shard,
        epoch: u64,
    ) -> Box<dyn Iterator<Item = Result<Self::Item>> + Send + '_>;
}

/// Which part of a stream a worker reads: `torch.utils.data.get_worker_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub count: usize,
}

impl Shard {
    /// The items of a whole stream that belong to this shard: every `count`th from `index` on.
    pub fn of<I: Iterator>(self, items: I) -> std::iter::StepBy<std::iter::Skip<I>> {
        items.skip(self.index).step_by(self.count)
    }
}

/// The items of one stream, then those of another: `torch.utils.data.ChainDataset`.
#[derive(Clone, Copy, Debug)]
pub struct ChainDataset<A, B>(
    /// The first.
    pub A,
    /// The second.
    pub B,
);

impl<A: IterableDataset, B: IterableDataset<Item = A::Item>> IterableDataset
    for ChainDataset<A, B>
{
    type Item = A::Item;

    fn iter(
        &self,
        shard: Shard,
        epoch: u64,
    ) -> Box<dyn Iterator<Item = Result<A::Item>> + Send + '_> {
        Box::new(self.0.iter(shard, epoch).chain(self.1.iter(shard, epoch)))
    }
}

/// Batches of a stream: `torch.utils.data.DataLoader` of an [`IterableDataset`].
///
/// With workers, each reads a shard of its own and makes whole batches of it, and batches come from the
/// workers in turn, as in PyTorch: which items make a batch depends on the number of workers, never on how
/// fast they are.
pub struct IterableLoader<D> {
    dataset: Arc<D>,
    batch_size: usize,
    drop_last: bool,
    workers: usize,
    prefetch: usize,
}

impl<D: IterableDataset + 'static> IterableLoader<D>
where
    D::Item: Collate,
{
    /// Batches of one item, made on the calling thread; the methods change that.
    pub fn new(dataset: D) -> Self {
        IterableLoader {
            dataset: Arc::new(dataset),
            batch_size: 1,
            drop_last: false,
            workers: 0,
            prefetch: 2,
        }
    }

    /// Items per batch.
    ///
    /// # Panics
    /// If `size` is 0.
    #[track_caller]
    pub fn batch_size(mut self, size: usize) -> Self {
        self.batch_size = sampler::items("IterableLoader::batch_size", size);
        self
    }

    /// Whether to leave out the last batch of a shard if it is not full.
    pub fn drop_last(mut self, yes: bool) -> Self {
        self.drop_last = yes;
        self
    }

    /// How many threads read shards; with 0 (the default) the calling thread reads the whole stream.
    pub fn workers(mut self, threads: usize) -> Self {
        self.workers = threads;
        self
    }

    /// The batches of epoch `epoch`. Dropping the iterator stops its workers.
    ///
    /// # Panics
    /// While iterating, with the typed error if an item cannot be read
    /// ([`IterableLoader::try_epoch`] gives it as a value), or with the panic of the dataset.
    pub fn epoch(
        &self,
        epoch: u64,
    ) -> impl Iterator<Item = <D::Item as Collate>::Batch> + use<'_, D> {
        self.try_epoch(epoch).map(|batch| batch.unwrap_or_else(|error| raise(error)))
    }

    /// Like [`IterableLoader::epoch`], with a `Result` for each batch; after an error the stream goes on
    /// with the next batch.
    pub fn try_epoch(
        &self,
        epoch: u64,
    ) -> Box<dyn Iterator<Item = Result<<D::Item as Collate>::Batch>> + '_> {
        if self.workers == 0 {
            let whole = Shard { index: 0, count: 1 };
            return Box::new(batches(
                &*self.dataset,
                whole,
                epoch,
                self.batch_size,
                self.drop_last,
            ));
        }
        let workers = (0..self.workers).map(|index| self.start(index, epoch)).collect();
        Box::new(Turns { workers, next: 0 })
    }

    fn start(&self, index: usize, epoch: u64) -> Worker<<D::Item as Collate>::Batch> {
        let (send, batches_of) = sync_channel(self.prefetch);
        let shard = Shard { index, count: self.workers };
        let (dataset, size, drop_last) = (self.dataset.clone(), self.batch_size, self.drop_last);
        let work = move || {
            // A batch that nobody wants any more ends the work.
            let sent = catch_unwind(AssertUnwindSafe(|| {
                catch(|| {
                    let mut batches = batches(&*dataset, shard, epoch, size, drop_last);
                    batches.all(|batch| send.send(Outcome::Made(batch)).is_ok())
                })
            }));
            let last = match sent {
                Ok(Ok(_)) => return,
                Ok(Err(error)) => Outcome::Raised(error),
                Err(payload) => Outcome::Panicked(payload),
            };
            let _ = send.send(last);
        };
        match Builder::new().name("kiln-data".into()).spawn(work) {
            Ok(thread) => Worker { batches: Some(batches_of), thread: Some(thread) },
            Err(error) => raise(Error::Backend {
                device: "data loader".into(),
                why: format!("no worker thread could be started: {error}"),
            }),
        }
    }
}

impl<D> fmt::Debug for IterableLoader<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IterableLoader")
            .field("batch_size", &self.batch_size)
            .field("drop_last", &self.drop_last)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

/// The batches of a shard. An item that cannot be read takes its batch with it.
fn batches<D: IterableDataset>(
    dataset: &D,
    shard: Shard,
    epoch: u64,
    size: usize,
    drop_last: bool,
) -> impl Iterator<Item = Result<<D::Item as Collate>::Batch>>
where
    D::Item: Collate,
{
    let mut items = dataset.iter(shard, epoch);
    std::iter::from_fn(move || {
        let batch: Vec<Result<D::Item>> = items.by_ref().take(size).collect();
        if batch.is_empty() || (drop_last && batch.len() < size) {
            return None;
        }
        Some(batch.into_iter().collect::<Result<Vec<_>>>().map(Collate::collate))
    })
}

enum Outcome<T> {
    Made(Result<T>),
    Raised(Error),
    Panicked(Box<dyn Any + Send>),
}

struct Worker<T> {
    batches: Option<Receiver<Outcome<T>>>,
    thread: Option<JoinHandle<()>>,
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // Without a receiver the worker's next send fails, which ends it.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A worker catches every panic of the code that it runs.
            let _ = thread.join();
        }
    }
}

/// One batch of each worker in turn, until none has any.
struct Turns<T> {
    workers: Vec<Worker<T>>,
    next: usize,
}

impl<T> Iterator for Turns<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        while !self.workers.is_empty() {
            self.next %= self.workers.len();
            let received = self.workers[self.next].batches.as_ref().and_then(|b| b.recv().ok());
            match received {
                Some(Outcome::Made(batch)) => {
                    self.next += 1;
                    return Some(batch);
                }
                Some(Outcome::Raised(error)) => raise(error),
                Some(Outcome::Panicked(payload)) => resume_unwind(payload),
                None => drop(self.workers.remove(self.next)),
            }
        }
        None
    }
}
