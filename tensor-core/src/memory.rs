//! What the memory of a device holds.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Memory of a device, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Held by live tensors.
    pub allocated: usize,
    /// Taken from the system, the allocator's cache included.
    pub reserved: usize,
    /// The highest `allocated` since the start or the last reset.
    pub peak: usize,
}

/// Counts the memory of tensors, for backends whose allocator does not: `take` when a storage is made, `give` when
/// it is dropped.
#[derive(Debug, Default)]
pub struct MemoryCounter {
    allocated: AtomicUsize,
    peak: AtomicUsize,
}

impl MemoryCounter {
    /// Nothing is allocated.
    pub const fn new() -> Self {
        MemoryCounter { allocated: AtomicUsize::new(0), peak: AtomicUsize::new(0) }
    }

    /// `bytes` more are allocated.
    pub fn take(&self, bytes: usize) {
        let allocated = self.allocated.fetch_add(bytes, Relaxed) + bytes;
        self.peak.fetch_max(allocated, Relaxed);
    }

    /// `bytes` less are allocated.
    pub fn give(&self, bytes: usize) {
        self.allocated.fetch_sub(bytes, Relaxed);
    }

    /// What [`Backend::memory`](crate::Backend::memory) reports, where nothing is cached.
    pub fn stats(&self) -> MemoryStats {
        let allocated = self.allocated.load(Relaxed);
        MemoryStats { allocated, reserved: allocated, peak: self.peak.load(Relaxed) }
    }

    /// What [`Backend::reset_peak_memory`](crate::Backend::reset_peak_memory) does.
    pub fn reset_peak(&self) {
        self.peak.store(self.allocated.load(Relaxed), Relaxed);
    }
}
