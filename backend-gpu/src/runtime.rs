//! What a driver crate provides.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_tensor_core::{Device, Result};

use crate::Opened;
use crate::library::Task;

/// The C that a driver compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenCL C 1.2.
    OpenCl,
    /// CUDA C++.
    Cuda,
}

/// What a device is. Kernels are cut into tiles by it: what a GPU gains from local memory, a CPU loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The cores of the host, or of another processor.
    Cpu,
    /// A graphics processor.
    Gpu,
    /// Anything else.
    Other,
}

/// What a device can do.
#[derive(Clone, Debug)]
pub struct Traits {
    /// Its name in messages. The disk cache of kernels is keyed by it.
    pub name: String,
    /// The driver and its version. The disk cache of kernels is keyed by it.
    pub driver: String,
    /// The C that it takes.
    pub dialect: Dialect,
    /// What it is.
    pub kind: DeviceKind,
    /// Whether it computes in double precision.
    pub f64: bool,
    /// How many groups run side by side: cores, multiprocessors.
    pub units: usize,
    /// Work-items of a group, where a kernel has no wish of its own.
    pub group: usize,
    /// The most work-items of a group.
    pub largest_group: usize,
    /// Bytes of the vector registers, where a work-item has some.
    pub vector_bytes: usize,
    /// Work-items that run in step and exchange values, where a kernel may use that.
    pub sub_group: Option<usize>,
    /// Bytes of local memory that a group has.
    pub local_bytes: usize,
    /// Bytes of device memory.
    pub memory_bytes: usize,
    /// The largest block of it.
    pub largest_block: usize,
    /// A slice of a block starts at a multiple of so many bytes: a power of two.
    pub alignment: usize,
}

/// An argument of a kernel.
#[derive(Debug)]
pub enum Arg<'a, B> {
    /// Device memory.
    Buffer(&'a B),
    /// A number or struct, as its bytes.
    Bytes(&'a [u8]),
}

impl<B> Clone for Arg<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Arg<'_, B> {}

/// A kernel over work-items that are numbered from 0, in groups. Drivers may compile again for each size of
/// a group, so kernels use few of them.
#[derive(Debug)]
pub struct Launch<'a, B> {
    /// How many groups, more than 0.
    pub groups: usize,
    /// Work-items of a group, at most `Traits::largest_group`.
    pub group: usize,
    /// In the order of the kernel's parameters.
    pub args: &'a [Arg<'a, B>],
}

