//! The graph: one node per recorded primitive, edges to where its inputs came from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_tensor_core::{Backend, DType, Error, Outputs, Shape, Tensor, raise};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::Autograd;
use crate::hooks::Hooks;
use crate::meta::{Base, Meta, constant, inner, meta, with_meta};
use crate::mode::is_grad_enabled;
use crate::rules::{ErasedRule, Rule};

/// Where a gradient goes.
pub(crate) enum Edge<B: Backend> {
    /// To an output of an operation.
    Node(Arc<Node<B>>, usize),
    /// Into the `grad` of a leaf.
    Leaf(Arc<Meta<B>>),
}

impl<B: Backend> Clone for Edge<B> {
    fn clone(&self) -> Self {
        match self {
            Edge::Node(node, output) => Edge::Node(node.clone(), *output),
            Edge::Leaf(meta) => Edge::Leaf(meta.clone()),
        }
    }
}

/// A recorded operation.
pub(crate) struct Node<B: Backend> {
    /// Creation order: an operation comes after all that its inputs come from.
    pub(crate) order: u64,
    pub(crate) name: String,
    pub(crate) edges: SmallVec<[Option<Edge<B>>; 3]>,
    pub(crate) outputs: SmallVec<[(Shape, DType); 1]>,
    /// The rule and what it needs; gone after backward unless the graph is retained.
    pub(crate) body: Mutex<Option<Body<B>>>,
    /// Hooks on the outputs' gradients.
    pub(crate) hooks: Mutex<Option<Box<Hooks<B>>>>,
}

pub(crate) struct Body<B: Backend> {
    pub(crate) rule: Arc<dyn ErasedRule<B>>,
    pub(crate) saved: SmallVec<[Saved<B>; 3]>,
}

impl<B: Backend> Clone for Body<B> {
    fn clone(&self) -> Self {
        Body { rule: self.rule.clone(), saved: self.saved.clone() }
    }
}

/// A tensor kept for the rule, with the version that its storage had.
#[derive(Clone)]
pub(crate) struct Saved<B: Backend> {
    inner: Tensor<B>,
    version: u64,
    from: From<B>,
}

/// How a saved tensor hangs on the graph when the rule itself is recorded.
enum From<B: Backend> {
    Nothing,
    Edge(Edge<B>),
    /// Output `i` of the node that saves it; an edge would be a cycle.
    Output(usize),
}

impl<B: Backend> Clone for From<B> {
    fn clone(&self) -> Self {
        match self {
            From::Nothing => From::Nothing,
            From::Edge(edge) => From::Edge(edge.clone()),
            From::Output(i) => From::Output(*i),
        }
    }
}

impl<B: Backend> Saved<B> {
    /// Keeps an input.
    pub(crate) fn input(x: &Tensor<Autograd<B>>) -> Self {
        let from = meta(x).edge().map_or(From::Nothing, From::Edge);
        Saved { version: B::version(inner(x)), inner: inner(x).clone(), from }
    }

    /// Keeps the value that an input has before it is overwritten.
    pub(crate) fn overwritten(x: &Tensor<Autograd<B>>) -> Self {
        let from = meta(x).edge().map_or(From::Nothing, From::Edge);
        let inner = inner(x).copy();
        Saved { version: B::version(&inner), inner, from }
    }

    /// Keeps output `i`.
    pub(crate) fn output(outputs: &[Tensor<B>], i: usize) -> Self {
        let inner = outputs[i].clone();
        Saved { version: B::version(&inner), inner, from: From::Output(i) }
    }

    /// Keeps a tensor that no gradient flows to.
    pub(crate) fn plain(inner: &Tensor<B>) -> Self {
        Saved { version: B::version(inner), inner: inner.clone(), from: From::Nothing }
    }

    /// The tensor of the plain backend.
    pub(crate) fn unpack(self, node: &Node<B>) -> Tensor<B> {
        self.check(node);
        self.inner
    }

    /// The tensor with its place in the graph.
    pub(crate) fn unpack_recorded(self, node: &Arc<Node<B>>) -> Tensor<Autograd<B>> {
        self.check(node);
        let meta = match self.from {
            From::Nothing => return constant(self.inner),
            From::Edge(Edge::Leaf(meta)) => meta,
            From::Edge(Edge::Node(node, output)) => Arc::new(Meta::made_by(node, output, None)),
            From::Output(i) => Arc::new(Meta::made_by(node.clone(), i, None)),
        };
        with_meta(self.inner, meta)
    }

    fn check(&self, node: &Node<B>) {
        let now = B::version(&self.inner);
        if now != self.version {
            raise(Error::Autograd {
                op: node.name.clone(),
                why: format!(
                    "a tensor of shape {} that it saved for backward has been written to in place \
                     since ({} times); use the form without `_`, or write to a copy",
                    self.inner.shape(),
                    now - self.version
                ),
            });
        }
    }
}

