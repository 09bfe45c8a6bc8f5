//! The caching allocator: device memory in large segments, cut into blocks that are kept for reuse.
//!
//! One queue per device runs all work in order, so a block may be given to later work as soon as the tensor
//! that had it is dropped, without waiting for the device. A captured step takes its blocks from segments of
//! its own, because it uses them again at each replay.

mod arena;

use std::collections::BTreeMap;
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
    /// The segments of captured steps.
    pools: BTreeMap<Pool, Apart<R>>,
    last_pool: u64,
    stats: MemoryStats,
}

/// Segments that belong to one captured step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pool(u64);

#[derive(Debug)]
struct Apart<R: Runtime> {
    arena: Arena<R::Buffer>,
    /// Nobody takes from it any more; what no tensor uses goes back to the driver.
    closed: bool,
}

/// A block that was taken and is to be given back.
pub(crate) struct Block<R: Runtime> {
    buffer: Arc<R::Buffer>,
    pool: Option<Pool>,
    id: usize,
    bytes: usize,
}

impl<R: Runtime> Block<R> {
    pub(crate) fn buffer(&self) -> &Arc<R::Buffer> {
        &self.buffer
    }

    /// The captured step whose segments it is a part of.
    pub(crate) fn pool(&self) -> Option<Pool> {
        self.pool
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
        Memory(Mutex::new(Held {
            arena: arena(traits),
            pools: BTreeMap::new(),
            last_pool: 0,
            stats: MemoryStats::default(),
        }))
    }

    /// A block of at least `bytes`, more than 0, with unspecified content; from a pool if one is named, which
    /// is open.
    pub(crate) fn take(
        &self,
        device: &R::Device,
        traits: &Traits,
        bytes: usize,
        pool: Option<Pool>,
    ) -> Result<Block<R>> {
        let mut held = self.0.lock();
        let taken = match held.arena(pool).take(bytes) {
            Some(taken) => taken,
            None => held.grow(device, traits, bytes, pool)?,
        };
        let slice = |whole: &R::Buffer, offset, bytes| R::slice(device, whole, offset, bytes);
        let buffer = match held.arena(pool).buffer(&taken, slice) {
            Ok(buffer) => buffer,
            Err(error) => {
                held.arena(pool).give(taken.id);
                return Err(error);
            }
        };
        let stats = &mut held.stats;
        stats.allocated += bytes;
        stats.peak = stats.peak.max(stats.allocated);
        Ok(Block { buffer, pool, id: taken.id, bytes })
    }

    /// Takes a block back.
    pub(crate) fn give(&self, block: &Block<R>) {
        let mut held = self.0.lock();
        held.arena(block.pool).give(block.id);
        held.stats.allocated -= block.bytes;
        if let Some(pool) = block.pool {
            held.tidy(pool);
        }
    }

    /// Segments for a captured step, until `close`.
    pub(crate) fn open(&self, traits: &Traits) -> Pool {
        let mut held = self.0.lock();
        held.last_pool += 1;
        let pool = Pool(held.last_pool);
        held.pools.insert(pool, Apart { arena: arena(traits), closed: false });
        pool
    }

    /// Gives the segments of a captured step back, each when no tensor uses it any more.
    pub(crate) fn close(&self, pool: Pool) {
        let mut held = self.0.lock();
        if let Some(apart) = held.pools.get_mut(&pool) {
            apart.closed = true;
        }
        held.tidy(pool);
    }

    pub(crate) fn stats(&self) -> MemoryStats {
        let held = self.0.lock();
        MemoryStats { reserved: held.reserved(), ..held.stats }
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

fn arena<B>(traits: &Traits) -> Arena<B> {
    Arena::new(traits.alignment, traits.largest_block)
}

impl<R: Runtime> Held<R> {
    /// The segments of a pool, or those for all.
    fn arena(&mut self, pool: Option<Pool>) -> &mut Arena<R::Buffer> {
        match pool {
            None => &mut self.arena,
            Some(pool) => &mut self.pools.get_mut(&pool).expect("a block keeps its pool").arena,
        }
    }

    fn reserved(&self) -> usize {
        let apart = self.pools.values().map(|apart| apart.arena.reserved());
        self.arena.reserved() + apart.sum::<usize>()
    }

    /// Gives what a closed pool does not use to the driver.
    fn tidy(&mut self, pool: Pool) {
        let Some(apart) = self.pools.get_mut(&pool).filter(|apart| apart.closed) else { return };
        drop(apart.arena.release());
        if apart.arena.reserved() == 0 {
            self.pools.remove(&pool);
        }
    }

    /// Takes from a new segment. Where there is no memory for it, what is idle goes back to the driver first.
    fn grow(
        &mut self,
        device: &R::Device,
        traits: &Traits,
        bytes: usize,
        pool: Option<Pool>,
    ) -> Result<Taken> {
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
                Ok(buffer) => return Ok(self.arena(pool).grow(buffer, wanted, bytes)),
            }
        }
        let rest = || traits.memory_bytes.saturating_sub(self.reserved());
        let free = R::free_bytes(device).unwrap_or_else(rest).min(traits.largest_block);
        Err(Error::OutOfMemory { device: device.to_string(), asked: bytes, free: Some(free) })
    }
}
