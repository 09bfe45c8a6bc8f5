//! `max_pool`, `avg_pool` and their gradients over 1 to 3 spatial dims. A plane is one channel of one
//! sample; planes are independent of each other. Loops run along output rows, tap by tap.

use std::ops::Range;

use kiln_tensor_core::{DType, Error, PoolSpec, Shape, Tensor, raise};

use super::dispatch::{by_float, by_number, is_narrow, widen};
use crate::Cpu;
use crate::kernels::workers::Shared;
use crate::storage::{Fresh, Locked, Plain};
use crate::threads::{parallel_for, parallel_pieces};

/// Elements that one thread handles at a time.
const GRAIN: usize = 1 << 14;

/// One spatial dimension of a pooling; missing ones have a single tap.
#[derive(Clone, Copy)]
struct Dim {
    input: usize,
    output: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    dilation: usize,
}

impl Dim {
    /// Where tap `k` of window `o` lies, if that is inside the input.
    fn tap(&self, o: usize, k: usize) -> Option<usize> {
        (o * self.stride + k * self.dilation).checked_sub(self.padding).filter(|&i| i < self.input)
    }

    /// The windows whose tap `k` lies inside the input, and where it lies in the first of them.
    fn windows(&self, k: usize) -> (Range<usize>, usize) {
        let shift = k * self.dilation;
        let first = self.padding.saturating_sub(shift).div_ceil(self.stride);
        let end = (self.input + self.padding).saturating_sub(shift).div_ceil(self.stride);
        let end = end.min(self.output);
        if first >= end {
            return (0..0, 0);
        }
        (first..end, first * self.stride + shift - self.padding)
    }

    /// How many elements window `o` has for the divisor of a mean.
    fn count(&self, o: usize, include_pad: bool) -> usize {
        let start = o * self.stride;
        let end = (start + self.kernel).min(self.input + 2 * self.padding);
        if include_pad {
            end - start
        } else {
            end.min(self.input + self.padding) - start.max(self.padding)
        }
    }
}

/// The geometry of a pooling.
struct Pool {
    planes: usize,
    dims: [Dim; 3],
    out: Shape,
}

impl Pool {
    fn new(input: &Shape, spec: &PoolSpec) -> Self {
        let spatial = spec.kernel.len();
        let mut dims =
            [Dim { input: 1, output: 1, kernel: 1, stride: 1, padding: 0, dilation: 1 }; 3];
        let lead = input.rank() - spatial;
        let mut out: Shape = input[..lead].into();
        for i in 0..spatial {
            let size = input[lead + i];
            let output = spec.out_size(i, size).unwrap_or(0);
            out.push(output);
            dims[3 - spatial + i] = Dim {
                input: size,
                output,
                kernel: spec.kernel[i],
                stride: spec.stride[i],
                padding: spec.padding[i],
                dilation: spec.dilation[i],
            };
        }
        Pool { planes: input[..lead].iter().product(), dims, out }
    }

    fn in_len(&self) -> usize {
        self.dims.iter().map(|d| d.input).product()
    }

    fn out_len(&self) -> usize {
        self.dims.iter().map(|d| d.output).product()
    }

    /// Planes that one thread handles at a time.
    fn grain(&self) -> usize {
        let taps: usize = self.dims.iter().map(|d| d.kernel).product();
        (GRAIN / (self.out_len() * taps).max(1)).max(1)
    }

    /// For each output row (given by its start) and each tap that meets it: the windows of the row
    /// that the tap lies inside the input for, and where it lies for the first of them. Taps come in
    /// row-major order.
    fn each_tap(&self, mut f: impl FnMut(usize, Range<usize>, usize)) {
        let [d, h, w] = self.dims;
        for (row, (od, oh)) in
            (0..d.output).flat_map(|d| (0..h.output).map(move |h| (d, h))).enumerate()
        {
            for kd in 0..d.kernel {
                let Some(id) = d.tap(od, kd) else { continue };
                for kh in 0..h.kernel {
                    let Some(ih) = h.tap(oh, kh) else { continue };
                    for kw in 0..w.kernel {
                        let (windows, start) = w.windows(kw);
                        let base = (id * h.input + ih) * w.input;
                        f(row * w.output, windows, base + start);
                    }
                }
            }
        }
    }

    /// The reciprocal of each window's divisor.
    fn shares(&self, spec: &PoolSpec) -> Vec<f64> {
        let [d, h, w] = self.dims;
        let include = spec.count_include_pad;
        let mut shares = Vec::with_capacity(self.out_len());
        for od in 0..d.output {
            for oh in 0..h.output {
                let rows = d.count(od, include) * h.count(oh, include);
                shares.extend((0..w.output).map(|ow| {
                    let count = spec.divisor.unwrap_or_else(|| rows * w.count(ow, include));
                    1.0 / count as f64
                }));
            }
        }
        shares
    }
}

