//! A driver in host memory for tests: bytes are kept and copied, kernels do nothing, and a test says which
//! calls fail.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kiln_backend_gpu::library::Task;
use kiln_backend_gpu::{
    Arg, DeviceKind, Dialect, Gpu, Launch, Opened, Prepared, Runtime, Traits, Work,
};
use kiln_tensor_core::{Error, Result};
use parking_lot::Mutex;

/// The backend on it.
pub type FakeGpu = Gpu<Fake>;
/// Its tensors.
pub type Tensor = kiln_tensor_core::Tensor<FakeGpu>;

#[derive(Debug)]
pub struct Fake;

/// Every number is a device; each test takes one of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FakeDevice(pub usize);

impl fmt::Display for FakeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fake:{}", self.0)
    }
}

impl kiln_tensor_core::Device for FakeDevice {}

/// The calls that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    Open,
    Allocate,
    Write,
    Read,
    Compile,
    Launch,
    Sync,
}

/// Says for a call with so many bytes whether it fails.
type Fault = Box<dyn FnMut(usize) -> Option<Error> + Send>;
/// What a kernel does, with its name.
type Action = Box<dyn FnMut(&str, &[Arg<'_, Buffer>]) + Send>;
/// Whether the library does what it is asked for.
type Does = Box<dyn FnMut(&Task<'_, Buffer>) -> bool + Send>;

#[derive(Default)]
pub struct Machine {
    opened: Mutex<Option<&'static Opened<Fake>>>,
    faults: Mutex<HashMap<Verb, Fault>>,
    action: Mutex<Option<Action>>,
    library: Mutex<Option<Does>>,
    /// How long what is timed takes, in turn.
    pub times: Mutex<Vec<Duration>>,
    pub blocks: AtomicUsize,
    pub held: AtomicUsize,
    pub compiled: AtomicUsize,
    pub loaded: AtomicUsize,
    pub launched: AtomicUsize,
    /// The positions that changed in each run of a prepared step.
    pub runs: Mutex<Vec<Vec<usize>>>,
    pub syncs: AtomicUsize,
}

static MACHINES: Mutex<Option<HashMap<usize, &'static Machine>>> = Mutex::new(None);

impl FakeDevice {
    pub fn machine(self) -> &'static Machine {
        let mut machines = MACHINES.lock();
        machines.get_or_insert_default().entry(self.0).or_insert_with(|| Box::leak(Box::default()))
    }

    /// From now on, `fault` says of each call of this kind whether it fails.
    pub fn inject(self, verb: Verb, fault: impl FnMut(usize) -> Option<Error> + Send + 'static) {
        self.machine().faults.lock().insert(verb, Box::new(fault));
    }

    /// The calls of this kind work again.
    pub fn mend(self, verb: Verb) {
        self.machine().faults.lock().remove(&verb);
    }

    /// What kernels do from now on.
    pub fn act(self, action: impl FnMut(&str, &[Arg<'_, Buffer>]) + Send + 'static) {
        *self.machine().action.lock() = Some(Box::new(action));
    }

    /// What its library does from now on.
    pub fn has_library(self, does: impl FnMut(&Task<'_, Buffer>) -> bool + Send + 'static) {
        *self.machine().library.lock() = Some(Box::new(does));
    }

    fn at(self, verb: Verb, bytes: usize) -> Result<()> {
        let mut faults = self.machine().faults.lock();
        faults.get_mut(&verb).and_then(|fault| fault(bytes)).map_or(Ok(()), Err)
    }

    pub fn out_of_memory(self, asked: usize) -> Error {
        Error::OutOfMemory { device: self.to_string(), asked, free: None }
    }

    pub fn is_lost(self) -> Error {
        Error::DeviceLost { device: self.to_string(), why: "it fell off the bus".into() }
    }

    pub fn broken(self, why: &str) -> Error {
        Error::Backend { device: self.to_string(), why: why.into() }
    }
}

/// A part of a block.
#[derive(Debug)]
pub struct Buffer {
    memory: Arc<Block>,
    offset: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Block {
    memory: Mutex<Vec<u8>>,
    device: FakeDevice,
}

impl Drop for Block {
    fn drop(&mut self) {
        let machine = self.device.machine();
        machine.held.fetch_sub(self.memory.lock().len(), Ordering::Relaxed);
        machine.blocks.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Buffer {
    /// Its block, and where it lies in it.
    pub fn place(&self) -> (usize, std::ops::Range<usize>) {
        (Arc::as_ptr(&self.memory).addr(), self.offset..self.offset + self.bytes)
    }

    /// Its content, to be read or changed.
    pub fn with<T>(&self, offset: usize, bytes: usize, f: impl FnOnce(&mut [u8]) -> T) -> T {
        assert!(offset + bytes <= self.bytes, "{offset} + {bytes} of {}", self.bytes);
        f(&mut self.memory.memory.lock()[self.offset + offset..][..bytes])
    }
}

/// The device that computes in single precision only.
pub const WITHOUT_F64: usize = 500;
/// From this device on, kernels have binaries.
pub const WITH_BINARIES: usize = 1000;
/// From this device on, up to those with binaries, captured steps are prepared.
pub const WITH_GRAPHS: usize = 600;
pub const LARGEST: usize = 256 << 20;
pub const MEMORY: usize = 1 << 30;

impl Runtime for Fake {
    type Device = FakeDevice;
    type Buffer = Buffer;
    type Kernel = String;

    const NAME: &'static str = "Fake";

    fn opened(device: &FakeDevice) -> Result<&'static Opened<Fake>> {
        let mut opened = device.machine().opened.lock();
        if let Some(opened) = *opened {
            return Ok(opened);
        }
        device.at(Verb::Open, 0)?;
        let traits = Traits {
            name: "a fake".into(),
            driver: "fake 1.0".into(),
            dialect: Dialect::OpenCl,
            kind: DeviceKind::Gpu,
            f64: device.0 != WITHOUT_F64,
            units: 4,
            group: 64,
            largest_group: 1024,
            sub_group: None,
            vector_bytes: 16,
            local_bytes: 32 << 10,
            memory_bytes: MEMORY,
            largest_block: LARGEST,
            alignment: 128,
        };
        Ok(opened.insert(Box::leak(Box::new(Opened::new(traits)))))
    }

    fn allocate(device: &FakeDevice, bytes: usize) -> Result<Buffer> {
        device.at(Verb::Allocate, bytes)?;
        let machine = device.machine();
        machine.held.fetch_add(bytes, Ordering::Relaxed);
        machine.blocks.fetch_add(1, Ordering::Relaxed);
        let memory = Arc::new(Block { memory: Mutex::new(vec![0; bytes]), device: *device });
        Ok(Buffer { memory, offset: 0, bytes })
    }

    fn slice(_: &FakeDevice, block: &Buffer, offset: usize, bytes: usize) -> Result<Buffer> {
        assert!(block.offset == 0 && block.bytes == block.memory.memory.lock().len(), "of a whole");
        assert!(offset.is_multiple_of(128) && offset + bytes <= block.bytes);
        Ok(Buffer { memory: block.memory.clone(), offset, bytes })
    }

    fn free_bytes(_: &FakeDevice) -> Option<usize> {
        None
    }

    fn write(device: &FakeDevice, to: &Buffer, offset: usize, bytes: &[u8]) -> Result<()> {
        device.at(Verb::Write, bytes.len())?;
        to.with(offset, bytes.len(), |place| place.copy_from_slice(bytes));
        Ok(())
    }

    fn read(device: &FakeDevice, from: &Buffer, offset: usize, bytes: &mut [u8]) -> Result<()> {
        device.at(Verb::Read, bytes.len())?;
        from.with(offset, bytes.len(), |place| bytes.copy_from_slice(place));
        Ok(())
    }

    fn copy(
        _: &FakeDevice,
        from: (&Buffer, usize),
        to: (&Buffer, usize),
        bytes: usize,
    ) -> Result<()> {
        let copy = from.0.with(from.1, bytes, |place| place.to_vec());
        to.0.with(to.1, bytes, |place| place.copy_from_slice(&copy));
        Ok(())
    }

    fn compile(
        device: &FakeDevice,
        source: &str,
        entry: &str,
    ) -> Result<(String, Option<Vec<u8>>)> {
        device.at(Verb::Compile, source.len())?;
        device.machine().compiled.fetch_add(1, Ordering::Relaxed);
        let binary = || format!("binary of {entry}").into_bytes();
        Ok((entry.to_owned(), (device.0 >= WITH_BINARIES).then(binary)))
    }

    fn load(device: &FakeDevice, binary: &[u8], entry: &str) -> Result<String> {
        if binary != format!("binary of {entry}").as_bytes() {
            return Err(device.broken("not a binary"));
        }
        device.machine().loaded.fetch_add(1, Ordering::Relaxed);
        Ok(entry.to_owned())
    }

    fn launch(device: &FakeDevice, kernel: &String, launch: &Launch<'_, Buffer>) -> Result<()> {
        device.at(Verb::Launch, launch.groups * launch.group)?;
        device.machine().launched.fetch_add(1, Ordering::Relaxed);
        if let Some(action) = &mut *device.machine().action.lock() {
            action(kernel, launch.args);
        }
        Ok(())
    }

    fn prepare(
        device: &FakeDevice,
        work: &[Work<'_, Fake>],
    ) -> Result<Option<Box<dyn Prepared<Fake>>>> {
        Ok((WITH_GRAPHS..WITH_BINARIES)
            .contains(&device.0)
            .then(|| Box::new(Counted(work.len())) as _))
    }

    const LIBRARIES: bool = true;

    fn library(device: &FakeDevice, task: &Task<'_, Buffer>) -> Result<bool> {
        let mut library = device.machine().library.lock();
        Ok(library.as_mut().is_some_and(|does| does(task)))
    }

    fn time(device: &FakeDevice, work: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
        work()?;
        Ok(device.machine().times.lock().remove(0))
    }

    fn sync(device: &FakeDevice) -> Result<()> {
        device.machine().syncs.fetch_add(1, Ordering::Relaxed);
        device.at(Verb::Sync, 0)
    }
}

/// A prepared step: how many parts it has.
#[derive(Debug)]
struct Counted(usize);

impl Prepared<Fake> for Counted {
    fn run(&mut self, device: &FakeDevice, changed: &[(usize, Work<'_, Fake>)]) -> Result<()> {
        device.at(Verb::Launch, self.0)?;
        assert!(changed.iter().all(|(at, work)| *at < self.0 && matches!(work, Work::Launch(..))));
        device.machine().runs.lock().push(changed.iter().map(|(at, _)| *at).collect());
        Ok(())
    }
}
