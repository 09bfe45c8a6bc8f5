//! Optimizers, learning-rate schedulers, gradient clipping and loss scaling, averaged models, with PyTorch's names, defaults and
//! numerics.
//!
//! An optimizer is an [`Algorithm`]: a table of options and one update. Written over scalars ([`Elementwise`]), which most
//! are, [`Optimizer`] runs it as one fused pass over all parameters; a new one is a file like `adagrad.rs`. Those that
//! look at a parameter as a whole are files like `muon.rs`. [`LBFGS`] searches along lines and is its own.
#![forbid(unsafe_code)]

mod adadelta;
mod adafactor;
mod adagrad;
mod adam;
mod adamax;
pub mod algorithm;
mod asgd;
mod averaged_model;
mod clip;
mod grad_scaler;
mod lbfgs;
mod lion;
pub mod lr_scheduler;
mod muon;
mod nadam;
mod optimizer;
mod options;
mod param;
mod radam;
mod rmsprop;
mod rprop;
mod sgd;
mod state;
mod step;

pub use adadelta::{Adadelta, AdadeltaOptions};
pub use adafactor::{Adafactor, AdafactorOptions};
pub use adagrad::{Adagrad, AdagradOptions};
pub use adam::{Adam, AdamOptions, AdamW};
pub use adamax::{Adamax, AdamaxOptions};
pub use algorithm::{Algorithm, Elementwise};
pub use asgd::{ASGD, ASGDOptions};
pub use averaged_model::AveragedModel;
pub use clip::{
    clip_grad_norm_, clip_grad_value_, clip_grads_with_norm_, get_total_norm, try_clip_grad_norm_,
};
pub use grad_scaler::GradScaler;
pub use lbfgs::{LBFGS, LineSearch};
pub use lion::{Lion, LionOptions};
pub use muon::{AdjustLr, Muon, MuonOptions, NsDtype};
pub use nadam::{NAdam, NAdamOptions};
pub use optimizer::Optimizer;
pub use options::OptionsMut;
pub use param::{Handle, Member, ParamGroup, Parameter};
pub use radam::{RAdam, RAdamOptions};
pub use rmsprop::{RMSprop, RMSpropOptions};
pub use rprop::{Rprop, RpropOptions};
pub use sgd::{SGD, SGDOptions};
pub use step::{Pass, Step};
