//! NVIDIA's libraries that this backend uses: which of them are here, where, and how to get the others.
//!
//! None is needed but the compiler. Each is opened at its first use.
//!
//! | library | versions | for | package |
//! |---|---|---|---|
//! | NVRTC | 12, 13 | compiling kernels | `nvidia-cuda-nvrtc` |
//! | cuBLASLt | 12, 13 | products of matrices | `nvidia-cublas` |
//! | cuDNN | 9 | convolutions | `nvidia-cudnn-cu13` |
//! | NCCL | 2 | sums over several devices | `nvidia-nccl-cu13` |
//!
//! They are looked for where [`compiler`](crate::compiler) says.

use std::fmt;
use std::path::Path;

pub use crate::runtime::library::Version;
use crate::runtime::library::{self, Table};
use crate::runtime::{cublas_lt, cudnn, nccl, nvrtc};

/// A library that this backend uses.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    /// Its name.
    pub name: &'static str,
    /// What it does here.
    pub purpose: &'static str,
    /// Its version and file; or why it cannot be used, and how to get it.
    pub found: Result<(Version, &'static Path), &'static str>,
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.found {
            Ok((version, file)) => write!(f, "{} {version} ({})", self.name, file.display()),
            Err(why) => write!(f, "{}: {why}", self.name),
        }
    }
}

/// The libraries, each opened if it has not been.
pub fn all() -> [Library; 4] {
    [
        library::<nvrtc::Functions>("NVRTC", "compiles kernels"),
        library::<cublas_lt::CublasLt>("cuBLASLt", "products of matrices"),
        library::<cudnn::Cudnn>("cuDNN", "convolutions"),
        library::<nccl::Nccl>("NCCL", "sums over several devices"),
    ]
}

fn library<T: Table>(name: &'static str, purpose: &'static str) -> Library {
    let found = library::open::<T>().map(|opened| (opened.version, opened.file.as_path()));
    Library { name, purpose, found }
}
