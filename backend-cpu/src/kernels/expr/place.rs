//! Where the elements of a program's inputs and outputs are.

use std::ops::Range;

use smallvec::SmallVec;

use super::block::Job;
use crate::kernels::strides::{advance, locate, pieces};

/// Where a program's input comes from, or its output goes to.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    /// Where element 0 lies.
    pub(crate) base: *mut u8,
    /// Bytes of an element.
    pub(crate) size: usize,
    pub(crate) place: Place,
}

impl Operand {
    /// Where the element lies that is so many elements from the first.
    pub(super) fn at(&self, distance: isize) -> *mut u8 {
        self.base.wrapping_offset(distance * self.size as isize)
    }
}

// SAFETY: threads that share an operand read it, or write elements that are each their own.
unsafe impl Send for Operand {}
// SAFETY: as above.
unsafe impl Sync for Operand {}

/// How an operand's elements lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// In row-major order without gaps.
    Flat,
    /// One element stands for all.
    One,
    /// By strides, in elements, over the sizes that the runner was given.
    Strided(SmallVec<[isize; 6]>),
    /// Nowhere: the caller takes each block from `Runner::result`.
    Kept,
}

/// The row of the last dim that a runner is in, and where it starts in each strided input.
#[derive(Default)]
pub(super) struct Row {
    pub(super) elements: Range<usize>,
    position: SmallVec<[usize; 6]>,
    pub(super) starts: SmallVec<[isize; 4]>,
}

impl Row {
    /// Goes to the row of element `at`.
    pub(super) fn seek(&mut self, job: &Job<'_>, at: usize) {
        let Some((&len, outer)) = job.sizes.split_last() else { return };
        let next = self.elements.end == at && !self.elements.is_empty();
        self.elements = at / len * len..(at / len + 1) * len;
        if next {
            advance(outer, &mut self.position[..outer.len()], |d, by| {
                for (start, input) in self.starts.iter_mut().zip(job.inputs) {
                    if let Place::Strided(strides) = &input.place {
                        *start += by * strides[d];
                    }
                }
            });
            return;
        }
        self.starts.clear();
        for input in job.inputs {
            let start = match &input.place {
                Place::Strided(strides) => {
                    let (start, position) = locate(job.sizes, strides, self.elements.start);
                    self.position = position;
                    start
                }
                _ => 0,
            };
            self.starts.push(start);
        }
    }
}

/// Writes staged elements to an output.
///
/// # Safety
/// The output has the elements of this range, and nobody else uses them now.
pub(super) unsafe fn put(
    output: &Operand,
    sizes: &[usize],
    from: *const u8,
    start: usize,
    len: usize,
) {
    let size = output.size;
    match &output.place {
        Place::Kept => {}
        Place::Flat | Place::One => {
            let to = output.base.wrapping_add(start * size);
            // SAFETY: by the caller's word.
            unsafe { from.copy_to_nonoverlapping(to, len * size) }
        }
        Place::Strided(strides) => {
            let inner = *strides.last().expect("a strided operand has dims");
            pieces(sizes, strides, start, len, |distance, first, count| {
                let to = output.at(distance);
                let from = from.wrapping_add(first * size);
                // SAFETY: by the caller's word.
                unsafe { copy_strided(from, 1, to, inner, size, count) }
            });
        }
    }
}

/// Copies `count` elements of `size` bytes between places that step by so many elements.
///
/// # Safety
/// All these elements exist, and the places do not overlap.
pub(super) unsafe fn copy_strided(
    from: *const u8,
    from_step: isize,
    to: *mut u8,
    to_step: isize,
    size: usize,
    count: usize,
) {
    /// # Safety
    /// As above.
    #[inline(always)]
    unsafe fn copy<T: Copy>(from: *const u8, fs: isize, to: *mut u8, ts: isize, count: usize) {
        let (from, to) = (from.cast::<T>(), to.cast::<T>());
        for i in 0..count as isize {
            // SAFETY: by the caller's word.
            unsafe { to.wrapping_offset(i * ts).write(from.wrapping_offset(i * fs).read()) }
        }
    }
    // SAFETY: by the caller's word; elements are aligned to their size.
    unsafe {
        match size {
            8 => copy::<u64>(from, from_step, to, to_step, count),
            4 => copy::<u32>(from, from_step, to, to_step, count),
            2 => copy::<u16>(from, from_step, to, to_step, count),
            _ => copy::<u8>(from, from_step, to, to_step, count),
        }
    }
}

/// Writes one element `count` times.
///
/// # Safety
/// The element exists, and there is room for the copies.
pub(super) unsafe fn fill(from: *const u8, size: usize, to: *mut u8, count: usize) {
    // SAFETY: by the caller's word.
    unsafe { copy_strided(from, 0, to, 1, size, count) }
}
