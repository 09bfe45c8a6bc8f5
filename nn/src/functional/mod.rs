//! Functions: losses with PyTorch's defaults, for programs that need no options, and what works on images. What needs no
//! options is a method of tensors: `x.relu()`, `x.softmax(1)`, `x.dropout(0.5, true)`.

mod dropout;
mod grid;
mod loss;
mod pool;
mod resize;
mod vectors;

pub use dropout::{alpha_dropout, dropout1d, dropout2d, dropout3d, feature_alpha_dropout};
pub(crate) use dropout::{channels, probability};
pub use grid::{GridMode, GridPadding, affine_grid, grid_sample};
pub use loss::{
    cosine_embedding_loss, ctc_loss, gaussian_nll_loss, hinge_embedding_loss, margin_ranking_loss,
    multi_margin_loss, multilabel_margin_loss, multilabel_soft_margin_loss, poisson_nll_loss,
    soft_margin_loss, triplet_margin_with_distance_loss,
};
pub use pool::*;
pub use resize::{
    InterpolateMode, Resize, Windows, channel_shuffle, fold, interpolate, pixel_shuffle,
    pixel_unshuffle, unfold,
};
pub use vectors::{
    bilinear, cosine_similarity, gumbel_softmax, local_response_norm, normalize, pairwise_distance,
    pdist, softmin,
};

use kiln_tensor_core::{Backend, Tensor};

use crate::losses;

macro_rules! functions {
    ($($name:ident: $loss:ident;)*) => {$(
        #[doc = concat!(
            "[`", stringify!($loss), "`](crate::", stringify!($loss), ") with its defaults: the mean over all elements."
        )]
        ///
        /// # Panics
        /// If shapes, dtypes or devices do not fit.
        #[track_caller]
        pub fn $name<B: Backend>(input: &Tensor<B>, target: &Tensor<B>) -> Tensor<B> {
            losses::$loss::new().call(input, target)
        }
    )*};
}

functions! {
    mse_loss: MSELoss;
    l1_loss: L1Loss;
    smooth_l1_loss: SmoothL1Loss;
    huber_loss: HuberLoss;
    binary_cross_entropy: BCELoss;
    binary_cross_entropy_with_logits: BCEWithLogitsLoss;
    cross_entropy: CrossEntropyLoss;
    nll_loss: NLLLoss;
    kl_div: KLDivLoss;
}
