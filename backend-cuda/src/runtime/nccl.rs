//! NCCL: sums over several devices.

use std::ffi::c_int;

use super::library::{Known, Version, functions};

const KNOWN: Known = Known {
    title: "NCCL",
    name: "nccl",
    #[cfg(windows)]
    system: &[],
    #[cfg(not(windows))]
    system: &["libnccl.so.2"],
    majors: &[2],
    package: "nvidia-nccl-cu13",
};

functions! {
    /// Functions of `nccl.h`.
    Nccl { known: KNOWN, version: version }
    version = "ncclGetVersion"(*mut c_int) -> c_int;
}

fn version(functions: &Nccl) -> Option<Version> {
    let mut number = 0;
    // SAFETY: a pointer to an int.
    let told = unsafe { (functions.version)(&mut number) };
    (told == 0).then(|| Version::packed(usize::try_from(number).unwrap_or(0)))
}
