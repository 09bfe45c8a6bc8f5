//! Where elements lie: strides and shapes as lists of positions, made before a kernel begins.

use kiln_tensor_core::{Layout, Shape, ViewOp};

/// The storage's element that each index of a layout means, in row-major order of the indices.
pub fn positions(layout: &Layout) -> Vec<usize> {
    let mut all = vec![layout.offset()];
    for (&size, &stride) in layout.shape().iter().zip(layout.strides()) {
        let along = |at: usize| (0..size as isize).map(move |i| at.wrapping_add_signed(i * stride));
        all = all.into_iter().flat_map(along).collect();
    }
    all
}

/// The positions in a row-major `shape` cut into lanes: a lane walks over `dims`, and there is one for each
/// index of the other dims, in their row-major order.
pub fn lanes(shape: &Shape, dims: &[usize]) -> Vec<Vec<usize>> {
    let others: Vec<usize> = (0..shape.rank()).filter(|d| !dims.contains(d)).collect();
    let sizes = |dims: &[usize]| dims.iter().map(|&d| shape[d]).product::<usize>();
    let (count, len) = (sizes(&others), sizes(dims));
    let order = ViewOp::Permute([&others, dims].concat().into());
    let all = positions(&Layout::contiguous(shape).view(&order).expect("each dim once"));
    (0..count).map(|i| all[i * len..][..len].to_vec()).collect()
}

/// The indices of a row-major `shape`, in the order of its positions.
pub fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    let strides = Layout::contiguous(shape);
    let index = |at: usize| {
        let along = |(&size, &stride)| at / stride as usize % size;
        shape.iter().zip(strides.strides()).map(along).collect()
    };
    (0..shape.iter().product()).map(index).collect()
}
