//! Training steps that are captured once and replayed: the device is asked for the same work again, and the
//! host has next to nothing to do. [`Device::has_graphs`](crate::Device::has_graphs) tells where.
//!
//! [`Step`] is all that a training loop needs. It runs everywhere: on the host it calls the step each time.
//!
//! ```
//! use kiln::{graph, prelude::*};
//! manual_seed(0);
//! let device = Device::best();
//! let net = Sequential::new((
//!     Linear::new(4, 16, &device),
//!     ReLU::new(),
//!     Dropout::new(0.1),
//!     Linear::new(16, 2, &device),
//! ));
//! let mut adam = Adam::new(net.parameters()).lr(1e-2);
//! let mut step = graph::Step::new(&device);
//! for epoch in 0..3 {
//!     adam.set_lr(1e-2 / f64::from(1 + epoch));
//!     for _ in 0..4 {
//!         let (x, y) = (Tensor::randn([8, 4], &device), Tensor::randint(0, 2, [8], &device));
//!         let loss = step.run([&x, &y], |[x, y]| {
//!             let loss = cross_entropy(&net.call(x), y);
//!             adam.zero_grad();
//!             loss.backward();
//!             adam.step();
//!             loss.detach()
//!         });
//!         assert!(loss.item().is_finite());
//!     }
//! }
//! ```
//!
//! [`capture`] is the same by hand: inputs are tensors that stay, to be written with `copy_` before each replay.
//!
//! ```no_run
//! use kiln::{graph, prelude::*};
//! # fn f(net: Sequential, mut adam: Adam, device: Device, batches: Vec<(Tensor, Tensor)>) -> kiln::Result<()> {
//! let (x, y) = (Tensor::zeros([64, 784], &device), Tensor::zeros([64], (&device, DType::I64)));
//! let mut train = || {
//!     let loss = cross_entropy(&net.call(&x), &y);
//!     adam.zero_grad();
//!     loss.backward();
//!     adam.step();
//!     loss.detach()
//! };
//! train(); // makes what only the first step makes
//! let step = graph::capture(&device, train)?;
//! for (images, labels) in &batches {
//!     x.copy_(images);
//!     y.copy_(labels);
//!     step.replay();
//! }
//! println!("{}", step.output().item());
//! # Ok(())
//! # }
//! ```
//!
//! # What a replay repeats
//! | of the captured step | in a replay |
//! |---|---|
//! | work on the device, the tensors that it was done with | the same again: parameters, gradients and statistics are updated |
//! | tensors that the step made and returned | the same tensors, new values; their version counts the write |
//! | random numbers (dropout, `rand`, …) | drawn anew, as if the step was called; backward sees those of its forward |
//! | an optimizer's step | counted, with the options of now: change learning rates between replays |
//! | shapes, branches, loops, data and numbers of the host, work on other devices | as they were |
//! | reading a value (`item`, `to_vec`, `nonzero`, `sync`) | refused with [`Error::Capture`](crate::Error::Capture) |
//!
//! A graph has memory of its own, which [`MemoryStats`](crate::tensor::MemoryStats) counts as reserved; other
//! tensors never lie in it. It is given back when the graph and the tensors that the step made are gone.

use crate::{DefaultBackend, Device, Result};

pub use kiln_tensor_core::graph::{Graph, is_capturing};

/// A step of a training loop that runs everywhere, and is replayed on devices that have graphs; see
/// [`tensor::graph::Step`](crate::tensor::graph::Step).
pub type Step<T> = kiln_tensor_core::graph::Step<DefaultBackend, T>;

/// Runs `step` on this thread, and gives what replays the work that it asked of `device`; see
/// [`tensor::graph::capture`](crate::tensor::graph::capture).
///
/// # Errors
/// [`Error::Unsupported`](crate::Error::Unsupported) if the device has no graphs,
/// [`Error::Capture`](crate::Error::Capture) inside of another capture, and what the device reports.
///
/// # Panics
/// With [`Error::Capture`](crate::Error::Capture) where the step does what cannot be replayed.
pub fn capture<T>(device: &Device, step: impl FnOnce() -> T) -> Result<Graph<T>> {
    kiln_tensor_core::graph::capture::<DefaultBackend, T>(device, step)
}
