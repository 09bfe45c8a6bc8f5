//! cuDNN: convolutions.

use super::library::{Known, Version, functions};

const KNOWN: Known = Known {
    title: "cuDNN",
    name: "cudnn",
    #[cfg(windows)]
    system: &["cudnn64_9.dll"],
    #[cfg(not(windows))]
    system: &["libcudnn.so.9"],
    majors: &[9],
    package: "nvidia-cudnn-cu13",
};

functions! {
    /// Functions of `cudnn_ops.h` and `cudnn_cnn.h`.
    Cudnn { known: KNOWN, version: version }
    version = "cudnnGetVersion"() -> usize;
}

fn version(functions: &Cudnn) -> Option<Version> {
    // SAFETY: no arguments.
    Some(Version::packed(unsafe { (functions.version)() }))
}
