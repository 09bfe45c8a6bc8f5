//! layer_norm, batch_norm and their gradients, a row or a channel at a time.

use std::ops::Range;

use kiln_tensor_core::{DType, Shape, Tensor, compose};

use super::math::Math;
use super::rows::{each, load, parallel_rows, plain, store, sum};
use super::simd::{Arch, Float, Work, dispatch};
use super::workers::Shared;
use crate::Cpu;
use crate::storage::{Fresh, Locked};
use crate::threads::parallel_for;

/// Shorter rows of a channel are left to the composed form.
const SHORTEST: usize = 16;
/// Rows whose sums in the gradient are added up together.
const GROUP_ROWS: usize = 64;

/// Pointers to the elements of tensors, `None` for absent ones, and what lies where.
struct Rows<E, const N: usize> {
    from: [*mut E; N],
    len: usize,
    rows: Range<usize>,
}

/// Runs `f` with the type that a tensor's floats are computed in.
macro_rules! by_float {
    ($dtype:expr, $E:ident => $body:expr) => {
        if $dtype == DType::F64 {
            type $E = f64;
            $body
        } else {
            type $E = f32;
            $body
        }
    };
}

/// See `Backend::layer_norm`.
pub(crate) fn layer_norm(
    x: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    bias: Option<&Tensor<Cpu>>,
    dims: usize,
    eps: f64,
) -> [Tensor<Cpu>; 3] {
    let len: usize = x.dims()[x.rank() - dims..].iter().product();
    if !x.dtype().is_float() || x.numel() == 0 {
        return compose::layer_norm(x, weight, bias, dims, eps);
    }
    let dtype = x.dtype();
    let x = plain(x);
    let weight = weight.map(|w| plain(&w.to_dtype(x.dtype())));
    let bias = bias.map(|b| plain(&b.to_dtype(x.dtype())));
    let outer: Shape =
        (0..x.rank()).map(|d| if d < x.rank() - dims { x.dims()[d] } else { 1 }).collect();
    let [mut y, mut mean, mut rstd] =
        [x.shape(), &outer, &outer].map(|shape| Fresh::new(shape, x.dtype()));
    let mut inputs = vec![&x];
    inputs.extend(weight.iter().chain(&bias));
    let locked = Locked::read(&inputs);
    let optional =
        |t: &Option<Tensor<Cpu>>| t.as_ref().map_or(std::ptr::null_mut(), |t| locked.ptr(t));
    let pointers =
        [locked.ptr(&x), optional(&weight), optional(&bias), y.ptr(), mean.ptr(), rstd.ptr()]
            .map(Shared);
    parallel_rows(x.numel() / len, len, |from, to| {
        let rows = from..to;
        by_float!(x.dtype(), E => dispatch(LayerNorm(
            Rows { from: pointers.each_ref().map(|p| p.at(0).cast::<E>()), len, rows },
            eps,
        )));
    });
    drop(locked);
    [y, mean, rstd].map(|out| out.finish().to_dtype(dtype))
}

struct LayerNorm<E>(Rows<E, 6>, f64);

impl<E: Math> Work for LayerNorm<E> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let LayerNorm(Rows { from: [x, weight, bias, y, mean, rstd], len, rows }, eps) = self;
        let zero = E::V::<A>::num(0.0);
        for row in rows {
            // SAFETY: the tensors have these rows, and the parameters the elements of one.
            unsafe {
                let (x, y) = (x.add(row * len), y.add(row * len));
                let average = sum(len, |at, n| load(x, at, n, zero)).to_f64() / len as f64;
                let center = E::V::<A>::num(average);
                let spread = sum(len, |at, n| {
                    let d = load(x, at, n, center).sub(center);
                    d.mul(d)
                });
                let scale = 1.0 / (spread.to_f64() / len as f64 + eps).sqrt();
                mean.add(row).write(E::from_f64(average));
                rstd.add(row).write(E::from_f64(scale));
                let scale = E::V::<A>::num(scale);
                each::<E::V<A>>(len, |at, n| {
                    let mut v = load(x, at, n, zero).sub(center).mul(scale);
                    if !weight.is_null() {
                        v = v.mul(load(weight, at, n, zero));
                    }
                    if !bias.is_null() {
                        v = v.add(load(bias, at, n, zero));
                    }
                    store(v, y, at, n);
                });
            }
        }
    }
}

