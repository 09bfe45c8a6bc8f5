//! The driver: one context and one queue in order for each device, buffers, programs. All `unsafe` is here.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use kiln_backend_gpu::{Arg, DeviceKind, Dialect, Launch, Opened, Runtime, Traits};
use kiln_tensor_core::{Error, Result};
use opencl3::command_queue::{
    CommandQueue, enqueue_copy_buffer, enqueue_nd_range_kernel, enqueue_read_buffer,
    enqueue_write_buffer,
};
use opencl3::context::Context;
use opencl3::device::CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT;
use opencl3::device::Device;
use opencl3::error_codes::{
    CL_DEVICE_NOT_AVAILABLE, CL_INVALID_BUFFER_SIZE, CL_INVALID_COMMAND_QUEUE, CL_INVALID_CONTEXT,
    CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY, CL_OUT_OF_RESOURCES, ClError,
};
use opencl3::event::{CL_COMPLETE, Event};
use opencl3::kernel::{Kernel, set_kernel_arg};
use opencl3::memory::{Buffer, CL_MEM_READ_WRITE, ClMem};
use opencl3::program::Program;
use opencl3::types::{CL_BLOCKING, CL_NON_BLOCKING, cl_event, cl_mem};
use parking_lot::Mutex;

use crate::{DeviceInfo, OpenClDevice, devices, pocl};

/// OpenCL, as `kiln-backend-gpu` uses it.
#[derive(Clone, Copy, Debug)]
pub struct Driver;

/// Work-items of a group. Few, fixed sizes: PoCL compiles a kernel again for each.
const GROUP: usize = 64;
/// Uploads above this size wait for the device instead of being copied, and so do those after many others.
const LARGE_UPLOAD: usize = 1 << 20;
const MOST_UPLOADS: usize = 64;
/// Kernels between two calls that have the device begin.
const FLUSH_EVERY: u32 = 16;
const OPTIONS: &str = "-w -cl-std=CL1.2";
/// Division and roots of `f32` as the host rounds them, where the device can.
const ROUNDED: &str = " -cl-fp32-correctly-rounded-divide-sqrt";
/// More options for the driver's compiler, as `-cl-opt-disable`.
const MORE_OPTIONS: &str = "KILN_OPENCL_OPTIONS";

/// An open device.
#[derive(Debug)]
pub(crate) struct Open {
    context: Context,
    queue: CommandQueue,
    /// Bytes that the device has not read yet, in the queue's order.
    uploads: Mutex<VecDeque<(Event, Vec<u8>)>>,
    /// Kernels since the start.
    queued: AtomicU32,
    lean: bool,
    /// What programs are built with.
    options: String,
    opened: Opened<Driver>,
}

impl Open {
    pub(crate) fn new(device: &Device, info: &DeviceInfo) -> Result<Open, ClError> {
        let context = Context::from_device(device)?;
        #[allow(deprecated, reason = "OpenCL 1.2 has no other way")]
        let queue = CommandQueue::create_default(&context, 0)?;
        let largest_group = device.max_work_group_size()?;
        let rounds = device
            .single_fp_config()
            .is_ok_and(|config| config & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT != 0);
        let more = std::env::var(MORE_OPTIONS).unwrap_or_default();
        let options = format!("{OPTIONS}{} {more}", if rounds { ROUNDED } else { "" });
        let traits = Traits {
            name: info.name.clone(),
            // A part of the names of kept kernels.
            driver: format!("{} {} {more}", device.version()?, device.driver_version()?),
            dialect: Dialect::OpenCl,
            // So that kernels shaped for GPUs can be tested where there is none.
            kind: match std::env::var_os("KILN_OPENCL_AS_GPU") {
                Some(_) => DeviceKind::Gpu,
                None => info.kind,
            },
            f64: device.double_fp_config().is_ok_and(|config| config != 0),
            units: device.max_compute_units()? as usize,
            group: GROUP.min(largest_group),
            largest_group,
            vector_bytes: 4 * device.native_vector_width_float()? as usize,
            // Sub-groups are an extension of OpenCL 2, whose width each kernel has to ask for.
            sub_group: None,
            local_bytes: device.local_mem_size()? as usize,
            memory_bytes: device.global_mem_size()? as usize,
            largest_block: device.max_mem_alloc_size()? as usize,
            alignment: (device.mem_base_addr_align()? as usize / 8).max(1).next_power_of_two(),
        };
        let lean = pocl::is_lean(device);
        let (uploads, opened) = (Mutex::default(), Opened::new(traits));
        Ok(Open { context, queue, uploads, queued: AtomicU32::new(0), lean, options, opened })
    }
}

