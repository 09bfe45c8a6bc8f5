//! Deep learning in Rust whose backend is a crate that you pick.
//!
//! # From an empty folder to a trained network
//!
//! ```text
//! cargo new digits && cd digits
//! cargo add kiln --git https://github.com/kiln-rs/kiln
//! ```
//!
//! Put this into `src/main.rs` and call `cargo run --release`:
//!
//! ```
//! use kiln::data::{digits, metrics::accuracy};
//! use kiln::prelude::*;
//!
//! #[derive(Module)]
//! struct Net { conv: Conv2d, hidden: Linear, out: Linear }
//!
//! impl Forward for Net {
//!     fn forward(&self, x: &Tensor) -> Tensor {
//!         let x = self.conv.call(x).relu().flatten(1, -1);
//!         self.out.call(&self.hidden.call(&x).relu())
//!     }
//! }
//!
//! fn main() -> kiln::Result<()> {
//!     manual_seed(0);
//!     let device = Device::best();
//!     let (x, y) = digits().tensors(&device); // [1797, 1, 8, 8] and [1797]
//!     let train = TensorDataset::new((x.narrow(0, 0, 1500), y.narrow(0, 0, 1500)));
//!     let loader = DataLoader::new(train).batch_size(64).shuffle(0);
//!     let net = Net {
//!         conv: Conv2d::new(1, 8, 3, &device),
//!         hidden: Linear::new(8 * 6 * 6, 64, &device),
//!         out: Linear::new(64, 10, &device),
//!     };
//!     let mut adam = Adam::new(net.parameters()).lr(3e-3);
//!     for epoch in 1..=10 {
//!         for (x, y) in loader.epoch() {
//!             let loss = cross_entropy(&net.call(&x), &y);
//!             adam.zero_grad();
//!             loss.backward();
//!             adam.step();
//!         }
//!         let scores = no_grad(|| net.call(&x.narrow(0, 1500, 297)));
//!         println!("epoch {epoch}: accuracy {:.3}", accuracy(&scores, &y.narrow(0, 1500, 297)));
//!     }
//! #   let scores = no_grad(|| net.call(&x.narrow(0, 1500, 297)));
//! #   assert!(accuracy(&scores, &y.narrow(0, 1500, 297)) > 0.9);
//! #   let folder = std::env::temp_dir().join("kiln-first-steps");
//! #   std::fs::create_dir_all(&folder).unwrap();
//! #   std::env::set_current_dir(&folder).unwrap();
//!     net.save("digits.safetensors")
//! }
//! ```
//!
//! # Where things are
//!
//! | you look for | it is in |
//! |---|---|
//! | the names that every program uses | [`prelude`] |
//! | tensors and their operations, generic over a backend | [`tensor`] |
//! | `backward`, `grad`, `no_grad`, hooks, custom functions, gradient checks | [`autograd`] |
//! | modules, layers, losses, initialisation | [`nn`] |
//! | optimizers, learning-rate schedulers, gradient clipping | [`optim`] |
//! | datasets, loaders, transforms, readers, metrics, plots | [`data`] |
//! | checkpoints, PyTorch's `.pt`, NumPy's `.npy` and `.npz` | [`files`] |
//! | threads and memory of the host | [`cpu`] |
//! | the devices of this machine, by name | [`Device`] |
//! | training steps that are captured once and replayed | [`graph`] |
//! | solving, inverses, factors and norms of matrices | [`linalg`] |
//!
//! # What runs where is a type
//!
//! The prelude's [`prelude::Tensor`] is `Tensor<Autograd<Any>>`: recorded, on a device chosen at run
//! time. `Tensor<Cpu>` is on the host and carries no tracking at all; `Tensor<Autograd<Cpu>>` records.
//! Code that is generic over [`tensor::Backend`] runs on all of them:
//!
//! ```
//! use kiln::autograd::Autograd;
//! use kiln::cpu::{Cpu, CpuDevice};
//! use kiln::tensor::{Backend, Tensor};
//!
//! fn energy<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
//!     (x * x).sum() * 0.5
//! }
//!
//! let plain = Tensor::<Cpu>::from_slice(&[3.0, 4.0], [2], &CpuDevice);
//! assert_eq!(energy(&plain).item(), 12.5);
//!
//! use kiln::prelude::Backward;
//! let x = Tensor::<Autograd<Cpu>>::from_slice(&[3.0, 4.0], [2], &CpuDevice).requires_grad_(true);
//! energy(&x).backward();
//! assert_eq!(x.grad().unwrap().to_vec::<f64>(), [3.0, 4.0]);
//! ```
//!
//! # Another device is a feature
//!
//! With the feature `opencl` or `cuda`, [`Device::best`] finds a GPU where there is one, and
//! `"opencl:0".parse::<Device>()` names one; no other line changes. The program builds without the driver's
//! libraries and starts on machines that have none: there it computes on the host. Tensors, modules and gradients
//! move with `.to(&device)`, an optimizer's state follows its parameters, and weights load wherever the model is.
//!
//! ```
//! use kiln::prelude::*;
//! for device in Device::available() {
//!     println!("{device}: {}", device.name().unwrap_or_default());
//! }
//! let device: Device = "cpu".parse()?;
//! let model = Linear::new(3, 2, &Device::cpu());
//! model.to(&device);
//! let x = Tensor::ones([1, 3], &Device::cpu()).to(&device);
//! assert_eq!(model.call(&x).device(), &device);
//! # Ok::<(), kiln::Error>(())
//! ```
//!
//! On NVIDIA's devices, products and convolutions are done by NVIDIA's libraries where they are found, and
//! [`set_float32_matmul_precision`] lets them give up bits of `f32` for speed, as PyTorch's function of that name does.
//!
//! # A fused kernel is a closure
//!
//! ```
//! use kiln::prelude::*;
//! let device = Device::best();
//! let gate = Fused::new("gate", |[x, g]| x * g.sigmoid());
//! let x = Tensor::from_slice(&[1.0, -2.0], [2], &device).requires_grad_(true);
//! let g = Tensor::from_slice(&[0.0, 0.0], [2], &device);
//! let y = gate.call([&x, &g]); // one pass over memory, differentiable
//! y.sum().backward();
//! assert_eq!(x.grad().unwrap().to_vec::<f64>(), [0.5, 0.5]);
//! ```
//!
//! # Features
//!
//! | feature | gives |
//! |---|---|
//! | `cpu` | the backend on the host; on by default |
//! | `opencl` | devices of OpenCL drivers, 1.2 and later |
//! | `cuda` | NVIDIA's devices |
//! | `blas` | products of matrices by the system's OpenBLAS |
//! | `ndarray` | `Tensor::from_ndarray` and `to_ndarray` |
//! | `plot` | curves, confusion matrices and image grids as PNG and SVG |
//!
//! # When something is wrong
//!
//! A mistake in a program — shapes, dtypes, devices — panics at the line that made it, with a message
//! that names the operation and its operands. [`catch`] turns it into a typed [`Error`], for servers.
//! What the world does wrong — files, memory — is a [`Result`].
#![forbid(unsafe_code)]

mod any;
mod device;
pub mod graph;
pub mod prelude;
mod variants;

pub use any::Any;
pub use kiln_tensor_core::{
    Error, MatmulPrecision, Result, are_deterministic_algorithms_enabled, catch,
    float32_matmul_precision, manual_seed, rng_states, set_float32_matmul_precision,
    set_rng_states, use_deterministic_algorithms,
};
pub use variants::{AnyTensor, Device};

pub use kiln_autograd as autograd;
pub use kiln_backend_cpu as cpu;
#[cfg(feature = "cuda")]
pub use kiln_backend_cuda as cuda;
#[cfg(feature = "opencl")]
pub use kiln_backend_opencl as opencl;
pub use kiln_data as data;
pub use kiln_files as files;
pub use kiln_nn as nn;
pub use kiln_optim as optim;
pub use kiln_tensor_core as tensor;
pub use kiln_tensor_core::linalg;

/// The backend of the prelude's types: recorded, on a device chosen at run time.
pub type DefaultBackend = autograd::Autograd<Any>;

// Twice, because rustdoc finds no tests where one condition names both.
#[cfg(doctest)]
pub mod guide;
#[cfg(all(kiln_guide, not(doctest)))]
pub mod guide;
