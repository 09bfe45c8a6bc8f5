//! What a step asks of a device, as it is recorded.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::replay::{Held, Job};
use crate::faults::Watch;
use crate::kernels::Slot;
use crate::launch::{Call, Value};
use crate::memory::Pool;
use crate::storage::{Storage, WeakStorage};
use crate::{Opened, Runtime};

/// The segments of a captured step, until it is gone.
pub(crate) struct OwnPool<R: Runtime> {
    opened: &'static Opened<R>,
    pool: Pool,
}

impl<R: Runtime> Drop for OwnPool<R> {
    fn drop(&mut self) {
        self.opened.close_pool(self.pool);
    }
}

/// The record of a step. Memory that is not the step's own is kept; of its own, only what tensors hold.
pub(crate) struct Recorder<R: Runtime> {
    pub(super) jobs: Vec<Job<R>>,
    /// By address.
    pub(super) outside: HashMap<usize, Storage<R>>,
    /// Those of them that the step writes to.
    pub(super) written: HashMap<usize, Storage<R>>,
    pub(super) made: Vec<WeakStorage<R>>,
    /// The calls that may find an index out of range; a launch names its own by number.
    pub(super) watches: Vec<Watch>,
    pub(super) pool: OwnPool<R>,
}

impl<R: Runtime> Recorder<R> {
    pub(crate) fn new(opened: &'static Opened<R>) -> Self {
        Recorder {
            jobs: Vec::new(),
            outside: HashMap::new(),
            written: HashMap::new(),
            made: Vec::new(),
            watches: Vec::new(),
            pool: OwnPool { opened, pool: opened.open_pool() },
        }
    }

    /// Where the step's blocks come from.
    pub(crate) fn pool(&self) -> Pool {
        self.pool.pool
    }

    /// Takes note of a tensor that the step makes.
    pub(crate) fn made(&mut self, storage: &Storage<R>) {
        self.made.push(storage.downgrade());
    }

    /// Takes note of a write to a tensor.
    pub(crate) fn written(&mut self, storage: &Storage<R>) {
        if !self.owns(storage) {
            self.written.entry(storage.address()).or_insert_with(|| storage.clone());
        }
    }

    pub(crate) fn launch(
        &mut self,
        (entry, kernel): (&'static str, &Arc<Slot<R>>),
        (groups, group): (usize, usize),
        call: &Call<'_, R>,
    ) {
        let mut args: Vec<Held<R>> = Vec::with_capacity(call.args.len() + 2);
        for value in &call.args {
            args.push(match value {
                Value::Elements(storage) => Held::Buffer(self.keep(storage)),
                Value::Bytes(bytes) => Held::Bytes(SmallVec::from_slice(bytes)),
            });
        }
        let watch = call.watch.as_ref().map(|watch| {
            self.watches.push(watch.clone());
            self.watches.len() - 1
        });
        let (kernel, live) = (kernel.clone(), call.live.clone());
        self.jobs.push(Job::Launch { entry, kernel, groups, group, args, live, watch });
    }

    pub(crate) fn copy(
        &mut self,
        (from, start): (&Storage<R>, usize),
        to: &Storage<R>,
        bytes: usize,
    ) {
        let job = Job::Copy { from: self.keep(from), start, to: self.keep(to), bytes };
        self.jobs.push(job);
    }

    /// Work of a library, whose tensors are kept apart from it.
    pub(crate) fn library(&mut self, part: Arc<dyn Any + Send + Sync>) {
        self.jobs.push(Job::Library(part));
    }

    fn owns(&self, storage: &Storage<R>) -> bool {
        storage.block().is_none_or(|block| block.pool() == Some(self.pool.pool))
    }

    /// The buffer of a tensor, which stays what it is as long as the record.
    pub(crate) fn keep(&mut self, storage: &Storage<R>) -> Arc<R::Buffer> {
        if !self.owns(storage) {
            self.outside.entry(storage.address()).or_insert_with(|| storage.clone());
        }
        storage.block().expect("an element to work on").buffer().clone()
    }
}
