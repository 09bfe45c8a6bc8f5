//! The gradient of a convolution in its weight: `[channels, places] × [places, terms]` for each sample,
//! added up over the batch. The batch is cut by the shapes alone, so that sums have one order.

use std::ops::Range;

use kiln_tensor_core::Tensor;

use super::JOBS;
use super::direct::Direct;
use super::pack::Padded;
use super::plan::{Sizes, Walk};
use crate::Cpu;
use crate::kernels::gemm::pack::transpose;
use crate::kernels::gemm::{Float, K_BLOCK, Panels, Source, Tile, scratch};
use crate::kernels::workers::Shared;
use crate::storage::Locked;
use crate::threads::{parallel_for, parallel_pieces};

/// Terms (input channels × taps) that a tile covers.
const TILE: usize = 256;

/// Writes all of `out`, which has the weight's shape.
pub(super) fn run<T: Float>(
    sizes: &Sizes,
    walk: &Walk,
    grad: &Tensor<Cpu>,
    x: &Tensor<Cpu>,
    out: &mut [T],
) {
    let (places, taps) = (walk.places(), walk.taps());
    if sizes.batch * places == 0 {
        return out.fill(T::default());
    }
    let (grad, x) = (&grad.contiguous(), &x.contiguous());
    let locked = Locked::read(&[grad, x]);
    let padded = Padded::<T>::new(&locked, x, walk);
    let plane = walk.plane();
    let lanes: Vec<usize> = (0..sizes.inputs)
        .flat_map(|channel| taps.iter().map(move |tap| channel * plane + tap.1))
        .collect();

    let job = Job {
        sizes,
        walk,
        grad: &locked.slice::<T>(grad)[grad.layout().offset()..][..grad.numel()],
        source: padded.data(),
        lanes: &lanes,
        rows: Panels::rows(sizes.outputs, T::kernels()),
    };
    if let Some(direct) = Direct::new(&job) {
        let panels = sizes.groups * direct.panels();
        return in_parts(sizes.batch, panels, out, |batch, panel, to| {
            // SAFETY: `to` has room for a whole gradient, and each panel comes once in it.
            unsafe { direct.panel(batch, panel, to) };
        });
    }
    let tiles = sizes.groups * lanes.len().div_ceil(TILE);
    in_parts(sizes.batch, tiles, out, |batch, tile, to| {
        let (group, tile) = (tile % sizes.groups, tile / sizes.groups);
        let lanes = tile * TILE..((tile + 1) * TILE).min(job.lanes.len());
        // SAFETY: `to` has room for a whole gradient, and each tile comes once in it.
        unsafe { job.tile(batch, group, lanes, to) };
    });
}

/// Calls `f(samples, tile, to)` for each tile of the result and each of some parts of the batch, with
/// room for a whole result per part; the parts' results are added up in order.
fn in_parts<T: Float>(
    batch: usize,
    tiles: usize,
    out: &mut [T],
    f: impl Fn(Range<usize>, usize, *mut T) + Sync,
) {
    let parts = JOBS.div_ceil(tiles).min(batch);
    let len = out.len();
    let mut partial = (parts > 1).then(|| scratch::<T>(parts * len));
    let to = match &mut partial {
        Some(partial) => Shared(partial.slice_mut::<T>().as_mut_ptr()),
        None => Shared(out.as_mut_ptr()),
    };
    parallel_for(tiles * parts, |i| {
        let (part, tile) = (i / tiles, i % tiles);
        f(batch * part / parts..batch * (part + 1) / parts, tile, to.at(part * len));
    });
    if let Some(partial) = &partial {
        let partial = partial.slice::<T>();
        parallel_pieces(out, 1 << 13, |piece, out| {
            let first = piece << 13;
            out.copy_from_slice(&partial[first..][..out.len()]);
            for part in 1..parts {
                let more = &partial[part * len + first..][..out.len()];
                out.iter_mut().zip(more).for_each(|(out, &more)| *out = *out + more);
            }
        });
    }
}

pub(super) struct Job<'a, T> {
    pub(super) sizes: &'a Sizes,
    pub(super) walk: &'a Walk,
    pub(super) grad: &'a [T],
    pub(super) source: &'a [T],
    /// How far each term lies behind a place's start, in a group of the padded source.
    pub(super) lanes: &'a [usize],
    /// How output channels are cut into panels.
    rows: Panels,
}

