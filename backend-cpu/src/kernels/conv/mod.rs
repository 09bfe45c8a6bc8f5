//! `conv` and its gradients: the windows of the source are packed straight into the panels of a product,
//! without a matrix of them in memory. Groups of a few channels are computed row by row instead.

mod pack;
mod plan;
mod weight;

use kiln_tensor_core::{ConvSpec, Shape, Tensor};

use self::pack::{Kernel, Padded};
use self::plan::{Run, Sizes, Walk};
use super::dispatch::{by_float, is_narrow, widen};
use super::gemm::{Float, K_BLOCK, Panels, Tile, scratch};
use crate::Cpu;
use crate::kernels::workers::Shared;
use crate::storage::{Fresh, Locked};
use crate::threads::parallel_for;

/// Places of the result that one tile covers.
const TILE: usize = 256;
/// From this many channels of a group on, a product is faster than row by row.
const PRODUCT_ROWS: usize = 4;

fn sizes(input: &[usize], weight: &[usize], output: &[usize], spec: &ConvSpec) -> Sizes {
    Sizes {
        batch: input[0],
        groups: spec.groups,
        inputs: weight[1],
        outputs: weight[0] / spec.groups,
        input: input[2..].into(),
        output: output[2..].into(),
        kernel: weight[2..].into(),
    }
}

/// See `Backend::conv`.
pub(crate) fn conv(x: &Tensor<Cpu>, weight: &Tensor<Cpu>, spec: &ConvSpec) -> Tensor<Cpu> {
    let dtype = x.dtype();
    if is_narrow(dtype) {
        return conv(&widen(x), &widen(weight), spec).to_dtype(dtype);
    }
    let mut shape = Shape::from([x.dims()[0], weight.dims()[0]]);
    for (i, &size) in x.dims()[2..].iter().enumerate() {
        shape.push(spec.out_size(i, size, weight.dims()[2 + i]).unwrap_or(0));
    }
    let sizes = sizes(x.dims(), weight.dims(), &shape, spec);
    let walks = [Walk::forward(&sizes, spec)];
    let mut out = Fresh::new(&shape, dtype);
    if shape.numel() > 0 {
        let job =
            Job { source_channels: sizes.inputs, channels: sizes.outputs, flip: false, sizes };
        by_float!("conv", dtype, T => job.run::<T>(x, weight, &walks, &mut out));
    }
    out.finish()
}

/// See `Backend::conv_grad_input`.
pub(crate) fn conv_grad_input(
    grad: &Tensor<Cpu>,
    weight: &Tensor<Cpu>,
    input: &Shape,
    spec: &ConvSpec,
) -> Tensor<Cpu> {
    let dtype = grad.dtype();
    if is_narrow(dtype) {
        return conv_grad_input(&widen(grad), &widen(weight), input, spec).to_dtype(dtype);
    }
    let sizes = sizes(input, weight.dims(), grad.dims(), spec);
    let walks = Walk::backward(&sizes, spec);
    let mut out = Fresh::new(input, dtype);
    if input.numel() > 0 {
        let job = Job { source_channels: sizes.outputs, channels: sizes.inputs, flip: true, sizes };
        by_float!("conv_grad_input", dtype, T => job.run::<T>(grad, weight, &walks, &mut out));
    }
    out.finish()
}

/// See `Backend::conv_grad_weight`.
pub(crate) fn conv_grad_weight(
    grad: &Tensor<Cpu>,
    x: &Tensor<Cpu>,
    weight: &Shape,
    spec: &ConvSpec,
) -> Tensor<Cpu> {
    let dtype = grad.dtype();
    if is_narrow(dtype) {
        return conv_grad_weight(&widen(grad), &widen(x), weight, spec).to_dtype(dtype);
    }
    let sizes = sizes(x.dims(), weight, grad.dims(), spec);
    let mut out = Fresh::new(weight, dtype);
    if weight.numel() > 0 {
        let walk = Walk::forward(&sizes, spec);
        by_float!("conv_grad_weight", dtype, T => {
            weight::run::<T>(&sizes, &walk, grad, x, out.slice_mut());
        });
    }
    out.finish()
}

