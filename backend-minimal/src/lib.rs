//! The smallest backend that passes the suite: the required tier of `Backend` and no more, one thread, no
//! `unsafe`. Read it before you write a backend; CONTRIBUTING.md goes through it step by step.
//!
//! Two ideas carry it. Elements are bytes of ten dtypes in memory, but *numbers* of two types (`f64`, `i64`)
//! while they are computed with: `storage` loads and stores them. And strides and shapes become lists of
//! *positions* before a kernel begins (`places`), so that a kernel is a loop over lists.
#![forbid(unsafe_code)]

mod along;
mod backend;
mod index;
mod places;
mod storage;
mod windows;

pub use storage::Storage;

/// A backend on the host that computes one element after the other.
#[derive(Clone, Copy, Debug)]
pub struct Minimal;

/// The only device of [`Minimal`]: the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Host;

impl kiln_tensor_core::Device for Host {}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("minimal")
    }
}

type Tensor = kiln_tensor_core::Tensor<Minimal>;
