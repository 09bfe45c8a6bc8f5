//! What users call: `backward`, `grad`, hooks.

use std::sync::Arc;

use kiln_tensor_core::{Backend, Error, Tensor, raise};

use crate::engine::{Plain, Recorded, Root, run};
use crate::hooks::{HookHandle, Hooks};
use crate::meta::meta;
use crate::node::Edge;
use crate::{Autograd, engine};

/// How [`Backward::backward_with`] runs; see `torch.Tensor.backward`.
pub struct BackwardOptions<'a, B: Backend> {
    gradient: Option<Tensor<Autograd<B>>>,
    retain_graph: Option<bool>,
    create_graph: bool,
    inputs: Option<Vec<&'a Tensor<Autograd<B>>>>,
}

impl<B: Backend> Default for BackwardOptions<'_, B> {
    fn default() -> Self {
        BackwardOptions { gradient: None, retain_graph: None, create_graph: false, inputs: None }
    }
}

impl<B: Backend> std::fmt::Debug for BackwardOptions<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackwardOptions")
            .field("gradient", &self.gradient)
            .field("retain_graph", &self.retain_graph)
            .field("create_graph", &self.create_graph)
            .field("inputs", &self.inputs)
            .finish()
    }
}

impl<'a, B: Backend> BackwardOptions<'a, B> {
    /// PyTorch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The gradient of the tensor itself; 1 by default, which only a single element has.
    #[must_use]
    pub fn gradient(mut self, gradient: Tensor<Autograd<B>>) -> Self {
        self.gradient = Some(gradient);
        self
    }

    /// Whether to keep what the graph has saved, for another backward; by default as `create_graph`.
    #[must_use]
    pub fn retain_graph(mut self, on: bool) -> Self {
        self.retain_graph = Some(on);
        self
    }

    /// Whether to record the gradients' computation, for derivatives of higher order.
    #[must_use]
    pub fn create_graph(mut self, on: bool) -> Self {
        self.create_graph = on;
        self
    }

    /// The tensors to accumulate gradients in; all leaves by default.
    #[must_use]
    pub fn inputs(mut self, inputs: &[&'a Tensor<Autograd<B>>]) -> Self {
        self.inputs = Some(inputs.to_vec());
        self
    }
}

/// What a recorded tensor can do besides what every tensor can.
pub trait Backward<B: Backend>: Sized {
    /// Differentiates this single element with respect to the leaves that require gradients, and adds
    /// the results to their `grad`.
    ///
    /// ```
    /// use kiln_autograd::{Autograd, Backward};
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    ///
    /// let x = Tensor::<Autograd<Cpu>>::from_slice(&[1.0, 2.0, 3.0], [3], &CpuDevice);
    /// let x = x.requires_grad_(true);
    /// (&x * &x).sum().backward();
    /// assert_eq!(x.grad().unwrap().to_vec::<f64>(), [2.0, 4.0, 6.0]);
    /// ```
    ///
    /// # Panics
    /// With [`Error::Autograd`] if this has more than one element, was not recorded, or backward has
    /// freed the graph before, or a saved tensor has been written to since.
    #[track_caller]
    fn backward(&self);

    /// `backward` with options.
    ///
    /// # Panics
    /// As `backward`; also if the gradient has another shape or dtype than this tensor.
    #[track_caller]
    fn backward_with(&self, options: BackwardOptions<'_, B>);

    /// Whether this was made by the user rather than by a recorded operation.
    fn is_leaf(&self) -> bool;

    /// Calls `hook` with this tensor's gradient whenever backward has it; what the hook returns
    /// replaces it. The gradient of a leaf is what one backward adds to it.
    ///
    /// # Panics
    /// If this tensor does not require gradients.
    #[track_caller]
    fn register_hook(
        &self,
        hook: impl Fn(&Self) -> Option<Self> + Send + Sync + 'static,
    ) -> HookHandle;

    /// Makes backward store this tensor's gradient in its `grad` although it is not a leaf: what its hooks have made of it,
    /// also those that are registered later.
    ///
    /// # Panics
    /// If this tensor does not require gradients.
    #[track_caller]
    fn retain_grad(&self);
}

impl<B: Backend> Backward<B> for Tensor<Autograd<B>> {
    #[track_caller]
    fn backward(&self) {
        self.backward_with(BackwardOptions::default());
    }