/// A convolution, forward (`flip` off) or of a gradient with the weight's channels exchanged.
struct Job {
    sizes: Sizes,
    /// Channels of the source and of the result, in one group.
    source_channels: usize,
    channels: usize,
    flip: bool,
}

impl Job {
    fn run<T: Float>(
        &self,
        source: &Tensor<Cpu>,
        weight: &Tensor<Cpu>,
        walks: &[Walk],
        out: &mut Fresh,
    ) {
        if source.numel() == 0 {
            return out.slice_mut::<T>().fill(T::default());
        }
        let (source, weight) = (source.contiguous(), weight.contiguous());
        let locked = Locked::read(&[&source, &weight]);
        let padded = Padded::<T>::new(&locked, &source, &walks[0]);
        let out = Shared(out.ptr().cast::<T>());
        for walk in walks {
            let kernel = Kernel::new(self, walk, &locked, &weight);
            let pass = Pass { job: self, walk, source: padded.data(), kernel: &kernel, out: &out };
            if self.channels < PRODUCT_ROWS {
                pass.rows();
            } else {
                pass.products();
            }
        }
    }

    /// The element of the weight that joins a channel of the result and one of the source, at tap 0.
    fn element(&self, group: usize, channel: usize, source: usize) -> usize {
        let (output, input) = if self.flip { (source, channel) } else { (channel, source) };
        ((group * self.sizes.outputs + output) * self.sizes.inputs + input) * self.sizes.taps()
    }
}

/// One walk of a job.
struct Pass<'a, T> {
    job: &'a Job,
    walk: &'a Walk,
    /// All samples and channels, with zeros around.
    source: &'a [T],
    kernel: &'a Kernel<T>,
    out: &'a Shared<T>,
}

