//! `conv` and its gradients: the windows of the source are packed straight into the panels of a product,
//! without a matrix of them in memory. Groups of a few channels are computed row by row instead.

mod direct;
mod pack;
mod plan;
mod weight;

use kiln_tensor_core::{ConvSpec, Shape, Tensor};

use self::pack::{Kernel, Padded};
use self::plan::{Run, Sizes, Walk};
use super::dispatch::{by_float, is_narrow, widen};
use super::gemm::{Float, K_BLOCK, Tile, scratch};
use crate::Cpu;
use crate::kernels::workers::Shared;
use crate::storage::{Fresh, Locked};
use crate::threads::parallel_for;

/// Places of the result that one tile covers.
const TILE: usize = 256;
/// Jobs that are enough for any number of threads.
const JOBS: usize = 16;
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
    let shape = spec.out_shape(x.dims(), weight.dims()).expect("the caller has checked the sizes");
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

/// Which places make up the blocks that tiles cover.
#[derive(Clone, Copy)]
enum Lanes {
    /// The places of the whole batch, one behind the other; this many, and so many in a block.
    Packed(usize, usize),
    /// Neighbours in the source, sample by sample; this many blocks in each.
    Shifted(usize),
}

/// A panel of places.
struct Strip {
    lanes: usize,
    /// Where the lanes' windows start in the source, if they are read there.
    shifted: Option<usize>,
    /// What to pack otherwise.
    windows: Vec<Run>,
    /// Where results go.
    places: Vec<Run>,
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
        let rows = &self.kernel.rows;
        let groups = self.job.sizes.groups;
        let places = self.job.sizes.batch * self.walk.places();
        let (layout, blocks) = if self.shifts() {
            let per_sample = self.walk.lanes().div_ceil(TILE);
            (Lanes::Shifted(per_sample), self.job.sizes.batch * per_sample)
        } else {
            // Smaller blocks, of whole panels, where places are few.
            let block =
                (places * groups / JOBS + 1).next_multiple_of(T::kernels().cols()).min(TILE);
            (Lanes::Packed(places, block), places.div_ceil(block))
        };
        // Then the channels are divided too, though each part packs the windows again.
        let most = rows.len.div_ceil(96);
        let parts = (JOBS / (blocks * groups).max(1)).clamp(1, most);
        let tall = rows.count.div_ceil(parts);
        let parts = rows.count.div_ceil(tall);
        parallel_for(groups * blocks * parts, |job| {
            let (group, block, part) = (job / parts / blocks, job / parts % blocks, job % parts);
            let panels = part * tall..((part + 1) * tall).min(rows.count);
            self.tile(group, &self.strips(group, block, layout), panels);
        });
    }

    /// Whether windows are read from the source where they lie. That spares the packing, and wastes the
    /// lanes between two rows of places.
    fn shifts(&self) -> bool {
        let [_, _, w] = &self.walk.0;
        let (lanes, vector) = (self.walk.lanes(), T::kernels().lanes);
        let wasted = lanes.next_multiple_of(vector) - self.walk.places();
        // In cycles of a term: two vectors for each channel, and some ten to pack a run.
        let panels = lanes.div_ceil(2 * vector).max(1);
        let runs = 2 * vector / w.places.max(1) + 2;
        let waste = 2 * self.job.channels * wasted / (lanes + 1);
        self.walk.0.iter().all(|axis| axis.step == 1) && panels > 0 && waste < 10 * runs
    }

    /// The panels of a block of places, of which only those of shifted lanes end with a sample.
    fn strips(&self, group: usize, block: usize, layout: Lanes) -> Vec<Strip> {
        let (source_step, result_step) = self.samples();
        let width = T::kernels().cols();
        match layout {
            Lanes::Packed(places, size) => (block * size..((block + 1) * size).min(places))
                .step_by(width)
                .map(|first| {
                    let end = (first + width).min((block + 1) * size).min(places);
                    let runs = self.walk.runs(first..end, source_step, result_step);
                    Strip { lanes: end - first, shifted: None, windows: runs.clone(), places: runs }
                })
                .collect(),
            Lanes::Shifted(per_sample) => {
                let (sample, block) = (block / per_sample, block % per_sample);
                let reach = self.kernel.offsets.iter().max().map_or(0, |offset| offset + width);
                let start = group * self.job.source_channels * self.walk.plane();
                (block * TILE..((block + 1) * TILE).min(self.walk.lanes()))
                    .step_by(width)
                    .map(|first| {
                        let end = (first + width).min(self.walk.lanes());
                        let mut places = self.walk.lane_runs(first..end);
                        places.iter_mut().for_each(|run| run.to += sample * result_step);
                        let (from, lanes) = (sample * source_step + first, end - first);
                        // The last lanes of all would be read past the source's end.
                        let inside = start + from + reach <= self.source.len();
                        let windows = vec![Run { lane: 0, len: lanes, from, to: 0 }];
                        Strip { lanes, shifted: inside.then_some(from), windows, places }
                    })
                    .collect()
            }
        }
    }

    /// Computes some panels of channels at some panels of places.
    fn tile(&self, group: usize, strips: &[Strip], panels: std::ops::Range<usize>) {
        let (kernels, rows) = (T::kernels(), &self.kernel.rows);
        let source = &self.source[group * self.job.source_channels * self.walk.plane()..];
        let width = kernels.cols();
        let first_row = panels.start * rows.width;
        let height = (panels.end * rows.width).min(rows.len) - first_row;
        let deep = K_BLOCK.min(self.kernel.terms);
        let packed = strips.iter().filter(|strip| strip.shifted.is_none()).count();
        let mut windows = scratch::<T>(packed * width * deep);
        let line = strips.len() * width;
        let mut tile = scratch::<T>(height * line);
        let tile: &mut [T] = tile.slice_mut();
        for (p, terms) in blocks_of(self.kernel.terms) {
            let mut free: &mut [T] = windows.slice_mut();
            for (col, strip) in strips.iter().enumerate() {
                let vectors = strip.lanes.div_ceil(kernels.lanes);
                let (table, b, offsets) = match strip.shifted {
                    Some(from) => (
                        kernels.shifted,
                        source[from..].as_ptr(),
                        self.kernel.offsets[p..].as_ptr(),
                    ),
                    None => {
                        let (to, rest) = free.split_at_mut(terms * vectors * kernels.lanes);
                        free = rest;
                        let step = self.walk.0[2].step;
                        let terms = p..p + terms;
                        self.kernel.windows(
                            source,
                            &strip.windows,
                            step,
                            terms,
                            vectors * kernels.lanes,
                            to,
                        );
                        (kernels.table, to.as_ptr(), std::ptr::null())
                    }
                };
                for panel in panels.clone() {
                    let i = panel * rows.width - first_row;
                    let c = tile[i * line + col * width..].as_mut_ptr();
                    let block = Tile {
                        k: terms,
                        a: self.kernel.panel(group, panel, p, terms),
                        b,
                        offsets,
                        c,
                        c_row: line as isize,
                        cols: strip.lanes,
                        from: if p == 0 { std::ptr::null() } else { c.cast_const() },
                        from_row: line as isize,
                    };
                    // SAFETY: panels are packed or lie inside the source; the tile is this call's own.
                    unsafe { table[rows.lanes(panel) - 1][vectors - 1](&block) };
                }
            }
        }
        let channel = group * self.job.channels + first_row;
        for (col, strip) in strips.iter().enumerate() {
            for run in &strip.places {
                for i in 0..height {
                    let lane = i * line + col * width + run.lane;
                    self.put(run, channel + i, &tile[lane..][..run.len]);
                }
            }
        }
    }

    /// Writes a run of one channel.
    fn put(&self, run: &Run, channel: usize, values: &[T]) {
        let to = run.to + channel * self.walk.result();
        let every = self.walk.0[2].every;
        // SAFETY: runs and channels name places inside the result, each written once.
        unsafe {
            if every == 1 {
                std::slice::from_raw_parts_mut(self.out.at(to), values.len())
                    .copy_from_slice(values);
            } else {
                let write = |(i, &value): (usize, &T)| *self.out.at(to + i * every) = value;
                values.iter().enumerate().for_each(write);
            }
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
