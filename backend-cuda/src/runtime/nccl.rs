//! NCCL: sums over several devices of one process. What training on several devices will stand on.

use std::ffi::{c_char, c_int, c_void};

use kiln_tensor_core::{DType, Error, Result};

use super::library::{Known, Opened, Trouble, Version, check, describe, functions};
use super::{Buffer, Handle, library, open};
use crate::CudaDevice;

const KNOWN: Known = Known {
    title: "NCCL",
    name: "nccl",
    #[cfg(windows)]
    system: &[],
    #[cfg(not(windows))]
    system: &["libnccl.so.2"],
    majors: &[2],
    package: "nvidia-nccl-cu13",
};

functions! {
    /// Functions of `nccl.h`.
    Nccl { known: KNOWN, version: version }
    version = "ncclGetVersion"(*mut c_int) -> c_int;
    text = "ncclGetErrorString"(c_int) -> *const c_char;
    create_all = "ncclCommInitAll"(*mut Handle, c_int, *const c_int) -> c_int;
    destroy = "ncclCommDestroy"(Handle) -> c_int;
    group_start = "ncclGroupStart"() -> c_int;
    group_end = "ncclGroupEnd"() -> c_int;
    all_reduce = "ncclAllReduce"(
        *const c_void, *mut c_void, usize, c_int, c_int, Handle, Handle,
    ) -> c_int;
    broadcast = "ncclBroadcast"(
        *const c_void, *mut c_void, usize, c_int, c_int, Handle, Handle,
    ) -> c_int;
}

fn version(functions: &Nccl) -> Option<Version> {
    let mut number = 0;
    // SAFETY: a pointer to an int.
    let told = unsafe { (functions.version)(&mut number) };
    (told == 0).then(|| Version::packed(usize::try_from(number).unwrap_or(0)))
}

/// `ncclSum`.
const SUM: c_int = 0;

/// `ncclDataType_t`.
fn data_type(dtype: DType) -> c_int {
    match dtype {
        DType::I8 => 0,
        DType::U8 | DType::Bool => 1,
        DType::I32 => 2,
        DType::I64 => 4,
        DType::F16 => 6,
        DType::F32 => 7,
        DType::F64 => 8,
        DType::BF16 => 9,
        DType::I16 => -1,
    }
}

/// Devices of this process that work on sums together, by NCCL.
#[derive(Debug)]
pub struct Group {
    nccl: &'static Nccl,
    devices: Vec<CudaDevice>,
    /// One for each device. Pointers, as numbers.
    communicators: Vec<usize>,
}

impl Drop for Group {
    fn drop(&mut self) {
        for &communicator in &self.communicators {
            // SAFETY: it was made, and is not used any more.
            let _ = unsafe { (self.nccl.destroy)(communicator as Handle) };
        }
    }
}

impl Group {
    /// A group of these devices, each named once.
    ///
    /// # Errors
    /// If there is no library, with how to get it; no such device; or the library finds no way between the devices.
    pub fn new(devices: &[CudaDevice]) -> Result<Group> {
        let first = devices.first().copied().unwrap_or_default();
        let no = |why: &str| Error::Backend { device: first.to_string(), why: why.to_owned() };
        let opened: &Opened<Nccl> = library::open().map_err(no)?;
        let numbers: Vec<c_int> = devices
            .iter()
            .map(|device| {
                open(device)?.stream()?;
                c_int::try_from(device.0).map_err(|_| no("there is no such device"))
            })
            .collect::<Result<_>>()?;
        let mut communicators: Vec<Handle> = vec![std::ptr::null_mut(); devices.len()];
        // SAFETY: as many numbers as said, and room for as many communicators.
        let made = check("ncclCommInitAll", unsafe {
            let count = devices.len() as c_int;
            (opened.functions.create_all)(communicators.as_mut_ptr(), count, numbers.as_ptr())
        });
        let communicators = communicators.into_iter().map(|handle| handle as usize).collect();
        made.map_err(|trouble| told(&opened.functions, first, trouble))?;
        Ok(Group { nccl: &opened.functions, devices: devices.to_vec(), communicators })
    }

