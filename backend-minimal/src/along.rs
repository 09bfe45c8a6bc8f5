//! Along dimensions: a kernel walks over lanes of positions.

use std::cmp::Ordering::{self, Greater, Less};

use kiln_tensor_core::{DType, ReduceOp, Scalar, ScanOp};

use crate::Tensor;
use crate::places::lanes;
use crate::storage::{Number, load, store};

/// How numbers compare, where NaN is greater than all (`nan` is `Greater`) or less.
pub fn compare<T: Number>(a: T, b: T, nan: Ordering) -> Ordering {
    let is_nan = |x: T| x.partial_cmp(&x).is_none();
    a.partial_cmp(&b).unwrap_or_else(|| {
        let order = is_nan(a).cmp(&is_nan(b));
        if nan == Less { order.reverse() } else { order }
    })
}

/// Combines the values of each lane.
pub fn reduce<T: Number>(op: ReduceOp, x: &[Scalar], lanes: &[Vec<usize>]) -> Vec<Scalar> {
    let number = |&at: &usize| T::from_scalar(x[at]);
    lanes.iter().map(|lane| combine(op, &lane.iter().map(number).collect::<Vec<T>>())).collect()
}

fn combine<T: Number>(op: ReduceOp, lane: &[T]) -> Scalar {
    let fold = |first, f: fn(T, T) -> T| lane.iter().fold(T::from(first), |sum, &x| f(sum, x));
    // Which is the best: the first of equals.
    let best = |order| {
        let better = |i: usize, best: usize| compare(lane[i], lane[best], order) == order;
        (0..lane.len()).fold(0, |best, i| if better(i, best) { i } else { best })
    };
    match op {
        // Bools are 0 and 1; a sum of them is stored as whether it is not 0.
        ReduceOp::Sum | ReduceOp::Any => fold(0, T::ADD).into(),
        ReduceOp::Prod | ReduceOp::All => fold(1, T::MUL).into(),
        ReduceOp::Max => lane[best(Greater)].into(),
        ReduceOp::Min => lane[best(Less)].into(),
        ReduceOp::ArgMax => best(Greater).into(),
        ReduceOp::ArgMin => best(Less).into(),
    }
}

pub fn scan<T: Number>(op: ScanOp, x: &Tensor, dim: usize) -> Tensor {
    let f = if op == ScanOp::Sum { T::ADD } else { T::MUL };
    let mut values: Vec<T> = load(x);
    for lane in lanes(x.shape(), &[dim]) {
        for step in lane.windows(2) {
            values[step[1]] = f(values[step[0]], values[step[1]]);
        }
    }
    store(&values, x.shape(), x.dtype())
}

/// The first `k` along `dim` in order, and where they were.
pub fn topk<T: Number>(x: &Tensor, k: usize, dim: usize, largest: bool) -> (Tensor, Tensor) {
    let (values, shape) = (load::<T>(x), x.shape().with(dim, k));
    let (mut sorted, mut from) = (vec![T::from(0); shape.numel()], vec![0; shape.numel()]);
    for (lane, out) in lanes(x.shape(), &[dim]).iter().zip(lanes(&shape, &[dim])) {
        let mut order: Vec<usize> = (0..lane.len()).collect();
        order.sort_by(|&a, &b| {
            let ascending = compare(values[lane[a]], values[lane[b]], Greater);
            if largest { ascending.reverse() } else { ascending }
        });
        for (to, i) in out.into_iter().zip(order) {
            (sorted[to], from[to]) = (values[lane[i]], i);
        }
    }
    (store(&sorted, &shape, x.dtype()), store(&from, &shape, DType::I64))
}

pub fn matmul<T: Number>(a: &Tensor, b: &Tensor) -> Tensor {
    let (row, column) = (a.rank() - 2, a.rank() - 1);
    let (m, n) = (a.dims()[row], b.dims()[column]);
    let (x, y): (Vec<T>, Vec<T>) = (load(a), load(b));
    // Matrix after matrix of the batch, `m` rows of `a` and `n` columns of `b` in each.
    let (rows, columns) = (lanes(a.shape(), &[column]), lanes(b.shape(), &[row]));
    let mut products = Vec::new();
    for (i, row) in rows.iter().enumerate() {
        for column in &columns[i / m * n..][..n] {
            let terms = row.iter().zip(column).map(|(&i, &j)| (T::MUL)(x[i], y[j]));
            products.push(terms.fold(T::from(0), T::ADD));
        }
    }
    store(&products, &a.shape().with(column, n), a.dtype())
}
