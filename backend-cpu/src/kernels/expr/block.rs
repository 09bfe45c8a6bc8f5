//! Feeding blocks of operands through a program.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Range;

use smallvec::SmallVec;

use super::place::{Operand, Place, Row, copy_strided, fill, put};
use super::program::{Program, Splat};
use super::{BLOCK, Frame, Register};
use crate::kernels::simd::GROUP;
use crate::kernels::strides::{locate, pieces};

/// What all threads share of one run of a program.
pub(crate) struct Job<'a> {
    pub(crate) program: &'a Program,
    pub(crate) sizes: &'a [usize],
    pub(crate) inputs: &'a [Operand],
    pub(crate) outputs: &'a [Operand],
    /// Outputs that are also inputs which the program still reads after writing, as bits.
    pub(crate) aside: u64,
    pub(crate) splats: &'a [Splat],
    pub(crate) numbers: &'a [u64],
}

// SAFETY: what it refers to is shared for reading.
unsafe impl Sync for Job<'_> {}

/// A thread's registers.
pub(crate) struct Runner<'a> {
    job: &'a Job<'a>,
    registers: SmallVec<[Register; 16]>,
    scratch: *mut u8,
    /// Inputs whose elements the caller has placed, as bits.
    placed: u64,
    row: Row,
}

/// Bytes of a staged block.
const STAGE: usize = BLOCK * 8;

thread_local! {
    static SCRATCH: RefCell<Vec<[u64; 8]>> = const { RefCell::new(Vec::new()) };
}

/// Lends so many bytes of the thread's scratch memory, aligned to eight bytes.
pub(crate) fn with_scratch<R>(bytes: usize, f: impl FnOnce(*mut u8) -> R) -> R {
    // Taken out while in use, so that a nested call gets its own.
    let mut memory = SCRATCH.take();
    let lines = bytes.div_ceil(64);
    if memory.len() < lines {
        memory.resize(lines, [0; 8]);
    }
    let result = f(memory.as_mut_ptr().cast());
    SCRATCH.set(memory);
    result
}

impl<'a> Job<'a> {
    /// Bytes of scratch memory that a runner needs.
    fn scratch(&self) -> usize {
        let staged = self.program.inputs + self.program.outputs.len();
        staged * STAGE + self.program.temporaries * self.program.slot
    }

    /// Runs `f` with this thread's runner.
    pub(crate) fn with_runner<R>(&'a self, f: impl FnOnce(&mut Runner<'a>) -> R) -> R {
        // A runner starts its registers at a line of the cache where the memory allows it.
        with_scratch(self.scratch() + 64, |memory| {
            let scratch = memory.wrapping_add(memory.align_offset(64));
            f(&mut Runner::new(self, scratch))
        })
    }

    /// Computes elements `start..end` on this thread.
    pub(crate) fn run(&self, start: usize, end: usize) {
        if self.copy_rows(start, end) {
            return;
        }
        let row = self.row();
        self.with_runner(|runner| {
            let mut at = start;
            while at < end {
                let mut len = BLOCK.min(end - at);
                if let Some(row) = row {
                    len = len.min(row - at % row);
                }
                runner.block(at, len);
                at += len;
            }
        });
    }

    /// Copies elements `start..end` row by row. `false`, and nothing done, if the program does not hand
    /// its input through, or if the elements of rows do not lie side by side.
    fn copy_rows(&self, start: usize, end: usize) -> bool {
        let ([input], [output]) = (self.inputs, self.outputs) else { return false };
        let Place::Strided(strides) = &input.place else { return false };
        let rows = strides.last() == Some(&1) && output.place == Place::Flat;
        if !self.program.hands_through || !rows || self.aside != 0 || input.size != output.size {
            return false;
        }
        let to = output.base.wrapping_add(start * output.size);
        pieces(self.sizes, strides, start, end - start, |distance, first, count| {
            let to = to.wrapping_add(first * output.size);
            // SAFETY: the layouts name these elements; the output's in this range are the caller's.
            unsafe { input.at(distance).copy_to_nonoverlapping(to, count * input.size) };
        });
        true
    }

    /// Where element `start` lies, if the program hands its input through and the input's elements
    /// lie side by side along the last dim.
    pub(crate) fn direct(&self, start: usize) -> Option<*const u8> {
        let input = self.inputs.first().filter(|_| self.program.hands_through)?;
        let distance = match &input.place {
            Place::Flat => start as isize,
            Place::Strided(strides) if strides.last() == Some(&1) => {
                locate(self.sizes, strides, start).0
            }
            _ => return None,
        };
        Some(input.at(distance))
    }

    /// The length of rows where blocks should end with them: long ones of strided operands.
    fn row(&self) -> Option<usize> {
        let strided = |x: &Operand| matches!(x.place, Place::Strided(_));
        let row = *self.sizes.last()?;
        let any = self.inputs.iter().any(strided) || self.outputs.iter().any(strided);
        (any && row >= BLOCK / 4).then_some(row)
    }
}

