//! PoCL reads 900 kB of declarations for every program: 130 of the 220 ms that a small kernel takes with
//! PoCL 3.1. Kernels here use 40 functions, so they bring those declarations and leave PoCL's out.

use std::path::Path;

use opencl3::device::Device;
use opencl3::platform::Platform;

/// What takes the place of PoCL's declarations.
const DECLARATIONS: &str = include_str!("pocl.h");
/// Where Linux distributions keep PoCL's headers.
const HEADERS: &str = "/usr/share/pocl/include";

/// Whether programs for the device can be built that way.
pub(crate) fn is_lean(device: &Device) -> bool {
    let platform = device.platform().map(|id| Platform::new(id).name().unwrap_or_default());
    platform.is_ok_and(|name| name == "Portable Computing Language")
        && Path::new(HEADERS).join("opencl-c-base.h").exists()
}

/// A program with its own declarations, and more options to build it with. Where a version of PoCL does
/// not take it, the plain program still compiles.
pub(crate) fn lean(source: &str) -> (String, String) {
    // The name is the guard of PoCL's header.
    (format!("{DECLARATIONS}{source}"), format!(" -D_OPENCL_H_ -I{HEADERS}"))
}