/// The elements of a contiguous tensor.
fn elements<'a, T: Plain>(locked: &'a Locked<'_>, x: &Tensor<Cpu>) -> &'a [T] {
    if x.numel() == 0 {
        return &[];
    }
    &locked.slice::<T>(x)[x.layout().offset()..][..x.numel()]
}

/// See `Backend::max_pool`. A window without a tap inside the input (dilation can make one) gives the
/// lowest value and position 0.
pub(crate) fn max_pool(x: &Tensor<Cpu>, spec: &PoolSpec) -> (Tensor<Cpu>, Tensor<Cpu>) {
    let dtype = x.dtype();
    if is_narrow(dtype) {
        let (values, indices) = max_pool(&widen(x), spec);
        return (values.to_dtype(dtype), indices);
    }
    let pool = Pool::new(x.shape(), spec);
    let mut values = Fresh::new(&pool.out, dtype);
    let mut indices = Fresh::new(&pool.out, DType::I64);
    if pool.out.numel() > 0 {
        let x = &x.contiguous();
        let locked = Locked::read(&[x]);
        by_number!("max_pool", dtype, T => {
            max_as::<T>(&pool, elements(&locked, x), values.slice_mut(), indices.slice_mut());
        });
    }
    (values.finish(), indices.finish())
}

fn max_as<T: Lowest>(pool: &Pool, x: &[T], values: &mut [T], indices: &mut [i64]) {
    let (in_len, out_len, grain) = (pool.in_len(), pool.out_len(), pool.grain());
    let stride = pool.dims[2].stride;
    let indices = Shared(indices.as_mut_ptr());
    parallel_pieces(values, grain * out_len, |piece, values| {
        for (i, values) in values.chunks_exact_mut(out_len).enumerate() {
            let plane = piece * grain + i;
            let x = &x[plane * in_len..][..in_len];
            // SAFETY: both outputs have `out_len` elements per plane, and each plane comes once.
            let indices =
                unsafe { std::slice::from_raw_parts_mut(indices.at(plane * out_len), out_len) };
            values.fill(T::LOWEST);
            indices.fill(-1);
            pool.each_tap(|row, windows, start| {
                let values = &mut values[row + windows.start..row + windows.end];
                let indices = &mut indices[row + windows.start..row + windows.end];
                for (j, (best, at)) in values.iter_mut().zip(indices).enumerate() {
                    let place = start + j * stride;
                    let v = x[place];
                    if v.beats(*best) || *at < 0 {
                        *best = v;
                        *at = place as i64;
                    }
                }
            });
            indices.iter_mut().for_each(|i| *i = (*i).max(0));
        }
    });
}

/// See `Backend::max_pool_grad`.
pub(crate) fn max_pool_grad(
    grad: &Tensor<Cpu>,
    indices: &Tensor<Cpu>,
    input: &Shape,
) -> Tensor<Cpu> {
    let dtype = grad.dtype();
    if is_narrow(dtype) {
        return max_pool_grad(&widen(grad), indices, input).to_dtype(dtype);
    }
    let mut out = Fresh::new(input, dtype);
    if input.numel() > 0 {
        let (grad, indices) = (&grad.contiguous(), &indices.contiguous());
        let locked = Locked::read(&[grad, indices]);
        let planes = input[..2].iter().product();
        by_float!("max_pool_grad", dtype, T => max_grad_as::<T>(
            planes,
            elements(&locked, grad),
            elements(&locked, indices),
            out.slice_mut(),
            input,
        ));
    }
    out.finish()
}

fn max_grad_as<T: Real>(planes: usize, grad: &[T], indices: &[i64], out: &mut [T], input: &Shape) {
    let (in_len, out_len) = (out.len() / planes, grad.len() / planes);
    let grain = (GRAIN / in_len).max(1);
    parallel_pieces(out, grain * in_len, |piece, out| {
        for (i, out) in out.chunks_exact_mut(in_len).enumerate() {
            let from = (piece * grain + i) * out_len;
            out.fill(T::default());
            for (&g, &at) in grad[from..][..out_len].iter().zip(&indices[from..][..out_len]) {
                match out.get_mut(usize::try_from(at).unwrap_or(usize::MAX)) {
                    Some(out) => *out = *out + g,
                    None => raise(Error::Index {
                        op: "max_pool_grad",
                        what: "index",
                        index: at,
                        size: in_len,
                        shape: input.clone(),
                        called: None,
                    }),
                }
            }
        }
    });
}

