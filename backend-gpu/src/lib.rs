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
//! | `faults.rs` | indices that kernels find out of range |
//! | `kernels.rs`, `disk.rs` | compiling once: in memory, on disk |
//! | `launch.rs` | passing arguments, launching |
//! | `place.rs` | layouts as kernels get them |
//! | `ops/` | one file per kind of primitive: its kernel and how it is launched |

#![forbid(unsafe_code)]

mod backend;
mod disk;
mod faults;
mod kernels;
mod launch;
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
pub use opened::Opened;
pub use runtime::{Arg, DeviceKind, Dialect, Launch, Runtime, Traits};
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