    #[track_caller]
    fn backward_with(&self, options: BackwardOptions<'_, B>) {
        let root = root(self, options.gradient);
        let retain = options.retain_graph.unwrap_or(options.create_graph);
        let Some(inputs) = options.inputs else {
            differentiate(vec![root], retain, options.create_graph, None);
            return;
        };
        let targets = edges("backward", &inputs);
        let grads = differentiate(vec![root], retain, options.create_graph, Some(&targets));
        for (input, grad) in inputs.iter().zip(grads) {
            if let Some(grad) = grad {
                engine::add_grad(meta(input), grad);
            }
        }
    }

    fn is_leaf(&self) -> bool {
        meta(self).is_leaf()
    }

    #[track_caller]
    fn register_hook(
        &self,
        hook: impl Fn(&Self) -> Option<Self> + Send + Sync + 'static,
    ) -> HookHandle {
        let hook = Arc::new(hook);
        match edge("register_hook", self) {
            Edge::Leaf(meta) => {
                let add = |hooks: &mut Option<Box<Hooks<B>>>| {
                    hooks.get_or_insert_with(|| Box::new(Hooks::new())).add(0, hook)
                };
                let id = add(&mut meta.state.lock().hooks);
                HookHandle::new(move || {
                    if let Some(hooks) = &mut meta.state.lock().hooks {
                        hooks.remove(id);
                    }
                })
            }
            Edge::Node(node, output) => {
                let id = node
                    .hooks
                    .lock()
                    .get_or_insert_with(|| Box::new(Hooks::new()))
                    .add(output, hook);
                let node = Arc::downgrade(&node);
                HookHandle::new(move || {
                    if let Some(node) = node.upgrade()
                        && let Some(hooks) = &mut *node.hooks.lock()
                    {
                        hooks.remove(id);
                    }
                })
            }
        }
    }

    #[track_caller]
    fn retain_grad(&self) {
        if let Edge::Node(node, output) = edge("retain_grad", self) {
            let mut hooks = node.hooks.lock();
            hooks.get_or_insert_with(|| Box::new(Hooks::new())).keep(output, meta(self));
        }
    }
}

/// The gradients of one element with respect to `inputs`, without touching anybody's `grad`.
///
/// # Panics
/// As [`Backward::backward`]; also with [`Error::Autograd`] if an input does not require gradients or
/// the output does not depend on it ([`GradOptions::allow_unused`] gives `None` then).
#[track_caller]
pub fn grad<B: Backend>(
    output: &Tensor<Autograd<B>>,
    inputs: &[&Tensor<Autograd<B>>],
) -> Vec<Tensor<Autograd<B>>> {
    GradOptions::new().grad(&[output], inputs)
}

/// How [`grad`] runs; see `torch.autograd.grad`.
pub struct GradOptions<B: Backend> {
    grad_outputs: Option<Vec<Tensor<Autograd<B>>>>,
    retain_graph: Option<bool>,
    create_graph: bool,
}

impl<B: Backend> Default for GradOptions<B> {
    fn default() -> Self {
        GradOptions { grad_outputs: None, retain_graph: None, create_graph: false }
    }
}

impl<B: Backend> std::fmt::Debug for GradOptions<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GradOptions")
            .field("grad_outputs", &self.grad_outputs)
            .field("retain_graph", &self.retain_graph)
            .field("create_graph", &self.create_graph)
            .finish()
    }
}

impl<B: Backend> GradOptions<B> {
    /// PyTorch's defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The gradients of the outputs; 1 by default, for outputs of a single element.
    #[must_use]
    pub fn grad_outputs(mut self, grads: Vec<Tensor<Autograd<B>>>) -> Self {
        self.grad_outputs = Some(grads);
        self
    }

    /// Whether to keep what the graph has saved, for another backward; by default as `create_graph`.
    #[must_use]
    pub fn retain_graph(mut self, on: bool) -> Self {
        self.retain_graph = Some(on);
        self
    }

    /// Whether to record the gradients' computation, for derivatives of higher order.
    #[must_use]
    pub fn create_graph(mut self, on: bool) -> Self {
        self.create_graph = on;
        self
    }

