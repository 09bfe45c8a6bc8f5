//! The graph to look at: operations, what they come from, and a drawing.

mod layers;
mod svg;

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
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
            Edge::Node(node, _) => node.name(),
            Edge::Leaf(_) => "AccumulateGrad".into(),
        }
    }

    /// Where gradients go from here, in the order of the operation's inputs: nothing for an input that has none.
    pub fn next_functions(&self) -> Vec<Option<GradFn<B>>> {
        match &self.0 {
            Edge::Node(node, _) => {
                node.leads_to().into_iter().map(|edge| edge.map(GradFn)).collect()
            }
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
/// Leaves that `names` lists have their names in it. [`svg`] needs no Graphviz.
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
pub fn dot<B: Backend, N: ToString, T: Borrow<Tensor<Autograd<B>>>>(
    outputs: &[&Tensor<Autograd<B>>],
    names: impl IntoIterator<Item = (N, T)>,
) -> String {
    let sketch = sketch(outputs, names);
    let mut text = String::from(
        "digraph {\n  node [shape=box, style=\"filled,rounded\", fontname=monospace];\n",
    );
    for (i, Drawn { lines, kind }) in sketch.boxes.iter().enumerate() {
        let quoted =
            |line: &String| line.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
        let label = lines.iter().map(quoted).collect::<Vec<_>>().join("\\n");
        let color = match kind {
            Kind::Operation => "lightgrey",
            Kind::Leaf => "lightblue",
            Kind::Output => "darkolivegreen1",
        };
        let _ = writeln!(text, "  n{i} [label=\"{label}\", fillcolor={color}];");
    }
    for (from, to) in &sketch.edges {
        let _ = writeln!(text, "  n{from} -> n{to};");
    }
    text.push_str("}\n");
    text
}

/// The graph that tensors come from, drawn: the text of an SVG file, which every browser shows. Leaves are blue and have
/// the names that `names` gives them, results are green, operations lie between in the order in which forward runs.
///
/// ```
/// use kiln_autograd::{Autograd, svg};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_tensor_core::Tensor;
///
/// let w = Tensor::<Autograd<Cpu>>::ones([2, 3], &CpuDevice).requires_grad_(true);
/// let loss = w.exp().sum();
/// let text = svg(&[&loss], [("weight", &w)]);
/// assert!(text.starts_with("<svg ") && text.contains(">ExpBackward<"));
/// ```
pub fn svg<B: Backend, N: ToString, T: Borrow<Tensor<Autograd<B>>>>(
    outputs: &[&Tensor<Autograd<B>>],
    names: impl IntoIterator<Item = (N, T)>,
) -> String {
    svg::write(&sketch(outputs, names))
}

/// What is drawn: boxes, and lines between them from what comes first in forward.
struct Sketch {
    boxes: Vec<Drawn>,
    edges: Vec<(usize, usize)>,
}

struct Drawn {
    lines: Vec<String>,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Operation,
    Leaf,
    Output,
}

fn sketch<B: Backend, N: ToString, T: Borrow<Tensor<Autograd<B>>>>(
    outputs: &[&Tensor<Autograd<B>>],
    names: impl IntoIterator<Item = (N, T)>,
) -> Sketch {
    let names: Vec<(N, T)> = names.into_iter().collect();
    let named = |(name, x): &(N, T)| (Arc::as_ptr(meta(x.borrow())), name.to_string());
    let mut pen = Pen {
        sketch: Sketch { boxes: Vec::new(), edges: Vec::new() },
        seen: HashMap::new(),
        pending: VecDeque::new(),
        names: names.iter().map(named).collect(),
    };
    for output in outputs {
        let to = pen.draw(vec!["output".into(), output.shape().to_string()], Kind::Output);
        if let Some(edge) = meta(output).edge() {
            let from = pen.visit(&edge);
            pen.sketch.edges.push((from, to));
        }
    }
    while let Some((to, node)) = pen.pending.pop_front() {
        for edge in node.leads_to().into_iter().flatten() {
            let from = pen.visit(&edge);
            pen.sketch.edges.push((from, to));
        }
    }
    pen.sketch
}

struct Pen<B: Backend> {
    sketch: Sketch,
    /// Operations by their order, leaves by their address.
    seen: HashMap<(u64, *const Meta<B>), usize>,
    /// Operations whose inputs are still to be drawn.
    pending: VecDeque<(usize, Arc<Node<B>>)>,
    names: HashMap<*const Meta<B>, String>,
}

impl<B: Backend> Pen<B> {
    fn draw(&mut self, lines: Vec<String>, kind: Kind) -> usize {
        self.sketch.boxes.push(Drawn { lines, kind });
        self.sketch.boxes.len() - 1
    }

    /// The box of what an edge leads to, drawn where it has not been.
    fn visit(&mut self, edge: &Edge<B>) -> usize {
        let key = match edge {
            Edge::Node(node, _) => (node.order, std::ptr::null()),
            Edge::Leaf(meta) => (0, Arc::as_ptr(meta)),
        };
        if let Some(&at) = self.seen.get(&key) {
            return at;
        }
        let at = match edge {
            Edge::Node(node, _) => {
                let at = self.draw(vec![node.name()], Kind::Operation);
                self.pending.push_back((at, node.clone()));
                at
            }
            Edge::Leaf(meta) => {
                let name = self.names.get(&Arc::as_ptr(meta)).map_or("leaf", String::as_str);
                self.draw(vec![name.into(), meta.inner.shape().to_string()], Kind::Leaf)
            }
        };
        self.seen.insert(key, at);
        at
    }
}
