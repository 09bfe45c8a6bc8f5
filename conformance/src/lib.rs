//! What any backend must pass, as a library: backends depend on it in their tests.
//!
//! [`Reference`] is the living definition of every primitive: slow, in `f64`, straight from the
//! formulas. [`table`] holds a row for every op; `suite!` puts a backend through all of them.
#![forbid(unsafe_code)]

mod agree;
pub mod apart;
mod host;
pub mod layouts;
pub mod reference;
pub mod spy;
pub mod strategies;
pub mod suite;
pub mod table;

pub use agree::{Tolerance, agree};
pub use host::Host;
pub use layouts::Form;
pub use reference::{Reference, ReferenceDevice};
pub use spy::Spy;
