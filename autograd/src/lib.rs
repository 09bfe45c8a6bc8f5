//! Differentiation as a backend: [`Autograd<B>`] runs the primitives of `B` and records them.
//!
//! Every program that is generic over a backend becomes differentiable by naming another type, and on
//! the plain backend it carries no tracking at all. Each primitive has one rule ([`Rule::vjp`]),
//! written in ordinary tensor ops over any backend: `backward` runs it on `B`, and with `create_graph`
//! the same rule runs on `Autograd<B>`, which gives derivatives of any order.
#![forbid(unsafe_code)]

mod anomaly;
mod api;
mod backend;
mod checkpoint;
mod composed;
mod engine;
mod function;
pub mod functional;
mod gradcheck;
mod hooks;
mod in_place;
mod meta;
mod mode;
mod node;
mod picture;
mod records;
mod rules;

pub use anomaly::{AnomalyMode, detect_anomaly, is_anomaly_enabled, set_detect_anomaly};
pub use api::{Backward, BackwardOptions, GradOptions, grad};
pub use backend::Autograd;
pub use checkpoint::checkpoint;
pub use function::{Function, apply};
pub use gradcheck::{GradMismatch, Tolerance, gradcheck, gradcheck_with, gradgradcheck};
pub use hooks::HookHandle;
pub use meta::Tracked;
pub use mode::{GradMode, enable_grad, is_grad_enabled, no_grad, set_grad_enabled};
pub use picture::{GradFn, dot, svg};
pub use rules::{Context, Gradients, Rule};
