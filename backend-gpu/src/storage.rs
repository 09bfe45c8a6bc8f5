//! Elements in a device's memory: shared handles and versions.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_tensor_core::{DType, Layout, Placed, Result, Shape, Tensor};

use crate::launch::{done, opened};
use crate::memory::Block;
use crate::{Gpu, Opened, Runtime};

/// A handle to elements in a device's memory; clones share them.
pub struct Storage<R: Runtime>(Arc<Elements<R>>);

struct Elements<R: Runtime> {
    /// `None` for no elements: drivers have no empty blocks.
    memory: Option<(Block<R>, &'static Opened<R>)>,
    version: AtomicU64,
}

impl<R: Runtime> Clone for Storage<R> {
    fn clone(&self) -> Self {
        Storage(self.0.clone())
    }
}

impl<R: Runtime> fmt::Debug for Storage<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({} bytes, version {})", self.bytes(), self.version())
    }
}

impl<R: Runtime> Storage<R> {
    fn new(device: &R::Device, bytes: usize) -> Result<Self> {
        let memory = if bytes == 0 {
            None
        } else {
            let opened = R::opened(device)?;
            Some((opened.take(device, bytes)?, opened))
        };
        Ok(Storage(Arc::new(Elements { memory, version: AtomicU64::new(0) })))
    }

    pub(crate) fn buffer(&self) -> Option<&R::Buffer> {
        self.0.memory.as_ref().map(|(block, _)| block.buffer())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.memory.as_ref().map_or(0, |(block, _)| block.bytes())
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

impl<R: Runtime> Drop for Elements<R> {
    fn drop(&mut self) {
        if let Some((block, opened)) = &self.memory {
            opened.give(block);
        }
    }
}

/// A new contiguous tensor with unspecified elements.
#[track_caller]
pub(crate) fn fresh<R: Runtime>(shape: &Shape, dtype: DType, device: &R::Device) -> Tensor<Gpu<R>> {
    let storage = done(Storage::new(device, shape.numel().saturating_mul(dtype.size())));
    let layout = Layout::contiguous(shape);
    Tensor::from_handle(Placed::new(storage, layout, dtype, device.clone()))
}

/// The elements in new memory, in order.
#[track_caller]
pub(crate) fn copied<R: Runtime>(x: &Tensor<Gpu<R>>) -> Tensor<Gpu<R>> {
    if !x.is_contiguous() {
        return x.copy();
    }
    let (device, size) = (x.device(), x.dtype().size());
    let out = fresh::<R>(x.shape(), x.dtype(), device);
    if let (Some(from), Some(to)) = (x.storage().buffer(), out.storage().buffer()) {
        let from = (from, x.layout().offset() * size);
        done(opened::<R>(device).copy(device, from, to, x.numel() * size));
    }
    out
}

/// The tensor, or a copy, contiguous from its storage's first element on.
#[track_caller]
pub(crate) fn plain<R: Runtime>(x: &Tensor<Gpu<R>>) -> Tensor<Gpu<R>> {
    if x.is_contiguous() && x.layout().offset() == 0 { x.clone() } else { copied(x) }
}
