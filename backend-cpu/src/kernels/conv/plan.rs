//! The geometry of a convolution: which source elements meet which taps for each place of the result.
//!
//! `conv` and its gradient in the input are the same walk: at place `q` of the result, tap `t` meets
//! the source at `q · step + offset(t)`. Forward, `step` is the stride. Backward, the places of the
//! input fall into `stride` phases; within one, only every `stride`-th tap meets the output, and the
//! step is 1.

use kiln_tensor_core::{ConvSpec, Dims};

/// One spatial dimension of a walk.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    /// Places of the result that are computed.
    pub(super) places: usize,
    /// Source elements between two places.
    pub(super) step: usize,
    /// Elements of the source, and zeros that are added before and behind them.
    pub(super) source: usize,
    pub(super) before: usize,
    pub(super) behind: usize,
    /// Elements of the result; the places are `first`, `first + every`, …
    pub(super) result: usize,
    pub(super) first: usize,
    pub(super) every: usize,
    /// Elements of the kernel, and those that take part: which, and its offset in the source.
    pub(super) kernel: usize,
    pub(super) taps: Vec<(usize, isize)>,
}

impl Axis {
    /// A dimension that is not there.
    fn none() -> Self {
        Axis::forward(1, 1, 1, 1, 0, 1)
    }

    fn forward(
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Self {
        let taps = (0..kernel).map(|k| (k, (k * dilation) as isize - padding as isize)).collect();
        Axis {
            places: output,
            step: stride,
            source: input,
            before: 0,
            behind: 0,
            result: output,
            first: 0,
            every: 1,
            kernel,
            taps,
        }
    }

    /// The phases of the gradient in the input.
    fn backward(
        input: usize,
        output: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        dilation: usize,
    ) -> Vec<Self> {
        let phase = |first: usize| {
            let distance = |k: usize| (first + padding) as isize - (k * dilation) as isize;
            let taps = (0..kernel)
                .filter(|&k| distance(k) % stride as isize == 0)
                .map(|k| (k, distance(k) / stride as isize))
                .collect();
            Axis {
                places: input.saturating_sub(first).div_ceil(stride),
                step: 1,
                source: output,
                before: 0,
                behind: 0,
                result: input,
                first,
                every: stride,
                kernel,
                taps,
            }
        };
        (0..stride.min(input)).map(phase).collect()
    }

    /// Zeros that its taps need before and behind the source.
    fn reach(&self) -> (usize, usize) {
        let (Some(low), Some(high)) =
            (self.taps.iter().map(|t| t.1).min(), self.taps.iter().map(|t| t.1).max())
        else {
            return (0, 0);
        };
        let last = self.places.saturating_sub(1) * self.step;
        let behind = last as isize + high + 1 - self.source as isize;
        ((-low).max(0) as usize, behind.max(0) as usize)
    }

    /// Size of the source with its zeros.
    pub(super) fn padded(&self) -> usize {
        self.before + self.source + self.behind
    }

    /// Whether place and source are one and the same.
    fn is_identity(&self) -> bool {
        self.kernel == 1
            && self.taps == [(0, 0)]
            && self.step == 1
            && self.every == 1
            && self.places == self.source
    }
}

/// Sizes of the three tensors of a convolution.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels of the input and of the output, in one group.
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Spatial sizes.
    pub(super) input: Dims,
    pub(super) output: Dims,
    pub(super) kernel: Dims,
}

impl Sizes {
    /// Elements of a kernel.
    pub(super) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }
}

/// A walk over one source, in three spatial dimensions; missing ones have size 1.
#[derive(Clone, Debug)]
pub(super) struct Walk(pub(super) [Axis; 3]);

impl Walk {
    /// The walk of `conv`.
    pub(super) fn forward(sizes: &Sizes, spec: &ConvSpec) -> Self {
        let axis = |i: usize| {
            Axis::forward(
                sizes.input[i],
                sizes.output[i],
                sizes.kernel[i],
                spec.stride[i],
                spec.padding[i],
                spec.dilation[i],
            )
        };
        let axes = (0..sizes.kernel.len()).map(|i| vec![axis(i)]).collect();
        Walk::all(axes).remove(0)
    }

    /// The walks of the gradient in the input; together they reach every place of it. All need the same
    /// zeros around the source.
    pub(super) fn backward(sizes: &Sizes, spec: &ConvSpec) -> Vec<Self> {
        let axis = |i: usize| {
            Axis::backward(
                sizes.input[i],
                sizes.output[i],
                sizes.kernel[i],
                spec.stride[i],
                spec.padding[i],
                spec.dilation[i],
            )
        };
        Walk::all((0..sizes.kernel.len()).map(axis).collect())
    }

