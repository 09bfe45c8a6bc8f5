//! Modules and parameters in lists and dictionaries.

mod dict;
mod list;
mod parameters;
mod sequential;

pub use dict::ModuleDict;
pub use list::ModuleList;
pub use parameters::{ParameterDict, ParameterList};
pub(crate) use sequential::Shared;
pub use sequential::{IntoLayers, Layer, Sequential};
