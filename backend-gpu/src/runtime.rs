//! What a driver crate provides.

use std::fmt::Debug;

use kiln_tensor_core::{Device, Result};

/// The C that a driver compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenCL C 1.2.
    OpenCl,
    /// CUDA C++.
    Cuda,
}

/// What a device can do.
#[derive(Clone, Debug)]
pub struct Traits {
    /// Its name in messages.
    pub name: String,
    /// The C that it takes.
    pub dialect: Dialect,
    /// Whether it computes in double precision.
    pub f64: bool,
    /// Work-items that run side by side in one group.
    pub group: usize,
}

/// An argument of a kernel.
#[derive(Debug)]
pub enum Arg<'a, B> {
    /// Device memory.
    Buffer(&'a B),
    /// A number or struct, as its bytes.
    Bytes(&'a [u8]),
}

/// A driver: memory, programs and one queue in order per device. All work is asynchronous but `read` and
/// `sync`; errors of the world (memory, compilation, a lost device) are results.
pub trait Runtime: Debug + Send + Sync + 'static {
    /// Names a device.
    type Device: Device;
    /// A block of device memory, freed when dropped (and no queued work uses it any more).
    type Buffer: Send + Sync + 'static;
    /// A compiled kernel.
    type Kernel: Send + Sync + 'static;

    /// The backend's name in messages.
    const NAME: &'static str;

    /// What the device can do.
    fn traits(device: &Self::Device) -> Result<&'static Traits>;

    /// A block of `bytes`, more than 0, with unspecified content.
    fn allocate(device: &Self::Device, bytes: usize) -> Result<Self::Buffer>;

    /// Copies bytes from the host to the start of a block.
    fn write(device: &Self::Device, to: &Self::Buffer, bytes: &[u8]) -> Result<()>;

    /// Copies bytes from the start of a block to the host, after all that was queued before.
    fn read(device: &Self::Device, from: &Self::Buffer, bytes: &mut [u8]) -> Result<()>;

    /// Compiles the kernel `entry` of a source.
    fn compile(device: &Self::Device, source: &str, entry: &str) -> Result<Self::Kernel>;

    /// Queues a kernel over `groups` groups of `traits().group` work-items.
    fn launch(
        device: &Self::Device,
        kernel: &Self::Kernel,
        groups: usize,
        args: &[Arg<'_, Self::Buffer>],
    ) -> Result<()>;

    /// Waits until all that was queued is done.
    fn sync(device: &Self::Device) -> Result<()>;
}