    /// Queues sums: `count` elements at the beginning of each device's buffer become the sums over all devices. Of
    /// any dtype but `i16`, which NCCL lacks; of bools they say nothing.
    ///
    /// # Errors
    /// If there is not one buffer of each device, in the group's order; one is too short; or the library fails.
    pub fn all_reduce(&self, buffers: &[&Buffer], count: usize, dtype: DType) -> Result<()> {
        self.each("ncclAllReduce", buffers, count, dtype, |at, dtype, communicator, stream| {
            // SAFETY: `each` has checked that the buffer has so many elements; communicator and stream live.
            unsafe {
                let (from, to) = (at as *const c_void, at as *mut c_void);
                (self.nccl.all_reduce)(from, to, count, dtype, SUM, communicator, stream)
            }
        })
    }

    /// Queues copies: `count` elements at the beginning of each device's buffer become those of the device at `root`.
    ///
    /// # Errors
    /// As `all_reduce`, and if there is no device at `root`.
    pub fn broadcast(
        &self,
        root: usize,
        buffers: &[&Buffer],
        count: usize,
        dtype: DType,
    ) -> Result<()> {
        if root >= self.devices.len() {
            return Err(self.wrong(format!("no device {root} among {}", self.devices.len())));
        }
        self.each("ncclBroadcast", buffers, count, dtype, |at, dtype, communicator, stream| {
            // SAFETY: as above.
            unsafe {
                let (from, to) = (at as *const c_void, at as *mut c_void);
                (self.nccl.broadcast)(from, to, count, dtype, root as c_int, communicator, stream)
            }
        })
    }

    /// Queues one call for each device; all are made before any must be done.
    fn each(
        &self,
        name: &'static str,
        buffers: &[&Buffer],
        count: usize,
        dtype: DType,
        call: impl Fn(usize, c_int, Handle, Handle) -> c_int,
    ) -> Result<()> {
        if buffers.len() != self.devices.len() {
            let counts = (buffers.len(), self.devices.len());
            return Err(self.wrong(format!("{} buffers for {} devices", counts.0, counts.1)));
        }
        if dtype == DType::I16 {
            return Err(self.wrong("NCCL has no i16; convert with `to_dtype`".into()));
        }
        let mut places = Vec::with_capacity(buffers.len());
        for (device, buffer) in self.devices.iter().zip(buffers) {
            if buffer.owner.is_some_and(|owner| owner != *device) {
                return Err(self.wrong(format!("the buffer for {device} is another device's")));
            }
            let stream = open(device)?.stream()?;
            places.push((buffer.place(device, 0, count * dtype.size())? as usize, stream));
        }
        // SAFETY: no arguments.
        let mut status = check("ncclGroupStart", unsafe { (self.nccl.group_start)() });
        for (&communicator, &(at, stream)) in self.communicators.iter().zip(&places) {
            status = status.and_then(|()| {
                check(name, call(at, data_type(dtype), communicator as Handle, stream))
            });
        }
        // SAFETY: as above; a group that has begun is ended whatever happened inside.
        let ended = check("ncclGroupEnd", unsafe { (self.nccl.group_end)() });
        status.and(ended).map_err(|trouble| told(self.nccl, self.devices[0], trouble))
    }

    fn wrong(&self, why: String) -> Error {
        let device = self.devices.first().copied().unwrap_or_default().to_string();
        Error::Backend { device, why }
    }
}

/// What went wrong, typed.
fn told(nccl: &Nccl, device: CudaDevice, trouble: Trouble) -> Error {
    match trouble {
        Trouble::Other(error) => error,
        Trouble::Status(function, status) => Error::Backend {
            device: device.to_string(),
            why: describe(nccl.text, function, status),
        },
    }
}
