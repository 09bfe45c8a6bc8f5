//! Kiln's backend on the host: kernels with SIMD and threads, and a caching allocator.
//!
//! [`Cpu`] implements `kiln_tensor_core::Backend` in `backend.rs`: each method chooses a kernel of
//! `kernels/` and calls it. Results do not depend on the number of threads, bit for bit. Products of `f32` are of
//! the highest precision, whatever `set_float32_matmul_precision` permits.

mod backend;
mod kernels;
mod storage;
pub mod threads;

use std::fmt;

pub use storage::{Storage, empty_cache};
pub use threads::{num_threads, set_num_threads};

/// The host as a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cpu;

/// The host as a device; there is one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CpuDevice;

impl Cpu {
    /// The device.
    pub const fn device() -> CpuDevice {
        CpuDevice
    }
}

impl fmt::Display for CpuDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cpu")
    }
}

impl kiln_tensor_core::Device for CpuDevice {}
