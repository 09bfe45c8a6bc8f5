//! The caching allocator: device memory in large segments, cut into blocks that are kept for reuse.
//!
//! One queue per device runs all work in order, so a block may be given to later work as soon as the tensor
//! that had it is dropped, without waiting for the device.

mod arena;

use std::fmt;
use std::sync::Arc;

use kiln_tensor_core::{Error, MemoryStats, Result};
use parking_lot::Mutex;

use crate::{Runtime, Traits};
use arena::{Arena, Taken};

/// The memory of a device.
#[derive(Debug)]
pub(crate) struct Memory<R: Runtime>(Mutex<Held<R>>);

#[derive(Debug)]
struct Held<R: Runtime> {
    arena: Arena<R::Buffer>,
    stats: MemoryStats,
}

/// A block that was taken and is to be given back.
pub(crate) struct Block<R: Runtime> {
    buffer: Arc<R::Buffer>,
    id: usize,
    bytes: usize,
}

impl<R: Runtime> Block<R> {
    pub(crate) fn buffer(&self) -> &R::Buffer {
        &self.buffer
    }

    /// So many bytes were asked for; there may be more.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl<R: Runtime> fmt::Debug for Block<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Block({} bytes)", self.bytes)
    }
}

impl<R: Runtime> Memory<R> {
    pub(crate) fn new(traits: &Traits) -> Self {
        let arena = Arena::new(traits.alignment, traits.largest_block);
        Memory(Mutex::new(Held { arena, stats: MemoryStats::default() }))
    }

    /// A block of at least `bytes`, more than 0, with unspecified content.
    pub(crate) fn take(
        &self,
        device: &R::Device,
        traits: &Traits,
        bytes: usize,
    ) -> Result<Block<R>> {
        let mut held = self.0.lock();
        let taken = match held.arena.take(bytes) {
            Some(taken) => taken,
            None => held.grow(device, traits, bytes)?,
        };
        let slice = |whole: &R::Buffer, offset, bytes| R::slice(device, whole, offset, bytes);
        let buffer = match held.arena.buffer(&taken, slice) {
            Ok(buffer) => buffer,
            Err(error) => {
                held.arena.give(taken.id);
                return Err(error);
            }
        };
        let stats = &mut held.stats;
        stats.allocated += bytes;
        stats.peak = stats.peak.max(stats.allocated);
        Ok(Block { buffer, id: taken.id, bytes })
    }

    /// Takes a block back.
    pub(crate) fn give(&self, block: &Block<R>) {
        let mut held = self.0.lock();
        held.arena.give(block.id);
        held.stats.allocated -= block.bytes;
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        let held = self.0.lock();
        MemoryStats { reserved: held.arena.reserved(), ..held.stats }
    }

    pub(crate) fn reset_peak(&self) {
        let mut held = self.0.lock();
        held.stats.peak = held.stats.allocated;
    }

    /// Gives the memory that no tensor uses back to the driver.
    pub(crate) fn empty_cache(&self) {
        drop(self.0.lock().arena.release());
    }
}

impl<R: Runtime> Held<R> {
    /// Takes from a new segment. Where there is no memory for it, what is idle goes back to the driver first.
    fn grow(&mut self, device: &R::Device, traits: &Traits, bytes: usize) -> Result<Taken> {
        let (usual, least) = self.arena.segment_for(bytes);
        for (attempt, wanted) in [usual, least, least].into_iter().enumerate() {
            if wanted > traits.largest_block || (attempt == 1 && least == usual) {
                continue;
            }
            if attempt == 2 {
                drop(self.arena.release());
                // Queued work may have kept what was given back.
                R::sync(device)?;
            }
            match R::allocate(device, wanted) {
                Err(Error::OutOfMemory { .. }) => {}
                Err(error) => return Err(error),
                Ok(buffer) => return Ok(self.arena.grow(buffer, wanted, bytes)),
            }
        }
        let rest = || traits.memory_bytes.saturating_sub(self.arena.reserved());
        let free = R::free_bytes(device).unwrap_or_else(rest).min(traits.largest_block);
        Err(Error::OutOfMemory { device: device.to_string(), asked: bytes, free: Some(free) })
    }
}
