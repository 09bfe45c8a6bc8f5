//! Parameters and buffers: tensors that belong to a module.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_tensor_core::{Backend, DType, Error, Shape, Tensor, raise};
use parking_lot::RwLock;

/// A tensor that is trained. A handle: clones name the same parameter, so an optimizer that holds one
/// sees it after the module was moved to another device or has loaded a state dict.
///
/// On a backend that records, operations on it are recorded (unless `requires_grad_(false)`).
pub struct Param<B: Backend>(Arc<Inner<B>>);

struct Inner<B: Backend> {
    tensor: RwLock<Tensor<B>>,
    requires_grad: AtomicBool,
}

impl<B: Backend> Param<B> {
    /// A parameter with the elements of `tensor`, whose storage it shares; its history is left behind.
    ///
    /// # Panics
    /// If the elements are not floats: there is no gradient for others; see [`Buffer`].
    #[track_caller]
    pub fn new(tensor: Tensor<B>) -> Self {
        if !tensor.dtype().is_float() {
            raise(Error::DType {
                op: "Param::new",
                dtypes: vec![tensor.dtype()],
                why: "a parameter has floats; a tensor that is not trained is a Buffer".into(),
            });
        }
        let inner = Inner {
            tensor: RwLock::new(leaf(&tensor, true)),
            requires_grad: AtomicBool::new(true),
        };
        Param(Arc::new(inner))
    }

    /// The tensor as it is now: a handle to its elements.
    pub fn tensor(&self) -> Tensor<B> {
        self.0.tensor.read().clone()
    }

    /// Puts another tensor in its place, without its history. All handles see it.
    pub fn set(&self, tensor: Tensor<B>) {
        *self.0.tensor.write() = leaf(&tensor, self.requires_grad());
    }

    /// Puts another tensor in its place with its history: one that is worked out from others.
    pub(crate) fn put(&self, tensor: Tensor<B>) {
        *self.0.tensor.write() = tensor;
    }

    /// Replaces the tensor, its gradient too, by what `f` makes of each.
    pub(crate) fn replace(&self, f: impl Fn(&Tensor<B>) -> Tensor<B>) {
        let (old, grad) = (self.tensor(), self.grad());
        self.set(f(&old.detach()));
        self.set_grad(grad.map(|grad| f(&grad)));
    }

    /// The gradient that `backward` has accumulated.
    pub fn grad(&self) -> Option<Tensor<B>> {
        self.tensor().grad()
    }

    /// Replaces or drops the gradient.
    ///
    /// # Panics
    /// If the gradient differs from the parameter in shape, dtype or device.
    #[track_caller]
    pub fn set_grad(&self, grad: Option<Tensor<B>>) {
        self.tensor().set_grad(grad);
    }

    /// Whether it is trained.
    pub fn requires_grad(&self) -> bool {
        self.0.requires_grad.load(Ordering::Relaxed)
    }

    /// Freezes it (`false`) or lets it be trained again, and gives the same parameter.
    pub fn requires_grad_(&self, on: bool) -> Self {
        self.0.requires_grad.store(on, Ordering::Relaxed);
        if B::records() {
            self.tensor().requires_grad_(on);
        }
        self.clone()
    }

    /// The sizes.
    pub fn shape(&self) -> Shape {
        self.0.tensor.read().shape().clone()
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.0.tensor.read().numel()
    }

    /// The dtype.
    pub fn dtype(&self) -> DType {
        self.0.tensor.read().dtype()
    }

    /// Whether both are handles to one parameter.
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What tells this parameter from all others.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }
}

/// The elements of `tensor` as the start of a graph.
fn leaf<B: Backend>(tensor: &Tensor<B>, requires_grad: bool) -> Tensor<B> {
    let leaf = tensor.detach();
    if requires_grad && B::records() { leaf.requires_grad_(true) } else { leaf }
}

impl<B: Backend> Clone for Param<B> {
    /// Another handle to the same parameter.
    fn clone(&self) -> Self {
        Param(self.0.clone())
    }
}

impl<B: Backend> From<Tensor<B>> for Param<B> {
    #[track_caller]
    fn from(tensor: Tensor<B>) -> Self {
        Param::new(tensor)
    }
}

impl<B: Backend> fmt::Debug for Param<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Param({:?})", self.0.tensor.read())
    }
}

/// A tensor that belongs to a module and is not trained, such as a running mean: it moves with the
/// module and, if it is persistent, is part of its state dict. A handle, like [`Param`].
pub struct Buffer<B: Backend> {
    tensor: Arc<RwLock<Tensor<B>>>,
    persistent: bool,
}

impl<B: Backend> Buffer<B> {
    /// A buffer that is part of the state dict.
    pub fn new(tensor: Tensor<B>) -> Self {
        Buffer { tensor: Arc::new(RwLock::new(tensor.detach())), persistent: true }
    }

    /// Whether the state dict contains it.
    #[must_use]
    pub fn persistent(mut self, on: bool) -> Self {
        self.persistent = on;
        self
    }

    /// Whether the state dict contains it.
    pub fn is_persistent(&self) -> bool {
        self.persistent
    }

    /// The tensor as it is now: a handle to its elements.
    pub fn tensor(&self) -> Tensor<B> {
        self.tensor.read().clone()
    }

    /// Puts another tensor in its place, without its history. All handles see it.
    pub fn set(&self, tensor: Tensor<B>) {
        *self.tensor.write() = tensor.detach();
    }

    /// The sizes.
    pub fn shape(&self) -> Shape {
        self.tensor.read().shape().clone()
    }

    /// The dtype.
    pub fn dtype(&self) -> DType {
        self.tensor.read().dtype()
    }

    /// What tells this buffer from all others.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.tensor) as usize
    }
}

impl<B: Backend> Clone for Buffer<B> {
    /// Another handle to the same buffer.
    fn clone(&self) -> Self {
        Buffer { tensor: self.tensor.clone(), persistent: self.persistent }
    }
}

impl<B: Backend> From<Tensor<B>> for Buffer<B> {
    fn from(tensor: Tensor<B>) -> Self {
        Buffer::new(tensor)
    }
}

impl<B: Backend> fmt::Debug for Buffer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({:?})", self.tensor.read())
    }
}
