//! Kiln's backend on OpenCL devices (1.2 and later): the driver under `kiln-backend-gpu`.
//!
//! The loader is opened at run time, so a program that has this backend starts on machines without OpenCL and
//! finds no devices there.

mod devices;
mod pocl;
mod runtime;

use std::fmt;

pub use devices::{devices, is_available, kind};
pub use kiln_backend_gpu::DeviceKind;
pub use runtime::Driver;

/// The backend.
pub type OpenCl = kiln_backend_gpu::Gpu<Driver>;

/// An OpenCL device, by its place among all devices of all platforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpenClDevice(pub usize);

impl fmt::Display for OpenClDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opencl:{}", self.0)
    }
}

impl kiln_tensor_core::Device for OpenClDevice {}
