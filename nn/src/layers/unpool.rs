//! The way back from maxima, and pooling by powers.

use kiln_tensor_core::{Backend, Error, PoolSpec, Shape, Tensor, raise};

use super::Sizes;
use super::sizes::named;
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
    kernel: Sizes<N>,
    #[module(skip)]
    stride: Option<Sizes<N>>,
    #[module(skip)]
    padding: Sizes<N>,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> MaxUnpool<B, N> {
    /// From windows of this size, side by side.
    pub fn new(kernel_size: impl Into<Sizes<N>>) -> Self {
        let kernel = kernel_size.into();
        MaxUnpool { kernel, stride: None, padding: Sizes::All(0), hooks: Hooks::new() }
    }

    /// The distance between two windows; by default they lie side by side.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Sizes<N>>) -> Self {
        self.stride = Some(stride.into());
        self
    }

    /// What was added on both sides; 0 by default.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Sizes<N>>) -> Self {
        self.padding = padding.into();
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
        let lead = match x.rank().checked_sub(N) {
            Some(lead @ 1..=2) if x.shape() == indices.shape() => lead,
            _ => raise(Error::Shape {
                op: "max_unpool",
                shapes: vec![x.shape().clone(), indices.shape().clone()],
                why: format!("maxima and positions of one shape, with {N} dims after the channels"),
            }),
        };
        let stride = self.stride.unwrap_or(self.kernel).each();
        let (kernel, padding) = (self.kernel.each(), self.padding.each());
        let least = |i: usize| {
            let size = (x.dims()[lead + i].max(1) - 1) * stride[i] + kernel[i];
            size.saturating_sub(2 * padding[i])
        };
        let sizes = output_size.unwrap_or_else(|| std::array::from_fn(least));
        let rows: usize = x.dims()[..lead].iter().product();
        let flat = |x: &Tensor<B>| x.reshape_to(&Shape::from([rows, x.numel() / rows.max(1)]));
        let area = sizes.iter().product::<usize>();
        let zeros = Tensor::zeros([rows, area], (x.device(), x.dtype()));
        let image = zeros.scatter(1, &flat(indices), &flat(x));
        image.reshape_to(&x.dims()[..lead].iter().chain(&sizes).copied().collect())
    }

    fn name(&self) -> &'static str {
        named(["MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d"], N)
    }

    fn describe(&self) -> String {
        let stride = self.stride.unwrap_or(self.kernel);
        let [kernel, stride, padding] =
            [self.kernel, stride, self.padding].map(|sizes| python::tuple(&sizes.each()));
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
    kernel: Sizes<N>,
    #[module(skip)]
    stride: Option<Sizes<N>>,
    ceil_mode: bool,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> LPPool<B, N> {
    /// The norm of order `norm_type` over windows of this size, side by side.
    pub fn new(norm_type: f64, kernel_size: impl Into<Sizes<N>>) -> Self {
        let kernel = kernel_size.into();
        LPPool { norm_type, kernel, stride: None, ceil_mode: false, hooks: Hooks::new() }
    }

    /// The distance between two windows; by default they lie side by side.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Sizes<N>>) -> Self {
        self.stride = Some(stride.into());
        self
    }

    /// Whether a last window that reaches over the edge counts; `false` by default.
    #[must_use]
    pub fn ceil_mode(mut self, on: bool) -> Self {
        self.ceil_mode = on;
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
            self.kernel,
            self.stride.map_or("None".into(), |stride| stride.to_string()),
            python::bool(self.ceil_mode)
        )
    }
}

impl<B: Backend, const N: usize> Forward for LPPool<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let kernel = self.kernel.each();
        let taps: usize = kernel.iter().product();
        let spec = PoolSpec {
            stride: self.stride.unwrap_or(self.kernel).each().as_slice().into(),
            ceil_mode: self.ceil_mode,
            ..PoolSpec::new(&kernel)
        };
        let mean = x.pow(self.norm_type).avg_pool(&spec);
        (mean.relu() * taps as f64).pow(1.0 / self.norm_type)
    }
}
