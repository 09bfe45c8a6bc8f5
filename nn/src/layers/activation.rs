//! Activations as layers, from one table.

use kiln_tensor_core::{Backend, DType, Options, Tensor};

use crate::{Forward, Hooks, Module, Param, init, python};

/// A row: the layer, its arguments with their types, the builder methods with their defaults, what it
/// prints, and what it computes.
macro_rules! activations {
    ($(
        $(#[$doc:meta])*
        $name:ident($($arg:ident: $ty:ty),*) {
            $($(#[$attr:meta])* $option:ident: $option_ty:ty = $default:expr),*
        }
            prints |$this:ident| $repr:expr;
            computes |$x:ident| $f:expr;
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Module)]
        #[module(extra_repr = Self::describe)]
        pub struct $name<B: Backend> {
            $($arg: $ty,)*
            $($(#[$attr])* $option: $option_ty,)*
            hooks: Hooks<B>,
        }

        impl<B: Backend> $name<B> {
            /// The layer, with PyTorch's defaults.
            #[allow(clippy::new_without_default, reason = "some rows have arguments")]
            pub const fn new($($arg: $ty),*) -> Self {
                $name { $($arg,)* $($option: $default,)* hooks: Hooks::new() }
            }

            $(
                #[doc = concat!("`", stringify!($option), "`; ", stringify!($default), " by default.")]
                #[must_use]
                pub const fn $option(mut self, $option: $option_ty) -> Self {
                    self.$option = $option;
                    self
                }
            )*

            fn describe(&self) -> String {
                let $this = self;
                $repr
            }
        }

        impl<B: Backend> Forward for $name<B> {
            fn forward(&self, $x: &Tensor<B>) -> Tensor<B> {
                let $this = self;
                let _ = $this;
                $f
            }
        }
    )*};
}

macro_rules! number {
    ($this:ident . $field:ident) => {
        format!(concat!(stringify!($field), "={}"), python::float($this.$field))
    };
}

activations! {
    /// `max(x, 0)`
    ReLU() {}
        prints |_this| String::new();
        computes |x| x.relu();
    /// `min(max(x, 0), 6)`
    ReLU6() {}
        prints |_this| String::new();
        computes |x| x.relu6();
    /// See [`Tensor::leaky_relu`].
    LeakyReLU() { negative_slope: f64 = 0.01 }
        prints |this| number!(this.negative_slope);
        computes |x| x.leaky_relu(this.negative_slope);
    /// See [`Tensor::elu`].
    ELU() { alpha: f64 = 1.0 }
        prints |this| number!(this.alpha);
        computes |x| x.elu(this.alpha);
    /// See [`Tensor::selu`].
    SELU() {}
        prints |_this| String::new();
        computes |x| x.selu();
    /// See [`Tensor::celu`].
    CELU() { alpha: f64 = 1.0 }
        prints |this| number!(this.alpha);
        computes |x| x.celu(this.alpha);
    /// `x · Φ(x)`, exactly or by tanh.
    GELU() { #[module(skip)] approximate: Approximate = Approximate::None }
        prints |this| format!("approximate='{}'", this.approximate.name());
        computes |x| match this.approximate {
            Approximate::None => x.gelu(),
            Approximate::Tanh => x.gelu_tanh(),
        };
    /// `x · sigmoid(x)`, also called swish.
    SiLU() {}
        prints |_this| String::new();
        computes |x| x.silu();
    /// `x · tanh(softplus(x))`
    Mish() {}
        prints |_this| String::new();
        computes |x| x.mish();
    /// `1 / (1 + e⁻ˣ)`
    Sigmoid() {}
        prints |_this| String::new();
        computes |x| x.sigmoid();
    /// `tanh x`
    Tanh() {}
        prints |_this| String::new();
        computes |x| x.tanh();
    /// See [`Tensor::softplus`].
    Softplus() { beta: f64 = 1.0, threshold: f64 = 20.0 }
        prints |this| [number!(this.beta), number!(this.threshold)].join(", ");
        computes |x| x.softplus(this.beta, this.threshold);
    /// `x / (1 + |x|)`
    Softsign() {}
        prints |_this| String::new();
        computes |x| x.softsign();
    /// See [`Tensor::softshrink`].
    Softshrink() { lambd: f64 = 0.5 }
        prints |this| python::float(this.lambd);
        computes |x| x.softshrink(this.lambd);
    /// See [`Tensor::hardshrink`].
    Hardshrink() { lambd: f64 = 0.5 }
        prints |this| python::float(this.lambd);
        computes |x| x.hardshrink(this.lambd);
    /// `x − tanh x`
    Tanhshrink() {}
        prints |_this| String::new();
        computes |x| x.tanhshrink();
    /// See [`Tensor::threshold`].
    Threshold(threshold: f64, value: f64) {}
        prints |this| [number!(this.threshold), number!(this.value)].join(", ");
        computes |x| x.threshold(this.threshold, this.value);
    /// See [`Tensor::hardtanh`].
    Hardtanh() { min_val: f64 = -1.0, max_val: f64 = 1.0 }
        prints |this| [number!(this.min_val), number!(this.max_val)].join(", ");
        computes |x| x.hardtanh(this.min_val, this.max_val);
    /// See [`Tensor::hardswish`].
    Hardswish() {}
        prints |_this| String::new();
        computes |x| x.hardswish();
    /// See [`Tensor::hardsigmoid`].
    Hardsigmoid() {}
        prints |_this| String::new();
        computes |x| x.hardsigmoid();
    /// `ln sigmoid(x)`
    LogSigmoid() {}
        prints |_this| String::new();
        computes |x| x.log_sigmoid();
    /// `eˣ / Σ eˣ` along a dimension.
    Softmax(dim: isize) {}
        prints |this| format!("dim={}", this.dim);
        computes |x| x.softmax(this.dim);
    /// `softmax(−x)` along a dimension.
    Softmin(dim: isize) {}
        prints |this| format!("dim={}", this.dim);
        computes |x| x.neg().softmax(this.dim);
    /// `x − ln Σ eˣ` along a dimension.
    LogSoftmax(dim: isize) {}
        prints |this| format!("dim={}", this.dim);
        computes |x| x.log_softmax(this.dim);
    /// `eˣ / Σ eˣ` over the channels of `[n, c, h, w]` or `[c, h, w]`.
    Softmax2d() {}
        prints |_this| String::new();
        computes |x| x.softmax(-3);
    /// `x` above 0, else `x` times a random slope in training, and the mean slope in evaluation (Xu et al. 2015).
    RReLU() { lower: f64 = 1.0 / 8.0, upper: f64 = 1.0 / 3.0 }
        prints |this| [number!(this.lower), number!(this.upper)].join(", ");
        computes |x| match this.hooks.training() {
            true => {
                let slopes = x.rand_like() * (this.upper - this.lower) + this.lower;
                Tensor::where_(&x.ge(0.0), x, x * slopes)
            }
            false => x.leaky_relu((this.lower + this.upper) / 2.0),
        };
    /// `a · sigmoid(b)` for the two halves of a dimension.
    GLU() { dim: isize = -1 }
        prints |this| format!("dim={}", this.dim);
        computes |x| x.glu(this.dim);
}

/// How [`GELU`] computes Φ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Approximate {
    /// Exactly, by erf.
    #[default]
    None,
    /// By tanh, as GPT-2 has it.
    Tanh,
}

impl Approximate {
    const fn name(self) -> &'static str {
        match self {
            Approximate::None => "none",
            Approximate::Tanh => "tanh",
        }
    }
}

/// `x` above 0, else `weight · x`, where the weight is learnt (He et al. 2015).
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct PReLU<B: Backend> {
    /// `[num_parameters]`, 0.25 at first.
    pub weight: Param<B>,
    hooks: Hooks<B>,
}

impl<B: Backend> PReLU<B> {
    /// One weight for all channels. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(options: impl Into<Options<'a, B>>) -> Self {
        let weight = Param::new(Tensor::zeros([1], options));
        init::constant_(&weight, 0.25);
        PReLU { weight, hooks: Hooks::new() }
    }

    /// One weight for each of this many channels (dim 1); 1, for all, by default.
    #[must_use]
    pub fn num_parameters(self, count: usize) -> Self {
        self.replace(count, 0.25)
    }

    /// The first value of the weights; 0.25 by default.
    #[must_use]
    pub fn init(self, value: f64) -> Self {
        let count = self.weight.numel();
        self.replace(count, value)
    }

    fn replace(self, count: usize, value: f64) -> Self {
        let old = self.weight.tensor();
        let options: (_, DType) = (old.device(), old.dtype());
        let weight = Param::new(Tensor::full([count], value, options));
        PReLU { weight, ..self }
    }

    fn describe(&self) -> String {
        format!("num_parameters={}", self.weight.numel())
    }
}

impl<B: Backend> Forward for PReLU<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.prelu(&self.weight.tensor())
    }
}
