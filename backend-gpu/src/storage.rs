//! Elements in a device's memory: shared handles and versions.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use kiln_tensor_core::{DType, Layout, Placed, Result, Shape, Tensor};

use crate::graph::recording;
use crate::launch::{done, opened};
use crate::memory::Block;
use crate::{Gpu, Opened, Runtime};

/// A handle to elements in a device's memory; clones share them.
pub struct Storage<R: Runtime>(Arc<Elements<R>>);

/// The same, without keeping them.
pub(crate) struct WeakStorage<R: Runtime>(Weak<Elements<R>>);

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
        let version = AtomicU64::new(0);
        if bytes == 0 {
            return Ok(Storage(Arc::new(Elements { memory: None, version })));
        }
        let opened = R::opened(device)?;
        let pool = recording(opened, |recorder| recorder.pool());
        let memory = Some((opened.take(device, bytes, pool)?, opened));
        let storage = Storage(Arc::new(Elements { memory, version }));
        if pool.is_some() {
            recording(opened, |recorder| recorder.made(&storage));
        }
        Ok(storage)
    }

    /// So many bytes, more than 0, outside of the memory of a step that is captured.
    pub(crate) fn apart(device: &R::Device, bytes: usize) -> Result<Self> {
        let opened = R::opened(device)?;
        let memory = Some((opened.take(device, bytes, None)?, opened));
        Ok(Storage(Arc::new(Elements { memory, version: AtomicU64::new(0) })))
    }

    /// The device's memory, of a tensor that has elements.
    pub(crate) fn buffer(&self) -> &R::Buffer {
        self.block().expect("an element to work on").buffer()
    }

    pub(crate) fn block(&self) -> Option<&Block<R>> {
        self.0.memory.as_ref().map(|(block, _)| block)
    }

    pub(crate) fn downgrade(&self) -> WeakStorage<R> {
        WeakStorage(Arc::downgrade(&self.0))
    }

    /// The same for all handles to these elements.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.memory.as_ref().map_or(0, |(block, _)| block.bytes())
    }

    pub(crate) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    pub(crate) fn written(&self) {
        self.0.version.fetch_add(1, Ordering::AcqRel);
        if let Some((_, opened)) = &self.0.memory {
            recording(opened, |recorder| recorder.written(self));
        }
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl<R: Runtime> WeakStorage<R> {
    pub(crate) fn upgrade(&self) -> Option<Storage<R>> {
        self.0.upgrade().map(Storage)
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
    if x.numel() > 0 {
        let from = (x.storage(), x.layout().offset() * size);
        done(opened::<R>(device).copy(device, from, out.storage(), x.numel() * size));
    }
    out
}

/// The tensor, or a copy, contiguous from its storage's first element on.
#[track_caller]
pub(crate) fn plain<R: Runtime>(x: &Tensor<Gpu<R>>) -> Tensor<Gpu<R>> {
    if x.is_contiguous() && x.layout().offset() == 0 { x.clone() } else { copied(x) }
}
