//! Order: NaN counts as the largest, and equal values keep their positions.

use std::cmp::Ordering;

use kiln_tensor_core::Scalar;

use super::Array;
use crate::host::indices;

fn compare(a: Scalar, b: Scalar) -> Ordering {
    match (a, b) {
        (Scalar::F64(a), Scalar::F64(b)) => {
            a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
        }
        _ => a.to_i64().cmp(&b.to_i64()),
    }
}

/// Whether `a` is strictly above `b`.
pub(super) fn above(a: Scalar, b: Scalar) -> bool {
    compare(a, b) == Ordering::Greater
}

/// Values in order along `dim`, and where they were.
pub(super) fn sort(x: &Array, dim: usize, descending: bool) -> (Array, Array) {
    // A 0-d tensor is one row of one element.
    let len = if x.shape.rank() == 0 { 1 } else { x.shape[dim] };
    let (mut values, mut positions) = (x.clone(), x.clone());
    let heads = if x.shape.rank() == 0 { x.shape.clone() } else { x.shape.with(dim, 1.min(len)) };
    for head in indices(&heads) {
        let at = |i: usize| {
            let mut index = head.clone();
            if let Some(along) = index.get_mut(dim) {
                *along = i;
            }
            index
        };
        let mut order: Vec<usize> = (0..len).collect();
        order.sort_by(|&a, &b| {
            let ascending = compare(x.get(&at(a)), x.get(&at(b)));
            if descending { ascending.reverse() } else { ascending }
        });
        for (to, from) in order.into_iter().enumerate() {
            values.set(&at(to), x.get(&at(from)));
            positions.set(&at(to), Scalar::I64(from as i64));
        }
    }
    (values, positions)
}
