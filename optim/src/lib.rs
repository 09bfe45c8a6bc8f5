//! Optimizers, learning-rate schedulers and gradient clipping, with PyTorch's names, defaults and
//! numerics.
//!
//! An optimizer is an [`Algorithm`]: a table of options and one update written over scalars, which
//! [`Optimizer`] runs as one fused pass over all parameters. A new one is a file like `adagrad.rs`.
#![forbid(unsafe_code)]

mod adagrad;
mod adam;
pub mod algorithm;
mod clip;
pub mod lr_scheduler;
mod optimizer;
mod options;
mod param;
mod rmsprop;
mod sgd;
mod state;

pub use adagrad::{Adagrad, AdagradOptions};
pub use adam::{Adam, AdamOptions, AdamW};
pub use algorithm::Algorithm;
pub use clip::{
    clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm, try_clip_grad_norm_,
};
pub use optimizer::Optimizer;
pub use options::OptionsMut;
pub use param::{Handle, Member, ParamGroup, Parameter};
pub use rmsprop::{RMSprop, RMSpropOptions};
pub use sgd::{SGD, SGDOptions};
