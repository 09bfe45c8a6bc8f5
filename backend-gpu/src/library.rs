//! Work that a library of the driver may do instead of kernels of this crate: what it is asked for.

use std::sync::atomic::{AtomicBool, Ordering};

use kiln_tensor_core::{Activation, DType, MatmulPrecision};

static BENCHMARK: AtomicBool = AtomicBool::new(false);

/// Whether the first convolution of each kind times the library against kernels of this crate, for the faster one to
/// do the rest: `torch.backends.cudnn.benchmark`. Off if nobody sets it: where both are nearly as fast, timing
/// decides differently from one run of a program to the next, and so do the last bits of results. What was decided
/// is kept until the process ends.
pub fn set_benchmark(on: bool) {
    BENCHMARK.store(on, Ordering::Relaxed);
}

/// See `set_benchmark`.
pub fn benchmark() -> bool {
    BENCHMARK.load(Ordering::Relaxed)
}

/// Work to be done.
#[derive(Clone, Copy, Debug)]
pub enum Task<'a, B> {
    /// Products of matrices.
    Product(&'a Product<'a, B>),
    /// A convolution or one of its gradients.
    Convolution(&'a Convolution<'a, B>),
}

impl<B> Task<'_, B> {
    /// What it is called in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Task::Product(_) => "a library's product",
            Task::Convolution(_) => "a library's convolution",
        }
    }
}

/// `batch` times `[m, k] × [k, n] → [m, n]`, of a float dtype, none of the sizes 0. Narrow floats add up in `f32`.
#[derive(Debug)]
pub struct Product<'a, B> {
    /// Of all operands.
    pub dtype: DType,
    /// How exactly `f32` is to be multiplied.
    pub precision: MatmulPrecision,
    /// How many products.
    pub batch: usize,
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// Terms of each sum.
    pub k: usize,
    /// `[m, k]`.
    pub a: Matrices<'a, B>,
    /// `[k, n]`.
    pub b: Matrices<'a, B>,
    /// `[m, n]`, contiguous.
    pub out: Matrices<'a, B>,
    /// What else is done.
    pub after: After<'a, B>,
}

/// What else is done.
#[derive(Debug)]
pub enum After<'a, B> {
    /// A linear layer: each row of the result gets a bias, and the whole an activation, before it is stored.
    Linear {
        /// `[n]`.
        bias: Option<Vector<'a, B>>,
        /// What follows the bias.
        activation: Option<Activation>,
        /// Where to write what the activation is applied to: it lies like the result.
        before: Option<Vector<'a, B>>,
    },
    /// The sum of each row of `a`, `[m]`, is written too.
    RowSums(Vector<'a, B>),
}

/// Matrices in memory. Offset and strides count elements.
#[derive(Debug)]
pub struct Matrices<'a, B> {
    /// Where they lie.
    pub buffer: &'a B,
    /// The first element of the first.
    pub offset: usize,
    /// From one matrix to the next; 0 where one serves all.
    pub batch: isize,
    /// From one row to the next.
    pub row: isize,
    /// From one column to the next.
    pub column: isize,
}

/// Elements side by side.
#[derive(Debug)]
pub struct Vector<'a, B> {
    /// Where they lie.
    pub buffer: &'a B,
    /// The first element.
    pub offset: usize,
}

/// A convolution or one of its gradients, of a float dtype, none of the sizes 0; all tensors are contiguous. Sizes are
/// those of the last spatial dims; what is missing before them is 1, and 0 for the padding.
#[derive(Debug)]
pub struct Convolution<'a, B> {
    /// What is worked out.
    pub pass: Pass,
    /// Of all operands.
    pub dtype: DType,
    /// How exactly `f32` is to be multiplied.
    pub precision: MatmulPrecision,
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Channels of the output.
    pub outs: usize,
    /// Independent groups of channels.
    pub groups: usize,
    /// Of the input.
    pub input: [usize; 3],
    /// Of the weight.
    pub window: [usize; 3],
    /// Of the output.
    pub output: [usize; 3],
    /// Distance between two windows.
    pub stride: [usize; 3],
    /// Zeros on both sides.
    pub padding: [usize; 3],
    /// Distance between two taps of a window.
    pub dilation: [usize; 3],
    /// The input, or its gradient: `[batch, channels, input…]`.
    pub x: Vector<'a, B>,
    /// The weight, or its gradient: `[outs, channels / groups, window…]`.
    pub weight: Vector<'a, B>,
    /// The output, or its gradient: `[batch, outs, output…]`.
    pub y: Vector<'a, B>,
}

/// Which tensor of a convolution is worked out from the other two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pass {
    /// The output.
    Forward,
    /// The gradient in the input.
    Input,
    /// The gradient in the weight.
    Weight,
}
