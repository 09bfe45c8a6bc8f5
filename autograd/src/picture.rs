//! The graph to look at: operations, what they come from, and a drawing.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use kiln_tensor_core::{Backend, Shape, Tensor};

use crate::Autograd;
use crate::meta::{Meta, meta};
use crate::node::{Edge, Node};

/// An operation of the graph, or a leaf that gradients are added up in: what `tensor.grad_fn` is in PyTorch.
pub struct GradFn<B: Backend>(Edge<B>);

impl<B: Backend> Clone for GradFn<B> {
    fn clone(&self) -> Self {
        GradFn(self.0.clone())
    }
}

impl<B: Backend> fmt::Debug for GradFn<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.name())
    }
}

impl<B: Backend> GradFn<B> {
    /// What made a tensor; nothing if gradients do not flow to it.
    ///
    /// ```
    /// use kiln_autograd::{Autograd, GradFn};
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    ///
    /// let x = Tensor::<Autograd<Cpu>>::ones([2], &CpuDevice).requires_grad_(true);
    /// let made = GradFn::of(&(x.exp() + &x)).unwrap();
    /// assert_eq!(made.name(), "AddBackward");
    /// let next: Vec<String> = made.next_functions().iter().flatten().map(GradFn::name).collect();
    /// assert_eq!(next, ["ExpBackward", "AccumulateGrad"]);
    /// ```
    pub fn of(x: &Tensor<Autograd<B>>) -> Option<Self> {
        meta(x).edge().map(GradFn)
    }

    /// Its name: `AddBackward`, or `AccumulateGrad` for a leaf.
    pub fn name(&self) -> String {
        match &self.0 {
            Edge::Node(node, _) => node.rule.name(),
            Edge::Leaf(_) => "AccumulateGrad".into(),
        }
    }

    /// Where gradients go from here, in the order of the operation's inputs: nothing for an input that has none.
    pub fn next_functions(&self) -> Vec<Option<GradFn<B>>> {
        match &self.0 {
            Edge::Node(node, _) => node.edges.iter().map(|edge| edge.clone().map(GradFn)).collect(),
            Edge::Leaf(_) => Vec::new(),
        }
    }

    /// The shape of a leaf.
    pub fn leaf_shape(&self) -> Option<Shape> {
        match &self.0 {
            Edge::Node(..) => None,
            Edge::Leaf(meta) => Some(meta.inner.shape().clone()),
        }
    }
}

/// The graph that tensors come from, in the DOT language of Graphviz: `dot -Tsvg graph.dot -o graph.svg` draws it.
/// Leaves that `names` lists have their names in it, as `net.named_parameters()` gives them.
///
/// ```
/// use kiln_autograd::{Autograd, dot};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_tensor_core::Tensor;
///
/// let w = Tensor::<Autograd<Cpu>>::ones([2, 3], &CpuDevice).requires_grad_(true);
/// let loss = w.exp().sum();
/// let text = dot(&[&loss], [("weight", &w)]);
/// assert!(text.contains("weight") && text.contains("SumBackward"));
/// ```
pub fn dot<'a, B: Backend, N: ToString>(
    outputs: &[&Tensor<Autograd<B>>],
    names: impl IntoIterator<Item = (N, &'a Tensor<Autograd<B>>)>,
) -> String {
    let names: HashMap<*const Meta<B>, String> =
        names.into_iter().map(|(name, x)| (Arc::as_ptr(meta(x)), name.to_string())).collect();
    let mut drawing =
        Drawing { text: String::new(), seen: HashMap::new(), pending: Vec::new(), names };
    for (i, output) in outputs.iter().enumerate() {
        let label = format!("output {}", output.shape());
        drawing.box_of(&format!("out{i}"), &label, "lightgreen");
        if let Some(edge) = meta(output).edge() {
            let from = drawing.id(&edge);
            let _ = writeln!(drawing.text, "  {from} -> out{i};");
        }
    }
    while let Some((id, node)) = drawing.pending.pop() {
        for edge in node.edges.iter().flatten() {
            let from = drawing.id(edge);
            let _ = writeln!(drawing.text, "  {from} -> {id};");
        }
    }
    format!(
        "digraph {{\n  node [shape=box, style=filled, fontname=monospace];\n{}}}\n",
        drawing.text
    )
}

struct Drawing<B: Backend> {
    text: String,
    /// Operations by their order, leaves by their address.
    seen: HashMap<(u64, *const Meta<B>), String>,
    /// Operations whose inputs are still to be drawn.
    pending: Vec<(String, Arc<Node<B>>)>,
    names: HashMap<*const Meta<B>, String>,
}

impl<B: Backend> Drawing<B> {
    fn box_of(&mut self, id: &str, label: &str, color: &str) {
        let label = label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(self.text, "  {id} [label=\"{label}\", fillcolor={color}];");
    }

    /// The name of what an edge leads to, drawn where it has not been.
    fn id(&mut self, edge: &Edge<B>) -> String {
        let key = match edge {
            Edge::Node(node, _) => (node.order, std::ptr::null()),
            Edge::Leaf(meta) => (0, Arc::as_ptr(meta)),
        };
        if let Some(id) = self.seen.get(&key) {
            return id.clone();
        }
        let id = format!("n{}", self.seen.len());
        self.seen.insert(key, id.clone());
        match edge {
            Edge::Node(node, _) => {
                self.box_of(&id, &node.rule.name(), "lightgrey");
                self.pending.push((id.clone(), node.clone()));
            }
            Edge::Leaf(meta) => {
                let name = self.names.get(&Arc::as_ptr(meta)).map_or("leaf", String::as_str);
                let label = format!("{name}\n{}", meta.inner.shape());
                self.box_of(&id, &label, "lightblue");
            }
        }
        id
    }
}
