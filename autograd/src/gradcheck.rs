//! Numerical checks of derivatives: central differences against backward, along random directions.

use kiln_tensor_core::{Backend, DType, Tensor, philox};

use crate::{Autograd, GradOptions, no_grad};

/// A derivative that differs from the quotient of differences.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "input {input}, element {element}: backward gives {analytic:e}, differences give {numeric:e} \
     (output {output}, step {step:e})"
)]
pub struct GradMismatch {
    /// Which input.
    pub input: usize,
    /// Which of its elements, in row-major order.
    pub element: usize,
    /// Which output.
    pub output: usize,
    /// What backward gives.
    pub analytic: f64,
    /// What central differences give.
    pub numeric: f64,
    /// The step of the differences.
    pub step: f64,
}

/// How close the two must be: `|a − n| ≤ absolute + relative · |n|`; PyTorch's defaults.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// The step of the central differences.
    pub step: f64,
    /// Allowed absolute difference.
    pub absolute: f64,
    /// Allowed relative difference.
    pub relative: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance { step: 1e-6, absolute: 1e-5, relative: 1e-3 }
    }
}

/// Compares backward with central differences, for every element of every input that requires
/// gradients, along one random direction of each output. Inputs are `f64`; the function must be smooth
/// around them and give the same result each time.
///
/// # Errors
/// The first element where the two differ.
///
/// # Panics
/// If an input that requires gradients is not `f64`.
pub fn gradcheck<B: Backend>(
    f: impl Fn(&[Tensor<Autograd<B>>]) -> Vec<Tensor<Autograd<B>>>,
    inputs: &[Tensor<Autograd<B>>],
) -> Result<(), GradMismatch> {
    gradcheck_with(f, inputs, Tolerance::default())
}

/// `gradcheck` with tolerances.
///
/// # Errors
/// The first element where the two differ.
///
/// # Panics
/// If an input that requires gradients is not `f64`.
pub fn gradcheck_with<B: Backend>(
    f: impl Fn(&[Tensor<Autograd<B>>]) -> Vec<Tensor<Autograd<B>>>,
    inputs: &[Tensor<Autograd<B>>],
    tolerance: Tolerance,
) -> Result<(), GradMismatch> {
    let checked: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].requires_grad()).collect();
    assert!(
        checked.iter().all(|&i| inputs[i].dtype() == DType::F64),
        "gradcheck: differences need f64 inputs"
    );
    let outputs = f(inputs);
    let targets: Vec<_> = checked.iter().map(|&i| &inputs[i]).collect();
    let tracked: Vec<usize> = (0..outputs.len()).filter(|&i| outputs[i].requires_grad()).collect();
    let directions: Vec<_> =
        tracked.iter().map(|&number| direction(&outputs[number], number as u64)).collect();
    let analytic: Vec<Vec<_>> = tracked
        .iter()
        .zip(&directions)
        .map(|(&number, direction)| {
            GradOptions::new()
                .grad_outputs(vec![direction.clone()])
                .retain_graph(true)
                .allow_unused(&[&outputs[number]], &targets)
        })
        .collect();
    let weights: Vec<Vec<f64>> = directions.iter().map(floats).collect();
    // All outputs in one call, for calls are what takes time.
    let along = |at: &[Tensor<Autograd<B>>]| -> Vec<f64> {
        let outputs = no_grad(|| f(at));
        let dot = |(&number, weights): (&usize, &Vec<f64>)| {
            floats(&outputs[number]).iter().zip(weights).map(|(y, w)| y * w).sum()
        };
        tracked.iter().zip(&weights).map(dot).collect()
    };
    let Tolerance { step, absolute, relative } = tolerance;
    for (target, &input) in checked.iter().enumerate() {
        let numeric = differences(along, inputs, input, step);
        for (k, &output) in tracked.iter().enumerate() {
            let analytic = analytic[k][target].as_ref().map(floats);
            for (element, numeric) in numeric.iter().map(|all| all[k]).enumerate() {
                let analytic = analytic.as_ref().map_or(0.0, |all| all[element]);
                let close = (analytic - numeric).abs() <= absolute + relative * numeric.abs();
                if !close {
                    return Err(GradMismatch { input, element, output, analytic, numeric, step });
                }
            }
        }
    }
    Ok(())
}

fn floats<B: Backend>(x: &Tensor<Autograd<B>>) -> Vec<f64> {
    x.to_dtype(DType::F64).to_vec()
}

/// Checks the derivative of the derivative: `gradcheck` of `grad` along random directions.
///
/// # Errors
/// The first element where the two differ; inputs after the function's own are the directions.
///
/// # Panics
/// If an input that requires gradients is not `f64`.
pub fn gradgradcheck<B: Backend>(
    f: impl Fn(&[Tensor<Autograd<B>>]) -> Vec<Tensor<Autograd<B>>>,
    inputs: &[Tensor<Autograd<B>>],
) -> Result<(), GradMismatch> {
    let directions: Vec<_> = f(inputs)
        .iter()
        .enumerate()
        .filter(|(_, y)| y.requires_grad())
        .map(|(i, y)| direction(y, i as u64 + 1000).requires_grad_(true))
        .collect();
    if directions.is_empty() {
        return Ok(());
    }
    let count = inputs.len();
    let all: Vec<_> = inputs.iter().cloned().chain(directions).collect();
    let first_order = |at: &[Tensor<Autograd<B>>]| {
        crate::enable_grad(|| {
            let outputs = f(&at[..count]);
            let outputs: Vec<_> = outputs.iter().filter(|y| y.requires_grad()).collect();
            let targets: Vec<_> = at[..count].iter().filter(|x| x.requires_grad()).collect();
            let grads = GradOptions::new()
                .grad_outputs(at[count..].to_vec())
                .create_graph(true)
                .allow_unused(&outputs, &targets);
            grads.into_iter().flatten().collect()
        })
    };
    gradcheck(first_order, &all)
}

/// Numbers in `[−1, 1)` with the shape of `like`, the same for each `seed`.
fn direction<B: Backend>(like: &Tensor<Autograd<B>>, seed: u64) -> Tensor<Autograd<B>> {
    let value = |i| 2.0 * philox::uniform(seed, 0, i as u64, DType::F64) - 1.0;
    let values: Vec<f64> = (0..like.numel()).map(value).collect();
    Tensor::from_slice(&values, like.shape(), like.device()).to_dtype(like.dtype())
}

/// Central differences of each number of `along` in each element of one input.
fn differences<B: Backend>(
    along: impl Fn(&[Tensor<Autograd<B>>]) -> Vec<f64>,
    inputs: &[Tensor<Autograd<B>>],
    input: usize,
    step: f64,
) -> Vec<Vec<f64>> {
    let values: Vec<f64> = inputs[input].to_vec();
    let mut at: Vec<Tensor<Autograd<B>>> = inputs.to_vec();
    let mut moved = |element: usize, by: f64| -> Vec<f64> {
        let mut values = values.clone();
        values[element] += by;
        let dense = Tensor::from_slice(&values, inputs[input].shape(), inputs[input].device());
        at[input] = dense.requires_grad_(true);
        along(&at)
    };
    let mut quotients = |element| -> Vec<f64> {
        let (above, below) = (moved(element, step), moved(element, -step));
        above.iter().zip(below).map(|(above, below)| (above - below) / (2.0 * step)).collect()
    };
    (0..values.len()).map(&mut quotients).collect()
}
