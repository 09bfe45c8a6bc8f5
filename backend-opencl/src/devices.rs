//! The devices of this machine.

use std::sync::{LazyLock, OnceLock};

use kiln_backend_gpu::DeviceKind;
use kiln_tensor_core::{Error, Result};
use opencl3::device::{CL_DEVICE_TYPE_ALL, CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_GPU, Device};
use opencl3::platform::get_platforms;

use crate::OpenClDevice;
use crate::runtime::Open;

struct Found {
    device: Device,
    name: String,
    kind: DeviceKind,
    open: OnceLock<Result<Open, String>>,
}

/// Of all platforms, in the order that the loader lists them in.
static FOUND: LazyLock<Vec<Found>> = LazyLock::new(|| {
    let platforms = get_platforms().unwrap_or_default();
    platforms
        .iter()
        .flat_map(|platform| platform.get_devices(CL_DEVICE_TYPE_ALL).unwrap_or_default())
        .map(|id| {
            let device = Device::new(id);
            let name = device.name().unwrap_or_else(|_| "unnamed".into());
            let kind = match device.dev_type() {
                Ok(bits) if bits & CL_DEVICE_TYPE_GPU != 0 => DeviceKind::Gpu,
                Ok(bits) if bits & CL_DEVICE_TYPE_CPU != 0 => DeviceKind::Cpu,
                _ => DeviceKind::Other,
            };
            Found { device, name, kind, open: OnceLock::new() }
        })
        .collect()
});

/// The devices of this machine and their names.
pub fn devices() -> Vec<(OpenClDevice, &'static str)> {
    FOUND.iter().enumerate().map(|(i, found)| (OpenClDevice(i), &found.name[..])).collect()
}

/// What kind of device it is, without opening it; nothing if it is not there.
pub fn kind(device: OpenClDevice) -> Option<DeviceKind> {
    FOUND.get(device.0).map(|found| found.kind)
}

/// Whether there is a device.
pub fn is_available() -> bool {
    !FOUND.is_empty()
}

/// A device, opened by the first call.
pub(crate) fn open(device: &OpenClDevice) -> Result<&'static Open> {
    let no = |why| Error::NoDevice { device: device.to_string(), why };
    let Some(found) = FOUND.get(device.0) else {
        return Err(no(format!("there are {} OpenCL devices on this machine", FOUND.len())));
    };
    let open = found.open.get_or_init(|| {
        Open::new(&found.device, &found.name, found.kind).map_err(|error| error.to_string())
    });
    open.as_ref().map_err(|why| no(format!("{} cannot be opened: {why}", found.name)))
}
