//! Operands that lie the other way round: rows of the result are computed in groups, whose elements of
//! such an operand are turned first, so that memory is read along its lines.

use smallvec::SmallVec;

use super::BLOCK;
use super::block::{Job, Runner, with_scratch};
use super::place::Place;
use crate::kernels::gemm::Source;
use crate::kernels::gemm::pack::{scattered, transpose};
use crate::kernels::simd::GROUP;
use crate::storage::Plain;

/// Rows of a group, if they are long: with four bytes each, their elements fill a line of the cache.
/// Groups of shorter rows have more of them.
const ROWS: usize = 16;
/// Dims that are shorter are not worth turning.
const SHORTEST: usize = 4;
/// Bytes of a turned operand's group.
const STAGE: usize = ROWS * BLOCK * 8;

/// How a job is cut into groups of rows.
pub(crate) struct Tiles {
    /// The dim along which elements of the turned operands lie side by side.
    dim: usize,
    turned: SmallVec<[usize; 2]>,
    /// Rows of a group, and elements from one turned row to the next.
    rows: usize,
    width: usize,
    /// Row-major strides over the job's sizes.
    strides: SmallVec<[usize; 6]>,
    /// How many groups there are, and along the dim.
    pub(crate) groups: usize,
    along: usize,
    /// Elements of a group.
    pub(crate) elements: usize,
}

impl Tiles {
    /// `None` where no operand is worth turning.
    pub(crate) fn of(job: &Job<'_>) -> Option<Self> {
        let sizes = job.sizes;
        let last = sizes.len().checked_sub(1).filter(|&d| sizes[d] >= SHORTEST)?;
        let across = |k: usize| match &job.inputs[k].place {
            Place::Strided(strides) if !matches!(strides[last], 0 | 1) => {
                (0..last).find(|&d| strides[d] == 1 && sizes[d] >= SHORTEST)
            }
            _ => None,
        };
        let dim = (0..job.inputs.len()).find_map(across)?;
        let turned = (0..job.inputs.len()).filter(|&k| across(k) == Some(dim)).collect();
        let width = BLOCK.min(sizes[last].next_multiple_of(GROUP));
        let rows = ROWS * BLOCK / width;
        let along = sizes[dim].div_ceil(rows);
        let total: usize = sizes.iter().product();
        let strides = (0..=last).map(|d| sizes[d + 1..].iter().product()).collect();
        let groups = total / sizes[last] / sizes[dim] * along;
        let elements = rows.min(sizes[dim]) * sizes[last];
        Some(Tiles { dim, turned, rows, width, strides, groups, along, elements })
    }

    /// Computes some groups on this thread.
    pub(crate) fn run(&self, job: &Job<'_>, groups: std::ops::Range<usize>) {
        with_scratch(self.turned.len() * STAGE + 64, |memory| {
            let stages = memory.wrapping_add(memory.align_offset(64));
            job.with_runner(|runner| {
                groups.for_each(|group| self.group(job, runner, stages, group));
            });
        });
    }

    fn group(&self, job: &Job<'_>, runner: &mut Runner<'_>, stages: *mut u8, group: usize) {
        let (sizes, dim) = (job.sizes, self.dim);
        let last = sizes.len() - 1;
        let mut position: SmallVec<[usize; 6]> = SmallVec::from_elem(0, sizes.len());
        position[dim] = group % self.along * self.rows;
        let mut rest = group / self.along;
        for d in (0..last).rev().filter(|&d| d != dim) {
            position[d] = rest % sizes[d];
            rest /= sizes[d];
        }
        let rows = self.rows.min(sizes[dim] - position[dim]);
        let start: usize = position.iter().zip(&self.strides).map(|(p, s)| p * s).sum();
        for column in (0..sizes[last]).step_by(BLOCK) {
            let len = BLOCK.min(sizes[last] - column);
            position[last] = column;
            for (slot, &k) in self.turned.iter().enumerate() {
                let input = &job.inputs[k];
                let Place::Strided(strides) = &input.place else { unreachable!("just chosen") };
                let at: isize = position.iter().zip(strides).map(|(&p, s)| p as isize * s).sum();
                let from = input.at(at);
                let to = stages.wrapping_add(slot * STAGE);
                // SAFETY: the layout names these elements; the stage has room for a group.
                unsafe { turn(from, strides[last], (to, self.width), input.size, rows, len) };
            }
            for row in 0..rows {
                for (slot, &k) in self.turned.iter().enumerate() {
                    let to = slot * STAGE + row * self.width * job.inputs[k].size;
                    runner.place(k, stages.wrapping_add(to));
                }
                runner.block(start + row * self.strides[dim] + column, len);
            }
        }
    }
}

/// Turns `rows` rows of `len` elements: columns lie `step` apart, the elements of one side by side. The
/// turned rows lie `width` apart.
///
/// # Safety
/// The elements exist, and `to` has room for the rows.
unsafe fn turn(
    from: *const u8,
    step: isize,
    (to, width): (*mut u8, usize),
    size: usize,
    rows: usize,
    len: usize,
) {
    /// # Safety
    /// As above.
    unsafe fn of<T: Plain>(source: Source<T>, to: *mut T, width: usize, rows: usize, len: usize) {
        let fours = len / 4 * 4;
        for column in (0..fours).step_by(4) {
            let at = |i: usize| source.at(column + i, 0).data;
            // SAFETY: by the caller's word.
            unsafe { transpose([at(0), at(1), at(2), at(3)], rows, to.add(column), width) };
        }
        // SAFETY: as above.
        unsafe { scattered(source.at(fours, 0), len - fours, rows, to.add(fours), width) };
    }
    macro_rules! of {
        ($T:ty) => {{
            let source = Source { data: from.cast::<$T>(), lane: step, term: 1 };
            of(source, to.cast::<$T>(), width, rows, len)
        }};
    }
    // SAFETY: by the caller's word; elements are aligned to their size.
    unsafe {
        match size {
            8 => of!(u64),
            4 => of!(u32),
            2 => of!(u16),
            _ => of!(u8),
        }
    }
}
