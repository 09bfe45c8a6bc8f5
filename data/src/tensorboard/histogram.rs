//! How values are distributed, as TensorBoard wants to know it.

use kiln_tensor_core::{Error, Result};

/// Counts of values between limits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
    /// How many there are.
    pub num: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
    /// The upper limit of each bin.
    pub limits: Vec<f64>,
    /// How many values are in each bin.
    pub counts: Vec<f64>,
}

impl Histogram {
    /// The histogram in PyTorch's bins: powers of 1.1 from 1e-12 to 1e20 on both sides of 0.
    pub(super) fn of(values: &[f64]) -> Result<Self> {
        if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
            let why = "wants values, and all of them finite".into();
            return Err(Error::Argument { op: "add_histogram", why });
        }
        let bins = bins();
        let mut counts = vec![0.0; bins.len() - 1];
        for &value in values {
            // Each bin holds its lower limit; the last one the upper, too.
            let above = bins.partition_point(|&limit| limit <= value);
            if above > 0 && value <= bins[bins.len() - 1] {
                counts[(above - 1).min(bins.len() - 2)] += 1.0;
            }
        }
        // From an empty bin below the first that holds something to the last that does.
        let filled = |count: &f64| *count > 0.0;
        let (Some(first), Some(last)) =
            (counts.iter().position(filled), counts.iter().rposition(filled))
        else {
            let why = "no value is between -1e20 and 1e20".into();
            return Err(Error::Argument { op: "add_histogram", why });
        };
        let mut kept = if first == 0 { vec![0.0] } else { vec![counts[first - 1]] };
        kept.extend(&counts[first..=last]);
        Ok(Histogram {
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            num: values.len() as f64,
            sum: values.iter().sum(),
            sum_squares: values.iter().map(|value| value * value).sum(),
            limits: bins[first..=last + 1].to_vec(),
            counts: kept,
        })
    }
}

fn bins() -> Vec<f64> {
    let above = || std::iter::successors(Some(1e-12), |v| Some(v * 1.1)).take_while(|&v| v < 1e20);
    let mut bins: Vec<f64> = above().map(|v| -v).collect();
    bins.reverse();
    bins.push(0.0);
    bins.extend(above());
    bins
}
