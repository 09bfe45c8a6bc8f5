//! Memory of the program that a tensor can share.

use std::fmt;
use std::sync::Arc;

use parking_lot::{
    MappedRwLockReadGuard, MappedRwLockWriteGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
};

use crate::{DType, Element};

/// A buffer of the program that a backend on the host can read and write in place.
pub trait HostMemory: Send + Sync + fmt::Debug {
    /// The dtype of its elements.
    fn dtype(&self) -> DType;
    /// Locks the bytes for reading.
    fn read(&self) -> MappedRwLockReadGuard<'_, [u8]>;
    /// Locks the bytes for writing. Whoever writes leaves valid elements.
    fn write(&self) -> MappedRwLockWriteGuard<'_, [u8]>;
}

/// What lends a slice of elements, to read and to write: a `Vec`, a boxed slice, an array, a mapped file.
trait Owner<T>: AsRef<[T]> + AsMut<[T]> + Send + Sync {}

impl<T, O: AsRef<[T]> + AsMut<[T]> + Send + Sync> Owner<T> for O {}

/// Elements that the program and tensors share: a change on either side shows on the other. Clones name the
/// same elements.
///
/// Both sides take turns by a lock. Whoever holds what [`Shared::read`] or [`Shared::write`] gives keeps
/// operations on these tensors waiting, its own too: let go of it first.
///
/// ```
/// use kiln_tensor_core::Shared;
/// let data = Shared::new(vec![1.0f32, 2.0, 3.0]);
/// data.write()[1] = 5.0;
/// assert_eq!(*data.read(), [1.0, 5.0, 3.0]);
/// ```
#[derive(Clone)]
pub struct Shared<T>(Arc<Buffer<T>>);

/// One per owner: backends tell by its address that two tensors have one memory.
struct Buffer<T>(RwLock<Box<dyn Owner<T>>>);

impl<T: Element + bytemuck::Pod> Shared<T> {
    /// Takes the elements over without copying them.
    pub fn new(data: Vec<T>) -> Self {
        Self::of(data)
    }

    /// Takes over whatever owns the elements, without copying them. It should lend as many each time: an operation
    /// on a tensor that has more than there are panics.
    pub fn of(owner: impl AsRef<[T]> + AsMut<[T]> + Send + Sync + 'static) -> Self {
        Shared(Arc::new(Buffer(RwLock::new(Box::new(owner)))))
    }

    /// Locks the elements for reading; an operation that writes to them waits.
    pub fn read(&self) -> MappedRwLockReadGuard<'_, [T]> {
        RwLockReadGuard::map(self.0.0.read(), |owner| (**owner).as_ref())
    }

    /// Locks the elements for writing; an operation that uses them waits.
    pub fn write(&self) -> MappedRwLockWriteGuard<'_, [T]> {
        RwLockWriteGuard::map(self.0.0.write(), |owner| (**owner).as_mut())
    }

    /// The same memory with its element type erased.
    pub fn memory(&self) -> Arc<dyn HostMemory> {
        self.0.clone()
    }
}

impl<T: Element + bytemuck::Pod> HostMemory for Buffer<T> {
    fn dtype(&self) -> DType {
        T::DTYPE
    }

    fn read(&self) -> MappedRwLockReadGuard<'_, [u8]> {
        RwLockReadGuard::map(self.0.read(), |owner| bytemuck::cast_slice((**owner).as_ref()))
    }

    fn write(&self) -> MappedRwLockWriteGuard<'_, [u8]> {
        RwLockWriteGuard::map(self.0.write(), |owner| bytemuck::cast_slice_mut((**owner).as_mut()))
    }
}

impl<T: fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt((**self.0.read()).as_ref(), f)
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
