//! cuBLASLt: products of matrices.

use super::library::{Known, Version, functions};

const KNOWN: Known = Known {
    title: "cuBLASLt",
    name: "cublasLt",
    #[cfg(windows)]
    system: &["cublasLt64_13.dll", "cublasLt64_12.dll"],
    #[cfg(not(windows))]
    system: &["libcublasLt.so.13", "libcublasLt.so.12"],
    majors: &[13, 12],
    package: "nvidia-cublas",
};

functions! {
    /// Functions of `cublasLt.h`.
    CublasLt { known: KNOWN, version: version }
    version = "cublasLtGetVersion"() -> usize;
}

fn version(functions: &CublasLt) -> Option<Version> {
    // SAFETY: no arguments.
    Some(Version::packed(unsafe { (functions.version)() }))
}
