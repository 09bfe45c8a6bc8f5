//! The way back from maxima, and pooling by powers.

use kiln_tensor_core::{Backend, Tensor};

use super::Sizes;
use super::sizes::named;
use crate::functional::{Pool, lp_pool, max_unpool};
use crate::{Forward, Hooks, Module, python};

/// [`MaxUnpool`] of `[n, c, length]` (or `[c, length]`).
pub type MaxUnpool1d<B> = MaxUnpool<B, 1>;
/// [`MaxUnpool`] of `[n, c, height, width]` (or `[c, height, width]`).
pub type MaxUnpool2d<B> = MaxUnpool<B, 2>;
/// [`MaxUnpool`] of `[n, c, depth, height, width]` (or without `n`).
pub type MaxUnpool3d<B> = MaxUnpool<B, 3>;

/// Puts maxima back where [`Tensor::max_pool_with_indices`] has found them, zeros elsewhere.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name)]
pub struct MaxUnpool<B: Backend, const N: usize> {
    #[module(skip)]
    pool: Pool<N>,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> MaxUnpool<B, N> {
    /// From windows of this size, side by side.
    pub fn new(kernel_size: impl Into<Sizes<N>>) -> Self {
        MaxUnpool { pool: Pool::new(kernel_size), hooks: Hooks::new() }
    }

    /// The distance between two windows; by default they lie side by side.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Sizes<N>>) -> Self {
        self.pool = self.pool.stride(stride);
        self
    }

    /// What was added on both sides; 0 by default.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Sizes<N>>) -> Self {
        self.pool = self.pool.padding(padding);
        self
    }

    /// Maxima and their positions `[n, c, …]` (or `[c, …]`) → an image of the sizes that were pooled: `output_size`, or the
    /// least that gives so many windows.
    ///
    /// # Panics
    /// If shapes do not fit, or a position is outside the image.
    #[track_caller]
    pub fn forward(
        &self,
        x: &Tensor<B>,
        indices: &Tensor<B>,
        output_size: Option<[usize; N]>,
    ) -> Tensor<B> {
        max_unpool(x, indices, &self.pool, output_size)
    }

    fn name(&self) -> &'static str {
        named(["MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"], N)
    }

    fn describe(&self) -> String {
        let Pool { kernel, padding, .. } = self.pool;
        let [kernel, stride, padding] =
            [kernel, self.pool.step(), padding].map(|sizes| python::tuple(&sizes.each()));
        format!("kernel_size={kernel}, stride={stride}, padding={padding}")
    }
}

/// [`LPPool`] of `[n, c, length]` (or `[c, length]`).
pub type LPPool1d<B> = LPPool<B, 1>;
/// [`LPPool`] of `[n, c, height, width]` (or `[c, height, width]`).
pub type LPPool2d<B> = LPPool<B, 2>;
/// [`LPPool`] of `[n, c, depth, height, width]` (or without `n`).
pub type LPPool3d<B> = LPPool<B, 3>;

/// `(Σ xᵖ)^(1/p)` of windows; 0 where the sum is not positive, as in PyTorch.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name)]
pub struct LPPool<B: Backend, const N: usize> {
    norm_type: f64,
    #[module(skip)]
    pool: Pool<N>,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> LPPool<B, N> {
    /// The norm of order `norm_type` over windows of this size, side by side.
    pub fn new(norm_type: f64, kernel_size: impl Into<Sizes<N>>) -> Self {
        LPPool { norm_type, pool: Pool::new(kernel_size), hooks: Hooks::new() }
    }

    /// The distance between two windows; by default they lie side by side.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Sizes<N>>) -> Self {
        self.pool = self.pool.stride(stride);
        self
    }

    /// Whether a last window that reaches over the edge counts; `false` by default.
    #[must_use]
    pub fn ceil_mode(mut self, on: bool) -> Self {
        self.pool = self.pool.ceil_mode(on);
        self
    }

    fn name(&self) -> &'static str {
        named(["LPPool1d", "LPPool2d", "LPPool3d"], N)
    }

    fn describe(&self) -> String {
        let whole = self.norm_type.fract() == 0.0;
        let order = if whole { self.norm_type.to_string() } else { python::float(self.norm_type) };
        format!(
            "norm_type={order}, kernel_size={}, stride={}, ceil_mode={}",
            self.pool.kernel,
            self.pool.stride.map_or("None".into(), |stride| stride.to_string()),
            python::bool(self.pool.ceil_mode)
        )
    }
}

impl<B: Backend, const N: usize> Forward for LPPool<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        lp_pool(x, self.norm_type, &self.pool)
    }
}
