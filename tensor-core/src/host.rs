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

/// A `Vec` that the program and tensors share: a change on either side shows on the other. Clones
/// name the same elements. Its length is fixed.
///
/// ```
/// use kiln_tensor_core::Shared;
/// let data = Shared::new(vec![1.0f32, 2.0, 3.0]);
/// data.write()[1] = 5.0;
/// assert_eq!(*data.read(), [1.0, 5.0, 3.0]);
/// ```
#[derive(Clone)]
pub struct Shared<T>(Arc<RwLock<Box<[T]>>>);

impl<T: Element + bytemuck::Pod> Shared<T> {
    /// Takes the elements over without copying them.
    pub fn new(data: Vec<T>) -> Self {
        Shared(Arc::new(RwLock::new(data.into_boxed_slice())))
    }

    /// Locks the elements for reading; an operation that writes to them waits.
    pub fn read(&self) -> MappedRwLockReadGuard<'_, [T]> {
        RwLockReadGuard::map(self.0.read(), |data| &data[..])
    }

    /// Locks the elements for writing; an operation that uses them waits.
    pub fn write(&self) -> MappedRwLockWriteGuard<'_, [T]> {
        RwLockWriteGuard::map(self.0.write(), |data| &mut data[..])
    }

    /// The same memory with its element type erased.
    pub fn memory(&self) -> Arc<dyn HostMemory> {
        self.0.clone()
    }
}

impl<T: Element + bytemuck::Pod> HostMemory for RwLock<Box<[T]>> {
    fn dtype(&self) -> DType {
        T::DTYPE
    }

    fn read(&self) -> MappedRwLockReadGuard<'_, [u8]> {
        RwLockReadGuard::map(RwLock::read(self), |data| bytemuck::cast_slice(&data[..]))
    }

    fn write(&self) -> MappedRwLockWriteGuard<'_, [u8]> {
        RwLockWriteGuard::map(RwLock::write(self), |data| bytemuck::cast_slice_mut(&mut data[..]))
    }
}

impl<T: fmt::Debug> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.read(), f)
    }
}
