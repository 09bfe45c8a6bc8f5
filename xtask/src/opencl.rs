//! OpenCL on this machine: the loader, the drivers, and their devices.

use std::path::{Path, PathBuf};

use opencl3::device::{CL_DEVICE_TYPE_ALL, Device};
use opencl3::platform::get_platforms;

use crate::system;

/// The platform's name of PoCL, which computes on the host.
pub const POCL: &str = "Portable Computing Language";

/// The loader's library.
pub fn loader() -> Option<PathBuf> {
    system::library("libOpenCL.so")
}

/// The drivers that the loader is told of: the names of their `.icd` files.
pub fn drivers() -> Vec<String> {
    let folder = std::env::var_os("OCL_ICD_VENDORS");
    let folder = folder.map_or_else(|| "/etc/OpenCL/vendors".into(), PathBuf::from);
    let mut names: Vec<String> = listed(&folder).unwrap_or_default();
    names.sort();
    names
}

fn listed(folder: &Path) -> Option<Vec<String>> {
    let files =
        std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.file_name());
    Some(
        files
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".icd"))
            .collect(),
    )
}

/// Name and driver of each device, in the order in which `opencl:0`, `opencl:1`, … are counted. The first
/// call in a process decides whether there is a loader.
pub fn devices() -> Vec<String> {
    let platforms = get_platforms().unwrap_or_default();
    let devices = platforms.iter().flat_map(|platform| {
        let name = platform.name().unwrap_or_default();
        let devices = platform.get_devices(CL_DEVICE_TYPE_ALL).unwrap_or_default();
        devices.into_iter().map(move |id| {
            let device = Device::new(id).name().unwrap_or_else(|_| "unnamed".into());
            format!("{device} ({name})")
        })
    });
    devices.collect()
}

/// Installs the loader and PoCL, a driver that computes on the host, where they are missing and we may.
///
/// # Errors
/// Why there is no device then.
pub fn ensure(install: impl Fn(&str) -> Result<(), String>) -> Result<Vec<String>, String> {
    if loader().is_none() {
        install("ocl-icd-libopencl1")?;
    }
    if drivers().is_empty() {
        install("pocl-opencl-icd")?;
    }
    match devices() {
        none if none.is_empty() => Err("the OpenCL drivers of this machine have no device".into()),
        found => Ok(found),
    }
}
