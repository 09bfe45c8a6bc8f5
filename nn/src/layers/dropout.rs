//! Dropout of elements and of channels.

use kiln_tensor_core::{Backend, Tensor};

use crate::functional::{self, channels, probability};
use crate::{Forward, Hooks, Module, python};

/// In training, zeroes each element with probability `p` and scales the rest by 1 / (1 − p)
/// (Srivastava et al. 2014). In evaluation, gives its input.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct Dropout<B: Backend> {
    p: f64,
    hooks: Hooks<B>,
}

impl<B: Backend> Dropout<B> {
    /// With this probability; PyTorch's default is 0.5.
    ///
    /// # Panics
    /// If it lies outside `[0, 1]`.
    #[track_caller]
    pub fn new(p: f64) -> Self {
        Dropout { p: probability("Dropout::new", p), hooks: Hooks::new() }
    }

    fn describe(&self) -> String {
        format!("p={}, inplace=False", python::float(self.p))
    }
}

impl<B: Backend> Forward for Dropout<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.dropout(self.p, self.hooks.training())
    }
}

/// Dropout of whole channels of `[n, c, length]` (or `[c, length]`).
pub type Dropout1d<B> = ChannelDropout<B, 1>;
/// Dropout of whole channels of `[n, c, height, width]`; `[n, c, length]` is taken as such, as in
/// PyTorch.
pub type Dropout2d<B> = ChannelDropout<B, 2>;
/// Dropout of whole channels of `[n, c, depth, height, width]` (or without `n`).
pub type Dropout3d<B> = ChannelDropout<B, 3>;

/// Dropout of whole channels (Tompson et al. 2015): [`Dropout1d`], [`Dropout2d`], [`Dropout3d`].
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name)]
pub struct ChannelDropout<B: Backend, const N: usize> {
    p: f64,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> ChannelDropout<B, N> {
    /// With this probability; PyTorch's default is 0.5.
    ///
    /// # Panics
    /// If it lies outside `[0, 1]`.
    #[track_caller]
    pub fn new(p: f64) -> Self {
        ChannelDropout { p: probability("Dropout::new", p), hooks: Hooks::new() }
    }

    fn name(&self) -> &'static str {
        ["Dropout1d", "Dropout2d", "Dropout3d"]
            .get(N.wrapping_sub(1))
            .copied()
            .unwrap_or("ChannelDropout")
    }

    fn describe(&self) -> String {
        format!("p={}, inplace=False", python::float(self.p))
    }
}

impl<B: Backend, const N: usize> Forward for ChannelDropout<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        channels::<B, N>(x, self.p, self.hooks.training())
    }
}

macro_rules! alpha_dropouts {
    ($($(#[$doc:meta])* $name:ident: $function:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Module)]
        #[module(extra_repr = Self::describe)]
        pub struct $name<B: Backend> {
            p: f64,
            hooks: Hooks<B>,
        }

        impl<B: Backend> $name<B> {
            /// With this probability; PyTorch's default is 0.5.
            ///
            /// # Panics
            /// If it lies outside `[0, 1]`.
            #[track_caller]
            pub fn new(p: f64) -> Self {
                let p = probability(concat!(stringify!($name), "::new"), p);
                $name { p, hooks: Hooks::new() }
            }

            fn describe(&self) -> String {
                format!("p={}, inplace=False", python::float(self.p))
            }
        }

        impl<B: Backend> Forward for $name<B> {
            fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
                functional::$function(x, self.p, self.hooks.training())
            }
        }
    )*};
}

alpha_dropouts! {
    /// Dropout that keeps mean and variance of what SELU gives (Klambauer et al. 2017).
    AlphaDropout: alpha_dropout;
    /// [`AlphaDropout`] of whole channels: the first two dims of `[n, c, …]`.
    FeatureAlphaDropout: feature_alpha_dropout;
}
