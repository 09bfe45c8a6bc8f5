//! Tensors in files: safetensors, PyTorch's `.pt` ([`pt`]), NumPy's `.npy` and `.npz` ([`npy`], [`npz`]),
//! and [`Checkpoint`]s of a whole training.
//!
//! No reader trusts what it reads. Sizes are held against the file before anything is allocated, nothing
//! that a file holds is run, and every complaint names the file and the reason. Every writer writes to a
//! temporary file beside the wanted one, which then takes its name: whoever looks sees the old file or
//! the new one, also after a crash.
#![forbid(unsafe_code)]

mod atomic;
mod checkpoint;
pub mod npy;
pub mod npz;
mod order;
pub mod pt;
mod safetensors;
mod saved;
mod state_dict;
mod zip;

use std::path::Path;

use kiln_tensor_core::{Error, Result};

pub use atomic::write_atomic;
pub use checkpoint::Checkpoint;
pub use saved::{Entry, Plain, Saved};
pub use state_dict::StateDict;

/// The most that a compressed byte can become: DEFLATE spends at least two bits on 258 bytes.
const MAX_INFLATION: u64 = 1032;

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| Error::Io { path: path.into(), source })
}

/// The complaint that a file is not what it claims to be.
fn wrong(path: &Path, why: impl Into<String>) -> Error {
    Error::Format { what: path.display().to_string(), why: why.into() }
}
