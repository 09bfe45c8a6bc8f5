//! The Python wheels that hold NVRTC and the headers that kernels include.

use std::path::PathBuf;
use std::process::Command;

use crate::shell;

/// What is fetched: the compiler, and the headers for f16, bf16 and matrix units. Of one release of CUDA,
/// which is the one that the oldest driver at hand takes.
const WHEELS: [&str; 4] = [
    "nvidia-cuda-nvrtc==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-cccl==13.0.85",
];

/// Where they are unpacked.
pub fn folder() -> PathBuf {
    shell::root().join("target/cuda-wheels")
}

/// The headers inside.
pub fn include() -> PathBuf {
    folder().join("nvidia/cu13/include")
}

/// Written last, so that a fetch that was cut off is repeated.
const STAMP: &str = "fetched";

/// Where the wheels are, if they are.
///
/// # Errors
/// How to get them.
pub fn there() -> Result<PathBuf, String> {
    let fetched = std::fs::read_to_string(folder().join(STAMP));
    if fetched.is_ok_and(|text| text == WHEELS.join("\n")) {
        return Ok(folder());
    }
    Err("NVIDIA's compiler is not in target/cuda-wheels; fetch it with: cargo xtask cuda wheels"
        .into())
}

/// Unpacks the wheels unless they are there, and returns where.
///
/// # Errors
/// What is missing: Python, pip or the network.
pub fn fetch() -> Result<PathBuf, String> {
    if let Ok(folder) = there() {
        return Ok(folder);
    }
    let folder = folder();
    let python = python_with_pip()
        .ok_or("Python with pip is needed to fetch NVIDIA's compiler; install python3-pip")?;
    let _ = std::fs::remove_dir_all(&folder);
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]);
    pip.args(["--root-user-action=ignore", "--target"]).arg(&folder).args(WHEELS);
    shell::run(&mut pip).map_err(|error| format!("{error:#}; is there a network?"))?;
    std::fs::write(folder.join(STAMP), WHEELS.join("\n")).map_err(|error| error.to_string())?;
    Ok(folder)
}

/// A Python that has pip.
pub fn python_with_pip() -> Option<&'static str> {
    let works = |python: &&str| shell::works(python, &["-m", "pip", "--version"]);
    ["python3", "python"].into_iter().find(works)
}
