//! CUDA's driver functions, opened at run time.
//!
//! A program that calls them builds and links with neither toolkit nor driver, and starts on machines that
//! have none: each function looks for its symbol in the driver's library at its first call. Without a
//! driver it returns [`CUresult::NO_DEVICE`], and where the driver is too old to know it,
//! [`CUresult::NEWER_DRIVER_NEEDED`]. A dependent has nothing to install and nothing to set.
//!
//! The table has all functions of `cuda.h` 13.0 under their plain names; those with a later form
//! (`cuMemAlloc_v2`) mean that form, as the header's macros do. `cargo xtask cuda functions` generates it.
//! Handles are untyped pointers, enums are integers: a result that this crate has never heard of stays
//! what the driver returned.
//!
//! ```
//! let mut count = 0;
//! // SAFETY: cuInit takes no pointers, cuDeviceGetCount one to an int.
//! let found = unsafe { (kiln_cuda_shim::cuInit(0), kiln_cuda_shim::cuDeviceGetCount(&mut count)) };
//! assert!(found.0.is_success() || count == 0);
//! ```

mod functions;
mod runtime;
mod types;

pub use functions::*;
pub use runtime::{absence, is_present, reason};
pub use types::*;
