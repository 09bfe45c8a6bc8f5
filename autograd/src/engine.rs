//! Backward: walks the graph from the roots, newest operation first, with a loop.

use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use kiln_tensor_core::{Backend, Error, Tensor, raise, set_autocast};
use smallvec::{SmallVec, smallvec};

use crate::hooks::Hook;
use crate::meta::{Meta, constant, inner};
use crate::mode::set_grad_enabled;
use crate::node::{Edge, Node, Saved};
use crate::rules::{Context, Gradients};
use crate::{Autograd, anomaly};

/// On which backend the rules run: the plain one, or the one that records (`create_graph`).
pub(crate) trait Mode<B: Backend> {
    type Of: Backend;
    /// A tensor for the rule's eyes.
    fn lower(x: Tensor<Autograd<B>>) -> Tensor<Self::Of>;
    /// A tensor for the user's eyes.
    fn raise(x: Tensor<Self::Of>) -> Tensor<Autograd<B>>;
    fn unpack(saved: Saved<B>, node: &Arc<Node<B>>) -> Tensor<Self::Of>;
    fn vjp(
        node: &Node<B>,
        context: Context<'_, Self::Of>,
        grads: &[Option<Tensor<Self::Of>>],
    ) -> Gradients<Self::Of>;
}

pub(crate) struct Plain;

impl<B: Backend> Mode<B> for Plain {
    type Of = B;

    fn lower(x: Tensor<Autograd<B>>) -> Tensor<B> {
        inner(&x).clone()
    }

    fn raise(x: Tensor<B>) -> Tensor<Autograd<B>> {
        constant(x)
    }

    fn unpack(saved: Saved<B>, node: &Arc<Node<B>>) -> Tensor<B> {
        saved.unpack(node)
    }

    fn vjp(node: &Node<B>, context: Context<'_, B>, grads: &[Option<Tensor<B>>]) -> Gradients<B> {
        node.rule.vjp_plain(context, grads)
    }
}

pub(crate) struct Recorded;

impl<B: Backend> Mode<B> for Recorded {
    type Of = Autograd<B>;

    fn lower(x: Tensor<Autograd<B>>) -> Tensor<Autograd<B>> {
        x
    }

    fn raise(x: Tensor<Autograd<B>>) -> Tensor<Autograd<B>> {
        x
    }

    fn unpack(saved: Saved<B>, node: &Arc<Node<B>>) -> Tensor<Autograd<B>> {
        saved.unpack_recorded(node)
    }

    fn vjp(
        node: &Node<B>,
        context: Context<'_, Autograd<B>>,
        grads: &[Option<Tensor<Autograd<B>>>],
    ) -> Gradients<Autograd<B>> {
        node.rule.vjp_recorded(context, grads)
    }
}

/// What backward starts from: where a gradient goes, and the gradient.
pub(crate) type Root<B> = (Edge<B>, Tensor<Autograd<B>>);

/// An operation that waits for its turn; the newest comes first.
struct Turn<B: Backend>(Arc<Node<B>>);

impl<B: Backend> PartialEq for Turn<B> {
    fn eq(&self, other: &Self) -> bool {
        self.0.order == other.0.order
    }
}
impl<B: Backend> Eq for Turn<B> {}
impl<B: Backend> PartialOrd for Turn<B> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<B: Backend> Ord for Turn<B> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.order.cmp(&other.0.order)
    }
}

/// Gradients of the leaves that were reached, in the order of their first contribution.
struct Leaves<B: Backend, T: Backend> {
    order: Vec<(Arc<Meta<B>>, Option<Tensor<T>>)>,
    index: HashMap<*const Meta<B>, usize>,
}

struct Engine<B: Backend, M: Mode<B>> {
    queue: BinaryHeap<Turn<B>>,
    pending: HashMap<u64, SmallVec<[Option<Tensor<M::Of>>; 1]>>,
    leaves: Leaves<B, M::Of>,
    /// What to run, where only some inputs are asked for.
    needed: Option<Needed<B>>,
}