/// See `Backend::layer_norm_grad`.
pub(crate) fn layer_norm_grad(
    grad: &Tensor<Cpu>,
    x: &Tensor<Cpu>,
    mean: &Tensor<Cpu>,
    rstd: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    dims: usize,
) -> [Tensor<Cpu>; 3] {
    let len: usize = x.dims()[x.rank() - dims..].iter().product();
    if !x.dtype().is_float() || x.numel() == 0 {
        return compose::layer_norm_grad(grad, x, mean, rstd, weight, dims);
    }
    let dtype = x.dtype();
    let [grad, x, mean, rstd] = [grad, x, mean, rstd].map(plain);
    let weight = weight.map(|w| plain(&w.to_dtype(x.dtype())));
    let count = x.numel() / len;
    let groups = count.div_ceil(GROUP_ROWS);
    let inner: Shape = x.dims()[x.rank() - dims..].into();
    // One row of sums per group of rows; they are added up at the end, in order.
    let partial: Shape = [groups].into_iter().chain(inner.iter().copied()).collect();
    let [mut dx, mut dw, mut db] =
        [x.shape(), &partial, &partial].map(|shape| Fresh::new(shape, x.dtype()));
    let mut inputs = vec![&grad, &x, &mean, &rstd];
    inputs.extend(&weight);
    let locked = Locked::read(&inputs);
    let [g, x_, mean_, rstd_] = [&grad, &x, &mean, &rstd].map(|t| locked.ptr(t));
    let w = weight.as_ref().map_or(std::ptr::null_mut(), |w| locked.ptr(w));
    let pointers = [g, x_, mean_, rstd_, w, dx.ptr(), dw.ptr(), db.ptr()].map(Shared);
    parallel_for(groups, |group| {
        let rows = group * GROUP_ROWS..count.min((group + 1) * GROUP_ROWS);
        by_float!(x.dtype(), E => dispatch(LayerNormGrad(
            Rows { from: pointers.each_ref().map(|p| p.at(0).cast::<E>()), len, rows },
            group,
        )));
    });
    drop(locked);
    let total = |sums: Fresh| sums.finish().sum_dims([0], false);
    [dx.finish(), total(dw), total(db)].map(|out| out.to_dtype(dtype))
}

struct LayerNormGrad<E>(Rows<E, 8>, usize);

impl<E: Math> Work for LayerNormGrad<E> {
    type Out = ();
    /// `dx = rstd · (a − mean(a) − x̂ · mean(a · x̂))` with `a = g · weight`; the sums over rows of
    /// `g · x̂` and `g` go to the group's row of the partial sums.
    #[inline(always)]
    fn run<A: Arch>(self) {
        let LayerNormGrad(Rows { from, len, rows }, group) = self;
        let [g, x, mean, rstd, weight, dx, dw, db] = from;
        let zero = E::V::<A>::num(0.0);
        // SAFETY: the partial sums have a row per group.
        let (dw, db) = unsafe { (dw.add(group * len), db.add(group * len)) };
        // SAFETY: as above.
        each::<E::V<A>>(len, |at, n| unsafe {
            store(zero, dw, at, n);
            store(zero, db, at, n);
        });
        for row in rows {
            // SAFETY: the tensors have these rows, the parameters the elements of one.
            unsafe {
                let (g, x, dx) = (g.add(row * len), x.add(row * len), dx.add(row * len));
                let center = E::V::<A>::splat(*mean.add(row));
                let scale = E::V::<A>::splat(*rstd.add(row));
                let scaled = |at, n| {
                    let g = load(g, at, n, zero);
                    if weight.is_null() { g } else { g.mul(load(weight, at, n, zero)) }
                };
                let normal = |at, n| load(x, at, n, center).sub(center).mul(scale);
                let mean = |sum: E| E::V::<A>::num(sum.to_f64() / len as f64);
                let level = mean(sum(len, scaled));
                let slope = mean(sum(len, |at, n| scaled(at, n).mul(normal(at, n))));
                each::<E::V<A>>(len, |at, n| {
                    let (g, normal) = (load(g, at, n, zero), normal(at, n));
                    let out = scaled(at, n).sub(level).sub(normal.mul(slope)).mul(scale);
                    store(out, dx, at, n);
                    store(load(dw, at, n, zero).add(g.mul(normal)), dw, at, n);
                    store(load(db, at, n, zero).add(g), db, at, n);
                });
            }
        }
    }
}

