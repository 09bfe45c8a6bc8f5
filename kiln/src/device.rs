//! Where tensors live, chosen at run time.

use std::fmt;

use kiln_backend_cpu::CpuDevice;

/// A device of one of the backends that this build has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Device {
    /// The host's processor and memory.
    Cpu(CpuDevice),
}

impl Device {
    /// The fastest device that is here.
    ///
    /// ```
    /// use kiln::Device;
    /// println!("training on {}", Device::best());
    /// ```
    pub fn best() -> Device {
        Device::cpu()
    }

    /// The host's processor and memory.
    pub fn cpu() -> Device {
        Device::Cpu(CpuDevice)
    }
}

impl Default for Device {
    /// The best device.
    fn default() -> Self {
        Device::best()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu(device) => device.fmt(f),
        }
    }
}

impl kiln_tensor_core::Device for Device {}
