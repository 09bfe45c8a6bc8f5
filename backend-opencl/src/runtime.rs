//! The driver: devices, one context and one queue in order for each, buffers, programs.

use std::ffi::c_void;
use std::ptr;
use std::sync::{LazyLock, OnceLock};

use kiln_backend_gpu::{Arg, Dialect, Runtime, Traits};
use kiln_tensor_core::{Error, Result};
use opencl3::command_queue::CommandQueue;
use opencl3::context::Context;
use opencl3::device::{CL_DEVICE_TYPE_ALL, Device};
use opencl3::error_codes::ClError;
use opencl3::kernel::Kernel;
use opencl3::memory::{Buffer, CL_MEM_READ_WRITE, ClMem};
use opencl3::platform::get_platforms;
use opencl3::program::Program;
use opencl3::types::{CL_BLOCKING, cl_mem};
use parking_lot::Mutex;

use crate::{OpenClDevice, pocl};

/// OpenCL, as `kiln-backend-gpu` uses it.
#[derive(Clone, Copy, Debug)]
pub struct Driver;

/// Work-items of a group. Few, fixed sizes: PoCL compiles a kernel again for each.
const GROUP: usize = 64;

struct Opened {
    context: Context,
    queue: CommandQueue,
    traits: Traits,
    lean: bool,
}

struct Found {
    device: Device,
    name: String,
    opened: OnceLock<Result<Opened, String>>,
}

static FOUND: LazyLock<Vec<Found>> = LazyLock::new(|| {
    let platforms = get_platforms().unwrap_or_default();
    platforms
        .iter()
        .flat_map(|platform| platform.get_devices(CL_DEVICE_TYPE_ALL).unwrap_or_default())
        .map(|id| {
            let device = Device::new(id);
            let name = device.name().unwrap_or_else(|_| "unnamed".into());
            Found { device, name, opened: OnceLock::new() }
        })
        .collect()
});

/// The devices of this machine and their names.
pub fn devices() -> Vec<(OpenClDevice, &'static str)> {
    FOUND.iter().enumerate().map(|(i, found)| (OpenClDevice(i), &found.name[..])).collect()
}

/// Whether there is a device.
pub fn is_available() -> bool {
    !FOUND.is_empty()
}

fn failed(device: &OpenClDevice, what: &str, error: ClError) -> Error {
    Error::Backend { device: device.to_string(), why: format!("{what}: {error}") }
}

fn open(device: &OpenClDevice) -> Result<&'static Opened> {
    let Some(found) = FOUND.get(device.0) else {
        return Err(Error::Backend {
            device: device.to_string(),
            why: format!("there are {} OpenCL devices on this machine", FOUND.len()),
        });
    };
    let opened = found.opened.get_or_init(|| {
        let text = |error: ClError| error.to_string();
        let context = Context::from_device(&found.device).map_err(text)?;
        #[allow(deprecated, reason = "OpenCL 1.2 has no other way")]
        let queue = CommandQueue::create_default(&context, 0).map_err(text)?;
        let f64 = found.device.double_fp_config().is_ok_and(|config| config != 0);
        let name = found.name.clone();
        let traits = Traits { name, dialect: Dialect::OpenCl, f64, group: GROUP };
        Ok(Opened { context, queue, traits, lean: pocl::is_lean(&found.device) })
    });
    opened.as_ref().map_err(|why| Error::Backend {
        device: device.to_string(),
        why: format!("cannot open {}: {why}", found.name),
    })
}

/// A block of device memory.
#[derive(Debug)]
pub struct Block(Buffer<u8>);

/// A kernel; its arguments belong to one launch at a time.
#[derive(Debug)]
pub struct Compiled(Mutex<Kernel>);

impl Runtime for Driver {
    type Device = OpenClDevice;
    type Buffer = Block;
    type Kernel = Compiled;

    const NAME: &'static str = "OpenCl";

