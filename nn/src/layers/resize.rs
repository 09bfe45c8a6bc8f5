//! Layers that change the size of images, or exchange channels and space.

use kiln_tensor_core::{Backend, Tensor};

use super::Sizes;
use crate::functional::{
    InterpolateMode, Resize, Windows, channel_shuffle, fold, interpolate, pixel_shuffle,
    pixel_unshuffle, unfold,
};
use crate::{Forward, Hooks, Module, python};

/// Resizes `[n, c, …]`; see [`interpolate`].
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct Upsample<B: Backend> {
    #[module(skip)]
    resize: Resize,
    #[module(skip)]
    mode: InterpolateMode,
    align_corners: bool,
    hooks: Hooks<B>,
}

impl<B: Backend> Upsample<B> {
    /// To these sizes or by these factors, by the nearest element.
    pub const fn new(resize: Resize) -> Self {
        let mode = InterpolateMode::Nearest;
        Upsample { resize, mode, align_corners: false, hooks: Hooks::new() }
    }

    /// How values between elements are worked out; `Nearest` by default.
    #[must_use]
    pub fn mode(mut self, mode: InterpolateMode) -> Self {
        self.mode = mode;
        self
    }

    /// Whether the outermost elements stay where they are; `false` by default.
    #[must_use]
    pub fn align_corners(mut self, on: bool) -> Self {
        self.align_corners = on;
        self
    }

    fn describe(&self) -> String {
        use InterpolateMode::{Area, Bicubic, Linear, Nearest, NearestExact};
        let (resize, dims) = match &self.resize {
            Resize::Size(sizes) => match &sizes[..] {
                [size] => (format!("size={size}"), 1),
                sizes => (format!("size={}", python::tuple(sizes)), sizes.len()),
            },
            Resize::Scale(factors) => {
                let each: Vec<String> = factors.iter().map(|&f| python::float(f)).collect();
                match &each[..] {
                    [factor] => (format!("scale_factor={factor}"), 1),
                    each => (format!("scale_factor=({})", each.join(", ")), each.len()),
                }
            }
        };
        // The number of dims is not known before the input where one number stands for all.
        let linear = ["linear", "linear", "bilinear", "trilinear"].get(dims).unwrap_or(&"linear");
        let mode = match self.mode {
            Nearest => "nearest",
            NearestExact => "nearest-exact",
            Linear => linear,
            Bicubic => "bicubic",
            Area => "area",
        };
        format!("{resize}, mode='{mode}'")
    }
}

impl<B: Backend> Forward for Upsample<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        interpolate(x, &self.resize, self.mode, self.align_corners)
    }
}

macro_rules! shuffles {
    ($($(#[$doc:meta])* $name:ident($arg:ident) = $function:ident, prints $label:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Module)]
        #[module(extra_repr = Self::describe)]
        pub struct $name<B: Backend> {
            $arg: usize,
            hooks: Hooks<B>,
        }

        impl<B: Backend> $name<B> {
            /// The layer.
            pub const fn new($arg: usize) -> Self {
                $name { $arg, hooks: Hooks::new() }
            }

            fn describe(&self) -> String {
                format!($label, self.$arg)
            }
        }

        impl<B: Backend> Forward for $name<B> {
            fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
                $function(x, self.$arg)
            }
        }
    )*};
}

shuffles! {
    /// See [`pixel_shuffle`].
    PixelShuffle(upscale_factor) = pixel_shuffle, prints "upscale_factor={}";
    /// See [`pixel_unshuffle`].
    PixelUnshuffle(downscale_factor) = pixel_unshuffle, prints "downscale_factor={}";
    /// See [`channel_shuffle`].
    ChannelShuffle(groups) = channel_shuffle, prints "groups={}";
}

/// What both take.
macro_rules! window_options {
    () => {
        /// The distance between two taps; 1 by default.
        #[must_use]
        pub fn dilation(mut self, dilation: impl Into<Sizes<2>>) -> Self {
            self.dilation = dilation.into();
            self
        }

        /// Zeros added on both sides; 0 by default.
        #[must_use]
        pub fn padding(mut self, padding: impl Into<Sizes<2>>) -> Self {
            self.padding = padding.into();
            self
        }

        /// The distance between two windows; 1 by default.
        #[must_use]
        pub fn stride(mut self, stride: impl Into<Sizes<2>>) -> Self {
            self.stride = stride.into();
            self
        }

        fn windows(&self) -> Windows {
            Windows {
                kernel: self.kernel_size.each(),
                dilation: self.dilation.each(),
                padding: self.padding.each(),
                stride: self.stride.each(),
            }
        }

        fn options(&self) -> String {
            format!(
                "kernel_size={}, dilation={}, padding={}, stride={}",
                self.kernel_size, self.dilation, self.padding, self.stride
            )
        }
    };
}

/// The windows of images as columns; see [`unfold`].
#[derive(Debug, Module)]
#[module(extra_repr = Self::options)]
pub struct Unfold<B: Backend> {
    #[module(skip)]
    kernel_size: Sizes<2>,
    #[module(skip)]
    dilation: Sizes<2>,
    #[module(skip)]
    padding: Sizes<2>,
    #[module(skip)]
    stride: Sizes<2>,
    hooks: Hooks<B>,
}

impl<B: Backend> Unfold<B> {
    /// Windows of this size at every place.
    pub fn new(kernel_size: impl Into<Sizes<2>>) -> Self {
        Unfold {
            kernel_size: kernel_size.into(),
            dilation: Sizes::All(1),
            padding: Sizes::All(0),
            stride: Sizes::All(1),
            hooks: Hooks::new(),
        }
    }

    window_options!();
}

impl<B: Backend> Forward for Unfold<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        unfold(x, &self.windows())
    }
}

/// Images from columns; see [`fold`].
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct Fold<B: Backend> {
    #[module(skip)]
    output_size: Sizes<2>,
    #[module(skip)]
    kernel_size: Sizes<2>,
    #[module(skip)]
    dilation: Sizes<2>,
    #[module(skip)]
    padding: Sizes<2>,
    #[module(skip)]
    stride: Sizes<2>,
    hooks: Hooks<B>,
}

impl<B: Backend> Fold<B> {
    /// To images of a size, from windows of a size at every place.
    pub fn new(output_size: impl Into<Sizes<2>>, kernel_size: impl Into<Sizes<2>>) -> Self {
        Fold {
            output_size: output_size.into(),
            kernel_size: kernel_size.into(),
            dilation: Sizes::All(1),
            padding: Sizes::All(0),
            stride: Sizes::All(1),
            hooks: Hooks::new(),
        }
    }

    window_options!();

    fn describe(&self) -> String {
        format!("output_size={}, {}", self.output_size, self.options())
    }
}

impl<B: Backend> Forward for Fold<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        fold(x, self.output_size.each(), &self.windows())
    }
}