/// Runs backward. With `targets`, only what leads to them is run, and their gradients come back in
/// order; otherwise gradients are added up in the leaves.
pub(crate) fn run<B: Backend, M: Mode<B>>(
    roots: Vec<Root<B>>,
    retain: bool,
    targets: Option<&[Edge<B>]>,
) -> Vec<Option<Tensor<Autograd<B>>>> {
    let _mode =
        set_grad_enabled(std::any::TypeId::of::<M::Of>() == std::any::TypeId::of::<Autograd<B>>());
    // Rules run in the dtypes of what the forward pass has saved, wherever backward is called.
    let _dtypes = set_autocast(None);
    let mut engine = Engine::<B, M> {
        queue: BinaryHeap::new(),
        pending: HashMap::new(),
        leaves: Leaves { order: Vec::new(), index: HashMap::new() },
        needed: targets.map(|targets| Needed::new(&roots, targets)),
    };
    let wanted: HashMap<(u64, usize), Vec<usize>> = wanted_outputs(targets.unwrap_or_default());
    let mut found: Vec<Option<Tensor<M::Of>>> = vec![None; targets.map_or(0, <[_]>::len)];
    for (edge, grad) in roots {
        engine.deliver(&edge, M::lower(grad));
    }
    while let Some(Turn(node)) = engine.queue.pop() {
        let mut grads = engine.pending.remove(&node.order).expect("queued with a gradient");
        for (output, grad) in grads.iter_mut().enumerate() {
            if let Some(g) = grad.take() {
                let g = hooked::<B, M>(&node, output, g);
                for &target in wanted.get(&(node.order, output)).into_iter().flatten() {
                    found[target] = Some(g.clone());
                }
                *grad = Some(g);
            }
        }
        if engine.needed.as_ref().is_none_or(|needed| needed.ops.contains(&node.order)) {
            engine.step(&node, &grads, retain);
        }
    }
    let leaves = engine.leaves;
    match targets {
        None => {
            for (meta, grad) in leaves.order {
                accumulate::<B, M>(&meta, grad.expect("every contribution has been added"));
            }
        }
        Some(targets) => {
            for (target, found) in targets.iter().zip(&mut found) {
                if let Edge::Leaf(meta) = target
                    && let Some(&at) = leaves.index.get(&Arc::as_ptr(meta))
                {
                    let grad = leaves.order[at].1.clone().expect("added");
                    *found = Some(leaf_hooked::<B, M>(meta, grad));
                }
            }
        }
    }
    found.into_iter().map(|grad| grad.map(M::raise)).collect()
}

impl<B: Backend, M: Mode<B>> Engine<B, M> {
    /// Runs one operation's rule and hands its results on.
    fn step(&mut self, node: &Arc<Node<B>>, grads: &[Option<Tensor<M::Of>>], retain: bool) {
        let saved = {
            let mut saved = node.saved.lock();
            if retain { saved.clone() } else { saved.take() }
        };
        let Some(saved) = saved else {
            raise(Error::Autograd {
                op: node.name(),
                why: "backward has been through this graph already and freed what it had saved; \
                      the first time, pass retain_graph(true)"
                    .into(),
            })
        };
        let saved: SmallVec<[Tensor<M::Of>; 3]> =
            saved.into_iter().map(|s| M::unpack(s, node)).collect();
        let needs = node.edges.iter().enumerate().fold(0, |bits, (i, edge)| {
            let runs = edge.as_ref().is_some_and(|edge| self.wants(edge));
            bits | u64::from(runs) << i
        });
        let context = Context { saved: &saved, needs };
        let results = M::vjp(node, context, grads);
        anomaly::check(|| node.name(), node.called.as_deref(), &results);
        for (edge, grad) in node.edges.iter().zip(results) {
            if let (Some(edge), Some(grad)) = (edge, grad) {
                self.deliver(edge, grad);
            }
        }
    }

    fn wants(&self, edge: &Edge<B>) -> bool {
        self.needed.as_ref().is_none_or(|needed| needed.wants(edge))
    }

    /// Adds a gradient to what has arrived at its destination.
    fn deliver(&mut self, edge: &Edge<B>, grad: Tensor<M::Of>) {
        if !self.wants(edge) {
            return;
        }
        let slot = match edge {
            Edge::Node(node, output) => {
                let slots = match self.pending.entry(node.order) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        self.queue.push(Turn(node.clone()));
                        entry.insert(smallvec![None; node.outputs])
                    }
                };
                &mut slots[*output]
            }
            Edge::Leaf(meta) => {
                let Leaves { order, index } = &mut self.leaves;
                let at = *index.entry(Arc::as_ptr(meta)).or_insert_with(|| {
                    order.push((meta.clone(), None));
                    order.len() - 1
                });
                &mut order[at].1
            }
        };
        *slot = Some(match slot.take() {
            Some(sum) => sum + grad,
            None => grad,
        });
    }
}

fn wanted_outputs<B: Backend>(targets: &[Edge<B>]) -> HashMap<(u64, usize), Vec<usize>> {
    let mut wanted: HashMap<(u64, usize), Vec<usize>> = HashMap::new();
    for (i, target) in targets.iter().enumerate() {
        if let Edge::Node(node, output) = target {
            wanted.entry((node.order, *output)).or_default().push(i);
        }
    }
    wanted
}

/// What leads from the roots to the targets.
struct Needed<B: Backend> {
    /// Operations to run.
    ops: HashSet<u64>,
    /// Operations whose outputs' gradients are asked for.
    targets: HashSet<u64>,
    leaves: HashSet<*const Meta<B>>,
}

