//! The driver.

pub(crate) mod nvrtc;
