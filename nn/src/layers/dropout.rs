//! Dropout of elements and of channels.

use kiln_tensor_core::{Backend, Error, Shape, Tensor, raise};

use crate::{Forward, Hooks, Module, python};

#[track_caller]
fn probability(op: &'static str, p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        raise(Error::Argument { op, why: format!("a probability lies in 0..=1, not {p}") });
    }
    p
}

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
        let training = self.hooks.training();
        match x.rank() {
            rank if rank == N + 2 || (N == 2 && rank == 3) => x.dropout_channels(self.p, training),
            rank if rank == N + 1 => x.unsqueeze(0).dropout_channels(self.p, training).squeeze(0),
            _ => raise(Error::Shape {
                op: "dropout",
                shapes: vec![x.shape().clone()],
                why: format!("{} takes [n, c, …] with {N} dims after the channels", self.name()),
            }),
        }
    }
}

/// What an element that is dropped becomes: the limit of SELU, far below 0.
const SATURATED: f64 = -1.758_099_340_847_376_6;

/// In training, sets the elements where `kept` (drawn with probability 1 − p) is 0 to SELU's limit, and scales and
/// shifts all such that mean and variance stay (Klambauer et al. 2017).
fn alpha_dropout<B: Backend>(x: &Tensor<B>, kept: &Tensor<B>, p: f64) -> Tensor<B> {
    let scale = 1.0 / ((SATURATED * SATURATED * p + 1.0) * (1.0 - p)).sqrt();
    let shift = -scale * SATURATED * p;
    (x * kept) * scale + ((1.0 - kept) * (scale * SATURATED) + shift)
}

macro_rules! alpha_dropouts {
    ($($(#[$doc:meta])* $name:ident, kept like $kept:expr;)*) => {$(
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
                if !self.hooks.training() || self.p == 0.0 {
                    return x.clone();
                }
                if self.p == 1.0 {
                    return x * 0.0;
                }
                let shape: Shape = $kept(x);
                let kept = Tensor::ones(shape, (x.device(), x.dtype())).bernoulli_(1.0 - self.p);
                alpha_dropout(x, &kept, self.p)
            }
        }
    )*};
}

alpha_dropouts! {
    /// Dropout that keeps mean and variance of what SELU gives (Klambauer et al. 2017).
    AlphaDropout, kept like |x: &Tensor<B>| x.shape().clone();
    /// [`AlphaDropout`] of whole channels: the first two dims of `[n, c, …]`.
    FeatureAlphaDropout, kept like |x: &Tensor<B>| {
        (0..x.rank()).map(|d| if d < 2 { x.dims()[d] } else { 1 }).collect()
    };
}
