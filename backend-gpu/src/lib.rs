//! What Kiln's backends for GPUs share: everything but the driver.
//!
//! A driver crate implements [`Runtime`] (buffers, compiling, launching) for its API; [`Gpu<R>`] is then a
//! backend. Kernels are written once, in C with a few macros that each [`Dialect`] defines.
//!
//! | file | what |
//! |---|---|
//! | `runtime.rs` | what a driver crate provides |
//! | `backend.rs` | `impl Backend for Gpu<R>`: chooses an op's file and calls it |
//! | `source/` | C: the prelude, and programs (`Expr`) translated to statements |
//! | `opened.rs` | what is kept of a device; every call to its driver |
//! | `memory/` | the caching allocator |
//! | `library.rs` | work that a driver's library may do instead of a kernel |
//! | `faults.rs` | indices that kernels find out of range |
//! | `graph/` | captured steps: recording, replaying |
//! | `kernels.rs`, `disk.rs` | compiling once: in memory, on disk |
//! | `launch.rs` | passing arguments, launching |
//! | `place.rs` | layouts as kernels get them |
//! | `ops/` | one file per kind of primitive: its kernel and how it is launched |
//!
//! # What differs from the CPU
//! - Nothing waits for the device until a value is read (`to_vec`, `item`, `nonzero`, …) or `Backend::sync` is
//!   called. An index that is out of range is found by the kernel, so [`Error::Index`] comes from the next
//!   read or sync of the thread that called, with the place of the call in it. What was computed on the
//!   device since that call is not to be trusted then. A kernel that fails, and a device that is lost, come
//!   up at the next call, with the kernel's name.
//! - Memory that tensors give back is kept for others: `Backend::memory` tells how much, and
//!   `Backend::empty_cache` gives it to the driver. [`Error::OutOfMemory`] comes after that was tried.
//! - A kernel is compiled at its first use, and found on disk by later processes: in `KILN_CACHE_DIR`, or
//!   `kiln/kernels` of the user's cache folder, 256 MiB at most. `KILN_CACHE=0` turns that off.
//!   [`compilations`] counts.
//!
//! [`Error::Index`]: kiln_tensor_core::Error::Index
//! [`Error::OutOfMemory`]: kiln_tensor_core::Error::OutOfMemory

#![forbid(unsafe_code)]

mod backend;
mod disk;
mod faults;
mod graph;
mod kernels;
mod launch;
pub mod library;
mod memory;
mod opened;
mod ops;
mod place;
pub mod runtime;
mod source;
mod storage;

use std::fmt;
use std::marker::PhantomData;

pub use kernels::compilations;
pub use opened::{Opened, Scratch};
pub use runtime::{Arg, DeviceKind, Dialect, Launch, Prepared, Runtime, Traits, Work};
pub use storage::Storage;

/// The backend on the devices of a driver.
pub struct Gpu<R>(PhantomData<R>);

impl<R> Clone for Gpu<R> {
    fn clone(&self) -> Self {
        Gpu(PhantomData)
    }
}

impl<R> fmt::Debug for Gpu<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gpu")
    }
}
