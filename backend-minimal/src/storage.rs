//! Elements in memory: bytes behind a lock. They leave it as numbers and come back rounded, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use kiln_tensor_core::{
    DType, Element, Error, Layout, MemoryCounter, Placed, Scalar, Shape, raise,
};
use parking_lot::RwLock;

use crate::places::positions;
use crate::{Host, Tensor};

/// A handle to elements; clones share them.
#[derive(Clone, Debug)]
pub struct Storage(pub(crate) Arc<Memory>);

#[derive(Debug)]
pub(crate) struct Memory {
    bytes: RwLock<Vec<u8>>,
    /// How many times it has been written to in place. Autograd compares it with what it saved.
    pub(crate) version: AtomicU64,
}

pub static MEMORY: MemoryCounter = MemoryCounter::new();

impl Drop for Memory {
    fn drop(&mut self) {
        MEMORY.give(self.bytes.get_mut().len());
    }
}

/// Bytes for so many elements.
pub fn room(count: usize, dtype: DType) -> Vec<u8> {
    let (mut bytes, asked) = (Vec::new(), count.saturating_mul(dtype.size()));
    if bytes.try_reserve_exact(asked).is_err() {
        raise(Error::OutOfMemory { device: Host.to_string(), asked, free: None });
    }
    bytes.resize(asked, 0);
    bytes
}

/// A new contiguous tensor of these bytes.
pub fn tensor(bytes: Vec<u8>, shape: &Shape, dtype: DType) -> Tensor {
    MEMORY.take(bytes.len());
    let memory = Memory { bytes: RwLock::new(bytes), version: AtomicU64::new(0) };
    let storage = Storage(Arc::new(memory));
    Tensor::from_handle(Placed::new(storage, Layout::contiguous(shape), dtype, Host))
}

/// The elements' bytes in row-major order, whatever the strides.
pub fn bytes(x: &Tensor) -> Vec<u8> {
    let (size, bytes) = (x.dtype().size(), x.storage().0.bytes.read());
    positions(x.layout()).iter().flat_map(|at| &bytes[at * size..][..size]).copied().collect()
}

/// The elements that a layout of the storage names, in row-major order.
pub fn scalars(x: &Tensor, layout: &Layout) -> Vec<Scalar> {
    let (size, bytes) = (x.dtype().size(), x.storage().0.bytes.read());
    positions(layout).iter().map(|at| x.dtype().decode(&bytes[at * size..][..size])).collect()
}

/// The elements as numbers in row-major order.
pub fn load<T: Number>(x: &Tensor) -> Vec<T> {
    scalars(x, x.layout()).into_iter().map(T::from_scalar).collect()
}

/// A new tensor of values in row-major order, rounded to `dtype`.
pub fn store(values: &[impl Into<Scalar> + Copy], shape: &Shape, dtype: DType) -> Tensor {
    let mut bytes = room(values.len(), dtype);
    for (to, &value) in bytes.chunks_exact_mut(dtype.size()).zip(values) {
        dtype.encode(value.into(), to);
    }
    tensor(bytes, shape, dtype)
}

/// Overwrites the elements of a tensor, which may be a view of others.
pub fn write(x: &Tensor, values: &[Scalar]) {
    let (size, mut bytes) = (x.dtype().size(), x.storage().0.bytes.write());
    for (at, &value) in positions(x.layout()).iter().zip(values) {
        x.dtype().encode(value, &mut bytes[at * size..][..size]);
    }
    x.storage().0.version.fetch_add(1, Relaxed);
}

/// What elements are while they are computed with: `f64` for floats; `i64` for integers, which wrap when they
/// are stored, and for bools, where a sum is "or" and a product "and" then.
pub trait Number: Element + Into<Scalar> + From<u8> {
    const ADD: fn(Self, Self) -> Self;
    const MUL: fn(Self, Self) -> Self;
}

impl Number for f64 {
    const ADD: fn(f64, f64) -> f64 = |x, y| x + y;
    const MUL: fn(f64, f64) -> f64 = |x, y| x * y;
}

impl Number for i64 {
    const ADD: fn(i64, i64) -> i64 = i64::wrapping_add;
    const MUL: fn(i64, i64) -> i64 = i64::wrapping_mul;
}

/// Calls a kernel that is generic over numbers with those of a dtype.
macro_rules! numbers {
    ($dtype:expr, $module:ident::$kernel:ident($($argument:expr),*)) => {
        if $dtype.is_float() {
            $module::$kernel::<f64>($($argument),*)
        } else {
            $module::$kernel::<i64>($($argument),*)
        }
    };
}
pub(crate) use numbers;
