//! Plain loops over elements, for oracles that share no code with what they judge.

use kiln_tensor_core::Shape;

use crate::Host;
use crate::host::indices;
use crate::strategies::Sample;

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

/// The losses of the elements, their mean and their sum.
pub(super) fn losses(sample: &Sample, f: fn(&[f64]) -> f64) -> Vec<Vec<f64>> {
    let operands: Vec<Vec<f64>> = sample.inputs.iter().map(values).collect();
    let element = |i: usize| f(&operands.iter().map(|x| x[i]).collect::<Vec<_>>());
    let each: Vec<f64> = (0..operands[0].len()).map(element).collect();
    let sum = each.iter().sum::<f64>();
    vec![each.clone(), vec![sum / each.len() as f64], vec![sum]]
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