impl<T: Float> Pass<'_, T> {
    /// Elements between two samples of the padded source and of the result.
    fn samples(&self) -> (usize, usize) {
        let job = self.job;
        (
            job.sizes.groups * job.source_channels * self.walk.plane(),
            job.sizes.groups * job.channels * self.walk.result(),
        )
    }

    /// Everything as products: `[channels, terms] × [terms, places]` for each group.
    fn products(&self) {
        let kernels = T::kernels();
        let places = self.job.sizes.batch * self.walk.places();
        let rows = &self.kernel.rows;
        let (blocks, groups) = (places.div_ceil(TILE), self.job.sizes.groups);
        // Where places are few, the channels are divided too.
        let parts = (16 / (blocks * groups).max(1)).clamp(1, rows.count.div_ceil(2));
        let tall = rows.count.div_ceil(parts);
        let parts = rows.count.div_ceil(tall);
        parallel_for(groups * blocks * parts, |job| {
            let (group, block, part) = (job / parts / blocks, job / parts % blocks, job % parts);
            let range = block * TILE..((block + 1) * TILE).min(places);
            let row_panels = part * tall..((part + 1) * tall).min(rows.count);
            let cols = Panels::cols(range.len(), kernels);
            let (source_step, result_step) = self.samples();
            let runs: Vec<Vec<Run>> = (0..cols.count)
                .map(|panel| {
                    let first = range.start + panel * cols.width;
                    let end = first + cols.lanes(panel);
                    self.walk.runs(first..end, source_step, result_step)
                })
                .collect();
            let first_row = row_panels.start * rows.width;
            let tile_rows = (row_panels.end * rows.width).min(rows.len) - first_row;
            let mut windows = scratch::<T>(cols.total * K_BLOCK.min(self.kernel.terms));
            let mut tile = scratch::<T>(tile_rows * range.len());
            let tile: &mut [T] = tile.slice_mut();
            let row = range.len() as isize;
            let group_source = group * self.job.source_channels * self.walk.plane();
            for (p, terms) in blocks_of(self.kernel.terms) {
                for (panel, runs) in runs.iter().enumerate() {
                    let width = cols.padded(panel);
                    let to = &mut windows.slice_mut::<T>()[cols.offset(panel, 0, terms)..]
                        [..terms * width];
                    self.kernel.windows(
                        &self.source[group_source..],
                        runs,
                        self.walk.0[2].step,
                        p..p + terms,
                        width,
                        to,
                    );
                }
                for panel in 0..cols.count {
                    let b = windows.slice_mut::<T>()[cols.offset(panel, 0, terms)..].as_ptr();
                    for row_panel in row_panels.clone() {
                        let i = row_panel * rows.width - first_row;
                        let c = tile[i * range.len() + panel * cols.width..].as_mut_ptr();
                        let block = Tile {
                            k: terms,
                            a: self.kernel.panel(group, row_panel, p, terms),
                            b,
                            c,
                            c_row: row,
                            cols: cols.lanes(panel),
                            from: if p == 0 { std::ptr::null() } else { c.cast_const() },
                            from_row: row,
                        };
                        let vectors = cols.padded(panel) / kernels.lanes;
                        let kernel = kernels.table[rows.lanes(row_panel) - 1][vectors - 1];
                        // SAFETY: the panels are packed, and the tile of the result is this job's own.
                        unsafe { kernel(&block) };
                    }
                }
            }
            let channel = group * self.job.channels + first_row;
            for (panel, runs) in runs.iter().enumerate() {
                for run in runs {
                    for i in 0..tile_rows {
                        let lane = i * range.len() + panel * cols.width + run.lane;
                        self.put(run, channel + i, &tile[lane..][..run.len]);
                    }
                }
            }
        });
    }

    /// Writes a run of one channel.
    fn put(&self, run: &Run, channel: usize, values: &[T]) {
        let to = run.to + channel * self.walk.result();
        let every = self.walk.0[2].every;
        for (i, &value) in values.iter().enumerate() {
            // SAFETY: runs and channels name places inside the result, each written once.
            unsafe { *self.out.at(to + i * every) = value };
        }
    }

    /// Everything row by row: each row of places is a sum of shifted source rows.
    fn rows(&self) {
        let kernels = T::kernels();
        let Sizes { batch, groups, .. } = self.job.sizes;
        let channels = groups * self.job.channels;
        let (source_step, result_step) = self.samples();
        let [_, _, across] = &self.walk.0;
        let (width, per_channel) = (across.places, self.walk.places());
        let grain = ((1 << 14) / (per_channel * self.kernel.terms).max(1)).max(1);
        parallel_for((batch * channels).div_ceil(grain), |chunk| {
            let mut sums = vec![T::default(); width];
            for item in chunk * grain..((chunk + 1) * grain).min(batch * channels) {
                let (sample, channel) = (item / channels, item % channels);
                let group = channel / self.job.channels;
                let source =
                    sample * source_step + group * self.job.source_channels * self.walk.plane();
                let weights = self.kernel.row(channel);
                for first in (0..per_channel).step_by(width.max(1)) {
                    let (from, to, _) = self.walk.row(first);
                    let source = &self.source[source + from..];
                    if across.step == 1 {
                        self.kernel.check(source, width);
                        // SAFETY: all windows of the row lie inside the source.
                        unsafe {
                            (kernels.sum)(
                                sums.as_mut_ptr(),
                                width,
                                source.as_ptr(),
                                weights,
                                &self.kernel.offsets,
                            );
                        }
                    } else {
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = weights
                                .iter()
                                .zip(&self.kernel.offsets)
                                .fold(T::default(), |sum, (&w, &offset)| {
                                    sum + w * source[offset + i * across.step]
                                });
                        }
                    }
                    let run = Run { lane: 0, len: width, from, to: sample * result_step + to };
                    self.put(&run, channel, &sums);
                }
            }
        });
    }
}

/// Blocks of terms: where each starts, and its length. No terms still make one block, which writes
/// zeros.
fn blocks_of(terms: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..terms.max(1)).step_by(K_BLOCK).map(move |p| (p, K_BLOCK.min(terms - p)))
}
