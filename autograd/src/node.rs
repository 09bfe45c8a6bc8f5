//! The graph: one node per recorded primitive, edges to where its inputs came from.

use std::backtrace::Backtrace;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_tensor_core::{Backend, Error, Outputs, Tensor, raise};
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::checkpoint::{self, Place};
use crate::composed::Composed;
use crate::hooks::Hooks;
use crate::meta::{Base, Meta, constant, handle, inner, meta};
use crate::mode::is_grad_enabled;
use crate::rules::{ErasedRule, Rule};
use crate::{Autograd, anomaly};

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

impl<B: Backend> Edge<B> {
    /// Moves what this holds of the graph into `pending`.
    fn release(self, pending: &mut Vec<Arc<Node<B>>>) {
        match self {
            Edge::Node(node, _) => pending.push(node),
            Edge::Leaf(meta) => release(meta, pending),
        }
    }
}

/// A recorded operation.
pub(crate) struct Node<B: Backend> {
    /// Creation order: an operation comes after all that its inputs come from.
    pub(crate) order: u64,
    pub(crate) rule: Box<dyn ErasedRule<B>>,
    pub(crate) edges: SmallVec<[Option<Edge<B>>; 2]>,
    /// How many outputs it has.
    pub(crate) outputs: usize,
    /// What the rule needs; gone after backward unless the graph is retained.
    pub(crate) saved: Mutex<Option<SmallVec<[Saved<B>; 3]>>>,
    /// Hooks on the outputs' gradients.
    pub(crate) hooks: Mutex<Option<Box<Hooks<B>>>>,
    /// Which operation it is the last step of, if that has several.
    pub(crate) composed: Option<Composed>,
    /// Where it was called, if somebody looks for anomalies.
    pub(crate) called: Option<Box<Backtrace>>,
}

/// A tensor kept for the rule, with the version that its storage had.
pub(crate) struct Saved<B: Backend> {
    version: u64,
    kept: Kept<B>,
}

/// How a saved tensor hangs on the graph when the rule itself is recorded.
enum Kept<B: Backend> {
    /// An input, with its place in the graph.
    Input(Arc<Meta<B>>),
    /// Output `i` of the node that saves it; to keep its place in the graph would be a cycle.
    Output(Box<Tensor<B>>, usize),
    /// Something that no gradient flows to.
    Plain(Box<Tensor<B>>),
    /// The value of an input before it was overwritten, and where its gradient goes.
    Overwritten(Box<Tensor<B>>, Option<Edge<B>>),
    /// Nothing: a part of the graph runs again to find it.
    Again(Place<B>),
}

impl<B: Backend> Clone for Saved<B> {
    fn clone(&self) -> Self {
        let kept = match &self.kept {
            Kept::Input(meta) => Kept::Input(meta.clone()),
            Kept::Output(inner, i) => Kept::Output(inner.clone(), *i),
            Kept::Plain(inner) => Kept::Plain(inner.clone()),
            Kept::Overwritten(inner, edge) => Kept::Overwritten(inner.clone(), edge.clone()),
            Kept::Again(place) => Kept::Again(place.clone()),
        };
        Saved { version: self.version, kept }
    }
}

impl<B: Backend> Saved<B> {
    fn new(kept: Kept<B>) -> Self {
        let mut saved = Saved { version: 0, kept };
        saved.version = B::version(saved.tensor());
        checkpoint::pass(saved)
    }

    /// Stands for what a part of the graph does not keep.
    pub(crate) fn at(place: Place<B>) -> Self {
        Saved { version: 0, kept: Kept::Again(place) }
    }

    fn tensor(&self) -> &Tensor<B> {
        match &self.kept {
            Kept::Input(meta) => &meta.inner,
            Kept::Output(inner, _) | Kept::Plain(inner) | Kept::Overwritten(inner, _) => inner,
            Kept::Again(_) => unreachable!("found before it is looked at"),
        }
    }

    /// What was saved, found again where it was not kept.
    fn found(self) -> Self {
        match self.kept {
            Kept::Again(place) => place.fetch(),
            kept => Saved { version: self.version, kept },
        }
    }

    /// Keeps an input.
    pub(crate) fn input(x: &Tensor<Autograd<B>>) -> Self {
        Saved::new(Kept::Input(meta(x).clone()))
    }

    /// Keeps the value that an input has before it is overwritten.
    pub(crate) fn overwritten(x: &Tensor<Autograd<B>>) -> Self {
        Saved::new(Kept::Overwritten(Box::new(inner(x).copy()), meta(x).edge()))
    }

    /// Keeps output `i`.
    pub(crate) fn output(output: &Tensor<B>, i: usize) -> Self {
        Saved::new(Kept::Output(Box::new(output.clone()), i))
    }

    /// Keeps a tensor that no gradient flows to.
    pub(crate) fn plain(inner: &Tensor<B>) -> Self {
        Saved::new(Kept::Plain(Box::new(inner.clone())))
    }

