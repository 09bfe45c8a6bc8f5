//! An opened device, as this crate keeps it.

use crate::kernels::Kernels;
use crate::{Runtime, Traits};

/// A device that its driver has opened: what it can do, and what this crate keeps of it. A driver makes one
/// of each device, and keeps it to the end of the process.
#[derive(Debug)]
pub struct Opened<R: Runtime> {
    pub(crate) traits: Traits,
    pub(crate) kernels: Kernels<R>,
}

impl<R: Runtime> Opened<R> {
    /// A device with nothing on it yet.
    pub fn new(traits: Traits) -> Self {
        Opened { traits, kernels: Kernels::new() }
    }

    /// What the device can do.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }
}
