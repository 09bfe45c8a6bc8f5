//! What any backend must pass, as a library: backends depend on it in their tests.
//!
//! [`Reference`] is the living definition of every primitive: slow, in `f64`, straight from the
//! formulas.
#![forbid(unsafe_code)]

pub mod reference;

pub use reference::{Reference, ReferenceDevice};