    /// The tensor of the plain backend.
    pub(crate) fn unpack(self, node: &Node<B>) -> Tensor<B> {
        let saved = self.found();
        saved.check(node);
        match saved.kept {
            Kept::Input(meta) => meta.inner.clone(),
            Kept::Output(inner, _) | Kept::Plain(inner) | Kept::Overwritten(inner, _) => *inner,
            Kept::Again(_) => unreachable!("found above"),
        }
    }

    /// The tensor with its place in the graph.
    pub(crate) fn unpack_recorded(self, node: &Arc<Node<B>>) -> Tensor<Autograd<B>> {
        let saved = self.found();
        saved.check(node);
        let (inner, maker, output) = match saved.kept {
            Kept::Input(meta) => return handle(meta),
            Kept::Plain(inner) | Kept::Overwritten(inner, None) => return constant(*inner),
            Kept::Overwritten(_, Some(Edge::Leaf(_))) => unreachable!("leaves are not overwritten"),
            Kept::Overwritten(inner, Some(Edge::Node(maker, i))) => (inner, maker, i),
            Kept::Output(inner, i) => (inner, node.clone(), i),
            Kept::Again(_) => unreachable!("found above"),
        };
        handle(Arc::new(Meta::made_by(*inner, maker, output, None)))
    }

    fn check(&self, node: &Node<B>) {
        let (tensor, now) = (self.tensor(), B::version(self.tensor()));
        if now != self.version {
            raise(Error::Autograd {
                op: node.name(),
                why: format!(
                    "a tensor of shape {} that it saved for backward has been written to in place \
                     since ({} times); use the form without `_`, or write to a copy",
                    tensor.shape(),
                    now - self.version
                ),
            });
        }
    }

    /// Moves what this holds of the graph into `pending`.
    fn release(self, pending: &mut Vec<Arc<Node<B>>>) {
        match self.kept {
            Kept::Input(meta) => release(meta, pending),
            Kept::Overwritten(_, Some(edge)) => edge.release(pending),
            Kept::Output(..) | Kept::Plain(_) | Kept::Overwritten(_, None) | Kept::Again(_) => {}
        }
    }
}

/// Moves the operation that a tensor came from into `pending`, if this was the last handle to it.
fn release<B: Backend>(meta: Arc<Meta<B>>, pending: &mut Vec<Arc<Node<B>>>) {
    let Some(meta) = Arc::into_inner(meta) else { return };
    pending.extend(meta.state.into_inner().node.map(|(node, _)| node));
    if let Some(base) = meta.base {
        release(base.meta, pending);
    }
}

static ORDER: AtomicU64 = AtomicU64::new(0);

/// Whether an operation on these inputs is to be recorded.
pub(crate) fn recording<B: Backend>(inputs: &[&Tensor<Autograd<B>>]) -> bool {
    // A view whose base has been written to since does not know whether gradients flow to it; `node` refuses it.
    is_grad_enabled() && inputs.iter().any(|x| meta(x).is_tracked() || meta(x).is_stale())
}

/// Which inputs gradients flow to, as bits.
pub(crate) fn wanted<B: Backend>(inputs: &[&Tensor<Autograd<B>>]) -> u64 {
    inputs.iter().enumerate().fold(0, |bits, (i, x)| bits | u64::from(meta(x).is_tracked()) << i)
}

/// Makes the node of an operation.
pub(crate) fn node<B: Backend>(
    rule: impl Rule,
    inputs: &[&Tensor<Autograd<B>>],
    outputs: usize,
    saved: SmallVec<[Saved<B>; 3]>,
) -> Arc<Node<B>> {
    if let Some(x) = inputs.iter().find(|x| meta(x).is_stale()) {
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
        edges: inputs.iter().map(|x| meta(x).edge()).collect(),
        outputs,
        rule: Box::new(rule),
        saved: Mutex::new(Some(saved)),
        hooks: Mutex::new(None),
        composed: None,
        called: anomaly::called(),
    })
}

/// Wraps the results of an operation that was recorded as `node`. Only floats are differentiable.
pub(crate) fn results<B: Backend>(
    node: &Arc<Node<B>>,
    outputs: Outputs<B>,
) -> Outputs<Autograd<B>> {
    let result = |(i, inner): (usize, Tensor<B>)| {
        if inner.dtype().is_float() {
            handle(Arc::new(Meta::made_by(inner, node.clone(), i, None)))
        } else {
            constant(inner)
        }
    };
    outputs.into_iter().enumerate().map(result).collect()
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
        return handle(Arc::new(Meta::new(output, base)));
    }
    let node = node(rule(), inputs, 1, saved(&output));
    handle(Arc::new(Meta::made_by(output, node, 0, base)))
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
        let edges = std::mem::take(&mut self.edges);
        edges.into_iter().flatten().for_each(|edge| edge.release(pending));
        let saved = self.saved.get_mut().take();
        saved.into_iter().flatten().for_each(|saved| saved.release(pending));
    }
}
