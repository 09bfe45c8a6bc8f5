//! Times, as the device takes them.

use std::ptr;
use std::time::Duration;

use kiln_cuda_shim as cu;
use kiln_cuda_shim::Handle;
use kiln_tensor_core::Result;

use super::open::Open;

/// A place in the queue whose time is kept; destroyed when dropped.
struct Event(Handle);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event lives, and nobody asks for it any more.
        let _ = unsafe { cu::cuEventDestroy(self.0) };
    }
}

impl Event {
    fn new(open: &Open) -> Result<Event> {
        open.stream()?;
        let mut event = ptr::null_mut();
        // SAFETY: a pointer to a handle; the device's context is current.
        open.check("cuEventCreate", unsafe { cu::cuEventCreate(&mut event, 0) })?;
        Ok(Event(event))
    }

    fn record(&self, open: &Open) -> Result<()> {
        let stream = open.stream()?;
        // SAFETY: event and stream live.
        open.check("cuEventRecord", unsafe { cu::cuEventRecord(self.0, stream) })
    }
}

/// How long the device takes for what `work` queues.
pub(super) fn time(open: &Open, work: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
    let (start, end) = (Event::new(open)?, Event::new(open)?);
    start.record(open)?;
    work()?;
    end.record(open)?;
    let mut milliseconds = 0.0;
    // SAFETY: both events are recorded; a pointer to a number.
    unsafe {
        open.check("cuEventSynchronize", cu::cuEventSynchronize(end.0))?;
        let asked = cu::cuEventElapsedTime(&mut milliseconds, start.0, end.0);
        open.check("cuEventElapsedTime", asked)?;
    }
    Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1000.0))
}
