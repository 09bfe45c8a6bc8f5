//! User-level ops, one family a file: check, lower to a primitive, done.

mod array;
mod convert;
mod create;
mod distributions;
mod einsum;
mod fused;
mod grids;
mod indexing;
mod join;
mod like;
pub mod linalg;
mod linear;
mod matmul;
#[cfg(feature = "ndarray")]
mod ndarray;
mod nn;
mod norm;
mod operand;
mod order;
mod pick;
mod pointwise;
mod products;
mod quantile;
mod random;
mod ranges;
mod reduce;
mod running;
mod search;
mod sizes;
mod slices;
mod stack;
mod statistics;
mod unique;
mod views;

#[cfg(feature = "ndarray")]
pub use self::ndarray::SharedArray;
pub use array::ArrayData;
pub(crate) use convert::cast_program;
pub use create::Options;
pub use fused::{Fused, FusedMany, FusedWith};
pub use indexing::{Ellipsis, IndexItem, IntoIndex, NewAxis, Step};
pub use nn::{AttentionOptions, PadMode, Reduction};
pub use operand::{Operand, Term};
pub(crate) use pointwise::PerDType;
pub use pointwise::{ALIASES, BINARY, Binary, NUMBERED, Takes, UNARY, Unary};
pub use quantile::Interpolation;
pub use ranges::Steps;
pub use sizes::{Size, SizeList, Sizes};
pub use unique::Unique;
