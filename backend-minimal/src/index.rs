//! By index: an index becomes a list of positions.

use std::cmp::Ordering::{Greater, Less};

use kiln_tensor_core::{DType, Error, Layout, ScatterOp, Shape, Strides, raise};

use crate::Tensor;
use crate::along::compare;
use crate::places::{indices, positions};
use crate::storage::{Number, load, store};

/// Where the elements of an index point to in a row-major `shape`: along `dim` to where each says.
#[track_caller]
fn aimed(op: &'static str, shape: &Shape, dim: usize, index: &Tensor) -> Vec<usize> {
    let (mut strides, size) = (Strides::from(Layout::contiguous(shape).strides()), shape[dim]);
    let stride = std::mem::take(&mut strides[dim]) as usize;
    let mut aimed = positions(&Layout::new(index.shape().clone(), strides, 0));
    for (at, index) in aimed.iter_mut().zip(load::<i64>(index)) {
        if !(0..size as i64).contains(&index) {
            let shape = shape.clone();
            raise(Error::Index { op, what: "index", index, size, shape, called: None });
        }
        *at += index as usize * stride;
    }
    aimed
}

#[track_caller]
pub fn gather<T: Number>(x: &Tensor, dim: usize, index: &Tensor) -> Tensor {
    let (from, values) = (aimed("gather", x.shape(), dim, index), load::<T>(x));
    let picked: Vec<T> = from.into_iter().map(|at| values[at]).collect();
    store(&picked, index.shape(), x.dtype())
}

#[track_caller]
pub fn scatter<T: Number>(
    op: ScatterOp,
    x: &Tensor,
    dim: usize,
    index: &Tensor,
    src: &Tensor,
) -> Tensor {
    let mut out: Vec<T> = load(x);
    for (at, new) in aimed("scatter", x.shape(), dim, index).into_iter().zip(load::<T>(src)) {
        out[at] = match op {
            ScatterOp::Set => new,
            ScatterOp::Add => (T::ADD)(out[at], new),
            ScatterOp::Mul => (T::MUL)(out[at], new),
            ScatterOp::Max if compare(new, out[at], Greater).is_gt() => new,
            ScatterOp::Min if compare(new, out[at], Less).is_lt() => new,
            ScatterOp::Max | ScatterOp::Min => out[at],
        };
    }
    store(&out, x.shape(), x.dtype())
}

pub fn nonzero<T: Number>(x: &Tensor) -> Tensor {
    let all = indices(x.dims()).into_iter().zip(load::<T>(x));
    let found: Vec<Vec<usize>> =
        all.filter(|(_, value)| *value != T::from(0)).map(|(index, _)| index).collect();
    store(&found.concat(), &[found.len(), x.rank()].into(), DType::I64)
}
