//! The gradient of a convolution in its weight, straight from the rows of both operands: where packing
//! windows for a product would take longer than the product itself.

use std::ops::Range;

use super::plan::Sizes;
use super::weight::Job;
use crate::kernels::gemm::Float;
use crate::kernels::gemm::correlate::{Correlation, LEFT, RIGHT, Span, Sums};

/// Packing a window for a product costs as much as so many products.
const PACKING: usize = 48;
/// Bytes of gradients that are gone through for some terms before the next terms have their turn.
const NEAR: usize = 128 << 10;

pub(super) struct Direct<'a, T> {
    job: &'a Job<'a, T>,
    /// The rows of a sample.
    spans: Vec<Span>,
    /// Output channels of a panel.
    tall: usize,
}

impl<'a, T: Float> Direct<'a, T> {
    /// `None` where a product is faster: lanes that stay empty at the ends of rows cost more than
    /// packing.
    pub(super) fn new(job: &'a Job<'a, T>) -> Option<Self> {
        let (row, outputs) = (job.walk.0[2].places, job.sizes.outputs);
        let used = row.next_multiple_of(T::kernels().lanes);
        if job.walk.0[2].step != 1 || used * outputs > row * (outputs + PACKING) {
            return None;
        }
        let runs = job.walk.runs(0..job.walk.places(), 0, 0);
        let spans = runs.iter().map(|run| Span { left: run.lane, right: run.from, len: run.len });
        let most = T::kernels().correlate.len().min(LEFT);
        let tall = outputs.div_ceil(outputs.div_ceil(most));
        Some(Direct { job, spans: spans.collect(), tall })
    }

    /// Panels of a group.
    pub(super) fn panels(&self) -> usize {
        self.job.sizes.outputs.div_ceil(self.tall)
    }

    /// The sums over some samples for a panel of output channels.
    ///
    /// # Safety
    /// `to` has room for a whole gradient, and nobody else writes this panel of it.
    pub(super) unsafe fn panel(&self, batch: Range<usize>, panel: usize, to: *mut T) {
        let Job { walk, grad, source, lanes, .. } = *self.job;
        let Sizes { groups, inputs, outputs, .. } = *self.job.sizes;
        let (places, plane) = (walk.places(), walk.plane());
        let (group, first) = (panel / self.panels(), panel % self.panels() * self.tall);
        let tall = self.tall.min(outputs - first);
        let kernels = T::kernels().correlate[tall - 1];
        // Terms by four, and what is left one by one.
        let fours = lanes.len() / RIGHT * RIGHT;
        let starts = (0..fours).step_by(RIGHT).chain(fours..lanes.len());
        let mut sums = vec![Sums::<T>::zero(); fours / RIGHT + lanes.len() - fours];
        let near = (NEAR / (tall * places * size_of::<T>())).max(1);
        for some in batch.clone().step_by(near) {
            for (term, sums) in starts.clone().zip(&mut sums) {
                let many = term < fours;
                let mut offsets = [lanes[term]; RIGHT];
                if many {
                    offsets.copy_from_slice(&lanes[term..term + RIGHT]);
                }
                for sample in some..batch.end.min(some + near) {
                    let channel = (sample * groups + group) * outputs + first;
                    let work = Correlation {
                        left: grad[channel * places..][..tall * places].as_ptr(),
                        row: places,
                        right: source[(sample * groups + group) * inputs * plane..].as_ptr(),
                        offsets,
                        spans: &self.spans,
                    };
                    // SAFETY: the spans are rows of the result's places and of their windows; the
                    // kernels are those of this machine.
                    unsafe { kernels[usize::from(many)](&work, sums) };
                }
            }
        }
        let to = to.wrapping_add((group * outputs + first) * lanes.len());
        for (term, sums) in starts.zip(&sums) {
            let count = if term < fours { RIGHT } else { 1 };
            for (l, r) in (0..tall).flat_map(|l| (0..count).map(move |r| (l, r))) {
                // SAFETY: by the caller's word.
                unsafe { to.add(l * lanes.len() + term + r).write(sums.total(l, r)) };
            }
        }
    }
}
