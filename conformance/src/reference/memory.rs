//! Elements of the reference backend: scalars behind a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_tensor_core::{DType, Layout, MemoryCounter, Placed, Scalar, Shape, Tensor};
use parking_lot::RwLock;

use super::{Ref, Reference, ReferenceDevice};
use crate::host::{indices, rounded};

/// A handle to shared elements, each as its dtype would hold it.
#[derive(Clone, Debug)]
pub struct ReferenceStorage(Arc<Memory>);

#[derive(Debug)]
struct Memory {
    elements: RwLock<Vec<Scalar>>,
    version: AtomicU64,
    bytes: usize,
}

/// What tensors hold, counted in the bytes of their dtypes.
pub(super) static MEMORY: MemoryCounter = MemoryCounter::new();

impl Drop for Memory {
    fn drop(&mut self) {
        MEMORY.give(self.bytes);
    }
}

impl ReferenceStorage {
    pub(super) fn version(&self) -> u64 {
        self.0.version.load(Ordering::Relaxed)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn is_unique(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Overwrites the elements that `layout` names.
    pub(super) fn write(&self, layout: &Layout, dtype: DType, values: &[Scalar]) {
        let mut elements = self.0.elements.write();
        for (index, &value) in indices(layout.shape()).iter().zip(values) {
            elements[place(layout, index)] = rounded(value, dtype);
        }
        self.0.version.fetch_add(1, Ordering::Relaxed);
    }
}

/// The element of the storage that `index` means.
fn place(layout: &Layout, index: &[usize]) -> usize {
    let steps = index.iter().zip(layout.strides()).map(|(&i, &stride)| i as isize * stride);
    (layout.offset() as isize + steps.sum::<isize>()) as usize
}

/// Row-major values: what the formulas work on.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub shape: Shape,
    pub values: Vec<Scalar>,
}

impl Array {
    /// The elements of `x`, broadcast to a shape if one is given.
    pub fn read(x: &Ref, shape: Option<&Shape>) -> Array {
        let shape = shape.unwrap_or(x.shape());
        let layout = x.layout().broadcast_to(shape).expect("the caller has checked the shapes");
        let elements = x.storage().0.elements.read();
        let values = indices(shape).iter().map(|i| elements[place(&layout, i)]).collect();
        Array { shape: shape.clone(), values }
    }

    /// Zeros in the scalar kind of `dtype`.
    pub fn zeros(shape: Shape, dtype: DType) -> Array {
        let values = vec![rounded(Scalar::I64(0), dtype); shape.numel()];
        Array { shape, values }
    }

    fn position(&self, index: &[usize]) -> usize {
        place(&Reference::layout(&self.shape), index)
    }

    pub fn get(&self, index: &[usize]) -> Scalar {
        self.values[self.position(index)]
    }

    pub fn set(&mut self, index: &[usize], value: Scalar) {
        let at = self.position(index);
        self.values[at] = value;
    }

    /// Replaces an element by `f(element, value)`.
    pub fn combine(&mut self, index: &[usize], value: Scalar, f: fn(Scalar, Scalar) -> Scalar) {
        let at = self.position(index);
        self.values[at] = f(self.values[at], value);
    }

    /// The first `k` slices along `dim`.
    pub fn first(&self, k: usize, dim: usize) -> Array {
        let shape = self.shape.with(dim, k);
        let values = indices(&shape).iter().map(|i| self.get(i)).collect();
        Array { shape, values }
    }

    /// A tensor of these values, rounded to `dtype`.
    pub fn store(self, dtype: DType) -> Ref {
        let bytes = self.values.len() * dtype.size();
        let elements = self.values.into_iter().map(|v| rounded(v, dtype)).collect();
        MEMORY.take(bytes);
        let memory = Memory { elements: RwLock::new(elements), version: AtomicU64::new(0), bytes };
        let storage = ReferenceStorage(Arc::new(memory));
        let layout = Reference::layout(&self.shape);
        Tensor::from_handle(Placed::new(storage, layout, dtype, ReferenceDevice))
    }
}