/// Samples, channels and the elements of a channel in a sample.
fn channels(x: &Tensor<Cpu>) -> (usize, usize, usize) {
    (x.dims()[0], x.dims()[1], x.dims()[2..].iter().product())
}

/// Whether the channel kernels take this tensor.
fn takes_channels(x: &Tensor<Cpu>) -> bool {
    x.dtype().is_float() && x.numel() > 0 && channels(x).2 >= SHORTEST
}

/// See `Backend::batch_norm`.
pub(crate) fn batch_norm(
    x: &Tensor<Cpu>,
    weight: Option<&Tensor<Cpu>>,
    bias: Option<&Tensor<Cpu>>,
    eps: f64,
) -> [Tensor<Cpu>; 3] {
    if !takes_channels(x) {
        return compose::batch_norm(x, weight, bias, eps);
    }
    let dtype = x.dtype();
    let x = plain(x);
    let (_, count, _) = channels(&x);
    let weight = weight.map(|w| plain(&w.to_dtype(x.dtype())));
    let bias = bias.map(|b| plain(&b.to_dtype(x.dtype())));
    let each = Shape::from(count);
    let [mut y, mut mean, mut var] =
        [x.shape(), &each, &each].map(|shape| Fresh::new(shape, x.dtype()));
    let mut inputs = vec![&x];
    inputs.extend(weight.iter().chain(&bias));
    let locked = Locked::read(&inputs);
    let optional =
        |t: &Option<Tensor<Cpu>>| t.as_ref().map_or(std::ptr::null_mut(), |t| locked.ptr(t));
    let pointers =
        [locked.ptr(&x), optional(&weight), optional(&bias), y.ptr(), mean.ptr(), var.ptr()]
            .map(Shared);
    let shape = channels(&x);
    parallel_for(count, |channel| {
        by_float!(x.dtype(), E => dispatch(BatchNorm {
            from: pointers.each_ref().map(|p| p.at(0).cast::<E>()),
            shape,
            channel,
            eps,
        }));
    });
    drop(locked);
    [y, mean, var].map(|out| out.finish().to_dtype(dtype))
}

struct BatchNorm<E, const N: usize> {
    from: [*mut E; N],
    shape: (usize, usize, usize),
    channel: usize,
    eps: f64,
}

