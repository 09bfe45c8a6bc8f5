//! The devices of this machine.

use std::sync::{LazyLock, OnceLock};

use kiln_tensor_core::{Error, Result};

use crate::CudaDevice;
use crate::runtime::Open;

struct Found {
    name: String,
    open: OnceLock<Result<Open, String>>,
}

/// In the driver's order, or why there are none.
static FOUND: LazyLock<Result<Vec<Found>, String>> = LazyLock::new(|| {
    let names = Open::names()?;
    Ok(names.into_iter().map(|name| Found { name, open: OnceLock::new() }).collect())
});

fn found() -> &'static [Found] {
    FOUND.as_deref().unwrap_or_default()
}

/// The devices of this machine and their names.
pub fn devices() -> Vec<(CudaDevice, &'static str)> {
    found().iter().enumerate().map(|(i, found)| (CudaDevice(i), &found.name[..])).collect()
}

/// Whether there is a device.
pub fn is_available() -> bool {
    !found().is_empty()
}

/// A device, opened by the first call.
pub(crate) fn open(device: &CudaDevice) -> Result<&'static Open> {
    let no = |why| Error::NoDevice { device: device.to_string(), why };
    let all = FOUND.as_ref().map_err(|why| no(why.clone()))?;
    let Some(found) = all.get(device.0) else {
        return Err(no(format!("there are {} CUDA devices on this machine", all.len())));
    };
    let open = found.open.get_or_init(|| Open::new(device.0, &found.name));
    open.as_ref().map_err(|why| no(format!("{} cannot be opened: {why}", found.name)))
}
