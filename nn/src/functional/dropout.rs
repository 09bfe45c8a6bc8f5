//! Dropout of channels, and that which keeps mean and variance of what SELU gives. The layers call these; dropout of
//! elements is a method of tensors.

use kiln_tensor_core::{Backend, Error, Shape, Tensor, raise};

/// What an element that is dropped becomes: the limit of SELU, far below 0.
const SATURATED: f64 = -1.758_099_340_847_376_6;

/// A probability, or an error.
#[track_caller]
pub(crate) fn probability(op: &'static str, p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        raise(Error::Argument { op, why: format!("a probability lies in 0..=1, not {p}") });
    }
    p
}

/// In training, zeroes whole channels with probability `p` and scales the rest by 1 / (1 − p) (Tompson et al. 2015).
/// `N` dims follow the channels; two may be one, as in PyTorch.
#[track_caller]
pub(crate) fn channels<B: Backend, const N: usize>(
    x: &Tensor<B>,
    p: f64,
    training: bool,
) -> Tensor<B> {
    let p = probability("dropout", p);
    match x.rank() {
        rank if rank == N + 2 || (N == 2 && rank == 3) => x.dropout_channels(p, training),
        rank if rank == N + 1 => x.unsqueeze(0).dropout_channels(p, training).squeeze(0),
        _ => raise(Error::Shape {
            op: "dropout",
            shapes: vec![x.shape().clone()],
            why: format!("Dropout{N}d takes [n, c, …] with {N} dims after the channels"),
        }),
    }
}

macro_rules! dropouts {
    ($($name:ident $n:literal $shape:literal;)*) => {$(
        #[doc = concat!(
            "In training, zeroes whole channels of `", $shape, "` with probability `p`, and scales the rest by 1 / (1 − p)."
        )]
        ///
        /// # Panics
        /// If `p` lies outside `[0, 1]`, or the rank does not fit.
        #[track_caller]
        pub fn $name<B: Backend>(x: &Tensor<B>, p: f64, training: bool) -> Tensor<B> {
            channels::<B, $n>(x, p, training)
        }
    )*};
}

dropouts! {
    dropout1d 1 "[n, c, length]` or `[c, length]";
    dropout2d 2 "[n, c, height, width]` or `[n, c, length]";
    dropout3d 3 "[n, c, depth, height, width]` or `[c, depth, height, width]";
}

/// In training, sets elements to SELU's limit with probability `p`, and scales and shifts all such that mean and variance
/// stay (Klambauer et al. 2017).
///
/// # Panics
/// If `p` lies outside `[0, 1]`, or the elements are not floats.
#[track_caller]
pub fn alpha_dropout<B: Backend>(x: &Tensor<B>, p: f64, training: bool) -> Tensor<B> {
    saturated("alpha_dropout", x, x.shape().clone(), p, training)
}

/// [`alpha_dropout`] of whole channels: the first two dims of `[n, c, …]`.
///
/// # Panics
/// As that.
#[track_caller]
pub fn feature_alpha_dropout<B: Backend>(x: &Tensor<B>, p: f64, training: bool) -> Tensor<B> {
    let shape = (0..x.rank()).map(|d| if d < 2 { x.dims()[d] } else { 1 }).collect();
    saturated("feature_alpha_dropout", x, shape, p, training)
}

/// Draws for each place of `shape`, which broadcasts to that of `x`, whether it is kept.
#[track_caller]
fn saturated<B: Backend>(
    op: &'static str,
    x: &Tensor<B>,
    shape: Shape,
    p: f64,
    training: bool,
) -> Tensor<B> {
    let p = probability(op, p);
    if !training || p == 0.0 {
        return x.clone();
    }
    if p == 1.0 {
        return x * 0.0;
    }
    let kept = Tensor::ones(shape, (x.device(), x.dtype())).bernoulli_(1.0 - p);
    let scale = 1.0 / ((SATURATED * SATURATED * p + 1.0) * (1.0 - p)).sqrt();
    let shift = -scale * SATURATED * p;
    (x * &kept) * scale + ((1.0 - &kept) * (scale * SATURATED) + shift)
}