impl<E: Math> Work for BatchNorm<E, 6> {
    type Out = ();
    #[inline(always)]
    fn run<A: Arch>(self) {
        let [x, weight, bias, y, mean, var] = self.from;
        let ((samples, count, len), channel) = (self.shape, self.channel);
        let zero = E::V::<A>::num(0.0);
        let total = (samples * len) as f64;
        let start = |sample: usize| (sample * count + channel) * len;
        // SAFETY: the tensors have these channels.
        unsafe {
            let (mut average, mut spread) = (0.0, 0.0);
            for s in 0..samples {
                let x = x.add(start(s));
                average += sum(len, |at, n| load(x, at, n, zero)).to_f64() / total;
            }
            let center = E::V::<A>::num(average);
            for s in 0..samples {
                let x = x.add(start(s));
                let part = sum(len, |at, n| {
                    let d = load(x, at, n, center).sub(center);
                    d.mul(d)
                });
                spread += part.to_f64();
            }
            let variance = spread / total;
            mean.add(channel).write(E::from_f64(average));
            var.add(channel).write(E::from_f64(variance));
            let one = |p: *mut E, absent: f64| {
                if p.is_null() { absent } else { (*p.add(channel)).to_f64() }
            };
            let scale = E::V::<A>::num(one(weight, 1.0) / (variance + self.eps).sqrt());
            let bias = E::V::<A>::num(one(bias, 0.0));
            for s in 0..samples {
                let (x, y) = (x.add(start(s)), y.add(start(s)));
                each::<E::V<A>>(len, |at, n| {
                    let v = load(x, at, n, zero).sub(center).mul_add(scale, bias);
                    store(v, y, at, n);
                });
            }
        }
    }
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
    if !takes_channels(x) {
        return compose::batch_norm_grad(grad, x, mean, var, weight, eps);
    }
    let dtype = x.dtype();
    let [grad, x, mean, var] = [grad, x, mean, var].map(plain);
    let weight = weight.map(|w| plain(&w.to_dtype(x.dtype())));
    let (_, count, _) = channels(&x);
    let each = Shape::from(count);
    let [mut dx, mut dw, mut db] =
        [x.shape(), &each, &each].map(|shape| Fresh::new(shape, x.dtype()));
    let mut inputs = vec![&grad, &x, &mean, &var];
    inputs.extend(&weight);
    let locked = Locked::read(&inputs);
    let [g, x_, mean_, var_] = [&grad, &x, &mean, &var].map(|t| locked.ptr(t));
    let w = weight.as_ref().map_or(std::ptr::null_mut(), |w| locked.ptr(w));
    let pointers = [g, x_, mean_, var_, w, dx.ptr(), dw.ptr(), db.ptr()].map(Shared);
    let shape = channels(&x);
    parallel_for(count, |channel| {
        by_float!(x.dtype(), E => dispatch(BatchNorm {
            from: pointers.each_ref().map(|p| p.at(0).cast::<E>()),
            shape,
            channel,
            eps,
        }));
    });
    drop(locked);
    [dx, dw, db].map(|out| out.finish().to_dtype(dtype))
}

impl<E: Math> Work for BatchNorm<E, 8> {
    type Out = ();
    /// `dx = weight · rstd · (g − mean(g) − x̂ · mean(g · x̂))`
    #[inline(always)]
    fn run<A: Arch>(self) {
        let [g, x, mean, var, weight, dx, dw, db] = self.from;
        let ((samples, count, len), channel) = (self.shape, self.channel);
        let zero = E::V::<A>::num(0.0);
        let total = (samples * len) as f64;
        let start = |sample: usize| (sample * count + channel) * len;
        // SAFETY: the tensors have these channels.
        unsafe {
            let center = E::V::<A>::splat(*mean.add(channel));
            let rstd = 1.0 / ((*var.add(channel)).to_f64() + self.eps).sqrt();
            let scale = E::V::<A>::num(rstd);
            let (mut level, mut slope) = (0.0, 0.0);
            for s in 0..samples {
                let (g, x) = (g.add(start(s)), x.add(start(s)));
                level += sum(len, |at, n| load(g, at, n, zero)).to_f64();
                let part = sum(len, |at, n| {
                    let normal = load(x, at, n, center).sub(center).mul(scale);
                    load(g, at, n, zero).mul(normal)
                });
                slope += part.to_f64();
            }
            dw.add(channel).write(E::from_f64(slope));
            db.add(channel).write(E::from_f64(level));
            let weight = if weight.is_null() { 1.0 } else { (*weight.add(channel)).to_f64() };
            let factor = E::V::<A>::num(weight * rstd);
            let (level, slope) = (E::V::<A>::num(level / total), E::V::<A>::num(slope / total));
            for s in 0..samples {
                let (g, x, dx) = (g.add(start(s)), x.add(start(s)), dx.add(start(s)));
                each::<E::V<A>>(len, |at, n| {
                    let normal = load(x, at, n, center).sub(center).mul(scale);
                    let out = load(g, at, n, zero).sub(level).sub(normal.mul(slope)).mul(factor);
                    store(out, dx, at, n);
                });
            }
        }
    }
}
