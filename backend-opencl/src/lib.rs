//! Kiln's backend on OpenCL devices (1.2 and later): the driver under `kiln-backend-gpu`.
//!
//! The loader is opened at run time, so a program that has this backend starts on machines without OpenCL and
//! finds no devices there. Products of `f32` are of the highest precision, whatever
//! `set_float32_matmul_precision` permits.

mod devices;
mod pocl;
mod runtime;

use std::fmt;

pub use devices::{DeviceInfo, devices, is_available};
pub use kiln_backend_gpu::{DeviceKind, compilations};
pub use runtime::Driver;

/// The backend.
pub type OpenCl = kiln_backend_gpu::Gpu<Driver>;

/// An OpenCL device, by its place among all devices of all platforms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct OpenClDevice(pub usize);

impl OpenClDevice {
    /// The first device of a kind.
    ///
    /// ```
    /// use kiln_backend_opencl::{DeviceKind, OpenClDevice};
    /// let device = OpenClDevice::of_kind(DeviceKind::Gpu).unwrap_or_default();
    /// ```
    pub fn of_kind(kind: DeviceKind) -> Option<Self> {
        devices().find(|info| info.kind == kind).map(|info| info.device)
    }

    /// The first device whose own or platform's name contains this, in small or capital letters.
    pub fn named(part: &str) -> Option<Self> {
        let part = part.to_lowercase();
        let has = |name: &str| name.to_lowercase().contains(&part);
        devices().find(|info| has(&info.name) || has(&info.platform)).map(|info| info.device)
    }
}

impl fmt::Display for OpenClDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opencl:{}", self.0)
    }
}

impl kiln_tensor_core::Device for OpenClDevice {}
