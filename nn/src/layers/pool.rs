//! Pooling over one to three spatial dimensions.

use kiln_tensor_core::{Backend, Shape, Tensor, adaptive_windows};

use super::Sizes;
use super::sizes::named;
use crate::functional::Pool;
use crate::{Forward, Hooks, Module, python};

/// Maxima of windows of `[n, c, length]` (or `[c, length]`).
pub type MaxPool1d<B> = MaxPool<B, 1>;
/// Maxima of windows of `[n, c, height, width]` (or `[c, height, width]`).
pub type MaxPool2d<B> = MaxPool<B, 2>;
/// Maxima of windows of `[n, c, depth, height, width]` (or without `n`).
pub type MaxPool3d<B> = MaxPool<B, 3>;
/// Means of windows of `[n, c, length]` (or `[c, length]`).
pub type AvgPool1d<B> = AvgPool<B, 1>;
/// Means of windows of `[n, c, height, width]` (or `[c, height, width]`).
pub type AvgPool2d<B> = AvgPool<B, 2>;
/// Means of windows of `[n, c, depth, height, width]` (or without `n`).
pub type AvgPool3d<B> = AvgPool<B, 3>;
/// Means of windows chosen for an output of a given length.
pub type AdaptiveAvgPool1d<B> = AdaptiveAvgPool<B, 1>;
/// Means of windows chosen for an output of a given height and width.
pub type AdaptiveAvgPool2d<B> = AdaptiveAvgPool<B, 2>;
/// Means of windows chosen for an output of a given depth, height and width.
pub type AdaptiveAvgPool3d<B> = AdaptiveAvgPool<B, 3>;
/// Maxima of windows chosen for an output of a given length.
pub type AdaptiveMaxPool1d<B> = AdaptiveMaxPool<B, 1>;
/// Maxima of windows chosen for an output of a given height and width.
pub type AdaptiveMaxPool2d<B> = AdaptiveMaxPool<B, 2>;
/// Maxima of windows chosen for an output of a given depth, height and width.
pub type AdaptiveMaxPool3d<B> = AdaptiveMaxPool<B, 3>;

/// One for each element of each window.
fn flops<const N: usize>(pool: &Pool<N>, output: &Shape) -> u64 {
    (pool.kernel.each().iter().product::<usize>() * output.numel()) as u64
}

macro_rules! window_options {
    () => {
        /// The distance between two windows; by default they lie side by side.
        #[must_use]
        pub fn stride(mut self, stride: impl Into<Sizes<N>>) -> Self {
            self.pool = self.pool.stride(stride);
            self
        }

        /// What is added on both sides, at most half of a window; 0 by default.
        #[must_use]
        pub fn padding(mut self, padding: impl Into<Sizes<N>>) -> Self {
            self.pool = self.pool.padding(padding);
            self
        }

        /// Whether a last window that reaches over the edge counts; `false` by default.
        #[must_use]
        pub fn ceil_mode(mut self, on: bool) -> Self {
            self.pool = self.pool.ceil_mode(on);
            self
        }
    };
}

/// Maxima of windows over `N` spatial dimensions: [`MaxPool1d`], [`MaxPool2d`], [`MaxPool3d`]. For
/// their positions see [`Tensor::max_pool_with_indices`].
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name, flops = Self::count)]
pub struct MaxPool<B: Backend, const N: usize> {
    #[module(skip)]
    pool: Pool<N>,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> MaxPool<B, N> {
    /// Windows of this size, side by side.
    pub fn new(kernel_size: impl Into<Sizes<N>>) -> Self {
        MaxPool { pool: Pool::new(kernel_size), hooks: Hooks::new() }
    }

    window_options!();

    /// The distance between two elements of a window; 1 by default.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Sizes<N>>) -> Self {
        self.pool = self.pool.dilation(dilation);
        self
    }

    fn count(&self, _input: &Shape, output: &Shape) -> u64 {
        flops(&self.pool, output)
    }

    fn name(&self) -> &'static str {
        named(["MaxPool1d", "MaxPool2d", "MaxPool3d"], N)
    }

    fn describe(&self) -> String {
        let Pool { kernel, padding, dilation, ceil_mode, .. } = self.pool;
        format!(
            "kernel_size={kernel}, stride={}, padding={padding}, dilation={dilation}, ceil_mode={}",
            self.pool.step(),
            python::bool(ceil_mode),
        )
    }
}