/// A kernel. Its arguments belong to one launch at a time, so it is locked while a launch sets them.
#[derive(Debug)]
pub struct Compiled {
    kernel: Mutex<Kernel>,
    program: Program,
}

impl Compiled {
    fn new(device: &OpenClDevice, program: Program, entry: &str) -> Result<Compiled> {
        let kernel = Kernel::create(&program, entry);
        let kernel = kernel.map_err(|error| failed(device, entry, error))?;
        Ok(Compiled { kernel: Mutex::new(kernel), program })
    }
}

/// The typed error of a code.
fn failed(device: &OpenClDevice, what: &str, ClError(code): ClError) -> Error {
    let (device, why) = (device.to_string(), format!("{what}: {}", ClError(code)));
    match code {
        CL_DEVICE_NOT_AVAILABLE | CL_INVALID_COMMAND_QUEUE | CL_INVALID_CONTEXT => {
            Error::DeviceLost { device, why }
        }
        _ => Error::Backend { device, why },
    }
}

/// Like `failed`, of a call that needs memory.
fn no_memory(device: &OpenClDevice, what: &str, error: ClError, asked: usize) -> Error {
    match error.0 {
        CL_MEM_OBJECT_ALLOCATION_FAILURE
        | CL_OUT_OF_RESOURCES
        | CL_OUT_OF_HOST_MEMORY
        | CL_INVALID_BUFFER_SIZE => {
            Error::OutOfMemory { device: device.to_string(), asked, free: None }
        }
        _ => failed(device, what, error),
    }
}

/// Releases the event of a queued command.
fn queued(event: Result<cl_event, i32>) -> Result<(), ClError> {
    event.map(|event| drop(Event::new(event))).map_err(ClError)
}

impl Runtime for Driver {
    type Device = OpenClDevice;
    type Buffer = Buffer<u8>;
    type Kernel = Compiled;

    const NAME: &'static str = "OpenCl";

