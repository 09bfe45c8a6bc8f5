//! NVIDIA's compiler, NVRTC. It needs no device: kernels for any architecture compile on any machine.
//!
//! It is looked for in `CUDA_HOME` and `CUDA_PATH`, in the Python packages of `PYTHONPATH`, of the active
//! environment, of the user and of the system (`pip install nvidia-cuda-nvrtc`), in `/usr/local/cuda`, and
//! where the system looks for libraries. Headers beside it (`nvidia-cuda-runtime`, `nvidia-cuda-crt`,
//! `nvidia-cuda-cccl`) are found by kernels that include some; Kiln's do not.

use std::path::Path;

use kiln_tensor_core::{Error, Result};

use crate::runtime::nvrtc;

/// Whether there is a compiler.
pub fn is_available() -> bool {
    nvrtc::compiler().is_ok()
}

/// Why there is none, and how to get it; `None` where there is one.
pub fn absence() -> Option<&'static str> {
    nvrtc::compiler().err()
}

/// The compiler's version and the file that it is in.
pub fn version() -> Option<((i32, i32), &'static Path)> {
    nvrtc::compiler().ok().map(nvrtc::Compiler::version)
}

/// Compiles a source to the machine code (a cubin) of an architecture such as `sm_90`; to PTX, which a driver
/// translates, where the architecture is newer than the compiler.
///
/// # Errors
/// If there is no compiler, or the source does not compile: with what the compiler wrote.
pub fn cubin(source: &str, entry: &str, arch: &str) -> Result<Vec<u8>> {
    compile(source, arch).map_err(|log| failed(arch, entry, log))
}

/// Whether a source compiles: like [`cubin`] without optimising, in a third of the time.
///
/// # Errors
/// As for `cubin`.
pub fn check(source: &str, entry: &str, arch: &str) -> Result<()> {
    let compiler = nvrtc::compiler().map_err(|why| failed(arch, entry, why.into()))?;
    compiler.binary(source, arch, false).map(drop).map_err(|log| failed(arch, entry, log))
}

fn failed(arch: &str, entry: &str, log: String) -> Error {
    Error::KernelBuild { device: arch.into(), kernel: entry.into(), log }
}

/// Like `cubin`, with what went wrong as text.
pub(crate) fn compile(source: &str, arch: &str) -> Result<Vec<u8>, String> {
    nvrtc::compiler()?.binary(source, arch, true)
}

/// What to do where the driver does not take what the compiler made.
pub(crate) fn mismatch(driver: &str) -> String {
    let Some(((major, minor), file)) = version() else {
        return format!("the driver is {driver}");
    };
    format!(
        "the compiler is NVRTC {major}.{minor} ({}) and the driver {driver}: install a newer driver, or \
         the compiler of the driver's version",
        file.display()
    )
}
