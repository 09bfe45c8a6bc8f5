//! Convolution over one to three spatial dimensions.

use kiln_tensor_core::{Backend, ConvSpec, Error, Options, PadMode, Shape, Tensor, raise};

use super::Sizes;
use super::linear::{bias, weight};
use super::options::bias_option;
use super::sizes::named;
use crate::{Forward, Hooks, Module, Param, python};

/// Convolution of `[n, in, length]` (or `[in, length]`).
pub type Conv1d<B> = Conv<B, 1>;
/// Convolution of `[n, in, height, width]` (or `[in, height, width]`).
pub type Conv2d<B> = Conv<B, 2>;
/// Convolution of `[n, in, depth, height, width]` (or without `n`).
pub type Conv3d<B> = Conv<B, 3>;

/// How much is added on both sides of each spatial dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding<const N: usize> {
    /// This many elements on each side.
    Each([usize; N]),
    /// As many as make the output as large as the input; the stride must be 1.
    Same,
    /// None.
    Valid,
}

impl<const N: usize, T: Into<Sizes<N>>> From<T> for Padding<N> {
    fn from(sizes: T) -> Self {
        Padding::Each(sizes.into().each())
    }
}

/// What stands in the padding of a convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The elements inside, mirrored at the edge, which is not repeated.
    Reflect,
    /// The element at the edge.
    Replicate,
    /// The elements from the other end.
    Circular,
}

impl PaddingMode {
    const fn name(self) -> &'static str {
        match self {
            PaddingMode::Zeros => "zeros",
            PaddingMode::Reflect => "reflect",
            PaddingMode::Replicate => "replicate",
            PaddingMode::Circular => "circular",
        }
    }

    const fn fill(self) -> PadMode {
        match self {
            PaddingMode::Zeros => PadMode::Constant(0.0),
            PaddingMode::Reflect => PadMode::Reflect,
            PaddingMode::Replicate => PadMode::Replicate,
            PaddingMode::Circular => PadMode::Circular,
        }
    }
}

/// Convolution (cross-correlation) over `N` spatial dimensions: [`Conv1d`], [`Conv2d`], [`Conv3d`].
/// An output size is `⌊(in + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1`.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::Conv2d;
///
/// let layer = Conv2d::<Cpu>::new(1, 8, 3, &CpuDevice).stride(2).padding(1);
/// assert_eq!(
///     layer.to_string(),
///     "Conv2d(1, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))",
/// );
/// ```
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name, flops = Self::count)]
pub struct Conv<B: Backend, const N: usize> {
    /// `[out, in / groups, kernel…]`, uniform in `±1 / √fan_in` at first.
    pub weight: Param<B>,
    /// `[out]`, uniform in `±1 / √fan_in` at first.
    pub bias: Option<Param<B>>,
    in_channels: usize,
    #[module(skip)]
    padding: Padding<N>,
    #[module(skip)]
    mode: PaddingMode,
    #[module(skip)]
    spec: ConvSpec,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> Conv<B, N> {
    /// Stride 1, no padding, no dilation, one group, with a bias. `kernel_size` is a number or an
    /// array; the options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        in_channels: usize,
        out_channels: usize,
        kernel_size: impl Into<Sizes<N>>,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let options = options.into();
        let kernel = kernel_size.into().each();
        let mut shape = Shape::from([out_channels, in_channels]);
        kernel.iter().for_each(|&size| shape.push(size));
        let fan_in = shape[1..].iter().product();
        Conv {
            weight: weight(shape, &options),
            bias: Some(bias(out_channels, fan_in, &options)),
            in_channels,
            padding: Padding::Each([0; N]),
            mode: PaddingMode::Zeros,
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

    /// What is added around the input: a number, an array, `Padding::Same` or `Padding::Valid`; 0 by
    /// default.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Padding<N>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// The distance between two taps of a window; 1 by default.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Sizes<N>>) -> Self {
        self.spec.dilation = dilation.into().each().as_slice().into();
        self
    }

    /// The number of independent groups of channels; 1 by default. Draws new weights, since each output
    /// then sees fewer inputs.
    ///
    /// # Panics
    /// If it does not divide the numbers of channels.
    #[must_use]
    #[track_caller]
    pub fn groups(mut self, groups: usize) -> Self {
        let old = self.weight.tensor();
        let fits = |channels: usize| groups > 0 && channels.is_multiple_of(groups);
        if !fits(self.in_channels) || !fits(old.dims()[0]) {
            raise(Error::Argument {
                op: "Conv::groups",
                why: format!(
                    "{groups} groups do not divide {} input and {} output channels",
                    self.in_channels,
                    old.dims()[0]
                ),
            });
        }
        let shape = old.shape().with(1, self.in_channels / groups);
        let fan_in = shape[1..].iter().product();
        let options = Options { device: old.device(), dtype: Some(old.dtype()) };
        self.bias = self.bias.map(|_| bias(shape[0], fan_in, &options));
        self.weight = weight(shape, &options);
        self.spec.groups = groups;
        self
    }

    bias_option!("Whether it adds a bias; `true` by default.");

    /// What stands in the padding; zeros by default.
    #[must_use]
    pub fn padding_mode(mut self, mode: PaddingMode) -> Self {
        self.mode = mode;
        self
    }

    fn name(&self) -> &'static str {
        named(["Conv1d", "Conv2d", "Conv3d"], N)
    }

