//! Copies between the host's plain memory and a device, through pinned memory that the device reads and writes by
//! itself: the host fills one part while the device empties another.

use std::ffi::{c_uint, c_void};
use std::ptr;

use kiln_cuda_shim as cu;
use kiln_cuda_shim::{CUdeviceptr, Handle};
use kiln_tensor_core::Result;

use super::open::Open;

/// Bytes of a part.
const PART: usize = 4 << 20;
const PARTS: usize = 4;
/// The driver copies so few bytes into memory of its own before it returns.
pub(super) const SMALL: usize = 64 << 10;
/// `CU_EVENT_DISABLE_TIMING`.
const NO_TIMING: c_uint = 2;

/// Pinned memory of a device, made at the first large copy.
#[derive(Debug, Default)]
pub(crate) struct Staging {
    parts: Vec<Part>,
    next: usize,
}

/// A part of it. Handles are kept as numbers; they live to the end of the process.
#[derive(Debug)]
struct Part {
    memory: usize,
    /// Recorded behind the copy that uses the part.
    event: usize,
}

impl Part {
    fn new(open: &Open) -> Result<Part> {
        let (mut memory, mut event): (*mut c_void, Handle) = (ptr::null_mut(), ptr::null_mut());
        // SAFETY: pointers to what the functions fill.
        unsafe {
            let made = cu::cuMemHostAlloc(&mut memory, PART, 0);
            open.check_memory("cuMemHostAlloc", made, PART)?;
            let made = cu::cuEventCreate(&mut event, NO_TIMING);
            if !made.is_success() {
                let _ = cu::cuMemFreeHost(memory);
            }
            open.check("cuEventCreate", made)?;
        }
        Ok(Part { memory: memory as usize, event: event as usize })
    }

    fn address(&self) -> *mut u8 {
        self.memory as *mut u8
    }

    /// Waits until the part may be used again.
    fn wait(&self, open: &Open) -> Result<()> {
        // SAFETY: the event lives; one that was never recorded counts as done.
        open.check("copy", unsafe { cu::cuEventSynchronize(self.event as Handle) })
    }

    fn record(&self, open: &Open, stream: Handle) -> Result<()> {
        // SAFETY: event and stream live.
        open.check("cuEventRecord", unsafe { cu::cuEventRecord(self.event as Handle, stream) })
    }
}

impl Staging {
    /// The next part in turn, which no copy uses any more.
    fn part(&mut self, open: &Open) -> Result<&Part> {
        let at = self.next % PARTS;
        if at == self.parts.len() {
            self.parts.push(Part::new(open)?);
        }
        self.next += 1;
        self.parts[at].wait(open)?;
        Ok(&self.parts[at])
    }

    /// Queues a copy to the device; all of `bytes` is read when this returns.
    pub(super) fn write(&mut self, open: &Open, to: CUdeviceptr, bytes: &[u8]) -> Result<()> {
        let stream = open.stream()?;
        for (number, piece) in bytes.chunks(PART).enumerate() {
            let part = self.part(open)?;
            // SAFETY: a part has room for a piece, and nothing else uses it now; the caller has checked that
            // the device's memory has all of these bytes.
            let queued = unsafe {
                part.address().copy_from_nonoverlapping(piece.as_ptr(), piece.len());
                let to = to + (number * PART) as CUdeviceptr;
                cu::cuMemcpyHtoDAsync(to, part.address().cast(), piece.len(), stream)
            };
            open.check("copy to the device", queued)?;
            part.record(open, stream)?;
        }
        Ok(())
    }

    /// Copies from the device, after all that was queued before.
    pub(super) fn read(&mut self, open: &Open, from: CUdeviceptr, bytes: &mut [u8]) -> Result<()> {
        let stream = open.stream()?;
        // So many pieces are under way before the first is taken out.
        let ahead = PARTS - 1;
        let mut under_way = std::collections::VecDeque::with_capacity(PARTS);
        for (number, piece) in bytes.chunks_mut(PART).enumerate() {
            let part = self.part(open)?;
            // SAFETY: a part has room for a piece, and nothing else uses it now; the caller has checked that
            // the device's memory has all of these bytes.
            let queued = unsafe {
                let from = from + (number * PART) as CUdeviceptr;
                cu::cuMemcpyDtoHAsync(part.address().cast(), from, piece.len(), stream)
            };
            open.check("copy from the device", queued)?;
            part.record(open, stream)?;
            under_way.push_back(((self.next - 1) % PARTS, piece));
            if under_way.len() == ahead {
                self.take(open, under_way.pop_front())?;
            }
        }
        while let Some(first) = under_way.pop_front() {
            self.take(open, Some(first))?;
        }
        Ok(())
    }

    /// Waits for a piece and takes it out of its part.
    fn take(&self, open: &Open, piece: Option<(usize, &mut [u8])>) -> Result<()> {
        let Some((at, piece)) = piece else { return Ok(()) };
        let part = &self.parts[at];
        part.wait(open)?;
        // SAFETY: the device has written the piece, and is done with the part.
        unsafe { piece.as_mut_ptr().copy_from_nonoverlapping(part.address(), piece.len()) };
        Ok(())
    }
}
