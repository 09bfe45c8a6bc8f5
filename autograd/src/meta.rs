//! What a recorded tensor carries besides its elements.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kiln_tensor_core::backend::insides;
use kiln_tensor_core::{Backend, DType, Handle, Layout, Tensor, ViewOp};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::Autograd;
use crate::hooks::Hooks;
use crate::node::{Edge, Node};

/// What `Autograd<B>` keeps: a tensor of `B` and its place in the graph, shared by all clones of
/// the handle.
pub struct Tracked<B: Backend>(Arc<Meta<B>>);

impl<B: Backend> Clone for Tracked<B> {
    fn clone(&self) -> Self {
        Tracked(self.0.clone())
    }
}

impl<B: Backend> Handle<B::Device> for Tracked<B> {
    #[inline]
    fn layout(&self) -> &Layout {
        self.0.inner.layout()
    }

    #[inline]
    fn dtype(&self) -> DType {
        self.0.inner.dtype()
    }

    #[inline]
    fn device(&self) -> &B::Device {
        self.0.inner.device()
    }
}

impl<B: Backend> fmt::Debug for Tracked<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0.inner, f)
    }
}

/// One tensor and its place in the graph.
pub(crate) struct Meta<B: Backend> {
    pub(crate) inner: Tensor<B>,
    tracked: AtomicBool,
    // Counts recorded in-place writes, so that views can tell that their base has changed.
    epoch: AtomicU64,
    pub(crate) base: Option<Base<B>>,
    pub(crate) state: Mutex<State<B>>,
}

/// What a view is a view of, how, and how often that had been rewritten when the view was made.
pub(crate) struct Base<B: Backend> {
    pub(crate) meta: Arc<Meta<B>>,
    pub(crate) path: Arc<Path>,
    epoch: AtomicU64,
}

/// The last of the views that lead from a tensor to a view of it, and those before.
pub(crate) struct Path {
    op: ViewOp,
    before: Option<Arc<Path>>,
}

impl Path {
    /// The views in the order in which they were taken.
    pub(crate) fn ops(&self) -> Vec<ViewOp> {
        let mut ops: Vec<ViewOp> = std::iter::successors(Some(self), |path| path.before.as_deref())
            .map(|path| path.op.clone())
            .collect();
        ops.reverse();
        ops
    }
}

/// With a loop: a chain of a million views must not use a million stack frames.
impl Drop for Path {
    fn drop(&mut self) {
        let mut before = self.before.take();
        while let Some(mut path) = before.and_then(Arc::into_inner) {
            before = path.before.take();
        }
    }
}

pub(crate) struct State<B: Backend> {
    /// The operation that made this tensor and which of its outputs it is.
    pub(crate) node: Option<(Arc<Node<B>>, usize)>,
    pub(crate) grad: Option<Box<Tensor<Autograd<B>>>>,
    pub(crate) hooks: Option<Box<Hooks<B>>>,
}

impl<B: Backend> Meta<B> {
    pub(crate) fn new(inner: Tensor<B>, base: Option<Base<B>>) -> Self {
        let state = State { node: None, grad: None, hooks: None };
        Meta {
            inner,
            tracked: AtomicBool::new(false),
            epoch: AtomicU64::new(0),
            base,
            state: Mutex::new(state),
        }
    }

    pub(crate) fn made_by(
        inner: Tensor<B>,
        node: Arc<Node<B>>,
        output: usize,
        base: Option<Base<B>>,
    ) -> Self {
        let mut meta = Meta::new(inner, base);
        *meta.tracked.get_mut() = true;
        meta.state.get_mut().node = Some((node, output));
        meta
    }

    /// Whether operations on the tensor are recorded.
    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked.load(Ordering::Relaxed)
    }

    pub(crate) fn is_leaf(&self) -> bool {
        self.state.lock().node.is_none()
    }

    pub(crate) fn set_leaf(&self, on: bool) {
        self.tracked.store(on, Ordering::Relaxed);
    }

    /// Makes `node` the operation that the tensor comes from, after an in-place write.
    pub(crate) fn rewrite(&self, node: Arc<Node<B>>, output: usize) {
        self.state.lock().node = Some((node, output));
        self.tracked.store(true, Ordering::Relaxed);
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// Where the gradient of this tensor goes; `None` if nowhere.
    pub(crate) fn edge(self: &Arc<Self>) -> Option<Edge<B>> {
        if !self.is_tracked() {
            return None;
        }
        match &self.state.lock().node {
            Some((node, output)) => Some(Edge::Node(node.clone(), *output)),
            None => Some(Edge::Leaf(self.clone())),
        }
    }

    /// The base of a view of this tensor.
    pub(crate) fn as_base(self: &Arc<Self>, op: ViewOp) -> Base<B> {
        let (meta, before) = match &self.base {
            // Of a view that is stale, views are stale too.
            Some(base) => (&base.meta, Some((base.path.clone(), &base.epoch))),
            None => (self, None),
        };
        let epoch = before.as_ref().map_or(&meta.epoch, |(_, epoch)| epoch).load(Ordering::Relaxed);
        let path = Arc::new(Path { op, before: before.map(|(path, _)| path) });
        Base { epoch: AtomicU64::new(epoch), path, meta: meta.clone() }
    }

    /// After a recorded write through this view, which has rewritten the base.
    pub(crate) fn refresh(&self) {
        if let Some(base) = &self.base {
            base.epoch.store(base.meta.epoch.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Whether a recorded in-place write to the base has made this view's history untrue.
    pub(crate) fn is_stale(&self) -> bool {
        let stale = |base: &Base<B>| {
            base.epoch.load(Ordering::Relaxed) != base.meta.epoch.load(Ordering::Relaxed)
        };
        self.base.as_ref().is_some_and(stale)
    }
}

/// The tensor of `B` inside.
pub(crate) fn inner<B: Backend>(x: &Tensor<Autograd<B>>) -> &Tensor<B> {
    &meta(x).inner
}

/// The inner tensors.
#[inline]
pub(crate) fn inners<'a, B: Backend>(
    xs: &[&'a Tensor<Autograd<B>>],
) -> SmallVec<[&'a Tensor<B>; 4]> {
    insides(xs, inner)
}

pub(crate) fn meta<B: Backend>(x: &Tensor<Autograd<B>>) -> &Arc<Meta<B>> {
    &x.handle().0
}

/// A handle to a tensor and its place in the graph.
pub(crate) fn handle<B: Backend>(meta: Arc<Meta<B>>) -> Tensor<Autograd<B>> {
    Tensor::from_handle(Tracked(meta))
}

/// A tensor without history.
pub(crate) fn constant<B: Backend>(inner: Tensor<B>) -> Tensor<Autograd<B>> {
    handle(Arc::new(Meta::new(inner, None)))
}
