//! Kiln's backend on NVIDIA's devices: the driver under `kiln-backend-gpu`.

pub mod compiler;
mod find;
mod runtime;
