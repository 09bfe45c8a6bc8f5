//! An opened device: every call to its driver passes here, so that errors come out typed and complete.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kiln_tensor_core::{DType, Error, MatmulPrecision, MemoryStats, Result};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::faults::{Faults, Fixed};
use crate::graph::{Recorded, Recorder, recording, refused};
use crate::kernels::{Kernels, Slot};
use crate::launch::{Call, Value};
use crate::library::Task;
use crate::memory::{Block, Memory, Pool};
use crate::runtime::{Arg, Launch};
use crate::storage::Storage;
use crate::{Runtime, Traits};

/// A device that its driver has opened: what it can do, and what this crate keeps of it. A driver makes one
/// of each device, and keeps it to the end of the process.
#[derive(Debug)]
pub struct Opened<R: Runtime> {
    traits: Traits,
    memory: Memory<R>,
    kernels: Kernels<R>,
    faults: Faults<R>,
    /// Why nothing works on it any more.
    lost: OnceLock<String>,
    /// Convolutions that a library was timed for.
    choices: Mutex<HashMap<Timed, bool>>,
    /// The kernel that was queued last.
    last: Mutex<Option<&'static str>>,
}

/// A kind of convolution: what is worked out, dtype and precision, and all sizes.
pub(crate) type Timed = (u8, DType, MatmulPrecision, Box<[u8]>);

/// The arguments of a kernel.
pub(crate) type Args<'a, R> = SmallVec<[Arg<'a, <R as Runtime>::Buffer>; 16]>;

impl<R: Runtime> Opened<R> {
    /// A device with nothing on it yet.
    pub fn new(traits: Traits) -> Self {
        Opened {
            memory: Memory::new(&traits),
            traits,
            kernels: Kernels::new(),
            faults: Faults::new(),
            lost: OnceLock::new(),
            choices: Mutex::default(),
            last: Mutex::new(None),
        }
    }

    /// What the device can do.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// What its memory holds.
    pub(crate) fn memory(&self) -> MemoryStats {
        self.memory.stats()
    }

    pub(crate) fn reset_peak_memory(&self) {
        self.memory.reset_peak();
    }

    pub(crate) fn empty_cache(&self) {
        self.memory.empty_cache();
    }

    /// A block of at least `bytes`, more than 0, with unspecified content.
    pub(crate) fn take(
        &self,
        device: &R::Device,
        bytes: usize,
        pool: Option<Pool>,
    ) -> Result<Block<R>> {
        self.asked(device, || self.memory.take(device, &self.traits, bytes, pool))
    }

    /// Memory for work that is about to be queued, and for no longer.
    pub fn scratch(&'static self, device: &R::Device, bytes: usize) -> Result<Scratch<R>> {
        let pool = recording(self, |recorder| recorder.pool());
        Ok(Scratch { block: self.take(device, bytes, pool)?, opened: self })
    }

    /// Takes a block back.
    pub(crate) fn give(&self, block: &Block<R>) {
        self.memory.give(block);
    }

    /// Segments for a captured step, until `close_pool`.
    pub(crate) fn open_pool(&self) -> Pool {
        self.memory.open(&self.traits)
    }

    pub(crate) fn close_pool(&self, pool: Pool) {
        self.memory.close(pool);
    }

    /// Copies to the beginning of a tensor's elements. See `Runtime::write`.
    pub(crate) fn write(&self, device: &R::Device, to: &Storage<R>, bytes: &[u8]) -> Result<()> {
        if recording(self, |_| ()).is_none() {
            return self.asked(device, || R::write(device, to.buffer(), 0, bytes));
        }
        // Kept apart from the step's memory, which is written over again by a replay.
        let kept = Storage::apart(device, bytes.len())?;
        self.asked(device, || R::write(device, kept.buffer(), 0, bytes))?;
        self.copy(device, (&kept, 0), to, bytes.len())
    }

    /// Copies from a place to the beginning of a tensor's elements. See `Runtime::copy`.
    pub(crate) fn copy(
        &self,
        device: &R::Device,
        from: (&Storage<R>, usize),
        to: &Storage<R>,
        bytes: usize,
    ) -> Result<()> {
        recording(self, |recorder| recorder.copy(from, to, bytes));
        let from = (from.0.buffer(), from.1);
        self.asked(device, || R::copy(device, from, (to.buffer(), 0), bytes))
    }

    /// See `Runtime::read`. Reports what went wrong in the work before it.
    pub(crate) fn read(
        &self,
        device: &R::Device,
        (from, start): (&Storage<R>, usize),
        bytes: &mut [u8],
    ) -> Result<()> {
        refused(self, device)?;
        let from = (from.buffer(), start);
        self.asked(device, || R::read(device, from.0, from.1, bytes).map_err(|e| self.late(e)))?;
        self.asked(device, || self.faults.check(device))?;
        self.kernels.keep(device);
        Ok(())
    }

    /// See `Runtime::sync`. Reports what went wrong in the work before it.
    pub(crate) fn sync(&self, device: &R::Device) -> Result<()> {
        refused(self, device)?;
        self.asked(device, || R::sync(device).map_err(|error| self.late(error)))?;
        self.asked(device, || self.faults.check(device))?;
        self.kernels.keep(device);
        Ok(())
    }

    /// The kernel of a key, compiled where that has not been done. `entry` and `key` determine the body.
    pub(crate) fn kernel(
        &self,
        device: &R::Device,
        entry: &'static str,
        key: impl Hash,
        body: impl FnOnce() -> String,
    ) -> Result<Arc<Slot<R>>> {
        self.asked(device, || self.kernels.get(device, &self.traits, entry, key, body))
    }

