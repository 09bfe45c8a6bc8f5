//! The driver: memory, kernels, launches. All `unsafe` is in this folder.

mod convolutions;
pub(crate) mod cublas_lt;
pub(crate) mod cudnn;
mod events;
mod graph;
pub(crate) mod library;
pub(crate) mod nccl;
pub(crate) mod nvrtc;
mod open;
mod products;
mod staging;

use std::any::Any;
use std::ffi::{CString, c_uint, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use kiln_backend_gpu::library::Task;
use kiln_backend_gpu::{Arg, Launch, Opened, Prepared, Runtime, Work};
use kiln_cuda_shim as cu;
use kiln_cuda_shim::{CUdeviceptr, CUresult, Handle};
use kiln_tensor_core::{Error, Result};
use smallvec::SmallVec;

pub(crate) use open::Open;

use crate::devices::open;
use crate::{CudaDevice, compiler};

/// CUDA, as `kiln-backend-gpu` uses it.
#[derive(Clone, Copy, Debug)]
pub struct Driver;

/// Device memory: a block, or a part of one.
#[derive(Debug)]
pub struct Buffer {
    address: CUdeviceptr,
    bytes: usize,
    /// Where a block is given back; parts are not.
    owner: Option<CudaDevice>,
}

impl Buffer {
    /// The address of a place, if so many bytes follow it.
    fn place(&self, device: &CudaDevice, offset: usize, bytes: usize) -> Result<CUdeviceptr> {
        if offset.checked_add(bytes).is_none_or(|end| end > self.bytes) {
            let (device, size) = (device.to_string(), self.bytes);
            let why =
                format!("{bytes} bytes from {offset} on are not inside of a buffer of {size}");
            return Err(Error::Backend { device, why });
        }
        Ok(self.address + offset as CUdeviceptr)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(device) = self.owner else { return };
        let Ok(open) = open(&device) else { return };
        let Ok(stream) = open.stream() else { return };
        // SAFETY: the block came from the matching function, and queued work that uses it is done before the
        // driver gives it to others: in the order of the stream, or because the call waits. A device that is
        // lost has nothing to give back.
        let _ = unsafe {
            if open.pools {
                cu::cuMemFreeAsync(self.address, stream)
            } else {
                cu::cuMemFree(self.address)
            }
        };
    }
}

/// A kernel, loaded.
#[derive(Debug)]
pub struct Function {
    device: CudaDevice,
    /// Handles, as numbers: the driver lets any thread use them.
    module: usize,
    function: usize,
    name: Arc<str>,
}

impl Drop for Function {
    fn drop(&mut self) {
        let Ok(open) = open(&self.device) else { return };
        let Ok(stream) = open.stream() else { return };
        // SAFETY: nothing is queued any more that runs the module's code.
        unsafe {
            let _ = cu::cuStreamSynchronize(stream);
            let _ = cu::cuModuleUnload(self.module as Handle);
        }
    }
}

impl Runtime for Driver {
    type Device = CudaDevice;
    type Buffer = Buffer;
    type Kernel = Function;

    const NAME: &'static str = "Cuda";

    fn opened(device: &CudaDevice) -> Result<&'static Opened<Driver>> {
        open(device).map(|open| &open.opened)
    }

    fn allocate(device: &CudaDevice, bytes: usize) -> Result<Buffer> {
        let open = open(device)?;
        let stream = open.stream()?;
        let mut address = 0;
        // SAFETY: a pointer to an address.
        let made = unsafe {
            if open.pools {
                cu::cuMemAllocAsync(&mut address, bytes, stream)
            } else {
                cu::cuMemAlloc(&mut address, bytes)
            }
        };
        open.check_memory("allocate", made, bytes)?;
        Ok(Buffer { address, bytes, owner: Some(*device) })
    }

    fn slice(device: &CudaDevice, block: &Buffer, offset: usize, bytes: usize) -> Result<Buffer> {
        Ok(Buffer { address: block.place(device, offset, bytes)?, bytes, owner: None })
    }

    fn free_bytes(device: &CudaDevice) -> Option<usize> {
        open(device).ok()?.free_bytes()
    }

    fn write(device: &CudaDevice, to: &Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        let (open, to) = (open(device)?, to.place(device, offset, bytes.len())?);
        if bytes.len() > staging::SMALL {
            return open.staging.lock().write(open, to, bytes);
        }
        let stream = open.stream()?;
        // SAFETY: the buffer has this place. The driver has read plain memory of the host when it returns.
        let queued =
            unsafe { cu::cuMemcpyHtoDAsync(to, bytes.as_ptr().cast(), bytes.len(), stream) };
        open.check("copy to the device", queued)
    }

    fn read(device: &CudaDevice, from: &Buffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        let (open, from) = (open(device)?, from.place(device, offset, bytes.len())?);
        if bytes.len() > staging::SMALL {
            return open.staging.lock().read(open, from, bytes);
        }
        let stream = open.stream()?;
        // SAFETY: the buffer has this place, and the bytes are borrowed until the stream is done.
        let done = unsafe {
            let to = bytes.as_mut_ptr().cast();
            let queued = cu::cuMemcpyDtoHAsync(to, from, bytes.len(), stream);
            if queued.is_success() { cu::cuStreamSynchronize(stream) } else { queued }
        };
        open.check("copy from the device", done)
    }

    fn copy(
        device: &CudaDevice,
        (from, start): (&Buffer, usize),
        (to, place): (&Buffer, usize),
        bytes: usize,
    ) -> Result<()> {
        let open = open(device)?;
        let (from, to) = (from.place(device, start, bytes)?, to.place(device, place, bytes)?);
        let stream = open.stream()?;
        // SAFETY: the buffers have these places.
        let queued = unsafe { cu::cuMemcpyDtoDAsync(to, from, bytes, stream) };
        open.check("copy on the device", queued)
    }

    fn compile(
        device: &CudaDevice,
        source: &str,
        entry: &str,
    ) -> Result<(Function, Option<Vec<u8>>)> {
        let open = open(device)?;
        let cubin = compiler::compile(source, &open.arch).map_err(|log| Error::KernelBuild {
            device: device.to_string(),
            kernel: entry.to_owned(),
            log,
        })?;
        Ok((Self::load(device, &cubin, entry)?, Some(cubin)))
    }

    fn load(device: &CudaDevice, binary: &[u8], entry: &str) -> Result<Function> {
        let open = open(device)?;
        open.stream()?;
        // The driver reads to where the image says that it ends; a 0 behind a text ends that.
        let image = [binary, &[0]].concat();
        let (mut module, mut function): (Handle, Handle) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: pointers to what the functions fill. The image is one that the compiler gave, or one that
        // the cache has checked to be.
        let made = unsafe { cu::cuModuleLoadData(&mut module, image.as_ptr().cast()) };
        if is_foreign(made) {
            let why = compiler::mismatch(&open.opened.traits().driver);
            let (device, kernel) = (device.to_string(), entry.to_owned());
            return Err(Error::KernelBuild { device, kernel, log: format!("{made}; {why}") });
        }
        open.check("cuModuleLoadData", made)?;
        let name = CString::new(entry).unwrap_or_default();
        // SAFETY: as above; the name ends in 0.
        let found = unsafe { cu::cuModuleGetFunction(&mut function, module, name.as_ptr()) };
        let kernel = Function {
            device: *device,
            module: module as usize,
            function: function as usize,
            name: entry.into(),
        };
        open.check(&format!("the kernel `{entry}` is not in its program"), found)?;
        Ok(kernel)
    }

    fn launch(device: &CudaDevice, kernel: &Function, launch: &Launch<'_, Buffer>) -> Result<()> {
        let open = open(device)?;
        let stream = open.stream()?;
        let mut params = pointers(launch);
        let (groups, group) = blocks(device, kernel, launch)?;
        // SAFETY: the arguments are those of the kernel's parameters, in order, and it stays inside of its
        // buffers.
        let queued = unsafe {
            let function = kernel.function as Handle;
            let none = ptr::null_mut();
            cu::cuLaunchKernel(
                function,
                groups,
                1,
                1,
                group,
                1,
                1,
                0,
                stream,
                params.as_mut_ptr(),
                none,
            )
        };
        if queued.is_success() {
            open.queued(&kernel.name);
            return Ok(());
        }
        Err(match open.failed("launch", queued) {
            Error::Backend { device, .. } => Error::KernelFailed {
                device,
                kernel: kernel.name.to_string(),
                why: queued.to_string(),
            },
            lost => lost,
        })
    }

    const LIBRARIES: bool = true;

    fn library(device: &CudaDevice, task: &Task<'_, Buffer>) -> Result<bool> {
        let open = open(device)?;
        let done = match task {
            Task::Product(product) => open.products.run(open, product)?,
            Task::Convolution(convolution) => open.convolutions.run(open, convolution)?,
        };
        if done {
            open.queued(&task.name().into());
        }
        Ok(done)
    }

    fn library_part(
        device: &CudaDevice,
        task: &Task<'_, Buffer>,
    ) -> Result<Option<Arc<dyn Any + Send + Sync>>> {
        let open = open(device)?;
        graph::part(open, || Self::library(device, task))
    }

    fn prepare(
        device: &CudaDevice,
        work: &[Work<'_, Driver>],
    ) -> Result<Option<Box<dyn Prepared<Driver>>>> {
        graph::prepare(device, work)
    }

    fn time(device: &CudaDevice, work: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
        events::time(open(device)?, work)
    }

    fn sync(device: &CudaDevice) -> Result<()> {
        let open = open(device)?;
        let stream = open.stream()?;
        // SAFETY: the stream lives to the end of the process.
        open.check("sync", unsafe { cu::cuStreamSynchronize(stream) })
    }
}

type Pointers = SmallVec<[*mut c_void; 24]>;

/// Where the arguments of a launch are. The driver copies what each points to before it returns.
fn pointers(launch: &Launch<'_, Buffer>) -> Pointers {
    let pointer = |arg: &Arg<'_, Buffer>| match arg {
        Arg::Buffer(buffer) => (&raw const buffer.address).cast_mut().cast(),
        Arg::Bytes(bytes) => bytes.as_ptr().cast_mut().cast(),
    };
    launch.args.iter().map(pointer).collect()
}

/// Blocks, and threads of a block.
fn blocks(
    device: &CudaDevice,
    kernel: &Function,
    launch: &Launch<'_, Buffer>,
) -> Result<(c_uint, c_uint)> {
    let too_many = |_| Error::KernelFailed {
        device: device.to_string(),
        kernel: kernel.name.to_string(),
        why: format!("{} blocks of {} threads are too many", launch.groups, launch.group),
    };
    let groups = c_uint::try_from(launch.groups).map_err(too_many)?;
    Ok((groups, c_uint::try_from(launch.group).map_err(too_many)?))
}

/// Whether a program is not for this driver or device: of another version, or another architecture.
fn is_foreign(result: CUresult) -> bool {
    matches!(result.0, 200 | 209 | 218 | 222 | 223)
}
