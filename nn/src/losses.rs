//! Losses as modules. Their functions are methods of tensors: `x.mse_loss(&y, Reduction::Mean)`.

use kiln_tensor_core::{Backend, Reduction, Tensor};

use crate::{Buffer, Hooks, Module};

/// A row: the loss, its numbers with their defaults, and what it computes.
macro_rules! losses {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($option:ident: $ty:ty = $default:expr),* } { $($weight:ident $shape:literal),* }
            = |$this:ident, $x:ident, $y:ident| $f:expr;
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Module)]
        pub struct $name<B: Backend> {
            $($weight: Option<Buffer<B>>,)*
            $($option: $ty,)*
            #[module(skip)]
            reduction: Reduction,
            hooks: Hooks<B>,
        }

        impl<B: Backend> $name<B> {
            /// The loss with PyTorch's defaults.
            pub const fn new() -> Self {
                $name {
                    $($weight: None,)*
                    $($option: $default,)*
                    reduction: Reduction::Mean,
                    hooks: Hooks::new(),
                }
            }

            /// What becomes of the losses of the elements; their mean by default.
            #[must_use]
            pub const fn reduction(mut self, reduction: Reduction) -> Self {
                self.reduction = reduction;
                self
            }

            $(
                #[doc = concat!("`", stringify!($option), "`; ", stringify!($default), " by default.")]
                #[must_use]
                pub const fn $option(mut self, $option: $ty) -> Self {
                    self.$option = $option;
                    self
                }
            )*

            $(
                #[doc = concat!("`", stringify!($weight), "`: ", $shape)]
                #[must_use]
                pub fn $weight(mut self, $weight: Tensor<B>) -> Self {
                    self.$weight = Some(Buffer::new($weight));
                    self
                }
            )*

            /// The loss of an input against a target.
            ///
            /// # Panics
            /// If their shapes, dtypes or devices do not fit.
            #[track_caller]
            pub fn call(&self, input: &Tensor<B>, target: &Tensor<B>) -> Tensor<B> {
                let ($this, $x, $y) = (self, input, target);
                $f
            }
        }

        impl<B: Backend> Default for $name<B> {
            fn default() -> Self {
                Self::new()
            }
        }
    )*};
}

/// The tensor of an optional weight.
fn given<B: Backend>(weight: &Option<Buffer<B>>) -> Option<Tensor<B>> {
    weight.as_ref().map(Buffer::tensor)
}

losses! {
    /// `(x − y)²`
    MSELoss {} {} = |this, x, y| x.mse_loss(y, this.reduction);

    /// `|x − y|`
    L1Loss {} {} = |this, x, y| x.l1_loss(y, this.reduction);

    /// See [`Tensor::smooth_l1_loss`].
    SmoothL1Loss { beta: f64 = 1.0 } {}
        = |this, x, y| x.smooth_l1_loss(y, this.beta, this.reduction);

    /// See [`Tensor::huber_loss`].
    HuberLoss { delta: f64 = 1.0 } {} = |this, x, y| x.huber_loss(y, this.delta, this.reduction);

    /// See [`Tensor::binary_cross_entropy`].
    BCELoss {} { weight "a factor of each element's loss; it broadcasts." }
        = |this, x, y| x.binary_cross_entropy(y, given(&this.weight).as_ref(), this.reduction);

    /// See [`Tensor::binary_cross_entropy_with_logits`].
    BCEWithLogitsLoss {} {
        weight "a factor of each element's loss; it broadcasts.",
        pos_weight "a factor of the loss of positive targets; it broadcasts."
    } = |this, x, y| {
        let [weight, positive] = [given(&this.weight), given(&this.pos_weight)];
        x.binary_cross_entropy_with_logits(y, weight.as_ref(), positive.as_ref(), this.reduction)
    };

    /// The loss of classification, of logits `[n, classes, …]`; see [`Tensor::cross_entropy`].
    CrossEntropyLoss { ignore_index: i64 = -100, label_smoothing: f64 = 0.0 } {
        weight "a factor for each class, `[classes]`."
    } = |this, x, y| {
        let weight = given(&this.weight);
        let smoothing = this.label_smoothing;
        x.cross_entropy(y, weight.as_ref(), this.ignore_index, smoothing, this.reduction)
    };

    /// The loss of classification, of log-probabilities `[n, classes, …]`; see [`Tensor::nll_loss`].
    NLLLoss { ignore_index: i64 = -100 } { weight "a factor for each class, `[classes]`." }
        = |this, x, y| {
            x.nll_loss(y, given(&this.weight).as_ref(), this.ignore_index, this.reduction)
        };

    /// The divergence of Kullback and Leibler, of log-probabilities; see [`Tensor::kl_div`]. PyTorch's
    /// default, the mean over elements, is not the divergence: that is `Reduction::BatchMean`.
    KLDivLoss { log_target: bool = false } {}
        = |this, x, y| x.kl_div(y, this.log_target, this.reduction);
}
