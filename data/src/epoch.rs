//! One pass over a loader's batches, on the calling thread or on workers.

use std::fmt;
use std::iter::FusedIterator;
use std::sync::Arc;

use kiln_files::Plain;
use kiln_tensor_core::{Result, raise};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::workers::Workers;

/// Where a loader stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// How many of its batches have been handed out.
    pub batch: usize,
}

/// For checkpoints.
impl Plain for Position {
    fn to_json(&self) -> Value {
        json!({"epoch": self.epoch, "batch": self.batch})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let batch = usize::try_from(value["batch"].as_u64()?).ok()?;
        Some(Position { epoch: value["epoch"].as_u64()?, batch })
    }
}

/// Where the next epoch starts, and where the latest one stands.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    pub(crate) start: Position,
    pub(crate) at: Position,
}

impl Cursor {
    pub(crate) fn begin(&mut self) -> Position {
        self.at = self.start;
        self.start = Position { epoch: self.at.epoch + 1, batch: 0 };
        self.at
    }
}

/// Makes batch number n of an epoch.
pub(crate) type Batches<T> = Arc<dyn Fn(usize) -> Result<T> + Send + Sync>;

/// The batches of an epoch, each as a `Result`: see [`DataLoader::try_epoch`](crate::DataLoader::try_epoch).
pub struct TryEpoch<T> {
    source: Source<T>,
    at: Position,
    end: usize,
    cursor: Arc<Mutex<Cursor>>,
}

enum Source<T> {
    Here(Batches<T>),
    Workers(Workers<T>),
}

impl<T: Send + 'static> TryEpoch<T> {
    #[track_caller]
    pub(crate) fn new(
        batches: Batches<T>,
        start: Position,
        end: usize,
        cursor: Arc<Mutex<Cursor>>,
        workers: usize,
        prefetch: usize,
    ) -> Self {
        let left = end.saturating_sub(start.batch);
        let source = if workers == 0 || left == 0 {
            Source::Here(batches)
        } else {
            Source::Workers(Workers::start(batches, start.batch..end, workers.min(left), prefetch))
        };
        let epoch = TryEpoch { source, at: start, end, cursor };
        epoch.report();
        epoch
    }

    /// Tells the loader where this pass stands; after the last batch that is the next epoch.
    fn report(&self) {
        let over = self.at.batch >= self.end;
        let next = Position { epoch: self.at.epoch + 1, batch: 0 };
        self.cursor.lock().at = if over { next } else { self.at };
    }
}

impl<T: Send + 'static> Iterator for TryEpoch<T> {
    type Item = Result<T>;

    #[track_caller]
    fn next(&mut self) -> Option<Result<T>> {
        if self.at.batch >= self.end {
            return None;
        }
        // A batch counts also if making it panics: nobody gets it again, and workers have no other.
        let at = self.at.batch;
        self.at.batch += 1;
        self.report();
        Some(match &mut self.source {
            Source::Here(batches) => batches(at),
            Source::Workers(workers) => workers.next(),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end.saturating_sub(self.at.batch);
        (left, Some(left))
    }
}

impl<T: Send + 'static> ExactSizeIterator for TryEpoch<T> {}
impl<T: Send + 'static> FusedIterator for TryEpoch<T> {}

/// The batches of an epoch: see [`DataLoader::epoch`](crate::DataLoader::epoch).
pub struct Epoch<T>(TryEpoch<T>);

impl<T: Send + 'static> Epoch<T> {
    pub(crate) fn new(batches: TryEpoch<T>) -> Self {
        Epoch(batches)
    }
}

impl<T: Send + 'static> Iterator for Epoch<T> {
    type Item = T;

    #[track_caller]
    fn next(&mut self) -> Option<T> {
        match self.0.next()? {
            Ok(batch) => Some(batch),
            Err(error) => raise(error),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T: Send + 'static> ExactSizeIterator for Epoch<T> {}
impl<T: Send + 'static> FusedIterator for Epoch<T> {}

impl<T> fmt::Debug for TryEpoch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}, batch {} of {}", self.at.epoch, self.at.batch, self.end)
    }
}

impl<T> fmt::Debug for Epoch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
