//! Losses as modules. Their functions are methods of tensors: `x.mse_loss(&y, Reduction::Mean)`.

use kiln_tensor_core::{Backend, Reduction, Tensor};

use crate::{Buffer, Hooks, Module, functional};

/// A row: the loss, its numbers with their defaults, and what it computes.
macro_rules! losses {
    ($(
        $(#[$doc:meta])*
        $name:ident { $($option:ident: $ty:ty = $default:expr),* } { $($weight:ident $shape:literal),* }
            = |$this:ident, $($x:ident),+| $f:expr;
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

            /// The loss of an input (or several) against a target.
            ///
            /// # Panics
            /// If their shapes, dtypes or devices do not fit.
            #[track_caller]
            pub fn call(&self, $($x: &Tensor<B>),+) -> Tensor<B> {
                let $this = self;
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

    /// The likelihood of counts of a Poisson distribution; see [`functional::poisson_nll_loss`].
    PoissonNLLLoss { log_input: bool = true, full: bool = false, eps: f64 = 1e-8 } {}
        = |this, x, y| {
            functional::poisson_nll_loss(x, y, this.log_input, this.full, this.eps, this.reduction)
        };

    /// The likelihood of normal numbers, whose variances are the third operand; see
    /// [`functional::gaussian_nll_loss`].
    GaussianNLLLoss { full: bool = false, eps: f64 = 1e-6 } {}
        = |this, x, y, var| {
            functional::gaussian_nll_loss(x, y, var, this.full, this.eps, this.reduction)
        };

    /// See [`functional::hinge_embedding_loss`].
    HingeEmbeddingLoss { margin: f64 = 1.0 } {}
        = |this, x, y| functional::hinge_embedding_loss(x, y, this.margin, this.reduction);

    /// See [`functional::soft_margin_loss`].
    SoftMarginLoss {} {} = |this, x, y| functional::soft_margin_loss(x, y, this.reduction);

    /// See [`functional::multilabel_soft_margin_loss`].
    MultiLabelSoftMarginLoss {} { weight "a factor for each class, `[classes]`." }
        = |this, x, y| {
            let weight = given(&this.weight);
            functional::multilabel_soft_margin_loss(x, y, weight.as_ref(), this.reduction)
        };

    /// See [`functional::multilabel_margin_loss`].
    MultiLabelMarginLoss {} {}
        = |this, x, y| functional::multilabel_margin_loss(x, y, this.reduction);

    /// See [`functional::multi_margin_loss`].
    MultiMarginLoss { p: i32 = 1, margin: f64 = 1.0 } { weight "a factor for each class, `[classes]`." }
        = |this, x, y| {
            let weight = given(&this.weight);
            functional::multi_margin_loss(x, y, this.p, this.margin, weight.as_ref(), this.reduction)
        };

    /// See [`functional::margin_ranking_loss`].
    MarginRankingLoss { margin: f64 = 0.0 } {}
        = |this, x1, x2, y| {
            functional::margin_ranking_loss(x1, x2, y, this.margin, this.reduction)
        };

    /// See [`functional::cosine_embedding_loss`].
    CosineEmbeddingLoss { margin: f64 = 0.0 } {}
        = |this, x1, x2, y| {
            functional::cosine_embedding_loss(x1, x2, y, this.margin, this.reduction)
        };

    /// Of anchor, positive and negative, by the distance [`functional::pairwise_distance`] (Balntas et al. 2016). For
    /// another distance see [`functional::triplet_margin_with_distance_loss`].
    TripletMarginLoss { margin: f64 = 1.0, p: f64 = 2.0, eps: f64 = 1e-6, swap: bool = false } {}
        = |this, anchor, positive, negative| {
            let distance = |a: &Tensor<B>, b: &Tensor<B>| {
                functional::pairwise_distance(a, b, this.p, this.eps, false)
            };
            functional::triplet_margin_with_distance_loss(
                [anchor, positive, negative], distance, this.margin, this.swap, this.reduction,
            )
        };

    /// The cosine of the angle between two tensors along a dimension; see [`functional::cosine_similarity`].
    CosineSimilarity { dim: isize = 1, eps: f64 = 1e-8 } {}
        = |this, x1, x2| functional::cosine_similarity(x1, x2, this.dim, this.eps);

    /// The distance of vectors along the last dimension; see [`functional::pairwise_distance`].
    PairwiseDistance { p: f64 = 2.0, eps: f64 = 1e-6, keepdim: bool = false } {}
        = |this, x1, x2| functional::pairwise_distance(x1, x2, this.p, this.eps, this.keepdim);
}

/// Connectionist temporal classification; see [`functional::ctc_loss`].
#[derive(Debug, Module)]
pub struct CTCLoss<B: Backend> {
    blank: usize,
    zero_infinity: bool,
    #[module(skip)]
    reduction: Reduction,
    hooks: Hooks<B>,
}

impl<B: Backend> Default for CTCLoss<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> CTCLoss<B> {
    /// Class 0 is the blank; the mean over the batch, each loss divided by its target's length.
    pub const fn new() -> Self {
        let hooks = Hooks::new();
        CTCLoss { blank: 0, zero_infinity: false, reduction: Reduction::Mean, hooks }
    }

    /// The class that stands for nothing; 0 by default.
    #[must_use]
    pub const fn blank(mut self, blank: usize) -> Self {
        self.blank = blank;
        self
    }

    /// What becomes of the losses of the batch; their mean by default.
    #[must_use]
    pub const fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Whether impossible targets have loss 0 instead of infinity; `false` by default.
    #[must_use]
    pub const fn zero_infinity(mut self, on: bool) -> Self {
        self.zero_infinity = on;
        self
    }

    /// The loss of log-probabilities `[t, n, classes]` against targets `[n, longest]`, or in one row.
    ///
    /// # Panics
    /// If shapes, dtypes, lengths or classes do not fit.
    #[track_caller]
    pub fn call(
        &self,
        log_probs: &Tensor<B>,
        targets: &Tensor<B>,
        input_lengths: &[usize],
        target_lengths: &[usize],
    ) -> Tensor<B> {
        let CTCLoss { blank, zero_infinity, reduction, .. } = *self;
        functional::ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank,
            reduction,
            zero_infinity,
        )
    }
}