impl<'a> Runner<'a> {
    fn new(job: &'a Job<'a>, scratch: *mut u8) -> Self {
        let program = job.program;
        let slots = program.inputs + program.outputs.len();
        let registers = SmallVec::new();
        let mut runner = Runner { job, registers, scratch, placed: 0, row: Row::default() };
        for k in 0..slots {
            runner.registers.push(Register { ptr: runner.stage(k), step: 1 });
        }
        for (k, input) in job.inputs.iter().enumerate().filter(|(_, x)| x.place == Place::One) {
            // SAFETY: the operand has an element, the stage room for sixteen.
            unsafe { fill(input.base, input.size, runner.stage(k), GROUP) };
            runner.registers[k].step = 0;
        }
        let splats = program.constants.iter().chain(job.splats);
        let fixed = splats.map(|splat| Register { ptr: splat.as_ptr().cast_mut().cast(), step: 0 });
        runner.registers.extend(fixed);
        let temporaries = scratch.wrapping_add(slots * STAGE);
        for k in 0..program.temporaries {
            let ptr = temporaries.wrapping_add(k * program.slot);
            runner.registers.push(Register { ptr, step: 1 });
        }
        runner
    }

    fn stage(&self, slot: usize) -> *mut u8 {
        self.scratch.wrapping_add(slot * STAGE)
    }

    /// Places the elements of a strided input for the next block, side by side and with room for
    /// [`BLOCK`]. From the first time on, the caller does so for each block.
    pub(crate) fn place(&mut self, input: usize, elements: *mut u8) {
        self.placed |= 1 << input;
        self.registers[input] = Register { ptr: elements, step: 1 };
    }

    /// Computes elements `start..start + len`, at most [`BLOCK`].
    #[inline]
    pub(crate) fn block(&mut self, start: usize, len: usize) {
        let job = self.job;
        let program = job.program;
        let padded = len.next_multiple_of(GROUP);
        for (k, input) in job.inputs.iter().enumerate() {
            self.registers[k] = match &input.place {
                Place::Flat => {
                    let ptr = input.base.wrapping_add(start * input.size);
                    Register { ptr: self.whole(k, ptr, len * input.size, padded == len), step: 1 }
                }
                Place::Strided(_) if self.placed >> k & 1 == 1 => continue,
                Place::Strided(strides) => self.gathered(k, input, strides, start, len),
                Place::One | Place::Kept => continue,
            };
        }
        if program.hands_through
            && job.outputs[0].place == Place::Kept
            && self.registers[0].step == 1
        {
            self.registers[program.inputs] = self.registers[0];
            return;
        }
        for (o, output) in job.outputs.iter().enumerate() {
            let direct = output.place == Place::Flat && padded == len && job.aside >> o & 1 == 0;
            self.registers[program.inputs + o].ptr = if direct {
                output.base.wrapping_add(start * output.size)
            } else {
                self.stage(program.inputs + o)
            };
        }
        let registers = &self.registers;
        let frame = Frame { registers, len: padded, index: start, numbers: job.numbers };
        for step in &program.steps {
            // SAFETY: the registers have the types and lengths that the program was translated for:
            // operands hold `len` elements, or are staged in scratch memory for `padded`.
            unsafe { (step.run)(&frame, step) };
        }
        for (o, output) in job.outputs.iter().enumerate() {
            let from = self.stage(program.inputs + o);
            if self.registers[program.inputs + o].ptr == from {
                // SAFETY: the output's elements in this range are this block's.
                unsafe { put(output, job.sizes, from, start, len) };
            }
        }
    }

    /// Elements that lie side by side: where they are, or staged if a vector would read past them.
    #[inline]
    fn whole(&self, slot: usize, ptr: *mut u8, bytes: usize, in_place: bool) -> *mut u8 {
        if in_place {
            return ptr;
        }
        let stage = self.stage(slot);
        // SAFETY: the operand has these bytes, and the stage room for a block.
        unsafe { ptr.copy_to_nonoverlapping(stage, bytes) };
        stage
    }

    /// Elements by strides, side by side.
    fn gathered(
        &mut self,
        slot: usize,
        input: &Operand,
        strides: &[isize],
        start: usize,
        len: usize,
    ) -> Register {
        let sizes = self.job.sizes;
        let inner = *strides.last().expect("a strided operand has dims");
        let stage = self.stage(slot);
        let fits = |row: &Range<usize>| row.contains(&start) && start + len <= row.end;
        if !fits(&self.row.elements) {
            self.row.seek(self.job, start);
        }
        if !fits(&self.row.elements) {
            pieces(sizes, strides, start, len, |distance, first, count| {
                let from = input.at(distance);
                let to = stage.wrapping_add(first * input.size);
                // SAFETY: the layout names these elements; the stage has room for a block.
                unsafe { copy_strided(from, inner, to, 1, input.size, count) }
            });
            return Register { ptr: stage, step: 1 };
        }
        let inside = (start - self.row.elements.start) as isize;
        let from = input.at(self.row.starts[slot] + inside * inner);
        match inner {
            1 => {
                let ptr = self.whole(slot, from, len * input.size, len.is_multiple_of(GROUP));
                Register { ptr, step: 1 }
            }
            0 => {
                // SAFETY: the element exists; the stage has room for a block.
                unsafe { fill(from, input.size, stage, GROUP) };
                Register { ptr: stage, step: 0 }
            }
            _ => {
                // SAFETY: the layout names these elements; the stage has room for a block.
                unsafe { copy_strided(from, inner, stage, 1, input.size, len) };
                Register { ptr: stage, step: 1 }
            }
        }
    }