    fn opened(device: &OpenClDevice) -> Result<&'static Opened<Driver>> {
        devices::open(device).map(|open| &open.opened)
    }

    fn allocate(device: &OpenClDevice, bytes: usize) -> Result<Buffer<u8>> {
        let context = &devices::open(device)?.context;
        // SAFETY: no host memory is given.
        unsafe { Buffer::create(context, CL_MEM_READ_WRITE, bytes, ptr::null_mut()) }
            .map_err(|error| no_memory(device, "allocate", error, bytes))
    }

    fn slice(
        device: &OpenClDevice,
        block: &Buffer<u8>,
        offset: usize,
        bytes: usize,
    ) -> Result<Buffer<u8>> {
        // SAFETY: the driver checks the region, and keeps the block for its parts.
        unsafe { block.create_sub_buffer(CL_MEM_READ_WRITE, offset, bytes) }
            .map_err(|error| no_memory(device, "slice", error, bytes))
    }

    fn free_bytes(_: &OpenClDevice) -> Option<usize> {
        None
    }

    fn write(device: &OpenClDevice, to: &Buffer<u8>, offset: usize, bytes: &[u8]) -> Result<()> {
        let open = devices::open(device)?;
        let mut uploads = open.uploads.lock();
        let done = |event: &Event| {
            event.command_execution_status().is_ok_and(|status| status.0 == CL_COMPLETE)
        };
        while uploads.front().is_some_and(|(event, _)| done(event)) {
            uploads.pop_front();
        }
        // Few and small pieces are copied, so that nobody waits for the work before them.
        let waits = bytes.len() > LARGE_UPLOAD || uploads.len() >= MOST_UPLOADS;
        let kept = if waits { Vec::new() } else { bytes.to_vec() };
        let from: &[u8] = if waits { bytes } else { &kept };
        let blocking = if waits { CL_BLOCKING } else { CL_NON_BLOCKING };
        let (queue, size, from) = (open.queue.get(), from.len(), from.as_ptr().cast_mut().cast());
        // SAFETY: the driver checks that the buffer has this place. It has read the bytes when it returns, or
        // they are kept until it says so.
        let event = unsafe {
            enqueue_write_buffer(queue, to.get(), blocking, offset, size, from, 0, ptr::null())
        };
        let event = event.map_err(|code| no_memory(device, "write", ClError(code), size))?;
        let event = Event::new(event);
        if !waits {
            uploads.push_back((event, kept));
        }
        Ok(())
    }

    fn read(
        device: &OpenClDevice,
        from: &Buffer<u8>,
        offset: usize,
        bytes: &mut [u8],
    ) -> Result<()> {
        let queue = devices::open(device)?.queue.get();
        let (size, to) = (bytes.len(), bytes.as_mut_ptr().cast());
        // SAFETY: the driver checks that the buffer has this place, and has written the bytes when it returns.
        let event = unsafe {
            enqueue_read_buffer(queue, from.get(), CL_BLOCKING, offset, size, to, 0, ptr::null())
        };
        queued(event).map_err(|error| no_memory(device, "read", error, size))
    }

    fn copy(
        device: &OpenClDevice,
        (from, start): (&Buffer<u8>, usize),
        (to, place): (&Buffer<u8>, usize),
        bytes: usize,
    ) -> Result<()> {
        let queue = devices::open(device)?.queue.get();
        // SAFETY: the driver checks that the buffers have these places, and keeps them for the command.
        let event = unsafe {
            enqueue_copy_buffer(queue, from.get(), to.get(), start, place, bytes, 0, ptr::null())
        };
        queued(event).map_err(|error| no_memory(device, "copy", error, bytes))
    }

    fn compile(
        device: &OpenClDevice,
        source: &str,
        entry: &str,
    ) -> Result<(Compiled, Option<Vec<u8>>)> {
        let open = devices::open(device)?;
        let build = |source: &str, more: &str| {
            let options = [&open.options, more].concat();
            Program::create_and_build_from_source(&open.context, source, &options)
        };
        let lean = open.lean.then(|| pocl::lean(source));
        let lean = lean.and_then(|(source, options)| build(&source, &options).ok());
        let program = lean.map_or_else(|| build(source, ""), Ok);
        let program = program.map_err(|log| Error::KernelBuild {
            device: device.to_string(),
            kernel: entry.to_owned(),
            log,
        })?;
        Ok((Compiled::new(device, program, entry)?, None))
    }

    fn load(device: &OpenClDevice, binary: &[u8], entry: &str) -> Result<Compiled> {
        let context = &devices::open(device)?.context;
        let program = Program::create_and_build_from_binary(context, &[binary], "");
        Compiled::new(device, program.map_err(|error| failed(device, entry, error))?, entry)
    }

    /// PoCL compiles parts of a kernel when it first runs: a binary made after that has them. It takes PoCL
    /// 3.1 another 140 ms on top of the 250 of a small kernel, once; loading it takes 3 ms, where building the
    /// source takes 20 out of PoCL's own cache and compiles nothing either.
    fn binary(_: &OpenClDevice, kernel: &Compiled) -> Option<Vec<u8>> {
        let binaries = kernel.program.get_binaries().ok()?;
        binaries.into_iter().next().filter(|binary| !binary.is_empty())
    }

    fn launch(
        device: &OpenClDevice,
        kernel: &Compiled,
        launch: &Launch<'_, Buffer<u8>>,
    ) -> Result<()> {
        let open = devices::open(device)?;
        let kernel = kernel.kernel.lock();
        for (i, arg) in launch.args.iter().enumerate() {
            let memory: cl_mem;
            let (size, at) = match arg {
                Arg::Buffer(block) => {
                    memory = block.get();
                    (size_of::<cl_mem>(), (&raw const memory).cast::<c_void>())
                }
                Arg::Bytes(bytes) => (bytes.len(), bytes.as_ptr().cast()),
            };
            // SAFETY: the value is as long as it says, and copied by the call.
            unsafe { set_kernel_arg(kernel.get(), i as u32, size, at) }
                .map_err(|code| failed(device, &format!("argument {i}"), ClError(code)))?;
        }
        let (global, local) = (launch.groups * launch.group, launch.group);
        // SAFETY: the kernel's arguments are set, and it stays inside of its buffers.
        let event = unsafe {
            enqueue_nd_range_kernel(
                open.queue.get(),
                kernel.get(),
                1,
                ptr::null(),
                &raw const global,
                &raw const local,
                0,
                ptr::null(),
            )
        };
        queued(event).map_err(|error| no_memory(device, "launch", error, 0))?;
        // A driver may leave what is queued alone until it is told.
        if open.queued.fetch_add(1, Ordering::Relaxed) % FLUSH_EVERY == 0 {
            open.queue.flush().map_err(|error| failed(device, "launch", error))?;
        }
        Ok(())
    }

    fn sync(device: &OpenClDevice) -> Result<()> {
        devices::open(device)?.queue.finish().map_err(|error| failed(device, "sync", error))
    }
}
