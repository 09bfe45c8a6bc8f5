//! A matrix times a vector: bound by reading the matrix once, so nothing is packed. Work is cut by the
//! shape alone, and parts of a sum are added in order.

use super::micro::{Float, Kernels};
use super::pack::Source;
use super::scratch;
use crate::kernels::workers::Shared;
use crate::threads::parallel_for;

/// Terms and lanes that one job handles.
const TERMS: usize = 8192;
const LANES: usize = 1024;
/// Elements of the matrix that are worth a thread of their own.
const GRAIN: usize = 1 << 15;

/// `to[l] = from[l] + Σ matrix[l, p] · vector[p]`.
pub(super) struct MatrixVector<T> {
    pub(super) lanes: usize,
    pub(super) k: usize,
    pub(super) matrix: Source<T>,
    pub(super) vector: *const T,
    /// Distance between two terms of the vector.
    pub(super) term: isize,
    pub(super) to: *mut T,
    pub(super) to_step: isize,
    /// What sums start from, and the distance between two; null for 0.
    pub(super) from: *const T,
    pub(super) from_step: isize,
}

impl<T: Float> MatrixVector<T> {
    /// Computes the product, or says that neither terms nor lanes are contiguous.
    ///
    /// # Safety
    /// The pointers cover what the sizes say, and nobody else touches `to`.
    pub(super) unsafe fn run(&self) -> bool {
        let by_terms = self.matrix.term == 1;
        if !by_terms && self.matrix.lane != 1 {
            return false;
        }
        let &MatrixVector { lanes, k, matrix, .. } = self;
        // A contiguous copy of a vector that is not.
        let mut copy = (self.term != 1).then(|| scratch::<T>(k));
        let vector = match &mut copy {
            Some(copy) => {
                for (p, x) in copy.slice_mut::<T>().iter_mut().enumerate() {
                    // SAFETY: the vector has `k` terms.
                    *x = unsafe { *self.vector.offset(p as isize * self.term) };
                }
                copy.ptr().cast::<T>().cast_const()
            }
            None => self.vector,
        };
        let vector = Source { data: vector, lane: 0, term: 1 };

        let parts = k.div_ceil(TERMS);
        let per_job = if by_terms { (GRAIN / k.min(TERMS)).max(4) / 4 * 4 } else { LANES };
        let blocks = lanes.div_ceil(per_job);
        let mut sums = scratch::<T>(parts * lanes);
        let to = Shared(sums.slice_mut::<T>().as_mut_ptr());
        let job = |job: usize| {
            let (part, block) = (job / blocks, job % blocks);
            let (p, l) = (part * TERMS, block * per_job);
            let size = (per_job.min(lanes - l), TERMS.min(k - p));
            let (matrix, vector) = (matrix.at(l, p), vector.at(0, p));
            // SAFETY: each job has sums of its own, and reads a part of the operands.
            unsafe {
                let to = std::slice::from_raw_parts_mut(to.at(part * lanes + l), size.0);
                let vector = std::slice::from_raw_parts(vector.data, size.1);
                if by_terms { dots(matrix, vector, to) } else { rows(matrix, vector, to) }
            }
        };
        if lanes * k <= GRAIN {
            (0..parts * blocks).for_each(job);
        } else {
            parallel_for(parts * blocks, job);
        }
        let sums = sums.slice::<T>();
        for l in 0..lanes {
            let mut sum = (1..parts).fold(sums[l], |sum, part| sum + sums[part * lanes + l]);
            // SAFETY: `to` and `from` have as many elements.
            unsafe {
                if !self.from.is_null() {
                    sum = *self.from.offset(l as isize * self.from_step) + sum;
                }
                *self.to.offset(l as isize * self.to_step) = sum;
            }
        }
        true
    }
}

/// Lanes whose terms are contiguous.
///
/// # Safety
/// The matrix has a lane for each sum and a term for each element of the vector.
unsafe fn dots<T: Float>(matrix: Source<T>, vector: &[T], to: &mut [T]) {
    let kernels: &Kernels<T> = T::kernels();
    let (fours, rest) = to.as_chunks_mut::<4>();
    let whole = 4 * fours.len();
    // SAFETY: the caller's.
    unsafe {
        for (i, four) in fours.iter_mut().enumerate() {
            let lanes = [0, 1, 2, 3].map(|l| matrix.at(4 * i + l, 0).data);
            *four = (kernels.dots)(lanes, vector);
        }
        for (l, to) in rest.iter_mut().enumerate() {
            [*to] = (kernels.dot)([matrix.at(whole + l, 0).data], vector);
        }
    }
}

/// Terms whose lanes are contiguous: the result is a sum of rows.
///
/// # Safety
/// As for `dots`.
unsafe fn rows<T: Float>(matrix: Source<T>, vector: &[T], to: &mut [T]) {
    let kernels: &Kernels<T> = T::kernels();
    to.fill(T::default());
    let (fours, rest) = vector.as_chunks::<4>();
    // SAFETY: the caller's.
    unsafe {
        for (i, &four) in fours.iter().enumerate() {
            let rows = [0, 1, 2, 3].map(|p| matrix.at(0, 4 * i + p).data);
            (kernels.add_rows)(to, rows, four);
        }
        for (p, &x) in rest.iter().enumerate() {
            (kernels.add_row)(to, [matrix.at(0, 4 * fours.len() + p).data], [x]);
        }
    }
}