    /// The elements of the last block of an output that is kept.
    pub(crate) fn result(&self, output: usize) -> *const u8 {
        self.registers[self.job.program.inputs + output].ptr
    }
}

impl Program {
    /// Computes one output of `len` elements, at most [`BLOCK`], from inputs that lie side by side,
    /// each given with the bytes of an element. `false`, and nothing done, if the program is larger
    /// than the places set aside here.
    #[inline]
    pub(crate) fn run_few(
        &self,
        inputs: [Option<(*const u8, usize)>; 3],
        (output, size): (*mut u8, usize),
        len: usize,
    ) -> bool {
        let needed = self.inputs + 1 + self.constants.len() + self.temporaries;
        if needed > FEW {
            return false;
        }
        let padded = len.next_multiple_of(GROUP);
        if padded == GROUP {
            let mut scratch = MaybeUninit::<[Line; FEW]>::uninit();
            let stage = Stage { memory: scratch.as_mut_ptr().cast(), bytes: size_of::<Line>() };
            for k in 0..self.inputs {
                // SAFETY: a stage has these bytes. Steps also read the elements that pad a line.
                unsafe { stage.at(k).write_bytes(0, size_of::<Line>()) };
            }
            self.run_staged(inputs, (output, size), len, stage);
        } else {
            with_scratch(FEW * STAGE + 64, |memory| {
                let memory = memory.wrapping_add(memory.align_offset(64));
                self.run_staged(inputs, (output, size), len, Stage { memory, bytes: STAGE });
            });
        }
        true
    }

    #[inline]
    fn run_staged(
        &self,
        inputs: [Option<(*const u8, usize)>; 3],
        (output, size): (*mut u8, usize),
        len: usize,
        stage: Stage,
    ) {
        let slots = self.inputs + 1;
        let padded = len.next_multiple_of(GROUP);
        let mut registers = [Register { ptr: output, step: 1 }; FEW];
        for (k, (from, size)) in inputs.into_iter().flatten().enumerate() {
            registers[k].ptr = if padded == len {
                from.cast_mut()
            } else {
                // SAFETY: the input has these bytes, and the stage room for them.
                unsafe { few_bytes(from, stage.at(k), len * size) };
                stage.at(k)
            };
        }
        if padded != len {
            registers[self.inputs].ptr = stage.at(self.inputs);
        }
        let (fixed, free) = registers[slots..].split_at_mut(self.constants.len());
        for (register, splat) in fixed.iter_mut().zip(&self.constants) {
            *register = Register { ptr: splat.as_ptr().cast_mut().cast(), step: 0 };
        }
        for (k, register) in free.iter_mut().take(self.temporaries).enumerate() {
            register.ptr = stage.at(slots + k);
        }
        let frame = Frame { registers: &registers, len: padded, index: 0, numbers: &[] };
        for step in &self.steps {
            // SAFETY: as in `Runner::block`.
            unsafe { (step.run)(&frame, step) };
        }
        if padded != len {
            // SAFETY: the output has these bytes, and nobody else uses them now.
            unsafe { few_bytes(stage.at(self.inputs), output, len * size) };
        }
    }
}

/// Registers of a program that `run_few` takes.
const FEW: usize = 12;

/// Sixteen elements of any type.
#[repr(align(64))]
struct Line(#[allow(dead_code, reason = "room only")] [u64; GROUP]);

/// Room for the elements of some registers.
#[derive(Clone, Copy)]
struct Stage {
    memory: *mut u8,
    /// Bytes of one.
    bytes: usize,
}

impl Stage {
    fn at(self, slot: usize) -> *mut u8 {
        self.memory.wrapping_add(slot * self.bytes)
    }
}

/// Copies bytes; quick for a single element.
///
/// # Safety
/// Both places have these bytes and do not overlap.
#[inline(always)]
unsafe fn few_bytes(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: by the caller's word.
    unsafe {
        match bytes {
            4 => from.copy_to_nonoverlapping(to, 4),
            8 => from.copy_to_nonoverlapping(to, 8),
            _ => from.copy_to_nonoverlapping(to, bytes),
        }
    }
}
