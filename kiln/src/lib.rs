//! Deep learning in Rust whose backend is a crate that you pick.
#![forbid(unsafe_code)]

mod any;
mod device;
pub mod prelude;

pub use any::{Any, AnyStorage};
pub use device::Device;
pub use kiln_tensor_core::{Error, Result, catch, manual_seed};

/// Differentiation: `backward`, `grad`, `no_grad`, hooks, custom functions, gradient checks.
pub use kiln_autograd as autograd;
/// The backend on the host: threads and memory.
pub use kiln_backend_cpu as cpu;
/// Datasets, loaders, transforms, readers, metrics, plots.
pub use kiln_data as data;
/// Modules, layers, losses, initialisation.
pub use kiln_nn as nn;
/// Optimizers, learning-rate schedulers, gradient clipping.
pub use kiln_optim as optim;
/// Tensors, generic over their backend.
pub use kiln_tensor_core as tensor;

/// The backend of the prelude's types: recorded, on a device chosen at run time.
pub type DefaultBackend = autograd::Autograd<Any>;
