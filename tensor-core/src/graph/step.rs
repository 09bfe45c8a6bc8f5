//! A step of a loop: run, captured and replayed where there are graphs, called where there are none.

use std::fmt;

use super::{Graph, capture, is_capturing};
use crate::{Backend, DType, Error, Shape, Tensor, raise};

/// So many kinds of input get a graph, each with memory of its own; others are run as they are.
const MOST: usize = 8;

/// A step of a training loop that runs everywhere, and is replayed on devices that have graphs.
///
/// There, the step is called at the first run, captured at the second and replayed from the third on, on copies
/// of the inputs. Inputs of other shapes or dtypes, such as the rest at an epoch's end, have their own graph.
/// [The module's text](crate::graph) says what a replay repeats; use another `Step` for another kind of step.
///
/// ```no_run
/// # use kiln_tensor_core::{Backend, Tensor, graph::Step};
/// # fn f<B: Backend>(
/// #     device: B::Device, batches: Vec<[Tensor<B>; 2]>,
/// #     train: impl Fn(&Tensor<B>, &Tensor<B>) -> Tensor<B>,
/// # ) {
/// let mut step = Step::<B, _>::new(&device);
/// for [x, y] in &batches {
///     let loss = step.run([x, y], |[x, y]| train(x, y));
///     println!("{}", loss.item());
/// }
/// # }
/// ```
pub struct Step<B: Backend, T> {
    device: B::Device,
    known: Vec<Known<B, T>>,
}

/// A kind of input that has been seen.
struct Known<B: Backend, T> {
    kind: Vec<(Shape, DType)>,
    captured: Option<(Vec<Tensor<B>>, Graph<T>)>,
}

impl<B: Backend, T: Clone> Step<B, T> {
    /// A step on `device` that has not run yet.
    pub fn new(device: &B::Device) -> Self {
        Step { device: device.clone(), known: Vec::new() }
    }

    /// One step: what `step` makes of the inputs. It gets them, or copies of them, and asks for nothing else
    /// that changes from run to run. What it returns has other values after the next run: read it before, or
    /// copy what is to stay.
    ///
    /// # Panics
    /// If an input requires a gradient, or as [`capture`] and [`Graph::replay`] do.
    #[track_caller]
    pub fn run<const N: usize>(
        &mut self,
        inputs: [&Tensor<B>; N],
        step: impl FnOnce([&Tensor<B>; N]) -> T,
    ) -> T {
        if inputs.iter().any(|x| x.requires_grad()) {
            let why = "an input requires a gradient; a step's inputs are data".into();
            raise(Error::Argument { op: "Step::run", why });
        }
        if !B::has_graphs(&self.device) || is_capturing() {
            return step(inputs);
        }
        let kind = inputs.map(|x| (x.shape().clone(), x.dtype()));
        let Some(known) = self.known.iter_mut().find(|known| known.kind == kind) else {
            if self.known.len() < MOST {
                self.known.push(Known { kind: kind.into(), captured: None });
            }
            return step(inputs);
        };
        if let Some((own, graph)) = &known.captured {
            own.iter().zip(inputs).for_each(|(own, x)| drop(own.copy_(x)));
            graph.replay();
            return graph.output().clone();
        }
        let copies = inputs.map(|x| x.to(&self.device).detach().copy());
        let graph = capture::<B, T>(&self.device, || step(copies.each_ref()));
        let graph = graph.unwrap_or_else(|error| raise(error));
        let output = graph.output().clone();
        known.captured = Some((copies.into(), graph));
        output
    }
}

impl<B: Backend, T> fmt::Debug for Step<B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let captured = self.known.iter().filter(|known| known.captured.is_some()).count();
        let mut out = f.debug_struct("Step");
        out.field("device", &self.device).field("captured", &captured).finish_non_exhaustive()
    }
}
