//! Indices that are out of range, which kernels find when they run: reported when somebody waits for the
//! device, with the place of the call.
//!
//! A kernel writes the first one of a call to the call's place in a buffer of the device: `FAULTS` and
//! `FAULT` of the prelude. Whoever reads a value next looks there. The error goes to the thread that called,
//! at its next read or sync, so that one request of a server does not end another; if that thread has ended,
//! to whoever comes next.

use std::panic::Location;
use std::sync::{Arc, Weak};

use kiln_tensor_core::{Error, Result, Shape};
use parking_lot::Mutex;

use crate::Runtime;

/// So many calls may wait for a look at the buffer; the next one looks.
const MOST: usize = 1024;
/// `Fault` of the prelude: whether there is one, and the index.
const BYTES: usize = 16;

thread_local! {
    /// Lives as long as the thread.
    static THREAD: Arc<()> = Arc::new(());
}

/// The calls of a device whose indices are watched.
#[derive(Debug)]
pub(crate) struct Faults<R: Runtime>(Mutex<Pending<R>>);

#[derive(Debug)]
struct Pending<R: Runtime> {
    buffer: Option<R::Buffer>,
    /// Since the last look.
    calls: Vec<(Watch, Weak<()>)>,
    /// Found, and not told yet: the first of each thread.
    found: Vec<(Error, Weak<()>)>,
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
        Faults(Mutex::new(Pending { buffer: None, calls: Vec::new(), found: Vec::new() }))
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
            let buffer = R::allocate(device, MOST * BYTES)?;
            R::write(device, &buffer, 0, &[0; MOST * BYTES])?;
            pending.buffer = Some(buffer);
        }
        let number = pending.calls.len() as i64;
        pending.calls.push((watch, THREAD.with(Arc::downgrade)));
        launch(pending.buffer.as_ref().expect("made above"), number)
    }

    /// The first fault of this thread's calls so far, all of which the device has done.
    pub(crate) fn check(&self, device: &R::Device) -> Result<()> {
        let mut pending = self.0.lock();
        pending.look(device)?;
        let mine = |thread: &Weak<()>| {
            thread.strong_count() == 0 || THREAD.with(|own| thread.as_ptr() == Arc::as_ptr(own))
        };
        match pending.found.iter().position(|(_, thread)| mine(thread)) {
            Some(at) => Err(pending.found.remove(at).0),
            None => Ok(()),
        }
    }
}

impl<R: Runtime> Pending<R> {
    fn look(&mut self, device: &R::Device) -> Result<()> {
        let Some(buffer) = self.buffer.as_ref().filter(|_| !self.calls.is_empty()) else {
            return Ok(());
        };
        let mut bytes = vec![0; self.calls.len() * BYTES];
        R::read(device, buffer, 0, &mut bytes)?;
        if bytes.iter().any(|&byte| byte != 0) {
            R::write(device, buffer, 0, &vec![0; bytes.len()])?;
        }
        for ((watch, thread), fault) in self.calls.drain(..).zip(bytes.chunks_exact(BYTES)) {
            let first = !self.found.iter().any(|(_, known)| known.ptr_eq(&thread));
            if fault[..4] != [0; 4] && first {
                let index = i64::from_ne_bytes(fault[8..].try_into().expect("eight of the bytes"));
                let Watch { op, size, shape, at } = watch;
                let called = Some(at);
                let error = Error::Index { op, what: "index", index, size, shape, called };
                self.found.push((error, thread));
            }
        }
        Ok(())
    }
}
