//! `Tensor<B>`: elements, layout, dtype and device in one value that travels whole.

use std::borrow::Cow;

use crate::{Backend, DType, Error, Handle, Layout, Placed, Shape, ViewOp, raise};

/// An n-dimensional array on backend `B`. A handle: clones and views share the elements, and in-place
/// ops (their names end in `_`) show through all of them.
pub struct Tensor<B: Backend>(B::Handle);

impl<B: Backend> Clone for Tensor<B> {
    /// Another handle to the same elements; `copy` makes new ones.
    #[inline]
    fn clone(&self) -> Self {
        Tensor(self.0.clone())
    }
}

/// For backends: what is inside.
impl<B: Backend> Tensor<B> {
    /// A tensor is what its backend keeps of it.
    #[inline]
    pub fn from_handle(handle: B::Handle) -> Self {
        Tensor(handle)
    }

    /// What the backend keeps of it.
    #[inline]
    pub fn handle(&self) -> &B::Handle {
        &self.0
    }
}

/// For backends that own memory.
impl<S: Clone, D: Clone, B: Backend<Device = D, Handle = Placed<S, D>>> Tensor<B> {
    /// The elements, and others that share their storage.
    #[inline]
    pub fn storage(&self) -> &S {
        &self.0.storage
    }

    /// The same storage under another layout: what `Backend::view` is where nothing is recorded.
    #[inline]
    pub fn with_layout(&self, layout: Layout) -> Self {
        let (dtype, device) = (self.dtype(), self.device().clone());
        Tensor(Placed::new(self.0.storage.clone(), layout, dtype, device))
    }
}

impl<B: Backend> Tensor<B> {
    /// Which element of the storage each index means.
    #[inline]
    pub fn layout(&self) -> &Layout {
        self.0.layout()
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &Shape {
        self.layout().shape()
    }

    /// Sizes as a slice.
    pub fn dims(&self) -> &[usize] {
        self.layout().shape()
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.layout().rank()
    }

    /// Another name of [`Tensor::rank`].
    pub fn ndim(&self) -> usize {
        self.rank()
    }

    /// Bytes of an element.
    pub fn element_size(&self) -> usize {
        self.dtype().size()
    }

    /// Bytes of all elements: of what the shape says, whatever the view shares.
    pub fn nbytes(&self) -> usize {
        self.numel() * self.element_size()
    }

    /// Whether the elements are floats.
    pub fn is_floating_point(&self) -> bool {
        self.dtype().is_float()
    }

    /// Number of elements.
    pub fn numel(&self) -> usize {
        self.layout().numel()
    }

    /// Strides, in elements.
    pub fn strides(&self) -> &[isize] {
        self.layout().strides()
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.0.dtype()
    }

    /// Where the elements are.
    pub fn device(&self) -> &B::Device {
        self.0.device()
    }

    /// Whether the elements lie in row-major order without gaps.
    pub fn is_contiguous(&self) -> bool {
        self.layout().is_contiguous()
    }

    /// The size of dimension `dim`; negative dims count from the end.
    ///
    /// # Panics
    /// If there is no such dimension.
    #[track_caller]
    pub fn size(&self, dim: isize) -> usize {
        self.dims()[self.dim("size", dim)]
    }

    /// Applies a view and records it where the backend records.
    ///
    /// # Panics
    /// With [`Error::Shape`] if no strides express it.
    #[track_caller]
    pub fn view_as_op(&self, op: &ViewOp) -> Self {
        match self.layout().view(op) {
            Some(layout) => B::view(self, op, layout),
            None => raise(self.cannot_view(op)),
        }
    }

    #[cold]
    fn cannot_view(&self, op: &ViewOp) -> Error {
        let (shapes, why) = match op {
            ViewOp::Reshape(to) if to.numel() != self.numel() => (
                vec![self.shape().clone(), to.clone()],
                format!("{} elements cannot have {}", self.numel(), to.numel()),
            ),
            ViewOp::Reshape(to) => (
                vec![self.shape().clone(), to.clone()],
                format!(
                    "memory with strides {:?} cannot be viewed so; `reshape` copies where it must",
                    self.strides()
                ),
            ),
            ViewOp::Expand(to) => (
                vec![self.shape().clone(), to.clone()],
                "only sizes of 1 and new leading dims expand".into(),
            ),
            other => (vec![self.shape().clone()], format!("{other:?} lies outside")),
        };
        Error::Shape { op: op.name(), shapes, why }
    }

    /// The position of a dimension that may count from the end. A 0-d tensor has none.
    #[track_caller]
    pub(crate) fn dim(&self, op: &'static str, dim: isize) -> usize {
        self.dim_below(op, dim, self.rank())
    }

    /// Like `dim`, for ops to which a 0-d tensor counts as a vector of one element, as in PyTorch: it has
    /// dims 0 and −1. Those that cut a dim into parts (`narrow`, `split`, `select`, …) use `dim`.
    #[track_caller]
    pub(crate) fn dim_of_vector(&self, op: &'static str, dim: isize) -> usize {
        self.dim_below(op, dim, self.rank().max(1))
    }

    /// The tensor with at least one dimension, and the position of `dim` in it: what an op along `dim`
    /// runs on. `shaped_as` undoes it.
    #[track_caller]
    pub(crate) fn along(&self, op: &'static str, dim: isize) -> (Cow<'_, Self>, usize) {
        let at = self.dim_of_vector(op, dim);
        (self.vector(), at)
    }

    /// A 0-d tensor as a vector of one element; others as they are.
    pub(crate) fn vector(&self) -> Cow<'_, Self> {
        if self.rank() > 0 { Cow::Borrowed(self) } else { Cow::Owned(self.unsqueeze(0)) }
    }

