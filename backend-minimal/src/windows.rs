//! Convolution and pooling: a window is a list of positions.

use std::cmp::Ordering::Greater;

use kiln_tensor_core::{ConvSpec, DType, PoolSpec, Shape};

use crate::Tensor;
use crate::along::compare;
use crate::places::indices;
use crate::storage::{Number, load, store};

/// For each place of `y`'s spatial dims, the taps of its window that do not lie in the padding: which tap, and
/// where it lies in the spatial dims of `x`.
fn windows(x: &Shape, y: &Shape, spec: &PoolSpec) -> Vec<Vec<(usize, usize)>> {
    let lies = |place: &[usize], tap: &[usize]| {
        (0..tap.len()).try_fold(0, |at, d| {
            let reached = place[d] * spec.stride[d] + tap[d] * spec.dilation[d];
            let inside = reached.checked_sub(spec.padding[d])?;
            (inside < x[2 + d]).then_some(at * x[2 + d] + inside)
        })
    };
    let (places, taps) = (indices(&y[2..]), indices(&spec.kernel));
    let window = |place: &Vec<usize>| {
        let inside = taps.iter().enumerate().filter_map(|(i, tap)| Some((i, lies(place, tap)?)));
        inside.collect()
    };
    places.iter().map(window).collect()
}

/// Calls `meet` with the positions of every two factors of a convolution and of the sum that they go to: in
/// the input, the weight and the output. The gradients are the same loop with the roles exchanged.
pub fn convolve(
    x: &Shape,
    weight: &Shape,
    y: &Shape,
    spec: &ConvSpec,
    mut meet: impl FnMut(usize, usize, usize),
) {
    let ConvSpec { stride, padding, dilation, groups } = spec.clone();
    // Pooling with these windows.
    let spec = PoolSpec { stride, padding, dilation, ..PoolSpec::new(&weight[2..]) };
    let windows = windows(x, y, &spec);
    let (plane, taps) = (x[2..].iter().product::<usize>(), weight[2..].iter().product::<usize>());
    for y_plane in 0..y[0] * y[1] {
        let (n, o) = (y_plane / y[1], y_plane % y[1]);
        for c in 0..weight[1] {
            let x_plane = n * x[1] + o / (y[1] / groups) * weight[1] + c;
            for (place, window) in windows.iter().enumerate() {
                let y_at = y_plane * windows.len() + place;
                for (tap, at) in window {
                    meet(x_plane * plane + at, (o * weight[1] + c) * taps + tap, y_at);
                }
            }
        }
    }
}

/// Calls `meet` with the positions of each element of a mean, in the input and the output, and its share.
pub fn average(x: &Shape, y: &Shape, spec: &PoolSpec, mut meet: impl FnMut(usize, usize, f64)) {
    let (windows, plane) = (windows(x, y, spec), x[2..].iter().product::<usize>());
    for (place, (window, index)) in windows.iter().zip(indices(&y[2..])).enumerate() {
        // A last window may reach over the padding (`ceil_mode`); what lies there never counts.
        let padded = |d: usize| {
            let start = index[d] * spec.stride[d];
            (start + spec.kernel[d]).min(x[2 + d] + 2 * spec.padding[d]) - start
        };
        let divisor = match spec.divisor {
            Some(divisor) => divisor,
            None if spec.count_include_pad => (0..index.len()).map(padded).product(),
            None => window.len(),
        };
        for n in 0..x[0] * x[1] {
            for (_, at) in window {
                meet(n * plane + at, n * windows.len() + place, 1.0 / divisor as f64);
            }
        }
    }
}

pub fn max_pool<T: Number>(x: &Tensor, spec: &PoolSpec) -> (Tensor, Tensor) {
    let shape = spec.out_shape(x.dims()).expect("the caller has checked it");
    let (values, plane) = (load::<T>(x), x.dims()[2..].iter().product::<usize>());
    let (mut maxima, mut from) = (Vec::new(), Vec::new());
    let windows = windows(x.shape(), &shape, spec);
    for n in 0..shape[0] * shape[1] {
        for window in &windows {
            let inside = window.iter().map(|&(_, at)| (values[n * plane + at], at));
            let best =
                inside.reduce(
                    |best, new| {
                        if compare(new.0, best.0, Greater).is_gt() { new } else { best }
                    },
                );
            // Dilation may carry all taps of a window into the padding.
            let (max, at) = best.unwrap_or((T::from_scalar(f64::NEG_INFINITY.into()), 0));
            maxima.push(max);
            from.push(at);
        }
    }
    (store(&maxima, &shape, x.dtype()), store(&from, &shape, DType::I64))
}
