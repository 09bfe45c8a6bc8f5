//! Work that a library of the driver may do instead of kernels of this crate: what it is asked for.

use kiln_tensor_core::{Activation, DType, MatmulPrecision};

/// Work to be done.
#[derive(Clone, Copy, Debug)]
pub enum Task<'a, B> {
    /// Products of matrices.
    Product(&'a Product<'a, B>),
}

impl<B> Task<'_, B> {
    /// What it is called in messages.
    pub fn name(&self) -> &'static str {
        match self {
            Task::Product(_) => "a library's product",
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
    /// `[m, n]`.
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