    /// The gradients of `outputs`, summed, with respect to each of `inputs`.
    ///
    /// # Panics
    /// As [`grad`].
    #[track_caller]
    pub fn grad(
        self,
        outputs: &[&Tensor<Autograd<B>>],
        inputs: &[&Tensor<Autograd<B>>],
    ) -> Vec<Tensor<Autograd<B>>> {
        let grads = self.allow_unused(outputs, inputs);
        let used = |(i, grad): (usize, Option<Tensor<Autograd<B>>>)| {
            grad.unwrap_or_else(|| {
                raise(Error::Autograd {
                    op: "grad".into(),
                    why: format!(
                        "the outputs do not depend on input {i} of shape {}; `allow_unused` gives \
                         None for such",
                        inputs[i].shape()
                    ),
                })
            })
        };
        grads.into_iter().enumerate().map(used).collect()
    }

    /// Like [`GradOptions::grad`], with `None` for an input that no output depends on.
    ///
    /// # Panics
    /// As [`grad`], except for unused inputs.
    #[track_caller]
    pub fn allow_unused(
        self,
        outputs: &[&Tensor<Autograd<B>>],
        inputs: &[&Tensor<Autograd<B>>],
    ) -> Vec<Option<Tensor<Autograd<B>>>> {
        let given = self.grad_outputs;
        if let Some(grads) = given.as_ref().filter(|grads| grads.len() != outputs.len()) {
            raise(Error::Argument {
                op: "grad",
                why: format!("{} grad_outputs for {} outputs", grads.len(), outputs.len()),
            });
        }
        let roots = outputs
            .iter()
            .enumerate()
            .map(|(i, output)| root(output, given.as_ref().map(|grads| grads[i].clone())))
            .collect();
        let retain = self.retain_graph.unwrap_or(self.create_graph);
        let targets = edges("grad", inputs);
        differentiate(roots, retain, self.create_graph, Some(&targets))
    }
}

#[track_caller]
fn differentiate<B: Backend>(
    roots: Vec<Root<B>>,
    retain: bool,
    create_graph: bool,
    targets: Option<&[Edge<B>]>,
) -> Vec<Option<Tensor<Autograd<B>>>> {
    if create_graph {
        run::<B, Recorded>(roots, retain, targets)
    } else {
        run::<B, Plain>(roots, retain, targets)
    }
}

#[track_caller]
fn edges<B: Backend>(op: &str, inputs: &[&Tensor<Autograd<B>>]) -> Vec<Edge<B>> {
    inputs.iter().map(|x| edge(op, x)).collect()
}

/// Where the gradient of a tensor goes that must have one.
#[track_caller]
fn edge<B: Backend>(op: &str, x: &Tensor<Autograd<B>>) -> Edge<B> {
    meta(x).edge().unwrap_or_else(|| {
        raise(Error::Autograd {
            op: op.into(),
            why: format!(
                "a tensor of shape {} does not require gradients: nothing that it was made of does, \
                 or recording was off",
                x.shape()
            ),
        })
    })
}

/// Where backward starts for `output`.
#[track_caller]
fn root<B: Backend>(
    output: &Tensor<Autograd<B>>,
    gradient: Option<Tensor<Autograd<B>>>,
) -> Root<B> {
    let edge = edge("backward", output);
    if meta(output).is_stale() {
        raise(Error::Autograd {
            op: "backward".into(),
            why: "this is a view of a tensor that a recorded operation has written to in place; take \
                  the view again after the write"
                .into(),
        });
    }
    let gradient = gradient.unwrap_or_else(|| {
        if output.numel() != 1 {
            raise(Error::Autograd {
                op: "backward".into(),
                why: format!(
                    "a tensor of shape {} is not a single element; reduce it (`sum`, `mean`) or pass \
                     its gradient",
                    output.shape()
                ),
            });
        }
        Tensor::ones(output.shape(), (output.device(), output.dtype()))
    });
    if gradient.shape() != output.shape() || gradient.dtype() != output.dtype() {
        raise(Error::Shape {
            op: "backward",
            shapes: vec![output.shape().clone(), gradient.shape().clone()],
            why: "a gradient has the shape and dtype of its tensor".into(),
        });
    }
    if gradient.device() != output.device() {
        raise(Error::Device {
            op: "backward",
            left: output.device().to_string(),
            right: gradient.device().to_string(),
        });
    }
    (edge, gradient)
}
