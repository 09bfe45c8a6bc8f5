//! batch_norm and its gradient: a channel at a time where its elements lie side by side, some
//! channels at a time where each sample has one element of a channel.

use kiln_tensor_core::{Shape, Tensor, compose};

use super::dispatch::{by_float, widen};
use super::math::Math;
use super::rows::{each, load, store, sums, total, with_plain};
use super::simd::{Arch, Float, FloatElem, Work, dispatch};
use super::workers::Shared;
use crate::Cpu;
use crate::threads::parallel_for;

/// Shorter rows of a channel, but for those of one element, are left to the composed form.
const SHORTEST: usize = 16;

/// How channels lie.
#[derive(Clone, Copy)]
struct Channels {
    samples: usize,
    count: usize,
    /// Elements of a channel in a sample.
    len: usize,
}

impl Channels {
    /// `None` where the kernels do not take the tensor.
    fn of(x: &Tensor<Cpu>) -> Option<Self> {
        let len = x.dims()[2..].iter().product();
        let takes = x.dtype().is_float() && x.numel() > 0 && (len == 1 || len >= SHORTEST);
        takes.then(|| Channels { samples: x.dims()[0], count: x.dims()[1], len })
    }

    /// How many channels are worked on together: as many as four vectors have lanes, or one.
    fn together(self, lanes: usize) -> usize {
        if self.len == 1 { 4 * lanes } else { 1 }
    }
}

/// See `Backend::batch_norm`.
pub(crate) fn batch_norm(
    x: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    bias: Option<&Tensor<Cpu>>,
    eps: f64,
) -> [Tensor<Cpu>; 3] {
    let Some(channels) = Channels::of(x) else {
        return compose::batch_norm(x, weight, bias, eps);
    };
    let each = Shape::from(channels.count);
    let shapes = [x.shape(), &each, &each];
    let outputs = with_plain(x.dtype(), [Some(x), weight, bias], shapes, |from, to| {
        by_float!("batch_norm", widen(x).dtype(), E => {
            in_parts(channels, E::LANES, from, to, eps, |part: Part<E, _, _>| dispatch(Forward(part)));
        });
    });
    outputs.map(|out| out.to_dtype(x.dtype()))
}

/// See `Backend::batch_norm_grad`.
pub(crate) fn batch_norm_grad(
    grad: &Tensor<Cpu>,
    x: &Tensor<Cpu>,
    mean: &Tensor<Cpu>,
    var: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    eps: f64,
) -> [Tensor<Cpu>; 3] {
    let Some(channels) = Channels::of(x) else {
        return compose::batch_norm_grad(grad, x, mean, var, weight, eps);
    };
    let each = Shape::from(channels.count);
    let inputs = [Some(grad), Some(x), Some(mean), Some(var), weight];
    let outputs = with_plain(x.dtype(), inputs, [x.shape(), &each, &each], |from, to| {
        by_float!("batch_norm_grad", widen(x).dtype(), E => {
            in_parts(channels, E::LANES, from, to, eps, |part: Part<E, _, _>| dispatch(Backward(part)));
        });
    });
    outputs.map(|out| out.to_dtype(x.dtype()))
}

/// The channels from `first` on that are worked on together.
struct Part<E, const I: usize, const O: usize> {
    from: [*const E; I],
    to: [*mut E; O],
    channels: Channels,
    first: usize,
    eps: f64,
}

/// Calls `work` for the channels that are worked on together, in parallel.
fn in_parts<E, const I: usize, const O: usize>(
    channels: Channels,
    lanes: usize,
    from: [Shared<u8>; I],
    to: [Shared<u8>; O],
    eps: f64,
    work: impl Fn(Part<E, I, O>) + Sync,
) {
    let step = channels.together(lanes);
    parallel_for(channels.count.div_ceil(step), |unit| {
        work(Part {
            from: from.each_ref().map(|p| p.at(0).cast::<E>().cast_const()),
            to: to.each_ref().map(|p| p.at(0).cast::<E>()),
            channels,
            first: unit * step,
            eps,
        });
    });
}

struct Forward<E>(Part<E, 3, 3>);
struct Backward<E>(Part<E, 5, 3>);

impl<E: Math, const I: usize, const O: usize> Part<E, I, O> {
    /// Elements that lie side by side in a sample.
    #[inline(always)]
    fn len(&self) -> usize {
        let Channels { count, len, .. } = self.channels;
        if len == 1 { (count - self.first).min(4 * E::LANES) } else { len }
    }

    /// Where they start in each sample.
    #[inline(always)]
    fn starts(&self) -> impl Iterator<Item = usize> + use<E, I, O> {
        let (Channels { samples, count, len }, first) = (self.channels, self.first);
        (0..samples).map(move |sample| (sample * count + first) * len)
    }

    /// From the sums in four vectors, those of each lane's channel.
    #[inline(always)]
    fn per_channel<V: Float<Elem = E>>(&self, sums: [V; 4]) -> [V; 4] {
        if self.channels.len == 1 { sums } else { [V::splat(total(sums)); 4] }
    }

