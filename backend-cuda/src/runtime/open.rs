//! An open device: its primary context, one stream, what it can do, and what a result means there.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_uint};
use std::ptr;
use std::sync::Arc;

use kiln_backend_gpu::{DeviceKind, Dialect, Opened, Traits};
use kiln_cuda_shim as cu;
use kiln_cuda_shim::{CUresult, Handle};
use kiln_tensor_core::{Error, Result};
use parking_lot::{Mutex, MutexGuard};

use super::Driver;
use super::convolutions::Convolutions;
use super::products::Products;
use super::staging::Staging;
use crate::CudaDevice;

/// An open device. It stays open to the end of the process.
#[derive(Debug)]
pub(crate) struct Open {
    pub(super) device: CudaDevice,
    /// Handles, as numbers: the driver lets any thread use them.
    context: usize,
    stream: usize,
    /// A second stream, which never runs anything: what libraries queue there is captured. Made when needed.
    aside: Mutex<Option<usize>>,
    /// Whether blocks come from the device's pool, in the order of the stream.
    pub(super) pools: bool,
    /// The architecture that kernels are compiled for, as in `sm_90`.
    pub(super) arch: String,
    pub(super) staging: Mutex<Staging>,
    /// The kernel that was queued last: errors of kernels come to light later.
    last: Mutex<Option<Arc<str>>>,
    pub(super) products: Products,
    pub(super) convolutions: Convolutions,
    pub(super) opened: Opened<Driver>,
}

// `CUdevice_attribute` of cuda.h.
const MAX_THREADS_PER_BLOCK: c_uint = 1;
const MAX_SHARED_MEMORY_PER_BLOCK: c_uint = 8;
const WARP_SIZE: c_uint = 10;
const MULTIPROCESSOR_COUNT: c_uint = 16;
const COMPUTE_CAPABILITY_MAJOR: c_uint = 75;
const COMPUTE_CAPABILITY_MINOR: c_uint = 76;
const MEMORY_POOLS_SUPPORTED: c_uint = 115;
/// `CU_STREAM_NON_BLOCKING`: it does not wait for what others put into the default stream.
const NON_BLOCKING: c_uint = 1;
/// Threads of a block, where a kernel has no wish of its own.
const GROUP: usize = 256;
/// Blocks of memory start at multiples of it.
const ALIGNMENT: usize = 256;

/// The text of a failure, for errors that name the device themselves.
fn checked(what: &str, result: CUresult) -> Result<(), String> {
    if result.is_success() { Ok(()) } else { Err(format!("{what}: {result}")) }
}

impl Open {
    /// The names of all devices.
    pub(crate) fn names() -> Result<Vec<String>, String> {
        if let Some(why) = cu::absence() {
            return Err(format!(
                "there is no NVIDIA driver ({why}); install it with the system's packages"
            ));
        }
        let mut count = 0;
        // SAFETY: no pointers, and one to an int.
        let started = unsafe { (cu::cuInit(0), cu::cuDeviceGetCount(&mut count)) };
        if started.0 == CUresult::NO_DEVICE {
            return Ok(Vec::new());
        }
        checked("the driver does not start", started.0)?;
        checked("cuDeviceGetCount", started.1)?;
        (0..count).map(|number| name(device(number)?)).collect()
    }

    pub(crate) fn new(number: usize, name: &str) -> Result<Open, String> {
        let device = device(number as c_int)?;
        let (mut context, mut stream): (Handle, Handle) = (ptr::null_mut(), ptr::null_mut());
        let (mut memory, mut driver) = (0, 0);
        // SAFETY: pointers to what the functions fill; the context is current when the stream is made.
        unsafe {
            checked(
                "cuDevicePrimaryCtxRetain",
                cu::cuDevicePrimaryCtxRetain(&mut context, device),
            )?;
            checked("cuCtxSetCurrent", cu::cuCtxSetCurrent(context))?;
            checked("cuStreamCreate", cu::cuStreamCreate(&mut stream, NON_BLOCKING))?;
            checked("cuDeviceTotalMem", cu::cuDeviceTotalMem(&mut memory, device))?;
            checked("cuDriverGetVersion", cu::cuDriverGetVersion(&mut driver))?;
        }
        let ask = |attribute| attribute_of(device, attribute);
        let (major, minor) = (ask(COMPUTE_CAPABILITY_MAJOR)?, ask(COMPUTE_CAPABILITY_MINOR)?);
        let arch = format!("sm_{major}{minor}");
        let largest_group = ask(MAX_THREADS_PER_BLOCK)?;
        let traits = Traits {
            name: name.to_owned(),
            driver: format!("CUDA {}.{} {arch}", driver / 1000, driver % 1000 / 10),
            dialect: Dialect::Cuda,
            kind: DeviceKind::Gpu,
            f64: true,
            units: ask(MULTIPROCESSOR_COUNT)?,
            group: GROUP.min(largest_group),
            largest_group,
            vector_bytes: 0,
            sub_group: Some(ask(WARP_SIZE)?),
            local_bytes: ask(MAX_SHARED_MEMORY_PER_BLOCK)?,
            memory_bytes: memory,
            largest_block: memory,
            alignment: ALIGNMENT,
        };
        Ok(Open {
            device: CudaDevice(number),
            context: context as usize,
            stream: stream as usize,
            aside: Mutex::default(),
            pools: ask(MEMORY_POOLS_SUPPORTED).is_ok_and(|there| there != 0),
            arch,
            staging: Mutex::default(),
            last: Mutex::default(),
            products: Products::default(),
            convolutions: Convolutions::default(),
            opened: Opened::new(traits),
        })
    }

