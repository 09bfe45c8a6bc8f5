//! The standard layers: PyTorch's arguments, defaults, parameter names, shapes and initialisation.

mod linear;

pub use linear::Linear;
