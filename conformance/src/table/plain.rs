//! Plain loops over elements, for oracles that share no code with what they judge.

use kiln_tensor_core::{Backend, Shape, Tensor};

use crate::Host;
use crate::host::indices;
use crate::strategies::{Gen, NORMAL, Sample};

/// The elements of an operand.
pub(super) fn values(x: &Host) -> Vec<f64> {
    x.values.iter().map(|v| v.to_f64()).collect()
}

/// The elements of the first operand, whatever shape they get.
pub(super) fn unchanged(sample: &Sample) -> Vec<Vec<f64>> {
    vec![values(&sample.inputs[0])]
}

/// A result of shape `to` whose element at `i` is that of `x` at `from(i)`.
pub(super) fn picked(x: &Host, to: &Shape, from: impl Fn(&[usize]) -> Vec<usize>) -> Vec<f64> {
    indices(to).iter().map(|i| x.get(&from(i)).to_f64()).collect()
}

/// `f` of the elements that meet along the dims `args[1..]`, for each place in the others.
pub(super) fn along(sample: &Sample, f: fn(&[f64]) -> f64) -> Vec<Vec<f64>> {
    vec![combined(&sample.inputs[0], &sample.args[1..], f)]
}

/// `f` of the elements that meet along `dims`, for each place in the others.
pub(super) fn combined(x: &Host, dims: &[i64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let rank = x.shape.rank() as i64;
    let dims: Vec<usize> =
        dims.iter().map(|&d| (if d < 0 { d + rank } else { d }) as usize).collect();
    let (mut outer, mut inner) = (x.shape.clone(), x.shape.clone());
    for d in 0..rank as usize {
        if dims.contains(&d) { outer[d] = 1 } else { inner[d] = 1 }
    }
    let at = |a: &[usize], b: &[usize]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
    let group = |o: &Vec<usize>| -> Vec<f64> {
        indices(&inner).iter().map(|i| x.get(&at(o, i)).to_f64()).collect()
    };
    indices(&outer).iter().map(|o| f(&group(o))).collect()
}

/// `f` of each row along dim `args[0]`: as many elements again, in their places.
pub(super) fn rows(x: &Host, dim: i64, f: fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let dim = (if dim < 0 { dim + x.shape.rank() as i64 } else { dim }) as usize;
    let own = |i: &Vec<usize>| {
        let row: Vec<f64> = (0..x.shape[dim])
            .map(|j| {
                let mut at = i.clone();
                at[dim] = j;
                x.get(&at).to_f64()
            })
            .collect();
        f(&row)[i[dim]]
    };
    indices(&x.shape).iter().map(own).collect()
}

/// The largest element, NaN if any is.
pub(super) fn max(x: &[f64]) -> f64 {
    x.iter().copied().reduce(|a, b| if a.is_nan() || a > b { a } else { b }).unwrap_or(f64::NAN)
}

/// `exp(x − max) / Σ`
pub(super) fn softmax(x: &[f64]) -> Vec<f64> {
    let top = max(x);
    let sum: f64 = x.iter().map(|v| (v - top).exp()).sum();
    x.iter().map(|v| (v - top).exp() / sum).collect()
}

/// The logarithms of `softmax`.
pub(super) fn log_softmax(x: &[f64]) -> Vec<f64> {
    let top = max(x);
    let sum: f64 = x.iter().map(|v| (v - top).exp()).sum();
    x.iter().map(|v| v - top - sum.ln()).collect()
}

/// A result: its sizes and its elements.
pub(super) type Plain = (Shape, Vec<f64>);

/// Results, and after them the sizes of each, so that a shape is compared with the oracle's too.
pub(super) fn shaped<B: Backend>(mut results: Vec<Tensor<B>>) -> Vec<Tensor<B>> {
    let sizes = |y: &Tensor<B>| {
        let sizes: Vec<i64> = y.dims().iter().map(|&n| n as i64).collect();
        Tensor::from_slice(&sizes, sizes.len(), y.device())
    };
    let sizes: Vec<Tensor<B>> = results.iter().map(sizes).collect();
    results.extend(sizes);
    results
}

/// What `shaped` gives for these results.
pub(super) fn shaped_values(results: Vec<Plain>) -> Vec<Vec<f64>> {
    let (shapes, mut values): (Vec<Shape>, Vec<Vec<f64>>) = results.into_iter().unzip();
    values.extend(shapes.iter().map(|shape| shape.iter().map(|&n| n as f64).collect()));
    values
}

/// Elements of `x` in another place: the one at `i` is that at `from(i)`.
pub(super) fn moved(x: &Host, to: Shape, from: impl Fn(&[usize]) -> Vec<usize>) -> Plain {
    let values = picked(x, &to, from);
    (to, values)
}

/// An operand and arguments that depend on its shape.
pub(super) fn with(
    g: &mut Gen,
    ranks: std::ops::RangeInclusive<usize>,
    f: fn(&mut Gen, &Shape) -> Vec<i64>,
) -> Sample {
    let shape = g.shape(ranks);
    let args = f(g, &shape);
    Sample::new([g.values(&shape, NORMAL)]).with(args)
}

/// An operand with elements along one of its dims, and arguments that depend on its shape and that dim.
pub(super) fn with_dim(
    g: &mut Gen,
    ranks: std::ops::RangeInclusive<usize>,
    f: fn(&mut Gen, &Shape, usize) -> Vec<i64>,
) -> Sample {
    let mut shape = g.shape(ranks);
    let dim = g.below(shape.rank());
    shape[dim] = shape[dim].max(1);
    let signed = if g.flip() { dim as i64 } else { dim as i64 - shape.rank() as i64 };
    let args = std::iter::once(signed).chain(f(g, &shape, dim)).collect::<Vec<_>>();
    Sample::new([g.values(&shape, NORMAL)]).with(args)
}

/// Arguments as signed sizes or dims.
pub(super) fn sizes(args: &[i64]) -> Vec<isize> {
    args.iter().map(|&n| n as isize).collect()
}

/// The dim that a number means.
pub(super) fn at(dim: i64, rank: usize) -> usize {
    (if dim < 0 { dim + rank as i64 } else { dim }) as usize
}

/// An index with the number at `dim` replaced.
pub(super) fn put(index: &[usize], dim: usize, value: usize) -> Vec<usize> {
    let mut index = index.to_vec();
    index[dim] = value;
    index
}
