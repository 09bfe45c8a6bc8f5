//! Modules as PyTorch has them: parameters, layers, losses, initialisation, hooks, state dicts.
//!
//! A module is a struct with `#[derive(Module)]`; what it computes is its [`Forward`]. Everything that
//! one asks of a module — its parameters, its state dict, moving it to a device — is in [`ModuleExt`],
//! written once over the visitor that the derive generates. Formulas are tensor ops; there is no
//! kernel here, and no concrete backend.
#![forbid(unsafe_code)]

extern crate self as kiln_nn;

mod backward_hook;
mod checkpoint;
mod containers;
mod field;
mod flat;
pub mod functional;
mod hooks;
pub mod init;
mod layers;
mod losses;
mod module;
mod module_ext;
mod param;
mod parametrize;
mod print;
mod python;
mod state_dict;
mod summary;
mod update_bn;

pub use checkpoint::{Checkpointed, checkpoint_sequential};
pub use containers::*;
pub use field::{Field, HasBackend};
pub use flat::{parameters_to_vector, vector_to_parameters};
pub use hooks::{HookHandle, HookResult, Hooks};
pub use kiln_files::StateDict;
pub use kiln_nn_derive::Module;
pub use layers::*;
pub use losses::*;
pub use module::{Forward, Module, Visitor};
pub use module_ext::ModuleExt;
pub use param::{Buffer, Param};
pub use parametrize::{
    Parametrization, Parametrized, SpectralNorm, WeightNorm, spectral_norm, weight_norm,
};
pub use state_dict::IncompatibleKeys;
pub use summary::{Summary, SummaryRow, summary, summary_of};
pub use update_bn::update_bn;

/// For the derive.
#[doc(hidden)]
pub use kiln_tensor_core::Shape;
