//! The devices of this machine.

use std::sync::{LazyLock, OnceLock};

use kiln_backend_gpu::DeviceKind;
use kiln_tensor_core::{Error, Result};
use opencl3::device::{CL_DEVICE_TYPE_ALL, CL_DEVICE_TYPE_CPU, CL_DEVICE_TYPE_GPU, Device};
use opencl3::platform::{Platform, get_platforms};

use crate::OpenClDevice;
use crate::runtime::Open;

/// What a device is, told without opening it.
#[derive(Clone, Debug)]
pub struct DeviceInfo {
    /// The device.
    pub device: OpenClDevice,
    /// Its name, as its driver tells it.
    pub name: String,
    /// The platform that it belongs to: the driver.
    pub platform: String,
    /// What it is.
    pub kind: DeviceKind,
}

struct Found {
    device: Device,
    info: DeviceInfo,
    open: OnceLock<Result<Open, String>>,
}

/// Of all platforms, in the order that the loader lists them in. Without a loader there are none.
static FOUND: LazyLock<Vec<Found>> = LazyLock::new(|| {
    let mut found = Vec::new();
    for platform in get_platforms().unwrap_or_default() {
        for id in platform.get_devices(CL_DEVICE_TYPE_ALL).unwrap_or_default() {
            let device = Device::new(id);
            let info = info(&device, &platform, OpenClDevice(found.len()));
            found.push(Found { device, info, open: OnceLock::new() });
        }
    }
    found
});

fn info(found: &Device, platform: &Platform, device: OpenClDevice) -> DeviceInfo {
    let kind = match found.dev_type() {
        Ok(bits) if bits & CL_DEVICE_TYPE_GPU != 0 => DeviceKind::Gpu,
        Ok(bits) if bits & CL_DEVICE_TYPE_CPU != 0 => DeviceKind::Cpu,
        _ => DeviceKind::Other,
    };
    let unnamed = |_| String::from("unnamed");
    let name = found.name().unwrap_or_else(unnamed);
    DeviceInfo { device, name, platform: platform.name().unwrap_or_else(unnamed), kind }
}

/// The devices of this machine.
pub fn devices() -> impl Iterator<Item = &'static DeviceInfo> {
    FOUND.iter().map(|found| &found.info)
}

/// Whether there is a device.
pub fn is_available() -> bool {
    !FOUND.is_empty()
}

/// A device, opened by the first call.
pub(crate) fn open(device: &OpenClDevice) -> Result<&'static Open> {
    let no = |why| Error::NoDevice { device: device.to_string(), why };
    let Some(found) = FOUND.get(device.0) else {
        return Err(no(match FOUND.len() {
            0 => "no OpenCL driver is found on this machine".into(),
            count => format!("there are {count} OpenCL devices on this machine, from 0 on"),
        }));
    };
    let open = found
        .open
        .get_or_init(|| Open::new(&found.device, &found.info).map_err(|error| error.to_string()));
    open.as_ref().map_err(|why| no(format!("{} cannot be opened: {why}", found.info.name)))
}
