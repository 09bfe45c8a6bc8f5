//! Transposed convolution over one to three spatial dimensions.

use kiln_tensor_core::{Backend, ConvSpec, Error, Options, Shape, Tensor, raise};

use super::Sizes;
use super::linear::{bias, weight};
use super::options::bias_option;
use super::sizes::named;
use crate::{Forward, Hooks, Module, Param, python};

/// Transposed convolution of `[n, in, length]` (or `[in, length]`).
pub type ConvTranspose1d<B> = ConvTranspose<B, 1>;
/// Transposed convolution of `[n, in, height, width]` (or `[in, height, width]`).
pub type ConvTranspose2d<B> = ConvTranspose<B, 2>;
/// Transposed convolution of `[n, in, depth, height, width]` (or without `n`).
pub type ConvTranspose3d<B> = ConvTranspose<B, 3>;

/// The transpose of a convolution, also called deconvolution: [`ConvTranspose1d`], [`ConvTranspose2d`],
/// [`ConvTranspose3d`]. An output size is
/// `(in − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1`.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name, flops = Self::count)]
pub struct ConvTranspose<B: Backend, const N: usize> {
    /// `[in, out / groups, kernel…]`, uniform in `±1 / √(out / groups · kernel)` at first.
    pub weight: Param<B>,
    /// `[out]`, of the same spread.
    pub bias: Option<Param<B>>,
    out_channels: usize,
    #[module(skip)]
    output_padding: [usize; N],
    #[module(skip)]
    spec: ConvSpec,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> ConvTranspose<B, N> {
    /// Stride 1, no padding, no dilation, one group, with a bias. `kernel_size` is a number or an
    /// array; the options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Sizes<N>>,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let options = options.into();
        let shape: Shape =
            [in_channels, out_channels].into_iter().chain(kernel_size.into().each()).collect();
        ConvTranspose {
            bias: Some(bias(out_channels, shape[1..].iter().product(), &options)),
            weight: weight(shape, &options),
            out_channels,
            output_padding: [0; N],
            spec: ConvSpec::new(N),
            hooks: Hooks::new(),
        }
    }

    /// The distance between two windows; 1 by default.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Sizes<N>>) -> Self {
        self.spec.stride = stride.into().each().as_slice().into();
        self
    }

    /// What is cut off on both sides; 0 by default.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Sizes<N>>) -> Self {
        self.spec.padding = padding.into().each().as_slice().into();
        self
    }

    /// What is added at the end, less than the stride or the dilation: of several sizes that a convolution would
    /// bring to the input's, it picks one. 0 by default.
    #[must_use]
    pub fn output_padding(mut self, padding: impl Into<Sizes<N>>) -> Self {
        self.output_padding = padding.into().each();
        self
    }

    /// The distance between two taps of a window; 1 by default.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Sizes<N>>) -> Self {
        self.spec.dilation = dilation.into().each().as_slice().into();
        self
    }

    /// The number of independent groups of channels; 1 by default. Draws new weights.
    ///
    /// # Panics
    /// If it does not divide the numbers of channels.
    #[must_use]
    #[track_caller]
    pub fn groups(mut self, groups: usize) -> Self {
        let old = self.weight.tensor();
        let fits = |channels: usize| groups > 0 && channels.is_multiple_of(groups);
        if !fits(old.dims()[0]) || !fits(self.out_channels) {
            raise(Error::Argument {
                op: "ConvTranspose::groups",
                why: format!(
                    "{groups} groups do not divide {} input and {} output channels",
                    old.dims()[0],
                    self.out_channels
                ),
            });
        }
        let shape = old.shape().with(1, self.out_channels / groups);
        let options = Options { device: old.device(), dtype: Some(old.dtype()) };
        let fan_in = shape[1..].iter().product();
        self.bias = self.bias.map(|_| bias(self.out_channels, fan_in, &options));
        self.weight = weight(shape, &options);
        self.spec.groups = groups;
        self
    }

    bias_option!("Whether it adds a bias; `true` by default.");

    fn name(&self) -> &'static str {
        named(["ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"], N)
    }

    fn describe(&self) -> String {
        let shape = self.weight.shape();
        let mut text = format!(
            "{}, {}, kernel_size={}, stride={}",
            shape[0],
            self.out_channels,
            python::tuple(&shape[2..]),
            python::tuple(&self.spec.stride),
        );
        for (name, sizes, usual) in [
            ("padding", &self.spec.padding[..], 0),
            ("dilation", &self.spec.dilation[..], 1),
            ("output_padding", &self.output_padding[..], 0),
        ] {
            if sizes.iter().any(|&size| size != usual) {
                text += &format!(", {name}={}", python::tuple(sizes));
            }
        }
        if self.spec.groups != 1 {
            text += &format!(", groups={}", self.spec.groups);
        }
        if self.bias.is_none() {
            text += ", bias=False";
        }
        text
    }

    /// A product and a sum for every element of a filter.
    fn count(&self, input: &Shape, _output: &Shape) -> u64 {
        let taps: usize = self.weight.shape()[1..].iter().product();
        (2 * taps * input.numel()) as u64
    }
}

impl<B: Backend, const N: usize> Forward for ConvTranspose<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let bias = self.bias.as_ref().map(Param::tensor);
        x.conv_transpose(&self.weight.tensor(), bias.as_ref(), &self.spec, &self.output_padding)
    }
}
