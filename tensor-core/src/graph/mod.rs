//! Steps that are captured once and replayed without the work of the host.
//!
//! [`capture`] runs a step on a device whose backend has graphs, which takes note of all that the step asks of
//! the device. [`Graph::replay`] asks for the same again: the same kernels on the same memory. [`Step`] does
//! both for a training loop, and on devices without graphs it calls the step each time.
//!
//! # What a replay repeats
//! - What the step asked of the device, on the tensors that it did it with: parameters, running statistics
//!   and optimizer state are updated, and the tensors that the step made get new values. Write new input into
//!   tensors that the step reads, with [`copy_`](Tensor::copy_), before each replay.
//! - What the host decides anew for each step: random numbers are drawn from the device's generator
//!   (backward sees those of its forward), an optimizer counts its step and takes its present options, so that
//!   learning rates can be changed between replays.
//!
//! All else that the host did happens once, when the step is captured: shapes, branches, loops, data read from
//! files and numbers computed in the program are as they were then, and so is work on other devices. A step
//! that reads a value (`item`, `to_vec`, `nonzero`, …) is refused with [`Error::Capture`]: return the tensor
//! and read it after the replay.
//!
//! Run a step a time or two before it is captured: what is made at the first step only (gradients that later
//! ones add to, optimizer state) is to be there.

mod live;
mod step;

use std::fmt;

use parking_lot::Mutex;

pub use live::{Live, Params, is_capturing};
pub use step::Step;

#[cfg(doc)]
use crate::Tensor;
use crate::{Backend, Error, Result, raise};

/// Runs `step` on this thread, and gives what replays the work that it asked of `device`.
///
/// ```no_run
/// # use kiln_tensor_core::{Backend, Result, Tensor, graph};
/// # fn f<B: Backend>(
/// #     x: Tensor<B>, batches: Vec<Tensor<B>>, train: impl Fn(&Tensor<B>) -> Tensor<B>,
/// # ) -> Result<()> {
/// train(&x);
/// let step = graph::capture::<B, _>(x.device(), || train(&x))?;
/// for batch in &batches {
///     x.copy_(batch);
///     step.replay();
///     println!("{}", step.output().item());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Unsupported`] if the backend has no graphs, [`Error::Capture`] inside of another capture, and what
/// the device reports when it prepares the graph.
///
/// # Panics
/// With [`Error::Capture`] where the step does what cannot be replayed.
pub fn capture<B: Backend, T>(device: &B::Device, step: impl FnOnce() -> T) -> Result<Graph<T>> {
    const OP: &str = "graph::capture";
    if !B::has_graphs(device) {
        let why = "it does at once what it is asked; `graph::Step` runs there too".into();
        return Err(Error::Unsupported { op: OP, backend: device.to_string(), why });
    }
    let why = || "this thread captures a step already".into();
    let capturing =
        live::Capturing::begin().ok_or_else(|| Error::Capture { op: OP, why: why() })?;
    let (mut step, mut output) = (Some(step), None);
    let recorded = B::capture(device, &mut || output = step.take().map(|step| step()))?;
    let output = output.expect("a backend runs the step");
    Ok(Graph { output, recorded, live: capturing.end(), turn: Mutex::new(()) })
}

/// What a backend has recorded of a step.
pub trait Replay: Send + Sync {
    /// Asks the device for the same work again; for each [`Live`] of the capture, in order, with these
    /// parameters. Tensors that are written count it as a write.
    fn replay(&self, live: &[Params]) -> Result<()>;
}

/// A captured step. It keeps the memory that the step used, and the tensors that the step read and wrote.
pub struct Graph<T> {
    output: T,
    recorded: Box<dyn Replay>,
    live: Vec<Live>,
    /// Replays from several threads come one after the other.
    turn: Mutex<()>,
}

impl<T> Graph<T> {
    /// Asks the device for the step's work again. Like other work, it is only queued.
    ///
    /// # Panics
    /// With [`Error::Capture`] inside of a capture, or if something that shapes the step was changed, such as
    /// an optimizer's flags; with the typed error of a device that fails.
    #[track_caller]
    pub fn replay(&self) {
        if is_capturing() {
            let why = "a graph cannot be part of another one".into();
            raise(Error::Capture { op: "Graph::replay", why });
        }
        let turn = self.turn.lock();
        let params = self.live.iter().map(Live::again).collect::<Result<Vec<_>>>();
        let replayed = params.and_then(|params| self.recorded.replay(&params));
        drop(turn);
        replayed.unwrap_or_else(|error| raise(error));
    }

    /// What the step returned. Its tensors have the values of the latest replay: copy what is to stay.
    pub fn output(&self) -> &T {
        &self.output
    }
}

impl<T: fmt::Debug> fmt::Debug for Graph<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Graph");
        out.field("output", &self.output).field("live", &self.live.len()).finish_non_exhaustive()
    }
}
