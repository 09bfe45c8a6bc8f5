//! Where tensors live, chosen at run time: by name, by index, or the best that is there.

use std::fmt;
use std::str::FromStr;

use kiln_backend_cpu::CpuDevice;
use kiln_tensor_core::{Backend, Error};

use crate::Any;
use crate::variants::{self, Device, Found, KEYS, NEEDS, on};

impl Device {
    /// The fastest device that is here: a GPU or another accelerator where a backend of this build finds
    /// one, else the host. An OpenCL driver that computes on the host's processor is never the best.
    ///
    /// ```
    /// use kiln::Device;
    /// println!("training on {}", Device::best());
    /// ```
    pub fn best() -> Device {
        let apart = |key: &&str| variants::here(key)?.into_iter().find(|found| found.apart);
        KEYS.iter().rev().find_map(apart).map_or_else(Device::cpu, |found| found.device)
    }

    /// The host's processor and memory.
    pub fn cpu() -> Device {
        Device::Cpu(CpuDevice)
    }

    /// The OpenCL device of this index among those of all drivers; [`available`](Device::available) lists
    /// them. With the feature `opencl`. Whether it is there shows when it is used.
    #[cfg(feature = "opencl")]
    pub fn opencl(index: usize) -> Device {
        Device::OpenCl(kiln_backend_opencl::OpenClDevice(index))
    }

    /// The NVIDIA device of this number, as the driver counts. With the feature `cuda`. Whether it is there shows
    /// when it is used.
    #[cfg(feature = "cuda")]
    pub fn cuda(index: usize) -> Device {
        Device::Cuda(kiln_backend_cuda::CudaDevice(index))
    }

    /// The devices of this machine that the backends of this build can use.
    ///
    /// ```
    /// use kiln::Device;
    /// for device in Device::available() {
    ///     println!("{device}: {}", device.name().unwrap_or_default());
    /// }
    /// assert!(Device::available().contains(&Device::cpu()));
    /// ```
    pub fn available() -> Vec<Device> {
        let all = KEYS.iter().filter_map(|key| variants::here(key)).flatten();
        all.map(|found| found.device).collect()
    }

    /// Whether it is here and can be used.
    pub fn is_available(&self) -> bool {
        self.found().is_some()
    }

    /// What its maker calls it; nothing if it is not here.
    pub fn name(&self) -> Option<String> {
        self.found().map(|found| found.name)
    }

    /// Waits until the device has done all that it was asked to. Reading a value waits by itself.
    ///
    /// # Panics
    /// If something went wrong in that work; see [`kiln::catch`](crate::catch).
    #[track_caller]
    pub fn synchronize(&self) {
        Any::sync(self);
    }

    /// Bytes of the device's memory that tensors use.
    ///
    /// ```
    /// use kiln::prelude::*;
    /// let device = Device::best();
    /// let x = Tensor::zeros([1000, 1000], &device);
    /// assert!(device.memory_allocated() >= 4_000_000);
    /// drop(x);
    /// assert!(device.memory_peak() >= 4_000_000);
    /// ```
    pub fn memory_allocated(&self) -> usize {
        Any::memory(self).allocated
    }

    /// Bytes that were taken from the device: those that tensors use, and those that are kept for the next.
    pub fn memory_reserved(&self) -> usize {
        Any::memory(self).reserved
    }

    /// The most bytes that tensors used at one time, since the program began or since
    /// [`reset_peak_memory`](Device::reset_peak_memory).
    pub fn memory_peak(&self) -> usize {
        Any::memory(self).peak
    }

    /// Begins to watch for the most memory anew.
    pub fn reset_peak_memory(&self) {
        Any::reset_peak_memory(self);
    }

    /// Gives memory that no tensor uses back to the device, for other programs.
    pub fn empty_cache(&self) {
        Any::empty_cache(self);
    }

    /// Whether training steps can be captured there and replayed; see [`graph`](crate::graph).
    pub fn has_graphs(&self) -> bool {
        Any::has_graphs(self)
    }

    fn found(&self) -> Option<Found> {
        let text = self.to_string();
        let key = text.split(':').next().unwrap_or_default();
        variants::here(key)?.into_iter().find(|found| found.device == *self)
    }
}

impl Default for Device {
    /// The best device.
    fn default() -> Self {
        Device::best()
    }
}

impl fmt::Display for Device {
    /// `cpu`, `opencl:0`, …: what [`from_str`](Device::from_str) reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        on!(self, _K, device => device.fmt(f))
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `cpu`, `opencl` (the first of them) or `opencl:1`, if the device is here.
    ///
    /// ```
    /// use kiln::Device;
    /// assert_eq!("cpu".parse::<Device>()?, Device::cpu());
    /// let error = "cpu:7".parse::<Device>().unwrap_err();
    /// assert_eq!(error.to_string(), "cpu:7 cannot be used: it is not here; there is: cpu");
    /// # Ok::<(), kiln::Error>(())
    /// ```
    ///
    /// # Errors
    /// With [`Error::NoDevice`] if nothing is called so, if the feature that would give it is off, or if
    /// this machine has no such device.
    fn from_str(text: &str) -> Result<Self, Error> {
        let key = text.split(':').next().unwrap_or_default();
        let why = match variants::here(key) {
            Some(found) => {
                let first = format!("{key}:0");
                let called = |found: &&Found| {
                    let name = found.device.to_string();
                    name == text || (text == key && name == first)
                };
                if let Some(found) = found.iter().find(called) {
                    return Ok(found.device.clone());
                }
                absent(key, &found)
            }
            None if needs(key).is_some() => {
                format!("this program was built without the feature `{key}` of the crate kiln")
            }
            None => {
                let known: Vec<&str> = NEEDS.iter().map(|(key, _)| *key).collect();
                format!("nothing is called so; there are the backends {}", known.join(", "))
            }
        };
        Err(Error::NoDevice { device: text.to_owned(), why })
    }
}

/// What there is to install for a backend.
fn needs(key: &str) -> Option<&'static str> {
    NEEDS.iter().find(|(known, _)| *known == key).map(|(_, needs)| *needs)
}

/// Why none of the devices of a backend that were found is the one.
fn absent(key: &str, found: &[Found]) -> String {
    if found.is_empty() {
        return format!("none is found here; it takes {}", needs(key).unwrap_or_default());
    }
    let names: Vec<String> = found.iter().map(|found| found.device.to_string()).collect();
    format!("it is not here; there is: {}", names.join(", "))
}

impl kiln_tensor_core::Device for Device {}
