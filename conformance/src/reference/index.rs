//! Reading and writing by index.

use kiln_tensor_core::{Error, Scalar, ScatterOp, Shape, raise};

use super::{Array, reduce};
use crate::host::indices;

/// `index` with the number that `value` holds at `dim`.
fn aimed(
    op: &'static str,
    value: Scalar,
    index: &[usize],
    dim: usize,
    shape: &Shape,
) -> Vec<usize> {
    let (at, size) = (value.to_i64(), shape[dim]);
    if at < 0 || at >= size as i64 {
        raise(Error::Index {
            op,
            what: "index",
            index: at,
            size,
            shape: shape.clone(),
            called: None,
        });
    }
    let mut index = index.to_vec();
    index[dim] = at as usize;
    index
}

pub(super) fn gather(x: &Array, dim: usize, index: &Array) -> Array {
    let read = |i: &Vec<usize>| x.get(&aimed("gather", index.get(i), i, dim, &x.shape));
    Array { shape: index.shape.clone(), values: indices(&index.shape).iter().map(read).collect() }
}

pub(super) fn scatter(op: ScatterOp, x: Array, dim: usize, index: &Array, src: &Array) -> Array {
    let f = match op {
        ScatterOp::Set => |_, new| new,
        ScatterOp::Add => reduce::add,
        ScatterOp::Mul => reduce::mul,
        ScatterOp::Max => reduce::max,
        ScatterOp::Min => reduce::min,
    };
    let mut out = x;
    for i in indices(&index.shape) {
        let to = aimed("scatter", index.get(&i), &i, dim, &out.shape);
        out.combine(&to, src.get(&i), f);
    }
    out
}

pub(super) fn select(x: &Array, dim: usize, index: &Array) -> Array {
    let shape = x.shape.with(dim, index.values.len());
    let read =
        |i: &Vec<usize>| x.get(&aimed("index_select", index.values[i[dim]], i, dim, &x.shape));
    let values = indices(&shape).iter().map(read).collect();
    Array { shape, values }
}

pub(super) fn add(x: Array, dim: usize, index: &Array, src: &Array) -> Array {
    let mut out = x;
    for i in indices(&src.shape) {
        let to = aimed("index_add", index.values[i[dim]], &i, dim, &out.shape);
        out.combine(&to, src.get(&i), reduce::add);
    }
    out
}

pub(super) fn nonzero(x: &Array) -> Array {
    let found: Vec<Vec<usize>> =
        indices(&x.shape).into_iter().filter(|i| x.get(i).to_bool()).collect();
    let values = found.iter().flatten().map(|&i| Scalar::I64(i as i64)).collect();
    Array { shape: [found.len(), x.shape.rank()].into(), values }
}
