//! Operands of a convolution in the order that its inner loops read them.

use std::ops::Range;

use kiln_tensor_core::Tensor;

use super::Job;
use super::plan::{Run, Walk};
use crate::Cpu;
use crate::kernels::gemm::{Float, K_BLOCK, Panels, Source, scratch};
use crate::storage::{Fresh, Locked};
use crate::threads::{parallel_for, parallel_pieces};

/// A source with zeros around its spatial dims; the source itself where none are needed.
pub(super) struct Padded<'a, T> {
    source: &'a [T],
    copy: Option<Fresh>,
}

impl<'a, T: Float> Padded<'a, T> {
    /// `x` is contiguous, `[batch, channels, spatial…]`.
    pub(super) fn new(locked: &'a Locked<'_>, x: &Tensor<Cpu>, walk: &Walk) -> Self {
        if x.numel() == 0 {
            return Padded { source: &[], copy: None };
        }
        let source = &locked.slice::<T>(x)[x.layout().offset()..][..x.numel()];
        let [d, h, w] = &walk.0;
        if walk.0.iter().all(|axis| axis.before + axis.behind == 0) {
            return Padded { source, copy: None };
        }
        let plane = d.source * h.source * w.source;
        let (planes, size) = (x.numel() / plane, walk.plane());
        let mut copy = scratch::<T>(planes * size);
        let grain = ((1 << 15) / size).max(1);
        parallel_pieces(copy.slice_mut::<T>(), grain * size, |piece, to| {
            for (i, to) in to.chunks_exact_mut(size).enumerate() {
                let from = &source[(piece * grain + i) * plane..][..plane];
                to.fill(T::default());
                for (row, from) in from.chunks_exact(w.source).enumerate() {
                    let (id, ih) = (row / h.source + d.before, row % h.source + h.before);
                    let at = (id * h.padded() + ih) * w.padded() + w.before;
                    to[at..at + w.source].copy_from_slice(from);
                }
            }
        });
        Padded { source, copy: Some(copy) }
    }

    pub(super) fn data(&self) -> &[T] {
        self.copy.as_ref().map_or(self.source, |copy| copy.slice::<T>())
    }
}

/// The weight as matrices, one per group: `[channels, terms]`, a term being a source channel and a tap.
pub(super) struct Kernel<T> {
    /// How channels are cut into panels.
    pub(super) rows: Panels,
    /// Terms of each sum.
    pub(super) terms: usize,
    /// How far each term lies behind a place's start, in a group of the padded source.
    pub(super) offsets: Vec<usize>,
    dense: Fresh,
    packed: Fresh,
    is: std::marker::PhantomData<T>,
}

impl<T: Float> Kernel<T> {
    pub(super) fn new(job: &Job, walk: &Walk, locked: &Locked<'_>, weight: &Tensor<Cpu>) -> Self {
        let taps = walk.taps();
        let terms = job.source_channels * taps.len();
        let plane = walk.plane();
        let offsets = (0..job.source_channels)
            .flat_map(|channel| taps.iter().map(move |tap| channel * plane + tap.1))
            .collect();
        let channels = job.sizes.groups * job.channels;
        let mut dense = scratch::<T>(channels * terms);
        if !taps.is_empty() && terms > 0 {
            let elements = &locked.slice::<T>(weight)[weight.layout().offset()..];
            let grain = ((1 << 15) / terms).max(1);
            parallel_pieces(dense.slice_mut::<T>(), grain * terms, |piece, to| {
                for (i, to) in to.chunks_exact_mut(terms).enumerate() {
                    let channel = piece * grain + i;
                    let (group, channel) = (channel / job.channels, channel % job.channels);
                    for (source, to) in to.chunks_exact_mut(taps.len()).enumerate() {
                        let from = &elements[job.element(group, channel, source)..];
                        to.iter_mut().zip(&taps).for_each(|(to, tap)| *to = from[tap.0]);
                    }
                }
            });
        }
        let rows = Panels::rows(job.channels, T::kernels());
        let mut packed = scratch::<T>(channels * terms);
        let (from, to) = (
            Source { data: dense.slice::<T>().as_ptr(), lane: terms as isize, term: 1 },
            crate::kernels::workers::Shared(packed.slice_mut::<T>().as_mut_ptr()),
        );
        parallel_for(job.sizes.groups * terms.div_ceil(K_BLOCK), |block| {
            let blocks = terms.div_ceil(K_BLOCK);
            let (group, p) = (block / blocks, block % blocks * K_BLOCK);
            let count = K_BLOCK.min(terms - p);
            let to = to.at(group * job.channels * terms + rows.offset(0, p, count));
            // SAFETY: both hold `channels` rows of `terms` for each group; each block is packed once.
            unsafe { rows.pack(from.at(group * job.channels, p), 0..rows.count, count, to) };
        });
        Kernel { rows, terms, offsets, dense, packed, is: std::marker::PhantomData }
    }

    /// A packed panel's terms from `p` on.
    pub(super) fn panel(&self, group: usize, panel: usize, p: usize, terms: usize) -> *const T {
        let start = group * self.rows.total * self.terms;
        self.packed.slice::<T>()[start..].as_ptr().wrapping_add(self.rows.offset(panel, p, terms))
    }

    /// The weights of one channel of the result.
    pub(super) fn row(&self, channel: usize) -> &[T] {
        &self.dense.slice::<T>()[channel * self.terms..][..self.terms]
    }

    /// Whether all terms of a row of `width` places lie inside `source`.
    pub(super) fn check(&self, source: &[T], width: usize) {
        let last = self.offsets.iter().max().map_or(0, |&offset| offset + width);
        assert!(last <= source.len(), "windows lie inside the source");
    }

    /// Packs the windows of some places: `to[t · width + lane]` is the source element that term `t`
    /// meets at the lane's place.
    pub(super) fn windows(
        &self,
        source: &[T],
        runs: &[Run],
        step: usize,
        terms: Range<usize>,
        width: usize,
        to: &mut [T],
    ) {
        let lanes = runs.last().map_or(0, |run| run.lane + run.len);
        for (&offset, to) in self.offsets[terms].iter().zip(to.chunks_exact_mut(width)) {
            for run in runs {
                let to = &mut to[run.lane..run.lane + run.len];
                let from = &source[offset + run.from..];
                if step == 1 {
                    copy(&from[..run.len], to);
                } else {
                    to.iter_mut().zip(from.iter().step_by(step)).for_each(|(to, &from)| *to = from);
                }
            }
            to[lanes..].fill(T::default());
        }
    }
}

/// A copy of a few elements: runs are too short to be worth a call.
fn copy<T: Copy>(from: &[T], to: &mut [T]) {
    let (from, from_rest) = from.as_chunks::<4>();
    let (to, to_rest) = to.as_chunks_mut::<4>();
    from.iter().zip(to).for_each(|(from, to)| *to = *from);
    from_rest.iter().zip(to_rest).for_each(|(from, to)| *to = *from);
}