    fn describe(&self) -> String {
        let shape = self.weight.shape();
        let mut text = format!(
            "{}, {}, kernel_size={}, stride={}",
            self.in_channels,
            shape[0],
            python::tuple(&shape[2..]),
            python::tuple(&self.spec.stride),
        );
        match self.padding {
            Padding::Each(sizes) if sizes == [0; N] => {}
            Padding::Each(sizes) => text += &format!(", padding={}", python::tuple(&sizes)),
            Padding::Same => text += ", padding=same",
            Padding::Valid => text += ", padding=valid",
        }
        if self.spec.dilation.iter().any(|&d| d != 1) {
            text += &format!(", dilation={}", python::tuple(&self.spec.dilation));
        }
        if self.spec.groups != 1 {
            text += &format!(", groups={}", self.spec.groups);
        }
        if self.bias.is_none() {
            text += ", bias=False";
        }
        if self.mode != PaddingMode::Zeros {
            text += &format!(", padding_mode={}", self.mode.name());
        }
        text
    }

    /// A product and a sum for every element of a filter.
    fn count(&self, _input: &Shape, output: &Shape) -> u64 {
        let taps: usize = self.weight.shape()[1..].iter().product();
        (2 * taps * output.numel()) as u64
    }

    /// How much is added before and after each spatial dimension.
    #[track_caller]
    fn sides(&self, kernel: &[usize]) -> Vec<[usize; 2]> {
        match self.padding {
            Padding::Each(sizes) => sizes.map(|size| [size, size]).to_vec(),
            Padding::Valid => vec![[0, 0]; N],
            Padding::Same => {
                if self.spec.stride.iter().any(|&stride| stride != 1) {
                    raise(Error::Argument {
                        op: "conv",
                        why: "with padding `Same` the stride must be 1".into(),
                    });
                }
                let total = |i: usize| self.spec.dilation[i] * kernel[i].saturating_sub(1);
                (0..N).map(|i| [total(i) / 2, total(i).div_ceil(2)]).collect()
            }
        }
    }
}

impl<B: Backend, const N: usize> Forward for Conv<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let weight = self.weight.tensor();
        let bias = self.bias.as_ref().map(Param::tensor);
        let sides = self.sides(&weight.dims()[2..]);
        let mut spec = self.spec.clone();
        if self.mode == PaddingMode::Zeros && sides.iter().all(|[before, after]| before == after) {
            spec.padding = sides.iter().map(|[before, _]| *before).collect();
            return x.conv(&weight, bias.as_ref(), &spec);
        }
        let pad: Vec<isize> =
            sides.iter().rev().flat_map(|pair| pair.map(|size| size as isize)).collect();
        x.pad(&pad, self.mode.fill()).conv(&weight, bias.as_ref(), &spec)
    }
}