    /// What an op gave for `x.vector()`, as it would give it for `x`.
    pub(crate) fn shaped_as(self, x: &Self) -> Self {
        if x.rank() > 0 || self.rank() == 0 { self } else { self.squeeze(0) }
    }

    /// Like `dim`, where `count` dimensions are allowed (`unsqueeze` takes one more).
    #[track_caller]
    pub(crate) fn dim_below(&self, op: &'static str, dim: isize, count: usize) -> usize {
        let at = if dim < 0 { dim + count as isize } else { dim };
        if at < 0 || at >= count as isize {
            raise(Error::Index {
                op,
                what: "dim",
                index: dim as i64,
                size: count,
                shape: self.shape().clone(),
                called: None,
            });
        }
        at as usize
    }

    /// Requires that `other` is on this tensor's device.
    #[track_caller]
    pub(crate) fn same_device(&self, op: &'static str, other: &Self) {
        if self.device() != other.device() {
            raise(Error::Device {
                op,
                left: self.device().to_string(),
                right: other.device().to_string(),
            });
        }
    }
}

/// Tracking; on a backend that records nothing, nothing is tracked.
impl<B: Backend> Tensor<B> {
    /// Whether operations on this tensor are recorded.
    pub fn requires_grad(&self) -> bool {
        B::requires_grad(self)
    }

    /// Starts or stops recording operations on this leaf, and gives the same tensor.
    ///
    /// # Panics
    /// With [`Error::Unsupported`] on a backend that records nothing, with [`Error::DType`] if the
    /// elements are not floats, with [`Error::Autograd`] if this is not a leaf.
    #[track_caller]
    pub fn requires_grad_(&self, on: bool) -> Self {
        B::set_requires_grad(self, on);
        self.clone()
    }

    /// The same elements, without history.
    pub fn detach(&self) -> Self {
        B::detach(self)
    }

    /// The gradient that `backward` has accumulated here.
    pub fn grad(&self) -> Option<Self> {
        B::grad(self)
    }

    /// Replaces or drops the accumulated gradient.
    ///
    /// # Panics
    /// If the gradient differs from this tensor in shape, dtype or device.
    #[track_caller]
    pub fn set_grad(&self, grad: Option<Self>) {
        if let Some(grad) = &grad {
            self.alike("set_grad", [grad]);
            if grad.shape() != self.shape() {
                raise(Error::Shape {
                    op: "set_grad",
                    shapes: vec![self.shape().clone(), grad.shape().clone()],
                    why: "a gradient has its tensor's shape".into(),
                });
            }
        }
        B::set_grad(self, grad);
    }

    /// Says that this is what the operation `op` has made of `inputs`, in several steps: `grad_fn` and drawings of the
    /// graph call it so and leave out what lies between. Does nothing for a tensor that others hold too.
    ///
    /// ```
    /// use kiln_tensor_core::{Backend, Tensor};
    /// fn rms<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    ///     x.square().mean().sqrt().named("rms", &[x]) // its `grad_fn` is `RmsBackward`
    /// }
    /// ```
    #[must_use]
    #[inline]
    pub fn named(self, op: &'static str, inputs: &[&Self]) -> Self {
        B::named(&self, op, inputs);
        self
    }

    /// The name of the recorded operation that made this tensor.
    pub fn grad_fn(&self) -> Option<String> {
        B::grad_fn(self)
    }
}

impl<B: Backend> std::fmt::Debug for Tensor<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "tensor({}, {} on {})", self.shape(), self.dtype(), self.device())
    }
}