    /// Queues a kernel. With a watch, its last two parameters are where it reports an index that is out of
    /// range, and the number that it gives then.
    pub(crate) fn launch(
        &self,
        (entry, slot): (&'static str, &Arc<Slot<R>>),
        (groups, group): (usize, usize),
        call: Call<'_, R>,
    ) -> Result<()> {
        recording(self, |recorder| recorder.launch((entry, slot), (groups, group), &call));
        let (device, kernel) = (call.device, slot.kernel());
        let args = call.args.iter().map(|arg| match arg {
            Value::Elements(storage) => Arg::Buffer(storage.buffer()),
            Value::Bytes(bytes) => Arg::Bytes(bytes),
        });
        let args: Args<'_, R> = args.collect();
        let queue = |args: &[Arg<'_, R::Buffer>]| {
            *self.last.lock() = Some(entry);
            let launch = Launch { groups, group, args };
            match R::launch(device, kernel, &launch) {
                Err(Error::OutOfMemory { .. }) => {
                    // Drivers may find memory for a buffer at its first use only.
                    self.memory.empty_cache();
                    R::sync(device)?;
                    R::launch(device, kernel, &launch)
                }
                result => result,
            }
        };
        self.asked(device, || {
            let result = match call.watch {
                None => queue(&args),
                Some(watch) => self.faults.watched(device, watch, |buffer, number| {
                    let number = number.to_ne_bytes();
                    let more = [Arg::Buffer(buffer), Arg::Bytes(&number)];
                    queue(&args.iter().copied().chain(more).collect::<Args<'_, R>>())
                }),
            };
            result.map_err(|error| failed(error, entry))
        })
    }

    /// Offers work to the driver's libraries. `false`: kernels of this crate are to do it.
    pub(crate) fn library(&self, device: &R::Device, task: &Task<'_, R::Buffer>) -> Result<bool> {
        let done = self.asked(device, || R::library(device, task))?;
        if !done {
            return Ok(false);
        }
        *self.last.lock() = Some(task.name());
        if recording(self, |_| ()).is_none() {
            return Ok(true);
        }
        let part = self.asked(device, || R::library_part(device, task))?;
        let recorded = part.and_then(|part| recording(self, |recorder| recorder.library(part)));
        Ok(recorded.is_some())
    }

    /// Keeps tensors that work of a library uses, if this thread captures a step.
    pub(crate) fn keep<'a>(&self, used: impl IntoIterator<Item = &'a Storage<R>>) {
        recording(self, |recorder| {
            used.into_iter().for_each(|storage| drop(recorder.keep(storage)));
        });
    }

    /// See `Runtime::time`.
    pub(crate) fn time(
        &self,
        device: &R::Device,
        work: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Duration> {
        self.asked(device, || R::time(device, work))
    }

    /// Whether a library does a convolution faster, if that is known.
    pub(crate) fn choice(&self, key: &Timed) -> Option<bool> {
        self.choices.lock().get(key).copied()
    }

    pub(crate) fn choose(&self, key: Timed, library: bool) {
        self.choices.lock().insert(key, library);
    }

    /// The step of a record, ready to be replayed.
    pub(crate) fn prepared(
        &'static self,
        device: &R::Device,
        recorder: Recorder<R>,
    ) -> Result<Recorded<R>> {
        self.asked(device, || Recorded::new(device, self, recorder))
    }

    /// Queues a captured step, whose calls report to `faults`; `queue` gives the last kernel's name.
    pub(crate) fn replayed(
        &self,
        device: &R::Device,
        faults: Option<&Arc<Fixed<R>>>,
        queue: impl FnOnce() -> Result<&'static str>,
    ) -> Result<()> {
        let last = self.asked(device, || match faults {
            None => queue(),
            Some(faults) => self.faults.replayed(faults, queue),
        })?;
        *self.last.lock() = Some(last);
        Ok(())
    }

    /// Asks the driver, unless the device is lost.
    fn asked<T>(&self, device: &R::Device, ask: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Some(why) = self.lost.get() {
            return Err(Error::DeviceLost { device: device.to_string(), why: why.clone() });
        }
        let result = ask();
        if let Err(Error::DeviceLost { why, .. }) = &result {
            let _ = self.lost.set(why.clone());
        }
        result
    }

    /// An error that queued work may have caused, with the kernel that was queued last.
    fn late(&self, error: Error) -> Error {
        let Some(last) = *self.last.lock() else { return error };
        let told = |why| format!("{why} (the kernel queued last was `{last}`)");
        match error {
            Error::DeviceLost { device, why } => Error::DeviceLost { device, why: told(why) },
            Error::Backend { device, why } => Error::Backend { device, why: told(why) },
            other => other,
        }
    }
}

/// Memory that is given back when this is dropped. What was queued until then may use it: the queue runs all in
/// order, so that later work overwrites nothing too early.
#[derive(Debug)]
pub struct Scratch<R: Runtime> {
    block: Block<R>,
    opened: &'static Opened<R>,
}

impl<R: Runtime> Scratch<R> {
    /// The memory.
    pub fn buffer(&self) -> &R::Buffer {
        self.block.buffer()
    }
}

impl<R: Runtime> Drop for Scratch<R> {
    fn drop(&mut self) {
        self.opened.give(&self.block);
    }
}

/// An error of a driver that was to queue a kernel.
pub(crate) fn failed(error: Error, kernel: &str) -> Error {
    match error {
        Error::Backend { device, why } => {
            Error::KernelFailed { device, kernel: kernel.to_owned(), why }
        }
        Error::DeviceLost { device, why } => {
            Error::DeviceLost { device, why: format!("{why} (at kernel `{kernel}`)") }
        }
        other => other,
    }
}
