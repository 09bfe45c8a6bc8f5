//! Deep learning in Rust whose backend is a crate that you pick.
#![forbid(unsafe_code)]

mod any;
mod device;

pub use any::{Any, AnyStorage};
pub use device::Device;