    /// The stream, with the device's context current on this thread.
    pub(super) fn stream(&self) -> Result<Handle> {
        // SAFETY: the context lives to the end of the process.
        let current = unsafe { cu::cuCtxSetCurrent(self.context as Handle) };
        self.check("cuCtxSetCurrent", current)?;
        let stream = if REDIRECTED.get() == 0 { self.stream } else { REDIRECTED.get() };
        Ok(stream as Handle)
    }

    /// The second stream, for one thread at a time, with the device's context current.
    pub(super) fn aside(&self) -> Result<Aside<'_>> {
        self.stream()?;
        let mut aside = self.aside.lock();
        if aside.is_none() {
            let mut stream = ptr::null_mut();
            // SAFETY: a pointer to a handle.
            let made = unsafe { cu::cuStreamCreate(&mut stream, NON_BLOCKING) };
            self.check("cuStreamCreate", made)?;
            *aside = Some(stream as usize);
        }
        Ok(Aside(aside))
    }

    pub(super) fn context(&self) -> Handle {
        self.context as Handle
    }

    /// Takes note of a kernel that is queued.
    pub(super) fn queued(&self, kernel: &Arc<str>) {
        *self.last.lock() = Some(kernel.clone());
    }

    /// A result as a typed error.
    pub(super) fn check(&self, what: &str, result: CUresult) -> Result<()> {
        if result.is_success() { Ok(()) } else { Err(self.failed(what, result)) }
    }

    #[cold]
    pub(super) fn failed(&self, what: &str, result: CUresult) -> Error {
        let (device, mut why) = (self.device.to_string(), format!("{what}: {result}"));
        if !is_lost(result) {
            return Error::Backend { device, why };
        }
        if let Some(kernel) = &*self.last.lock() {
            why += &format!("; the last kernel that was queued is `{kernel}`");
        }
        Error::DeviceLost { device, why }
    }

    /// Like `check`, of a call that needs so many bytes of memory.
    pub(super) fn check_memory(&self, what: &str, result: CUresult, asked: usize) -> Result<()> {
        if result != CUresult::OUT_OF_MEMORY {
            return self.check(what, result);
        }
        Err(Error::OutOfMemory { device: self.device.to_string(), asked, free: self.free_bytes() })
    }

    pub(super) fn free_bytes(&self) -> Option<usize> {
        self.stream().ok()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: pointers to two numbers.
        unsafe { cu::cuMemGetInfo(&mut free, &mut total) }.is_success().then_some(free)
    }
}

thread_local! {
    /// The stream that `Open::stream` gives on this thread instead of the device's; 0 for none.
    static REDIRECTED: Cell<usize> = const { Cell::new(0) };
}

/// A device's second stream.
pub(super) struct Aside<'a>(MutexGuard<'a, Option<usize>>);

impl Aside<'_> {
    pub(super) fn stream(&self) -> Handle {
        self.0.unwrap_or_default() as Handle
    }

    /// Calls `f`, whose work goes to this stream.
    pub(super) fn redirect<T>(&self, f: impl FnOnce() -> T) -> T {
        struct Back;
        impl Drop for Back {
            fn drop(&mut self) {
                REDIRECTED.set(0);
            }
        }
        REDIRECTED.set(self.0.unwrap_or_default());
        let _back = Back;
        f()
    }
}

/// Whether a context is of no use any more: each later call on it gives the same code.
fn is_lost(result: CUresult) -> bool {
    // Shut down; uncorrectable memory; links; contexts destroyed or poisoned by an address, an instruction, a
    // program counter, an assertion or a time limit; a hardware fault.
    matches!(
        result.0,
        4 | 46 | 214 | 219 | 220 | 226 | 700 | 702 | 709 | 710 | 714..=719 | 721 | 999
    )
}

fn device(number: c_int) -> Result<c_int, String> {
    let mut device = 0;
    // SAFETY: a pointer to an int.
    checked("cuDeviceGet", unsafe { cu::cuDeviceGet(&mut device, number) })?;
    Ok(device)
}

fn name(device: c_int) -> Result<String, String> {
    let mut name = [0; 256];
    // SAFETY: as many characters as said, the last of which stays 0.
    let done = unsafe { cu::cuDeviceGetName(name.as_mut_ptr(), 255, device) };
    checked("cuDeviceGetName", done)?;
    // SAFETY: the text ends in 0.
    Ok(unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned())
}

fn attribute_of(device: c_int, attribute: c_uint) -> Result<usize, String> {
    let mut value = 0;
    // SAFETY: a pointer to an int.
    let done = unsafe { cu::cuDeviceGetAttribute(&mut value, attribute, device) };
    checked("cuDeviceGetAttribute", done)?;
    usize::try_from(value).map_err(|_| format!("attribute {attribute} is {value}"))
}