static ORDER: AtomicU64 = AtomicU64::new(0);

/// Whether an operation on these inputs is to be recorded.
pub(crate) fn recording<B: Backend>(inputs: &[&Tensor<Autograd<B>>]) -> bool {
    is_grad_enabled() && inputs.iter().any(|x| meta(x).is_tracked())
}

/// Which inputs gradients flow to, as bits.
pub(crate) fn wanted<B: Backend>(inputs: &[&Tensor<Autograd<B>>]) -> u64 {
    inputs.iter().enumerate().fold(0, |bits, (i, x)| bits | u64::from(meta(x).is_tracked()) << i)
}

/// Makes the node of an operation.
pub(crate) fn node<B: Backend>(
    rule: impl Rule,
    inputs: &[&Tensor<Autograd<B>>],
    outputs: &[Tensor<B>],
    saved: SmallVec<[Saved<B>; 3]>,
) -> Arc<Node<B>> {
    if let Some(x) = inputs.iter().find(|x| meta(x).is_tracked() && meta(x).is_stale()) {
        raise(Error::Autograd {
            op: rule.name(),
            why: format!(
                "its operand of shape {} is a view of a tensor that a recorded operation has written \
                 to in place; take the view again after the write",
                x.shape()
            ),
        });
    }
    Arc::new(Node {
        order: ORDER.fetch_add(1, Ordering::Relaxed),
        name: rule.name(),
        edges: inputs.iter().map(|x| meta(x).edge()).collect(),
        outputs: outputs.iter().map(|x| (x.shape().clone(), x.dtype())).collect(),
        body: Mutex::new(Some(Body { rule: Arc::new(rule), saved })),
        hooks: Mutex::new(None),
    })
}

/// Wraps the results of an operation that was recorded as `node`. Only floats are differentiable.
pub(crate) fn results<B: Backend>(
    node: &Arc<Node<B>>,
    outputs: Outputs<B>,
) -> Outputs<Autograd<B>> {
    let wrap = |(i, inner): (usize, Tensor<B>)| {
        if inner.dtype().is_float() {
            with_meta(inner, Arc::new(Meta::made_by(node.clone(), i, None)))
        } else {
            constant(inner)
        }
    };
    outputs.into_iter().enumerate().map(wrap).collect()
}

/// Records an operation of one result, or just wraps the result where nothing is to be recorded.
/// `saved` and `rule` are called only in the first case.
pub(crate) fn record<B: Backend, R: Rule>(
    inputs: &[&Tensor<Autograd<B>>],
    output: Tensor<B>,
    saved: impl FnOnce(&Tensor<B>) -> SmallVec<[Saved<B>; 3]>,
    rule: impl FnOnce() -> R,
) -> Tensor<Autograd<B>> {
    record_view(inputs, output, None, saved, rule)
}

/// Like `record`, for a result that shares memory with `base`.
pub(crate) fn record_view<B: Backend, R: Rule>(
    inputs: &[&Tensor<Autograd<B>>],
    output: Tensor<B>,
    base: Option<Base<B>>,
    saved: impl FnOnce(&Tensor<B>) -> SmallVec<[Saved<B>; 3]>,
    rule: impl FnOnce() -> R,
) -> Tensor<Autograd<B>> {
    if !recording(inputs) || !output.dtype().is_float() {
        return with_meta(output, Arc::new(Meta::new(base)));
    }
    let node = node(rule(), inputs, std::slice::from_ref(&output), saved(&output));
    with_meta(output, Arc::new(Meta::made_by(node, 0, base)))
}

/// Takes the graph apart with a loop: a chain of a million nodes must not use a million stack frames.
impl<B: Backend> Drop for Node<B> {
    fn drop(&mut self) {
        let mut pending: Vec<Arc<Node<B>>> = Vec::new();
        self.release(&mut pending);
        while let Some(node) = pending.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                node.release(&mut pending);
            }
        }
    }
}

impl<B: Backend> Node<B> {
    /// Moves everything that this node holds of the graph into `pending`.
    fn release(&mut self, pending: &mut Vec<Arc<Node<B>>>) {
        let edges = std::mem::take(&mut self.edges).into_iter().flatten();
        let saved = self.body.get_mut().take().map(|body| body.saved).into_iter().flatten();
        let saved = saved.filter_map(|saved| match saved.from {
            From::Edge(edge) => Some(edge),
            From::Nothing | From::Output(_) => None,
        });
        pending.extend(edges.chain(saved).filter_map(|edge| match edge {
            Edge::Node(node, _) => Some(node),
            Edge::Leaf(_) => None,
        }));
    }
}
