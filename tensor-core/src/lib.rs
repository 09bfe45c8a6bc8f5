//! What a tensor is: [`Tensor`], the [`Backend`] that holds its elements, [`Layout`], [`DType`],
//! [`Expr`] and [`Error`]. No kernel, no gradient.
//!
//! A user's call goes through `ops` (checks shapes, promotes dtypes, lowers to primitives) to one
//! method of [`Backend`].
#![forbid(unsafe_code)]

pub mod autocast;
pub mod backend;
pub mod compose;
mod determinism;
mod display;
mod draws;
mod dtype;
mod error;
pub mod expr;
pub mod graph;
mod handle;
mod host;
mod layout;
mod memory;
mod ops;
pub mod philox;
mod precision;
mod random;
mod shape;
mod spec;
mod tensor;

pub use autocast::{Autocast, autocast, autocast_dtype, no_autocast, set_autocast};
pub use backend::{Backend, Device, Outputs, ReduceOp, ScanOp, ScatterOp};
pub use determinism::{are_deterministic_algorithms_enabled, use_deterministic_algorithms};
pub use display::{PrintOptions, print_options, set_print_options};
pub use draws::{Draws, record_draws, repeat_draws};
pub use dtype::{Category, DType, Element, Scalar};
pub use error::{Error, Result, catch, raise};
pub use expr::{Expr, Gradient, Kernel, Val};
pub use handle::{Handle, Placed};
pub use host::{HostMemory, Shared};
pub use layout::{Layout, Strides, ViewOp};
pub use memory::{MemoryCounter, MemoryStats};
#[cfg(feature = "ndarray")]
pub use ops::SharedArray;
pub use ops::linalg;
pub use ops::{
    ALIASES, ArrayData, AttentionOptions, BINARY, Binary, Ellipsis, Fused, FusedMany, FusedWith,
    IndexItem, Interpolation, IntoIndex, NUMBERED, NewAxis, Operand, Options, PadMode, Reduction,
    Size, SizeList, Sizes, Step, Steps, Takes, Term, UNARY, Unary, Unique,
};
pub use precision::{MatmulPrecision, float32_matmul_precision, set_float32_matmul_precision};
pub use random::{
    RngState, RngStates, manual_seed, next_draw, rng_state, rng_states, set_rng_state,
    set_rng_states,
};
pub use shape::Shape;
pub use spec::{
    Activation, AttentionSpec, ConvSpec, Dims, Factorization, PoolSpec, adaptive_windows,
};
pub use tensor::Tensor;
