//! Combining elements along dimensions, and the arithmetic that the other files share.

use kiln_tensor_core::{ReduceOp, Scalar, ScanOp};

use super::Array;
use super::order::above;
use crate::host::indices;

/// Floats in `f64`, integers wrapping, bools: or.
pub(super) fn add(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::F64(a), Scalar::F64(b)) => Scalar::F64(a + b),
        (Scalar::Bool(a), Scalar::Bool(b)) => Scalar::Bool(a | b),
        _ => Scalar::I64(a.to_i64().wrapping_add(b.to_i64())),
    }
}

/// Floats in `f64`, integers wrapping, bools: and.
pub(super) fn mul(a: Scalar, b: Scalar) -> Scalar {
    match (a, b) {
        (Scalar::F64(a), Scalar::F64(b)) => Scalar::F64(a * b),
        (Scalar::Bool(a), Scalar::Bool(b)) => Scalar::Bool(a & b),
        _ => Scalar::I64(a.to_i64().wrapping_mul(b.to_i64())),
    }
}

/// The larger, NaN if either is; `a` if they are equal.
pub(super) fn max(a: Scalar, b: Scalar) -> Scalar {
    if above(b, a) { b } else { a }
}

/// The smaller, NaN if either is; `a` if they are equal.
pub(super) fn min(a: Scalar, b: Scalar) -> Scalar {
    if below(b, a) { b } else { a }
}

/// Whether `a` replaces `b` as the minimum: NaN counts as the smallest here.
fn below(a: Scalar, b: Scalar) -> bool {
    match (a.to_f64().is_nan(), b.to_f64().is_nan()) {
        (true, nan) => !nan,
        (false, true) => false,
        _ => above(b, a),
    }
}

/// Combines along `dims`, which stay with size 1.
pub(super) fn reduce(op: ReduceOp, x: &Array, dims: &[usize]) -> Array {
    let mut shape = x.shape.clone();
    let mut inner = x.shape.clone();
    for d in 0..shape.rank() {
        if dims.contains(&d) { shape[d] = 1 } else { inner[d] = 1 }
    }
    let combined = |out: &Vec<usize>| {
        let at = |i: &Vec<usize>| out.iter().zip(i).map(|(a, b)| a + b).collect::<Vec<_>>();
        let values: Vec<Scalar> = indices(&inner).iter().map(|i| x.get(&at(i))).collect();
        combine(op, &values)
    };
    let values = indices(&shape).iter().map(combined).collect();
    Array { shape, values }
}

fn combine(op: ReduceOp, values: &[Scalar]) -> Scalar {
    let all = || values.iter().copied();
    let fold = |f: fn(Scalar, Scalar) -> Scalar| {
        all().reduce(f).expect("the caller has checked that there are elements")
    };
    let best = |wins: fn(Scalar, Scalar) -> bool| {
        let better = |best: usize, i: usize| if wins(values[i], values[best]) { i } else { best };
        Scalar::I64((0..values.len()).fold(0, better) as i64)
    };
    match op {
        ReduceOp::Sum => all().reduce(add).unwrap_or(Scalar::I64(0)),
        ReduceOp::Prod => all().reduce(mul).unwrap_or(Scalar::I64(1)),
        ReduceOp::Max => fold(max),
        ReduceOp::Min => fold(min),
        ReduceOp::ArgMax => best(above),
        ReduceOp::ArgMin => best(below),
        ReduceOp::Any => Scalar::Bool(all().any(Scalar::to_bool)),
        ReduceOp::All => Scalar::Bool(all().all(Scalar::to_bool)),
    }
}

/// Running combination along `dim`.
pub(super) fn scan(op: ScanOp, x: Array, dim: usize) -> Array {
    let f = match op {
        ScanOp::Sum => add,
        ScanOp::Prod => mul,
    };
    let mut out = x;
    for i in indices(&out.shape.clone()) {
        if i[dim] > 0 {
            let mut before = i.clone();
            before[dim] -= 1;
            let value = f(out.get(&before), out.get(&i));
            out.set(&i, value);
        }
    }
    out
}