impl<B: Backend> Needed<B> {
    fn new(roots: &[Root<B>], targets: &[Edge<B>]) -> Self {
        let mut needed =
            Needed { ops: HashSet::new(), targets: HashSet::new(), leaves: HashSet::new() };
        for target in targets {
            match target {
                Edge::Leaf(meta) => needed.leaves.insert(Arc::as_ptr(meta)),
                Edge::Node(node, _) => needed.targets.insert(node.order),
            };
        }
        let mut order = reachable(roots);
        order.sort_unstable_by_key(|node| node.order);
        for node in order {
            if node.edges.iter().flatten().any(|edge| needed.wants(edge)) {
                needed.ops.insert(node.order);
            }
        }
        needed
    }

    fn wants(&self, edge: &Edge<B>) -> bool {
        match edge {
            Edge::Leaf(meta) => self.leaves.contains(&Arc::as_ptr(meta)),
            Edge::Node(node, _) => {
                self.ops.contains(&node.order) || self.targets.contains(&node.order)
            }
        }
    }
}

/// Every operation that the roots come from.
fn reachable<B: Backend>(roots: &[Root<B>]) -> Vec<Arc<Node<B>>> {
    let mut seen: HashSet<u64> = HashSet::new();
    let mut found: Vec<Arc<Node<B>>> = Vec::new();
    let mut visit = |edge: &Edge<B>, found: &mut Vec<Arc<Node<B>>>| {
        if let Edge::Node(node, _) = edge
            && seen.insert(node.order)
        {
            found.push(node.clone());
        }
    };
    roots.iter().for_each(|(edge, _)| visit(edge, &mut found));
    let mut next = 0;
    while let Some(node) = found.get(next).cloned() {
        node.edges.iter().flatten().for_each(|edge| visit(edge, &mut found));
        next += 1;
    }
    found
}

/// Passes a gradient through the hooks on output `output`.
fn hooked<B: Backend, M: Mode<B>>(
    node: &Node<B>,
    output: usize,
    grad: Tensor<M::Of>,
) -> Tensor<M::Of> {
    let found = node.hooks.lock().as_ref().map(|hooks| (hooks.of(output), hooks.keepers(output)));
    let Some((hooks, keepers)) = found else { return grad };
    let grad = through::<B, M>(hooks, grad);
    for keeper in keepers {
        add_grad(&keeper, M::raise(grad.clone()));
    }
    grad
}

fn leaf_hooked<B: Backend, M: Mode<B>>(meta: &Meta<B>, grad: Tensor<M::Of>) -> Tensor<M::Of> {
    let hooks = meta.state.lock().hooks.as_ref().map(|hooks| hooks.of(0)).unwrap_or_default();
    through::<B, M>(hooks, grad)
}

fn through<B: Backend, M: Mode<B>>(hooks: Vec<Hook<B>>, grad: Tensor<M::Of>) -> Tensor<M::Of> {
    if hooks.is_empty() {
        return grad;
    }
    let mut grad = M::raise(grad);
    for hook in hooks {
        if let Some(changed) = hook(&grad) {
            if changed.shape() != grad.shape() || changed.dtype() != grad.dtype() {
                raise(Error::Shape {
                    op: "hook",
                    shapes: vec![grad.shape().clone(), changed.shape().clone()],
                    why: "a hook may not change the gradient's shape or dtype".into(),
                });
            }
            if changed.device() != grad.device() {
                raise(Error::Device {
                    op: "hook",
                    left: grad.device().to_string(),
                    right: changed.device().to_string(),
                });
            }
            grad = changed;
        }
    }
    M::lower(grad)
}

/// Passes a gradient through a leaf's hooks and adds it to the leaf's `grad`.
fn accumulate<B: Backend, M: Mode<B>>(meta: &Meta<B>, grad: Tensor<M::Of>) {
    let grad = leaf_hooked::<B, M>(meta, grad);
    // Memory that somebody else sees, or that several elements share, is not ours to write to later.
    let own = M::Of::is_unique(&grad) && !grad.layout().may_overlap();
    store(meta, M::raise(if own || M::Of::requires_grad(&grad) { grad } else { grad.copy() }));
}

/// Adds a gradient that others may hold too to the `grad` of a tensor.
pub(crate) fn add_grad<B: Backend>(meta: &Meta<B>, grad: Tensor<Autograd<B>>) {
    store(meta, if grad.requires_grad() { grad } else { grad.copy() });
}

/// Other threads may do the same for this leaf: what they have stored meanwhile is taken and added too. Nothing is added
/// under the lock, for the gradient may be the leaf itself.
fn store<B: Backend>(meta: &Meta<B>, new: Tensor<Autograd<B>>) {
    let mut sum = Box::new(new);
    loop {
        let mut state = meta.state.lock();
        let Some(old) = state.grad.take() else {
            state.grad = Some(sum);
            return;
        };
        drop(state);
        sum = if sum.requires_grad() || old.requires_grad() {
            Box::new(&*old + &*sum)
        } else {
            old.detach().add_(&*sum);
            old
        };
    }
}