    fn traits(device: &OpenClDevice) -> Result<&'static Traits> {
        open(device).map(|opened| &opened.traits)
    }

    fn allocate(device: &OpenClDevice, bytes: usize) -> Result<Block> {
        let opened = open(device)?;
        // SAFETY: no host memory is given.
        let buffer =
            unsafe { Buffer::create(&opened.context, CL_MEM_READ_WRITE, bytes, ptr::null_mut()) };
        buffer
            .map(Block)
            .map_err(|error| failed(device, &format!("allocating {bytes} bytes"), error))
    }

    fn write(device: &OpenClDevice, to: &Block, bytes: &[u8]) -> Result<()> {
        let queue = &open(device)?.queue;
        // A handle of its own: the queue's order keeps two writers apart.
        // SAFETY: the handle is alive as long as `to`, and counted up before it is counted down.
        let mut handle = unsafe {
            opencl3::memory::retain_mem_object(to.0.get())
                .map_err(|code| failed(device, "write", ClError(code)))?;
            Buffer::<u8>::new(to.0.get())
        };
        // SAFETY: the block has these bytes, and the call returns when they have been read.
        unsafe { queue.enqueue_write_buffer(&mut handle, CL_BLOCKING, 0, bytes, &[]) }
            .map(drop)
            .map_err(|error| failed(device, "write", error))
    }

    fn read(device: &OpenClDevice, from: &Block, bytes: &mut [u8]) -> Result<()> {
        let queue = &open(device)?.queue;
        // SAFETY: the block has these bytes, and the call returns when they have been written.
        unsafe { queue.enqueue_read_buffer(&from.0, CL_BLOCKING, 0, bytes, &[]) }
            .map(drop)
            .map_err(|error| failed(device, "read", error))
    }

    fn compile(device: &OpenClDevice, source: &str, entry: &str) -> Result<Compiled> {
        let opened = open(device)?;
        let build = |source: &str, options: &str| {
            Program::create_and_build_from_source(&opened.context, source, options)
        };
        let lean = opened.lean.then(|| pocl::lean(source));
        let lean = lean.and_then(|(source, options)| build(&source, &options).ok());
        let program = lean.map_or_else(|| build(source, "-cl-std=CL1.2"), Ok);
        let program = program.map_err(|log| Error::Backend {
            device: device.to_string(),
            why: format!("kernel `{entry}` does not compile: {log}"),
        })?;
        let kernel = Kernel::create(&program, entry);
        kernel
            .map(|kernel| Compiled(Mutex::new(kernel)))
            .map_err(|error| failed(device, entry, error))
    }

    fn launch(
        device: &OpenClDevice,
        kernel: &Compiled,
        groups: usize,
        args: &[Arg<'_, Block>],
    ) -> Result<()> {
        let opened = open(device)?;
        let kernel = kernel.0.lock();
        for (i, arg) in args.iter().enumerate() {
            let memory: cl_mem;
            let (size, at) = match arg {
                Arg::Buffer(block) => {
                    memory = block.0.get();
                    (size_of::<cl_mem>(), (&raw const memory).cast::<c_void>())
                }
                Arg::Bytes(bytes) => (bytes.len(), bytes.as_ptr().cast()),
            };
            // SAFETY: the value is as long as it says, and copied by the call.
            unsafe { opencl3::kernel::set_kernel_arg(kernel.get(), i as u32, size, at) }.map_err(
                |code| failed(device, &format!("argument {i} of a kernel"), ClError(code)),
            )?;
        }
        let (global, local) = (groups * GROUP, GROUP);
        // SAFETY: the kernel's arguments are set, and it stays inside of its buffers.
        let event = unsafe {
            opened.queue.enqueue_nd_range_kernel(
                kernel.get(),
                1,
                ptr::null(),
                &raw const global,
                &raw const local,
                &[],
            )
        };
        event.map(drop).map_err(|error| failed(device, "launch", error))
    }

    fn sync(device: &OpenClDevice) -> Result<()> {
        open(device)?.queue.finish().map_err(|error| failed(device, "sync", error))
    }
}
