//! Indices that are out of range, which kernels find when they run: reported when somebody waits for the
//! device, with the place of the call.
//!
//! Kernels write the first one to a buffer of the device. `FAULTS` and `FAULT` of the prelude do so.

use std::panic::Location;

use kiln_tensor_core::{Error, Result, Shape};
use parking_lot::Mutex;

use crate::Runtime;

/// So many calls may wait for a look at the buffer; the next one looks.
const MOST: usize = 4096;
/// `Fault` of the prelude: whether there is one, the number of the call, the index.
const BYTES: usize = 24;

/// The calls since the last look whose indices are watched.
#[derive(Debug)]
pub(crate) struct Faults<R: Runtime>(Mutex<Pending<R>>);

#[derive(Debug)]
struct Pending<R: Runtime> {
    buffer: Option<R::Buffer>,
    calls: Vec<Watch>,
}

/// What an error says about a call.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) op: &'static str,
    pub(crate) size: usize,
    pub(crate) shape: Shape,
    pub(crate) at: &'static Location<'static>,
}

impl<R: Runtime> Faults<R> {
    pub(crate) fn new() -> Self {
        Faults(Mutex::new(Pending { buffer: None, calls: Vec::new() }))
    }

    /// Queues a call by `launch`, which gets the buffer and the call's number. The lock is held so long, so
    /// that whoever looks finds the calls that it knows of queued before.
    pub(crate) fn watched(
        &self,
        device: &R::Device,
        watch: Watch,
        launch: impl FnOnce(&R::Buffer, i64) -> Result<()>,
    ) -> Result<()> {
        let mut pending = self.0.lock();
        if pending.calls.len() >= MOST {
            pending.look(device)?;
        }
        if pending.buffer.is_none() {
            let buffer = R::allocate(device, BYTES)?;
            R::write(device, &buffer, 0, &[0; BYTES])?;
            pending.buffer = Some(buffer);
        }
        let number = pending.calls.len() as i64;
        pending.calls.push(watch);
        launch(pending.buffer.as_ref().expect("made above"), number)
    }

    /// The first fault of the calls so far, all of which the device has done.
    pub(crate) fn check(&self, device: &R::Device) -> Result<()> {
        self.0.lock().look(device)
    }
}

impl<R: Runtime> Pending<R> {
    fn look(&mut self, device: &R::Device) -> Result<()> {
        let Some(buffer) = self.buffer.as_ref().filter(|_| !self.calls.is_empty()) else {
            return Ok(());
        };
        let mut bytes = [0; BYTES];
        R::read(device, buffer, 0, &mut bytes)?;
        let number = |at: usize| {
            i64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight of the bytes"))
        };
        let fault = bytes[..4] != [0; 4];
        if fault {
            R::write(device, buffer, 0, &[0; BYTES])?;
        }
        let calls = std::mem::take(&mut self.calls);
        if !fault {
            return Ok(());
        }
        let call = usize::try_from(number(8)).ok().and_then(|call| calls.into_iter().nth(call));
        let Some(Watch { op, size, shape, at }) = call else {
            let why =
                format!("an index {} is out of range, in a call that is not known", number(16));
            return Err(Error::Backend { device: device.to_string(), why });
        };
        let index = number(16);
        Err(Error::Index { op, what: "index", index, size, shape, called: Some(at) })
    }
}