impl<T: Float> Job<'_, T> {
    /// The sums over some samples for some terms of a group.
    ///
    /// # Safety
    /// `to` has room for a whole gradient, and nobody else writes this tile of it.
    unsafe fn tile(&self, batch: Range<usize>, group: usize, lanes: Range<usize>, to: *mut T) {
        let kernels = T::kernels();
        let Sizes { groups, inputs, outputs, .. } = *self.sizes;
        let (places, plane) = (self.walk.places(), self.walk.plane());
        let cols = Panels::cols(lanes.len(), kernels);
        let row = self.lanes.len();
        let to = to.wrapping_add(group * outputs * row + lanes.start);
        let deep = K_BLOCK.min(places);
        let mut a = scratch::<T>(self.rows.total * deep);
        let mut b = scratch::<T>(cols.total * deep);
        let mut first = true;
        for sample in batch {
            let channel = (sample * groups + group) * outputs;
            let source = &self.source[(sample * groups + group) * inputs * plane..];
            for p in (0..places).step_by(K_BLOCK) {
                let terms = K_BLOCK.min(places - p);
                let grad = Source {
                    data: self.grad[channel * places + p..].as_ptr(),
                    lane: places as isize,
                    term: 1,
                };
                let left = a.slice_mut::<T>().as_mut_ptr();
                // SAFETY: the gradient has `outputs` channels of `places`.
                unsafe { self.rows.pack(grad, 0..self.rows.count, terms, left) };
                let right = b.slice_mut::<T>();
                self.windows(source, p..p + terms, &self.lanes[lanes.clone()], &cols, right);
                for col in 0..cols.count {
                    let vectors = cols.padded(col) / kernels.lanes;
                    for panel in 0..self.rows.count {
                        let i = panel * self.rows.width;
                        let c = to.wrapping_add(i * row + col * cols.width);
                        let tile = Tile {
                            k: terms,
                            a: left.wrapping_add(self.rows.offset(panel, 0, terms)),
                            b: right[cols.offset(col, 0, terms)..].as_ptr(),
                            offsets: std::ptr::null(),
                            c,
                            c_row: row as isize,
                            cols: cols.lanes(col),
                            from: if first { std::ptr::null() } else { c.cast_const() },
                            from_row: row as isize,
                        };
                        let kernel = kernels.table[self.rows.lanes(panel) - 1][vectors - 1];
                        // SAFETY: panels are packed; the caller vouches for the tile.
                        unsafe { kernel(&tile) };
                    }
                }
                first = false;
            }
        }
    }

    /// Packs windows as panels of terms: at place `p`, lane `l` is the source element of term `l`.
    fn windows(
        &self,
        source: &[T],
        places: Range<usize>,
        lanes: &[usize],
        cols: &Panels,
        to: &mut [T],
    ) {
        let (runs, step) = (self.walk.runs(places.clone(), 0, 0), self.walk.0[2].step);
        for panel in 0..cols.count {
            let width = cols.padded(panel);
            let lanes = &lanes[panel * cols.width..][..cols.lanes(panel)];
            let to = &mut to[cols.offset(panel, 0, places.len())..][..places.len() * width];
            for run in &runs {
                let to = &mut to[run.lane * width..][..run.len * width];
                let (fours, rest) = lanes.as_chunks::<4>();
                for (i, four) in fours.iter().enumerate() {
                    let rows = four.map(|offset| &source[offset + run.from..]);
                    if step == 1 {
                        let rows = rows.map(|row| row[..run.len].as_ptr());
                        // SAFETY: the rows are `run.len` long, and so many rows of `to` have room for
                        // four lanes more.
                        unsafe { transpose(rows, run.len, to[4 * i..].as_mut_ptr(), width) };
                    } else {
                        for (j, to) in to.chunks_exact_mut(width).enumerate() {
                            (0..4).for_each(|l| to[4 * i + l] = rows[l][j * step]);
                        }
                    }
                }
                for (l, &offset) in rest.iter().enumerate() {
                    let from = &source[offset + run.from..];
                    for (j, to) in to.chunks_exact_mut(width).enumerate() {
                        to[4 * fours.len() + l] = from[j * step];
                    }
                }
                if lanes.len() < width {
                    to.chunks_exact_mut(width).for_each(|to| to[lanes.len()..].fill(T::default()));
                }
            }
        }
    }
}