/// See `Backend::avg_pool`.
pub(crate) fn avg_pool(x: &Tensor<Cpu>, spec: &PoolSpec) -> Tensor<Cpu> {
    let dtype = x.dtype();
    if is_narrow(dtype) {
        return avg_pool(&widen(x), spec).to_dtype(dtype);
    }
    let pool = Pool::new(x.shape(), spec);
    let mut out = Fresh::new(&pool.out, dtype);
    if pool.out.numel() > 0 {
        let x = &x.contiguous();
        let locked = Locked::read(&[x]);
        by_float!("avg_pool", dtype, T => {
            avg_as::<T>(&pool, spec, elements(&locked, x), out.slice_mut());
        });
    }
    out.finish()
}

fn avg_as<T: Real>(pool: &Pool, spec: &PoolSpec, x: &[T], out: &mut [T]) {
    let (in_len, out_len, grain) = (pool.in_len(), pool.out_len(), pool.grain());
    let stride = pool.dims[2].stride;
    let shares: Vec<T> = pool.shares(spec).into_iter().map(T::of).collect();
    parallel_pieces(out, grain * out_len, |piece, out| {
        for (i, out) in out.chunks_exact_mut(out_len).enumerate() {
            let x = &x[(piece * grain + i) * in_len..][..in_len];
            out.fill(T::default());
            pool.each_tap(|row, windows, start| {
                let out = &mut out[row + windows.start..row + windows.end];
                for (j, out) in out.iter_mut().enumerate() {
                    *out = *out + x[start + j * stride];
                }
            });
            out.iter_mut().zip(&shares).for_each(|(out, &share)| *out = *out * share);
        }
    });
}

/// See `Backend::avg_pool_grad`.
pub(crate) fn avg_pool_grad(grad: &Tensor<Cpu>, input: &Shape, spec: &PoolSpec) -> Tensor<Cpu> {
    let dtype = grad.dtype();
    if is_narrow(dtype) {
        return avg_pool_grad(&widen(grad), input, spec).to_dtype(dtype);
    }
    let mut out = Fresh::new(input, dtype);
    if input.numel() > 0 {
        let grad = &grad.contiguous();
        let locked = Locked::read(&[grad]);
        by_float!("avg_pool_grad", dtype, T => {
            avg_grad_as::<T>(&Pool::new(input, spec), spec, elements(&locked, grad), out.slice_mut());
        });
    }
    out.finish()
}

fn avg_grad_as<T: Real>(pool: &Pool, spec: &PoolSpec, grad: &[T], out: &mut [T]) {
    let (in_len, out_len, grain) = (pool.in_len(), pool.out_len(), pool.grain());
    let stride = pool.dims[2].stride;
    let shares: Vec<T> = pool.shares(spec).into_iter().map(T::of).collect();
    let out = Shared(out.as_mut_ptr());
    parallel_for(pool.planes.div_ceil(grain), |piece| {
        let mut shared = Vec::with_capacity(out_len);
        for plane in piece * grain..((piece + 1) * grain).min(pool.planes) {
            // SAFETY: the output has `in_len` elements per plane, and each plane comes once.
            let out = unsafe { std::slice::from_raw_parts_mut(out.at(plane * in_len), in_len) };
            out.fill(T::default());
            shared.clear();
            let grad = &grad[plane * out_len..][..out_len];
            shared.extend(grad.iter().zip(&shares).map(|(&g, &share)| g * share));
            pool.each_tap(|row, windows, start| {
                let shared = &shared[row + windows.start..row + windows.end];
                for (j, &g) in shared.iter().enumerate() {
                    out[start + j * stride] = out[start + j * stride] + g;
                }
            });
        }
    });
}

/// Numbers with a lowest value, and their order with NaN on top.
trait Lowest: Plain {
    const LOWEST: Self;
    fn beats(self, best: Self) -> bool;
}

/// The floats that pooling computes in.
trait Real: Plain + Default + std::ops::Add<Output = Self> + std::ops::Mul<Output = Self> {
    fn of(value: f64) -> Self;
}

macro_rules! lowest {
    ($($T:ty = $low:expr;)*) => {$(
        #[allow(clippy::eq_op, reason = "NaN differs from itself")]
        impl Lowest for $T {
            const LOWEST: $T = $low;
            fn beats(self, best: $T) -> bool {
                self > best || (self != self && best == best)
            }
        }
    )*};
}
lowest!(f64 = f64::NEG_INFINITY; f32 = f32::NEG_INFINITY;);
lowest!(i64 = i64::MIN; i32 = i32::MIN; i16 = i16::MIN; i8 = i8::MIN; u8 = 0;);

impl Real for f64 {
    fn of(value: f64) -> f64 {
        value
    }
}

impl Real for f32 {
    fn of(value: f64) -> f32 {
        value as f32
    }
}