    /// A number per channel, for the lanes of four vectors.
    ///
    /// # Safety
    /// `from` is null, or has an element per channel.
    #[inline(always)]
    unsafe fn parameter<V: Float<Elem = E>>(&self, from: *const E, absent: f64) -> [V; 4] {
        let absent = V::num(absent);
        let mut out = [absent; 4];
        if from.is_null() {
            return out;
        }
        // SAFETY: by the caller's word.
        unsafe {
            let from = from.add(self.first);
            if self.channels.len > 1 {
                return [V::splat(*from); 4];
            }
            for (k, at) in (0..self.len()).step_by(V::N).enumerate() {
                out[k] = load(from, at, V::N.min(self.len() - at), absent);
            }
        }
        out
    }

    /// Writes a number per channel.
    ///
    /// # Safety
    /// `to` has an element per channel.
    #[inline(always)]
    unsafe fn write<V: Float<Elem = E>>(&self, to: *mut E, values: [V; 4]) {
        let count = if self.channels.len == 1 { self.len() } else { 1 };
        for (k, at) in (0..count).step_by(V::N).enumerate() {
            // SAFETY: by the caller's word.
            unsafe { store(values[k], to.add(self.first), at, V::N.min(count - at)) };
        }
    }
}

impl<E: Math> Work for Forward<E> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let part = self.0;
        let ([x, weight, bias], [y, mean, var]) = (part.from, part.to);
        let len = part.len();
        let zero = E::V::<A>::num(0.0);
        let share = E::V::<A>::num(1.0 / (part.channels.samples * part.channels.len) as f64);
        // SAFETY: the tensors have these channels.
        unsafe {
            let [sum] = sums!(E::V<A>, part.starts(), len, |start, _, at, n| {
                [load(x.add(start), at, n, zero)]
            });
            let center = part.per_channel(sum).map(|sum| sum.mul(share));
            let [sum] = sums!(E::V<A>, part.starts(), len, |start, k, at, n| {
                let d = load(x.add(start), at, n, center[k]).sub(center[k]);
                [d.mul(d)]
            });
            let variance = part.per_channel(sum).map(|sum| sum.mul(share));
            part.write(mean, center);
            part.write(var, variance);
            let eps = E::V::<A>::num(part.eps);
            let mut scale: [E::V<A>; 4] = part.parameter(weight, 1.0);
            for (scale, variance) in scale.iter_mut().zip(variance) {
                *scale = scale.div(variance.add(eps).sqrt());
            }
            let bias: [E::V<A>; 4] = part.parameter(bias, 0.0);
            for start in part.starts() {
                let (x, y) = (x.add(start), y.add(start));
                each!(E::V<A>, len, |k, at, n| {
                    let v = load(x, at, n, zero).sub(center[k]).mul_add(scale[k], bias[k]);
                    store(v, y, at, n);
                });
            }
        }
    }
}

impl<E: Math> Work for Backward<E> {
    type Out = ();
    /// `dx = weight · rstd · (g − mean(g) − x̂ · mean(g · x̂))`
    #[inline(always)]
    fn run<A: Arch>(self) {
        let part = self.0;
        let ([g, x, mean, var, weight], [dx, dw, db]) = (part.from, part.to);
        let len = part.len();
        let zero = E::V::<A>::num(0.0);
        let share = E::V::<A>::num(1.0 / (part.channels.samples * part.channels.len) as f64);
        // SAFETY: the tensors have these channels.
        unsafe {
            let center: [E::V<A>; 4] = part.parameter(mean, 0.0);
            let variance: [E::V<A>; 4] = part.parameter(var, 1.0);
            let (one, eps) = (E::V::<A>::num(1.0), E::V::<A>::num(part.eps));
            let rstd = variance.map(|variance| one.div(variance.add(eps).sqrt()));
            let [sum, dot] = sums!(E::V<A>, part.starts(), len, |start, k, at, n| {
                let g = load(g.add(start), at, n, zero);
                let normal = load(x.add(start), at, n, center[k]).sub(center[k]).mul(rstd[k]);
                [g, g.mul(normal)]
            });
            let (level, slope) = (part.per_channel(sum), part.per_channel(dot));
            part.write(dw, slope);
            part.write(db, level);
            let (level, slope) = (level.map(|v| v.mul(share)), slope.map(|v| v.mul(share)));
            let mut factor: [E::V<A>; 4] = part.parameter(weight, 1.0);
            for (factor, rstd) in factor.iter_mut().zip(rstd) {
                *factor = factor.mul(rstd);
            }
            for start in part.starts() {
                let (g, x, dx) = (g.add(start), x.add(start), dx.add(start));
                each!(E::V<A>, len, |k, at, n| {
                    let normal = load(x, at, n, zero).sub(center[k]).mul(rstd[k]);
                    let out = load(g, at, n, zero).sub(level[k]).sub(normal.mul(slope[k]));
                    store(out.mul(factor[k]), dx, at, n);
                });
            }
        }
    }
}
