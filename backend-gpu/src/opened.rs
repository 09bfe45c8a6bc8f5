//! An opened device: every call to its driver passes here, so that errors come out typed and complete.

use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use kiln_tensor_core::{Error, MemoryStats, Result};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::faults::{Faults, Watch};
use crate::kernels::{Kernels, Slot};
use crate::library::Task;
use crate::memory::{Block, Memory};
use crate::runtime::{Arg, Launch};
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
    /// The kernel that was queued last.
    last: Mutex<Option<&'static str>>,
}

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
    pub(crate) fn take(&self, device: &R::Device, bytes: usize) -> Result<Block<R>> {
        self.asked(device, || self.memory.take(device, &self.traits, bytes))
    }

    /// Memory for work that is about to be queued, and for no longer.
    pub fn scratch(&'static self, device: &R::Device, bytes: usize) -> Result<Scratch<R>> {
        Ok(Scratch { block: self.take(device, bytes)?, opened: self })
    }

    /// Takes a block back.
    pub(crate) fn give(&self, block: &Block<R>) {
        self.memory.give(block);
    }

    /// See `Runtime::write`.
    pub(crate) fn write(&self, device: &R::Device, to: &R::Buffer, bytes: &[u8]) -> Result<()> {
        self.asked(device, || R::write(device, to, 0, bytes))
    }

    /// See `Runtime::copy`.
    pub(crate) fn copy(
        &self,
        device: &R::Device,
        from: (&R::Buffer, usize),
        to: &R::Buffer,
        bytes: usize,
    ) -> Result<()> {
        self.asked(device, || R::copy(device, from, (to, 0), bytes))
    }

    /// See `Runtime::read`. Reports what went wrong in the work before it.
    pub(crate) fn read(
        &self,
        device: &R::Device,
        from: (&R::Buffer, usize),
        bytes: &mut [u8],
    ) -> Result<()> {
        self.asked(device, || R::read(device, from.0, from.1, bytes).map_err(|e| self.late(e)))?;
        self.asked(device, || self.faults.check(device))?;
        self.kernels.keep(device);
        Ok(())
    }

    /// See `Runtime::sync`. Reports what went wrong in the work before it.
    pub(crate) fn sync(&self, device: &R::Device) -> Result<()> {
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
        device: &R::Device,
        (entry, kernel): (&'static str, &R::Kernel),
        (groups, group): (usize, usize),
        args: &[Arg<'_, R::Buffer>],
        watch: Option<Watch>,
    ) -> Result<()> {
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
            let result = match watch {
                None => queue(args),
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
        if done {
            *self.last.lock() = Some(task.name());
        }
        Ok(done)
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
fn failed(error: Error, kernel: &str) -> Error {
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
