//! Convolution and pooling: which elements meet.

use kiln_tensor_core::{ConvSpec, PoolSpec, Scalar, Shape};

use super::Array;
use super::order::above;
use crate::host::indices;

/// Calls `meet(x index, weight index, y index)` for every product of a cross-correlation.
pub(super) fn conv(
    x: &Shape,
    weight: &Shape,
    y: &Shape,
    spec: &ConvSpec,
    mut meet: impl FnMut(&[usize], &[usize], &[usize]),
) {
    let out_per_group = weight[0] / spec.groups;
    for yi in indices(y) {
        for tap in indices(&weight[1..]) {
            let group = yi[1] / out_per_group;
            let channel = group * weight[1] + tap[0];
            let at = |d: usize| {
                let reached = yi[2 + d] * spec.stride[d] + tap[1 + d] * spec.dilation[d];
                reached.checked_sub(spec.padding[d]).filter(|&i| i < x[2 + d])
            };
            let spatial: Option<Vec<usize>> = (0..x.rank() - 2).map(at).collect();
            if let Some(spatial) = spatial {
                let xi = [&[yi[0], channel], &spatial[..]].concat();
                meet(&xi, &[&[yi[1]], &tap[..]].concat(), &yi);
            }
        }
    }
}

/// The shape that pooling gives.
pub(super) fn pooled(x: &Shape, spec: &PoolSpec) -> Shape {
    spec.out_shape(x).expect("the caller has checked the sizes")
}

/// The spatial indices of `x` inside the window of output `yi`, in row-major order.
fn window(x: &Shape, spec: &PoolSpec, yi: &[usize]) -> Vec<Vec<usize>> {
    let inside = |tap: &Vec<usize>| {
        let at = |d: usize| {
            let reached = yi[2 + d] * spec.stride[d] + tap[d] * spec.dilation[d];
            reached.checked_sub(spec.padding[d]).filter(|&i| i < x[2 + d])
        };
        (0..tap.len()).map(at).collect()
    };
    indices(&spec.kernel).iter().filter_map(inside).collect()
}

/// Maxima and their row-major positions in the spatial dims.
pub(super) fn max_pool(x: &Array, spec: &PoolSpec) -> (Array, Array) {
    let shape = pooled(&x.shape, spec);
    let (mut values, mut positions) = (Vec::new(), Vec::new());
    for yi in indices(&shape) {
        let (mut best, mut position) = (Scalar::F64(f64::NEG_INFINITY), 0);
        for (i, spatial) in window(&x.shape, spec, &yi).iter().enumerate() {
            let value = x.get(&[&yi[..2], spatial].concat());
            if i == 0 || above(value, best) {
                best = value;
                position = spatial.iter().zip(&x.shape[2..]).fold(0, |p, (&i, &size)| p * size + i);
            }
        }
        values.push(best);
        positions.push(Scalar::I64(position as i64));
    }
    (Array { shape: shape.clone(), values }, Array { shape, values: positions })
}

/// Calls `meet(x index, y index, share)` for every element of every mean.
pub(super) fn avg_pool(
    x: &Shape,
    y: &Shape,
    spec: &PoolSpec,
    mut meet: impl FnMut(&[usize], &[usize], f64),
) {
    for yi in indices(y) {
        let window = window(x, spec, &yi);
        // A window may reach over the padding (`ceil_mode`); what lies there never counts.
        let padded = |d: usize| {
            let start = yi[2 + d] * spec.stride[d];
            (start + spec.kernel[d]).min(x[2 + d] + 2 * spec.padding[d]) - start
        };
        let divisor = match spec.divisor {
            Some(divisor) => divisor,
            None if spec.count_include_pad => (0..spec.kernel.len()).map(padded).product(),
            None => window.len(),
        };
        for spatial in &window {
            meet(&[&yi[..2], spatial].concat(), &yi, 1.0 / divisor as f64);
        }
    }
}
