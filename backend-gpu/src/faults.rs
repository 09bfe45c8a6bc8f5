//! Indices that are out of range, which kernels find when they run: reported when somebody waits for the
//! device, with the place of the call. And, where accesses are checked, elements that are not there.
//!
//! A kernel writes the first one of a call to the call's place in a buffer of the device: `FAULTS` and
//! `FAULT` of the prelude. Whoever reads a value next looks there. The error goes to the thread that called,
//! at its next read or sync, so that one request of a server does not end another; if that thread has ended,
//! to whoever comes next.

use std::panic::Location;
use std::sync::{Arc, Weak};

use bytemuck::{Pod, Zeroable};
use kiln_tensor_core::{Device, Error, Result, Shape};
use parking_lot::Mutex;

use crate::Runtime;

/// So many calls may wait for a look at the buffer; the next one looks.
const MOST: usize = 1024;
/// `Fault` of the prelude.
const BYTES: usize = size_of::<Fault>();

/// What a kernel reports.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Fault {
    taken: i32,
    /// An index of the user's, or an element that a kernel has no business with.
    kind: i32,
    index: i64,
    /// How many elements there are.
    size: i64,
}

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
    /// Captured steps that were replayed since then, each once.
    replays: Vec<(Arc<Fixed<R>>, Weak<()>)>,
    /// Found, and not told yet: the first of each thread.
    found: Vec<(Error, Weak<()>)>,
}

/// What an error says about a call.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) op: &'static str,
    /// What an index is called.
    pub(crate) what: &'static str,
    pub(crate) size: usize,
    pub(crate) shape: Shape,
    pub(crate) at: &'static Location<'static>,
}

/// Where the calls of a captured step report: the same place at each replay.
#[derive(Debug)]
pub(crate) struct Fixed<R: Runtime> {
    buffer: Arc<R::Buffer>,
    watches: Vec<Watch>,
}

impl<R: Runtime> Fixed<R> {
    /// Places for the calls of these watches, in order; there is one at least.
    pub(crate) fn new(device: &R::Device, watches: Vec<Watch>) -> Result<Arc<Self>> {
        let buffer = R::allocate(device, watches.len() * BYTES)?;
        R::write(device, &buffer, 0, &vec![0; watches.len() * BYTES])?;
        Ok(Arc::new(Fixed { buffer: Arc::new(buffer), watches }))
    }

    pub(crate) fn buffer(&self) -> &Arc<R::Buffer> {
        &self.buffer
    }
}

impl<R: Runtime> Faults<R> {
    pub(crate) fn new() -> Self {
        let (calls, replays, found) = (Vec::new(), Vec::new(), Vec::new());
        Faults(Mutex::new(Pending { buffer: None, calls, replays, found }))
    }

    /// Queues a captured step by `queue`, with the lock held as in `watched`.
    pub(crate) fn replayed<T>(
        &self,
        fixed: &Arc<Fixed<R>>,
        queue: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let mut pending = self.0.lock();
        if !pending.replays.iter().any(|(known, _)| Arc::ptr_eq(known, fixed)) {
            pending.replays.push((fixed.clone(), THREAD.with(Arc::downgrade)));
        }
        queue()
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
        if let Some(buffer) = self.buffer.as_ref().filter(|_| !self.calls.is_empty()) {
            let faults = taken::<R>(device, buffer, self.calls.len())?;
            for ((watch, thread), fault) in self.calls.drain(..).zip(faults) {
                self.found.extend(
                    fault.and_then(|fault| first(&self.found, device, fault, watch, thread)),
                );
            }
        }
        for (fixed, thread) in std::mem::take(&mut self.replays) {
            let faults = taken::<R>(device, &fixed.buffer, fixed.watches.len())?;
            for (watch, fault) in fixed.watches.iter().zip(faults) {
                let (watch, thread) = (watch.clone(), thread.clone());
                self.found.extend(
                    fault.and_then(|fault| first(&self.found, device, fault, watch, thread)),
                );
            }
        }
        Ok(())
    }
}

/// What so many calls have reported in a buffer, which is cleared.
fn taken<R: Runtime>(
    device: &R::Device,
    buffer: &R::Buffer,
    calls: usize,
) -> Result<Vec<Option<Fault>>> {
    let mut faults = vec![Fault::zeroed(); calls];
    R::read(device, buffer, 0, bytemuck::cast_slice_mut(&mut faults))?;
    if faults.iter().any(|fault| fault.taken != 0) {
        R::write(device, buffer, 0, &vec![0; calls * BYTES])?;
    }
    Ok(faults.into_iter().map(|fault| (fault.taken != 0).then_some(fault)).collect())
}

/// The error of a call, if none of its thread's calls before has one.
fn first(
    found: &[(Error, Weak<()>)],
    device: &impl Device,
    fault: Fault,
    watch: Watch,
    thread: Weak<()>,
) -> Option<(Error, Weak<()>)> {
    let Fault { kind, index, size, .. } = fault;
    let error = match kind {
        0 => {
            let Watch { op, what, size, shape, at } = watch;
            Error::Index { op, what, index, size, shape, called: Some(at) }
        }
        _ => Error::KernelFailed {
            device: device.to_string(),
            kernel: watch.op.to_owned(),
            why: format!("it asks for element {index} of {size}; called at {}", watch.at),
        },
    };
    (!found.iter().any(|(_, known)| known.ptr_eq(&thread))).then_some((error, thread))
}
