//! Loops over elements. `unsafe` lives here and in `storage`.

pub(crate) mod naive;
pub(crate) mod workers;
