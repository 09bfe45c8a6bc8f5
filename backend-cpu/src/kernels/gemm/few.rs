//! Products of few rows whose terms, and those of the columns, lie side by side, as in a linear layer on a
//! small batch: packing the columns would take as long as multiplying.

use super::correlate::{Correlation, LEFT, RIGHT, Span, Sums};
use super::{Float, GRAIN, Product};
use crate::threads::parallel_for;

/// With more rows, packing pays.
const ROWS: usize = 12;
/// Fewer terms do not pay for adding up the lanes.
const TERMS: usize = 64;

impl<T: Float> Product<T> {
    /// `false`, and nothing done, if the product is not of this kind.
    ///
    /// # Safety
    /// As for `Product::run`.
    pub(super) unsafe fn run_few(&self) -> bool {
        let along = self.a.term == 1 && self.b.term == 1 && self.a.lane >= 0 && self.b.lane >= 0;
        if !along || self.m > ROWS || self.k < TERMS {
            return false;
        }
        let columns = (GRAIN / (self.m * self.k)).next_multiple_of(RIGHT).max(RIGHT);
        parallel_for(self.n.div_ceil(columns), |job| {
            for j in (job * columns..self.n.min((job + 1) * columns)).step_by(RIGHT) {
                // SAFETY: the caller's; each column comes once.
                unsafe { self.columns(j) };
            }
        });
        true
    }

    /// Some columns from `j` on: as many as a kernel takes, or all that are left.
    ///
    /// # Safety
    /// As for `Product::run`, and nobody else touches these columns.
    unsafe fn columns(&self, j: usize) {
        let table = T::kernels().correlate;
        let tall = self.m.div_ceil(self.m.div_ceil(table.len().min(LEFT)));
        let spans = [Span { left: 0, right: 0, len: self.k }];
        let (wide, step) = if self.n - j < RIGHT { (0, 1) } else { (1, RIGHT) };
        for i in (0..self.m).step_by(tall) {
            let rows = tall.min(self.m - i);
            for j in (j..self.n.min(j + RIGHT)).step_by(step) {
                let mut offsets = [0; RIGHT];
                for (r, offset) in offsets.iter_mut().enumerate().take(step) {
                    *offset = r * self.b.lane as usize;
                }
                let work = Correlation {
                    left: self.a.at(i, 0).data,
                    row: self.a.lane as usize,
                    right: self.b.at(j, 0).data,
                    offsets,
                    spans: &spans,
                };
                let mut sums = Sums::zero();
                // SAFETY: rows and columns have `k` terms; the kernels are those of this machine.
                unsafe { table[rows - 1][wide](&work, &mut sums) };
                for (l, r) in (0..rows).flat_map(|l| (0..step).map(move |r| (l, r))) {
                    let mut sum = sums.total(l, r);
                    let row = (i + l) as isize;
                    // SAFETY: the caller's.
                    unsafe {
                        if !self.from.is_null() {
                            sum = *self.from.offset(row * self.from_row).add(j + r) + sum;
                        }
                        *self.c.offset(row * self.row).add(j + r) = sum;
                    }
                }
            }
        }
    }
}
