//! Operations of several steps: the name that the user called, and the graph without what lies between.

use std::collections::HashSet;
use std::sync::Arc;

use kiln_tensor_core::{Backend, Tensor};

use crate::Autograd;
use crate::meta::{Meta, meta};
use crate::node::{Edge, Node};
use crate::rules::backward_name;

/// The operation that a node is the last step of.
pub(crate) struct Composed {
    op: &'static str,
    /// All its steps have this order or a later one: they come after what its inputs come from.
    since: u64,
}

/// See `Backend::named`. Only a tensor that nobody else holds may be called something else.
pub(crate) fn name<B: Backend>(
    x: &Tensor<Autograd<B>>,
    op: &'static str,
    inputs: &[&Tensor<Autograd<B>>],
) {
    let meta_of_x = meta(x);
    if !meta_of_x.is_tracked() || Arc::strong_count(meta_of_x) != 1 {
        return;
    }
    let after = |input: &&Tensor<Autograd<B>>| {
        meta(input).state.lock().node.as_ref().map(|(node, _)| node.order + 1)
    };
    let since = inputs.iter().filter_map(after).max().unwrap_or(0);
    if let Some((node, _)) = &mut meta_of_x.state.lock().node
        && let Some(node) = Arc::get_mut(node)
        && node.order >= since
    {
        node.composed = Some(Composed { op, since });
    }
}

impl<B: Backend> Node<B> {
    /// What users see: `AddBackward`.
    pub(crate) fn name(&self) -> String {
        match &self.composed {
            Some(Composed { op, .. }) => backward_name(op),
            None => self.rule.name(),
        }
    }

    /// Where gradients go from the operation that this is the last step of.
    pub(crate) fn leads_to(&self) -> Vec<Option<Edge<B>>> {
        let Some(Composed { since, .. }) = self.composed else { return self.edges.to_vec() };
        let (mut found, mut pending): (Vec<Option<Edge<B>>>, Vec<Edge<B>>) = Default::default();
        let (mut seen, mut leaves): (HashSet<(u64, usize)>, HashSet<*const Meta<B>>) =
            Default::default();
        pending.extend(self.edges.iter().rev().flatten().cloned());
        while let Some(edge) = pending.pop() {
            let new = match &edge {
                Edge::Node(node, output) => seen.insert((node.order, *output)),
                Edge::Leaf(meta) => leaves.insert(Arc::as_ptr(meta)),
            };
            match &edge {
                Edge::Node(node, _) if new && node.order >= since => {
                    pending.extend(node.edges.iter().rev().flatten().cloned());
                }
                _ if new => found.push(Some(edge)),
                _ => {}
            }
        }
        found
    }
}
