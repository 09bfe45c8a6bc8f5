//! Captured steps. While a thread captures, [`Opened`] does what it is asked as always, and has it recorded
//! here: each kernel with its arguments, each copy. What the host wrote is kept on the device, so that a write
//! becomes a copy. A replay queues the record again.

mod recorder;
mod replay;

use std::any::Any;
use std::cell::{Cell, RefCell};

use kiln_tensor_core::graph::Replay;
use kiln_tensor_core::{Error, Result};

pub(crate) use recorder::Recorder;
pub(crate) use replay::Recorded;

use crate::{Opened, Runtime};

thread_local! {
    /// The device on which this thread captures a step: the address of its `Opened`; 0 for none.
    static ON: Cell<usize> = const { Cell::new(0) };
    /// The `Recorder` of that capture.
    static RECORDER: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

fn address<R: Runtime>(opened: &Opened<R>) -> usize {
    std::ptr::from_ref(opened).addr()
}

/// Calls `f` if this thread captures a step on the device. It must not let go of a tensor.
#[inline]
pub(crate) fn recording<R: Runtime, T>(
    opened: &Opened<R>,
    f: impl FnOnce(&mut Recorder<R>) -> T,
) -> Option<T> {
    if ON.get() != address(opened) {
        return None;
    }
    RECORDER.with_borrow_mut(|recorder| recorder.as_mut()?.downcast_mut().map(f))
}

/// Refuses what waits for the device while this thread captures a step on it.
pub(crate) fn refused<R: Runtime>(opened: &Opened<R>, device: &R::Device) -> Result<()> {
    if ON.get() != address(opened) {
        return Ok(());
    }
    let why = format!(
        "the step waits for a value of {device}, which a replay cannot act on; return the tensor from the step \
         and read it after"
    );
    Err(Error::Capture { op: "graph::capture", why })
}

/// See `Backend::capture`.
pub(crate) fn capture<R: Runtime>(
    device: &R::Device,
    step: &mut dyn FnMut(),
) -> Result<Box<dyn Replay>> {
    let opened = R::opened(device)?;
    let recording = Recording::begin(Recorder::new(opened), opened);
    step();
    let recorder = recording.end::<R>();
    Ok(Box::new(opened.prepared(device, *recorder)?))
}

/// This thread records until it is dropped.
struct Recording(());

impl Recording {
    fn begin<R: Runtime>(recorder: Recorder<R>, opened: &'static Opened<R>) -> Self {
        debug_assert_eq!(ON.get(), 0, "`graph::capture` of tensor-core refuses this");
        RECORDER.set(Some(Box::new(recorder)));
        ON.set(address(opened));
        Recording(())
    }

    fn end<R: Runtime>(self) -> Box<Recorder<R>> {
        ON.set(0);
        let recorder = RECORDER.take().expect("it was put there");
        recorder.downcast().expect("it was one of this driver")
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        ON.set(0);
        drop(RECORDER.take());
    }
}
