//! Kiln's backend on NVIDIA's devices: the driver under `kiln-backend-gpu`.
//!
//! The driver and the compiler are opened at run time, so a program that has this backend builds and links
//! with neither toolkit nor driver, starts on machines without them, and finds no devices there. A dependent
//! sets nothing: no variable, no `[patch]`, no linker flag.
//!
//! | at run time | from |
//! |---|---|
//! | `libcuda.so.1` (`nvcuda.dll`) | NVIDIA's driver |
//! | `libnvrtc.so` 12 or 13 | a toolkit, or `pip install nvidia-cuda-nvrtc`; see [`compiler`] |
//! | faster: `libcublasLt.so` 12 or 13, `libcudnn.so` 9 | a toolkit, or `pip install nvidia-cublas nvidia-cudnn-cu13`; see [`libraries`] |
//!
//! NVIDIA's libraries are looked for in `CUDA_HOME`, in the packages of the active Python, in `/usr/local/cuda` and in
//! the system. All but the compiler are optional; `KILN_CUDA_LIBRARIES=0` in the environment turns them off. [`libraries`]
//! says what each of them computes, and what that means for results.
//!
//! # Why not the crate `cust`
//! It was tried. `cust` and `cust_raw` do not build on a machine without a toolkit, and what makes them (a
//! `[patch]`, or a variable in `.cargo/config.toml`) does not reach the builds of those who depend on a published
//! crate. Results are a closed enum there, so a code that it does not list (36, 721, 912, …) is undefined behaviour. And
//! of what a deep-learning backend needs most, it offers neither memory pools nor capture, launches with clusters or
//! tensor maps. `kiln-cuda-shim` has all functions of the driver, and asks for nothing.

pub mod compiler;
mod devices;
mod find;
pub mod libraries;
mod runtime;

use std::fmt;

pub use devices::{devices, is_available};
pub use runtime::{Buffer, Driver, Function};

/// The backend.
pub type Cuda = kiln_backend_gpu::Gpu<Driver>;

/// A device, by the driver's number for it (`CUDA_VISIBLE_DEVICES` renumbers them).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CudaDevice(pub usize);

impl fmt::Display for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cuda:{}", self.0)
    }
}

impl kiln_tensor_core::Device for CudaDevice {}