    /// Every combination of the phases of each dimension.
    fn all(mut axes: Vec<Vec<Axis>>) -> Vec<Self> {
        while axes.len() < 3 {
            axes.insert(0, vec![Axis::none()]);
        }
        for phases in &mut axes {
            let reach = phases.iter().map(Axis::reach);
            let (before, behind) =
                reach.fold((0, 0), |all, one| (all.0.max(one.0), all.1.max(one.1)));
            phases.iter_mut().for_each(|axis| (axis.before, axis.behind) = (before, behind));
        }
        // Rows that follow each other in source and result are one long row.
        for outer in (0..2).rev() {
            let merge = [outer, 2].iter().all(|&i| axes[i].len() == 1 && axes[i][0].is_identity());
            if merge {
                let len = axes[outer][0].places * axes[2][0].places;
                axes[2][0] = Axis::forward(len, len, 1, 1, 0, 1);
                axes[outer][0] = Axis::none();
            } else {
                break;
            }
        }
        let mut walks = Vec::new();
        for d in &axes[0] {
            for h in &axes[1] {
                for w in &axes[2] {
                    walks.push(Walk([d.clone(), h.clone(), w.clone()]));
                }
            }
        }
        walks
    }

    /// Places of the result in one channel.
    pub(super) fn places(&self) -> usize {
        self.0.iter().map(|a| a.places).product()
    }

    /// Elements of a source channel, zeros included.
    pub(super) fn plane(&self) -> usize {
        self.0.iter().map(Axis::padded).product()
    }

    /// Elements of a channel of the result.
    pub(super) fn result(&self) -> usize {
        self.0.iter().map(|a| a.result).product()
    }

    /// For each tap that takes part: its element of the kernel, and how far it lies behind a place's
    /// start in a padded source channel.
    pub(super) fn taps(&self) -> Vec<(usize, usize)> {
        let [d, h, w] = &self.0;
        let at = |axis: &Axis, offset: isize| (offset + axis.before as isize) as usize;
        let mut taps = Vec::new();
        for &(kd, od) in &d.taps {
            for &(kh, oh) in &h.taps {
                for &(kw, ow) in &w.taps {
                    let element = (kd * h.kernel + kh) * w.kernel + kw;
                    let offset = (at(d, od) * h.padded() + at(h, oh)) * w.padded() + at(w, ow);
                    taps.push((element, offset));
                }
            }
        }
        taps
    }

    /// Where the row of places that contains `place` starts in a padded source channel and in a channel
    /// of the result, and how far `place` is into the row.
    pub(super) fn row(&self, place: usize) -> (usize, usize, usize) {
        let [d, h, w] = &self.0;
        let (row, qw) = (place / w.places, place % w.places);
        let (qd, qh) = (row / h.places, row % h.places);
        let from = (qd * d.step * h.padded() + qh * h.step) * w.padded();
        let to =
            ((qd * d.every + d.first) * h.result + qh * h.every + h.first) * w.result + w.first;
        (from, to, qw)
    }

    /// Places `places` of a batch's channel, as runs inside rows. Samples lie `source` apart in the
    /// source and `result` apart in the result.
    pub(super) fn runs(
        &self,
        places: std::ops::Range<usize>,
        source: usize,
        result: usize,
    ) -> Vec<Run> {
        let (width, per_sample) = (self.0[2].places, self.places());
        let mut runs = Vec::new();
        let mut place = places.start;
        while place < places.end {
            let (sample, inside) = (place / per_sample, place % per_sample);
            let (from, to, column) = self.row(inside);
            let len = (width - column).min(places.end - place);
            runs.push(Run {
                lane: place - places.start,
                len,
                from: sample * source + from + column * self.0[2].step,
                to: sample * result + to + column * self.0[2].every,
            });
            place += len;
        }
        runs
    }
}

impl Walk {
    /// Lanes of one sample where the rows of places lie in the source as they are, the elements between
    /// two rows included: the windows of neighbouring lanes are neighbours then.
    pub(super) fn lanes(&self) -> usize {
        let [d, h, w] = &self.0;
        match self.places() {
            0 => 0,
            _ => ((d.places - 1) * h.padded() + h.places - 1) * w.padded() + w.places,
        }
    }

    /// The places among these lanes. A run's `from` is its first lane.
    pub(super) fn lane_runs(&self, lanes: std::ops::Range<usize>) -> Vec<Run> {
        let [d, h, w] = &self.0;
        let mut runs = Vec::new();
        for row in lanes.start / w.padded()..lanes.end.div_ceil(w.padded()) {
            let (qd, qh) = (row / h.padded(), row % h.padded());
            let first = (row * w.padded()).max(lanes.start);
            let end = (row * w.padded() + w.places).min(lanes.end);
            if qd < d.places && qh < h.places && first < end {
                let (_, to, _) = self.row((qd * h.places + qh) * w.places);
                let column = first - row * w.padded();
                let to = to + column * w.every;
                runs.push(Run { lane: first - lanes.start, len: end - first, from: first, to });
            }
        }
        runs
    }
}

/// Neighbouring places in one row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// The first, counted from the start of the range.
    pub(super) lane: usize,
    pub(super) len: usize,
    /// Where its window starts in the source.
    pub(super) from: usize,
    /// Where it lies in the result.
    pub(super) to: usize,
}