impl<B: Backend, const N: usize> Forward for MaxPool<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.max_pool(&self.pool.spec())
    }
}

/// Means of windows over `N` spatial dimensions: [`AvgPool1d`], [`AvgPool2d`], [`AvgPool3d`].
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name, flops = Self::count)]
pub struct AvgPool<B: Backend, const N: usize> {
    #[module(skip)]
    pool: Pool<N>,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> AvgPool<B, N> {
    /// Windows of this size, side by side.
    pub fn new(kernel_size: impl Into<Sizes<N>>) -> Self {
        AvgPool { pool: Pool::new(kernel_size), hooks: Hooks::new() }
    }

    window_options!();

    /// Whether padding counts as elements of the mean; `true` by default.
    #[must_use]
    pub fn count_include_pad(mut self, on: bool) -> Self {
        self.pool = self.pool.count_include_pad(on);
        self
    }

    /// Divides sums by this number instead of the number of elements.
    #[must_use]
    pub fn divisor_override(mut self, divisor: usize) -> Self {
        self.pool = self.pool.divisor_override(divisor);
        self
    }

    fn count(&self, _input: &Shape, output: &Shape) -> u64 {
        flops(&self.pool, output)
    }

    fn name(&self) -> &'static str {
        named(["AvgPool1d", "AvgPool2d", "AvgPool3d"], N)
    }

    fn describe(&self) -> String {
        let Pool { kernel, padding, .. } = self.pool;
        let stride = self.pool.step();
        // PyTorch's one-dimensional layer alone turns its numbers into tuples.
        let [kernel, stride, padding] = [kernel, stride, padding]
            .map(|sizes| if N == 1 { Sizes::Each(sizes.each()) } else { sizes });
        format!("kernel_size={kernel}, stride={stride}, padding={padding}")
    }
}

impl<B: Backend, const N: usize> Forward for AvgPool<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.avg_pool(&self.pool.spec())
    }
}

/// A layer whose windows follow from the sizes of its output.
macro_rules! adaptive {
    ($name:ident, $method:ident, $names:expr, $doc:literal) => {
        #[doc = $doc]
        #[derive(Debug, Module)]
        #[module(extra_repr = Self::describe, type_name = Self::name, flops = Self::count)]
        pub struct $name<B: Backend, const N: usize> {
            #[module(skip)]
            output: Sizes<N>,
            hooks: Hooks<B>,
        }

        impl<B: Backend, const N: usize> $name<B, N> {
            /// An output of these sizes.
            pub fn new(output_size: impl Into<Sizes<N>>) -> Self {
                $name { output: output_size.into(), hooks: Hooks::new() }
            }

            /// One for each element of each window.
            fn count(&self, input: &Shape, output: &Shape) -> u64 {
                let lead = input.rank() - N;
                let taps = |(&size, out)| -> usize {
                    adaptive_windows(size, out).map(|window| window.len()).sum()
                };
                let taps: usize = input[lead..].iter().zip(self.output.each()).map(taps).product();
                (output[..lead].iter().product::<usize>() * taps) as u64
            }

            fn name(&self) -> &'static str {
                named($names, N)
            }

            fn describe(&self) -> String {
                format!("output_size={}", self.output)
            }
        }

        impl<B: Backend, const N: usize> Forward for $name<B, N> {
            fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
                x.$method(&self.output.each())
            }
        }
    };
}

adaptive!(
    AdaptiveAvgPool,
    adaptive_avg_pool,
    ["AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d"],
    "Means of windows chosen such that the output has the given sizes: [`AdaptiveAvgPool1d`], \
     [`AdaptiveAvgPool2d`], [`AdaptiveAvgPool3d`]."
);
adaptive!(
    AdaptiveMaxPool,
    adaptive_max_pool,
    ["AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d"],
    "Maxima of windows chosen such that the output has the given sizes: [`AdaptiveMaxPool1d`], \
     [`AdaptiveMaxPool2d`], [`AdaptiveMaxPool3d`]. For their positions see \
     [`Tensor::adaptive_max_pool_with_indices`]."
);
