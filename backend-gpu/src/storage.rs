//! Elements in a device's memory: shared handles, versions, and what is allocated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use kiln_tensor_core::{DType, Layout, MemoryStats, Placed, Result, Shape, Tensor, raise};

use crate::{Gpu, Runtime};

/// A handle to elements in a device's memory; clones share them.
pub struct Storage<R: Runtime>(Arc<Block<R>>);

struct Block<R: Runtime> {
    /// `None` for no elements: drivers have no empty blocks.
    buffer: Option<R::Buffer>,
    bytes: usize,
    version: AtomicU64,
}

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

impl<R: Runtime> Clone for Storage<R> {
    fn clone(&self) -> Self {
        Storage(self.0.clone())
    }
}

impl<R: Runtime> fmt::Debug for Storage<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({} bytes, version {})", self.0.bytes, self.version())
    }
}

impl<R: Runtime> Storage<R> {
    fn new(device: &R::Device, bytes: usize) -> Result<Self> {
        let buffer = if bytes == 0 { None } else { Some(R::allocate(device, bytes)?) };
        let now = ALLOCATED.fetch_add(bytes, Ordering::Relaxed) + bytes;
        PEAK.fetch_max(now, Ordering::Relaxed);
        Ok(Storage(Arc::new(Block { buffer, bytes, version: AtomicU64::new(0) })))
    }

    pub(crate) fn buffer(&self) -> Option<&R::Buffer> {
        self.0.buffer.as_ref()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    pub(crate) fn written(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<R: Runtime> Drop for Block<R> {
    fn drop(&mut self) {
        ALLOCATED.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A new contiguous tensor with unspecified elements.
#[track_caller]
pub(crate) fn fresh<R: Runtime>(shape: &Shape, dtype: DType, device: &R::Device) -> Tensor<Gpu<R>> {
    let storage = Storage::new(device, shape.numel().saturating_mul(dtype.size()));
    let storage = storage.unwrap_or_else(|error| raise(error));
    let layout = Layout::contiguous(shape);
    Tensor::from_handle(Placed::new(storage, layout, dtype, device.clone()))
}

pub(crate) fn stats() -> MemoryStats {
    let allocated = ALLOCATED.load(Ordering::Relaxed);
    MemoryStats { allocated, reserved: allocated, peak: PEAK.load(Ordering::Relaxed) }
}

pub(crate) fn reset_peak() {
    PEAK.store(ALLOCATED.load(Ordering::Relaxed), Ordering::Relaxed);
}
