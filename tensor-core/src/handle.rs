//! What a backend keeps for a tensor.

use crate::{DType, Layout};

/// A backend's tensor: cheap to clone, clones share the elements, and it knows what it holds. A backend
/// that owns memory takes [`Placed`]; one that wraps another backend hands the questions on to the tensor
/// inside, so that a tensor in three backends still has one layout.
pub trait Handle<D>: Clone + Send + Sync + 'static {
    /// Which element of the storage each index means.
    fn layout(&self) -> &Layout;
    /// Type of the elements.
    fn dtype(&self) -> DType;
    /// Where the elements are.
    fn device(&self) -> &D;
}

/// A storage, and which of its elements are a tensor's.
#[derive(Clone, Debug)]
pub struct Placed<S, D> {
    pub(crate) storage: S,
    pub(crate) layout: Layout,
    dtype: DType,
    device: D,
}

impl<S, D> Placed<S, D> {
    /// Every element that the layout names lies in the storage.
    #[inline]
    pub fn new(storage: S, layout: Layout, dtype: DType, device: D) -> Self {
        Placed { storage, layout, dtype, device }
    }
}

impl<S, D> Handle<D> for Placed<S, D>
where
    S: Clone + Send + Sync + 'static,
    D: Clone + Send + Sync + 'static,
{
    #[inline]
    fn layout(&self) -> &Layout {
        &self.layout
    }

    #[inline]
    fn dtype(&self) -> DType {
        self.dtype
    }

    #[inline]
    fn device(&self) -> &D {
        &self.device
    }
}