/// A part of a captured step.
#[derive(Debug)]
pub enum Work<'a, R: Runtime> {
    /// See [`Runtime::launch`].
    Launch(&'a R::Kernel, Launch<'a, R::Buffer>),
    /// See [`Runtime::copy`].
    Copy {
        /// From this place,
        from: (&'a R::Buffer, usize),
        /// to the beginning of this buffer,
        to: &'a R::Buffer,
        /// so many bytes.
        bytes: usize,
    },
    /// What [`Runtime::library_part`] gave.
    Library(&'a (dyn Any + Send + Sync)),
}

/// A captured step as a driver keeps it, to be queued at once.
pub trait Prepared<R: Runtime>: Debug + Send {
    /// Queues the work, with other numbers in the launches at these positions; kernels, sizes and buffers are
    /// as they were.
    fn run(&mut self, device: &R::Device, changed: &[(usize, Work<'_, R>)]) -> Result<()>;
}

/// A driver: memory, programs and one queue in order per device. Nothing waits for the device but `read` and
/// `sync`.
///
/// All calls may come from several threads at once. Their errors are of the world, and typed:
/// [`NoDevice`](kiln_tensor_core::Error::NoDevice) from `opened`,
/// [`OutOfMemory`](kiln_tensor_core::Error::OutOfMemory) from whatever needs memory,
/// [`KernelBuild`](kiln_tensor_core::Error::KernelBuild) from `compile`,
/// [`DeviceLost`](kiln_tensor_core::Error::DeviceLost) once nothing works on the device any more, and
/// [`Backend`](kiln_tensor_core::Error::Backend) for the rest.
pub trait Runtime: Debug + Send + Sync + Sized + 'static {
    /// Names a device.
    type Device: Device;
    /// Device memory, given back when dropped (and no queued work uses it any more).
    type Buffer: Debug + Send + Sync + 'static;
    /// A compiled kernel.
    type Kernel: Debug + Send + Sync + 'static;

    /// The backend's name in messages.
    const NAME: &'static str;

    /// The device, opened by the first call, with what this crate keeps of it. Small work comes here more
    /// than once, so later calls should cost nanoseconds.
    fn opened(device: &Self::Device) -> Result<&'static Opened<Self>>;

    /// A block of `bytes`, more than 0, with unspecified content.
    fn allocate(device: &Self::Device, bytes: usize) -> Result<Self::Buffer>;

    /// A part of a block that came from `allocate`; it starts at a multiple of `Traits::alignment`. The
    /// block outlives it.
    fn slice(
        device: &Self::Device,
        block: &Self::Buffer,
        offset: usize,
        bytes: usize,
    ) -> Result<Self::Buffer>;

    /// Free device memory, where the driver tells.
    fn free_bytes(device: &Self::Device) -> Option<usize>;

    /// Queues a copy of `bytes` to a place in a buffer. The bytes may change when this returns.
    fn write(device: &Self::Device, to: &Self::Buffer, offset: usize, bytes: &[u8]) -> Result<()>;

    /// Copies from a place in a buffer to the host, after all that was queued before.
    fn read(
        device: &Self::Device,
        from: &Self::Buffer,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<()>;

    /// Queues a copy of `bytes` between places of two buffers.
    fn copy(
        device: &Self::Device,
        from: (&Self::Buffer, usize),
        to: (&Self::Buffer, usize),
        bytes: usize,
    ) -> Result<()>;

    /// Compiles the kernel `entry` of a source; with what `load` takes in another process, where there is
    /// such a form and it is faster to load than to compile.
    fn compile(
        device: &Self::Device,
        source: &str,
        entry: &str,
    ) -> Result<(Self::Kernel, Option<Vec<u8>>)>;

    /// The kernel that `compile` gave these bytes with, on a device and driver of the same name.
    fn load(device: &Self::Device, binary: &[u8], entry: &str) -> Result<Self::Kernel>;

    /// What `load` takes, from a driver that makes it at a cost and not in `compile`: asked for once after
    /// the kernel has run.
    fn binary(device: &Self::Device, kernel: &Self::Kernel) -> Option<Vec<u8>> {
        let _ = (device, kernel);
        None
    }

    /// Queues a kernel. Errors that come to light later are those of a later call.
    fn launch(
        device: &Self::Device,
        kernel: &Self::Kernel,
        launch: &Launch<'_, Self::Buffer>,
    ) -> Result<()>;

    /// Whether the driver has libraries that do some of the work.
    const LIBRARIES: bool = false;

    /// Queues work that a library of the driver does, and says so; `false` where none does it, with nothing
    /// queued: kernels of this crate do it then.
    fn library(device: &Self::Device, task: &Task<'_, Self::Buffer>) -> Result<bool> {
        let _ = (device, task);
        Ok(false)
    }

    /// The work that `library` has just queued, as a part of captured steps; nothing where there is no such thing,
    /// and kernels of this crate do it there. The memory that the work uses lives longer than the part.
    fn library_part(
        device: &Self::Device,
        task: &Task<'_, Self::Buffer>,
    ) -> Result<Option<Arc<dyn Any + Send + Sync>>> {
        let _ = (device, task);
        Ok(None)
    }

    /// How long the device takes for what `work` queues.
    fn time(device: &Self::Device, work: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
        Self::sync(device)?;
        let start = Instant::now();
        work()?;
        Self::sync(device)?;
        Ok(start.elapsed())
    }

    /// Makes one thing of a captured step, from a driver that has such; else its work is queued part by part
    /// at each replay. Buffers and kernels live longer than what this gives.
    fn prepare(
        device: &Self::Device,
        work: &[Work<'_, Self>],
    ) -> Result<Option<Box<dyn Prepared<Self>>>> {
        let _ = (device, work);
        Ok(None)
    }

    /// Waits until all that was queued is done.
    fn sync(device: &Self::Device) -> Result<()>;
}
