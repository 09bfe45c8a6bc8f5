//! NVIDIA's libraries that this backend uses: which of them are here, where, and how to get the others.
//!
//! | library | versions | for | package |
//! |---|---|---|---|
//! | NVRTC | 12, 13 | compiling kernels | `nvidia-cuda-nvrtc` |
//! | cuBLASLt | 12, 13 | products of matrices | `nvidia-cublas` |
//! | cuDNN | 9 | convolutions | `nvidia-cudnn-cu13` |
//! | NCCL | 2 | sums over several devices: [`Group`] | `nvidia-nccl-cu13` |
//!
//! Only the compiler is needed. Each is opened at its first use, from where [`compiler`](crate::compiler) is looked for
//! too. One that lacks a function, is of another version, or is for a newer CUDA than the driver is passed over;
//! [`all`] and `cargo xtask doctor` tell why. `KILN_CUDA_LIBRARIES=0` in the environment turns cuBLASLt and cuDNN off.
//!
//! # What computes what
//! Products of floats are cuBLASLt's where it takes the operands as they lie: rows or columns side by side, whatever is
//! between them. With them it does the bias of `linear`, the activation of `linear_act`, and the sum that is a bias's
//! gradient. Convolutions of floats and their gradients are cuDNN's, but for those with one channel in each of several
//! groups. Everything else, and all where there is no library,
//! is done by kernels of Kiln's. Both round their sums differently: a result may differ in its last bits between
//! machines with and without a library, as it does between devices; and relu in `linear_act` may give 0 for NaN. A
//! library that fails is an error that names its function and status; only a status of "not supported" leaves the work
//! to a kernel.
//!
//! # The same bits each time
//! An algorithm is chosen by the library's rules from sizes, strides, dtypes and alignment, not by timing, and never
//! one whose sums depend on the order in which blocks of threads finish. So a program gives the same bits in each run
//! on the same device with the same version of the library. Sums of narrow floats are in `f32` to their end, also where
//! they are split into parts; convolutions by transforms (FFT, Winograd), whose errors are larger, are left out. How
//! exactly `f32` is multiplied is
//! [`set_float32_matmul_precision`](kiln_tensor_core::set_float32_matmul_precision)'s to say, for convolutions too.
//!
//! [`set_benchmark`] has cuDNN timed against Kiln's kernels at the first convolution of each kind (sizes, dtype,
//! precision), for the faster one to do the rest. Which one that is may change from run to run where they are close, and
//! the last bits with it: it is off unless asked for, as `torch.backends.cudnn.benchmark` is.

use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

pub use crate::runtime::library::Version;
use crate::runtime::library::{self, Table};
pub use crate::runtime::nccl::Group;
use crate::runtime::{cublas_lt, cudnn, nccl, nvrtc};
pub use kiln_backend_gpu::library::{benchmark, set_benchmark};

/// What to do where a library does not work.
pub(crate) const WAY_OUT: &str =
    "with KILN_CUDA_LIBRARIES=0 in the environment, Kiln computes without it";

/// Whether libraries compute: not with `KILN_CUDA_LIBRARIES=0`.
pub(crate) fn are_on() -> bool {
    static ON: LazyLock<bool> =
        LazyLock::new(|| std::env::var_os("KILN_CUDA_LIBRARIES").is_none_or(|value| value != "0"));
    *ON
}

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
