//! How good a model is: accuracy, top-k, confusion matrix, precision, recall, F1, ROC and
//! precision-recall curves, log loss, errors of regression, running means. [`Metric`]s take batch by batch.
//!
//! Ratios follow scikit-learn: what would divide by zero is 0 unless said otherwise.

mod confusion;
mod ranking;
mod report;
mod streaming;

use kiln_tensor_core::{Backend, DType, Error, Fused, ReduceOp, Tensor, Val, raise};

pub use confusion::{Average, ConfusionMatrix};
pub use ranking::{
    MultiClass, PrecisionRecallCurve, RocCurve, average_precision, precision_recall_curve, roc_auc,
    roc_auc_multiclass, roc_curve,
};
pub use report::{ClassScores, Report};
pub use streaming::{
    Accuracy, AveragePrecision, ClassScore, LogLoss, MeanAbsoluteError, MeanSquaredError, Metric,
    Perplexity, R2, RocAuc, TopKAccuracy,
};

/// A mean that grows value by value.
///
/// ```
/// use kiln_data::metrics::Mean;
/// let mut loss = Mean::new();
/// loss.add(2.0, 64); // the mean loss of a batch of 64
/// loss.add(1.0, 32);
/// assert!((loss.value() - 5.0 / 3.0).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    count: u64,
}

impl Mean {
    /// A mean of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `count` values whose mean is `value`.
    pub fn add(&mut self, value: f64, count: usize) {
        self.sum += value * count as f64;
        self.count += count as u64;
    }

    /// The mean so far; NaN of nothing.
    pub fn value(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// How many values went in.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Starts again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

/// The class of the highest score in each row of `scores` `[n, classes]` (the first of equals).
///
/// # Panics
/// If `scores` is not a matrix with at least one column.
#[track_caller]
pub fn predictions<B: Backend>(scores: &Tensor<B>) -> Vec<i64> {
    static ARGMAX: Fused<1> = Fused::new("argmax", identity);
    check_scores("predictions", scores, 1);
    if scores.dims()[0] == 0 {
        return Vec::new();
    }
    ARGMAX.reduce(ReduceOp::ArgMax, [&scores.detach()], &[1]).to_vec()
}

fn identity<'b>([x]: [Val<'b>; 1]) -> Val<'b> {
    x
}

/// The share of rows of `scores` `[n, classes]` whose highest score is at the target (`i64` `[n]`);
/// NaN for no rows.
///
/// # Panics
/// If shapes or dtypes are others.
#[track_caller]
pub fn accuracy<B: Backend>(scores: &Tensor<B>, target: &Tensor<B>) -> f64 {
    check_scores("accuracy", scores, 1);
    let target = check_target("accuracy", scores, target);
    let hits = predictions(scores).iter().zip(&target).filter(|(a, b)| a == b).count();
    hits as f64 / target.len() as f64
}

/// The share of rows of `scores` `[n, classes]` with the target (`i64` `[n]`) among the `k` highest
/// scores, of equals the first ones; NaN for no rows.
///
/// # Panics
/// If shapes or dtypes are others, or there are fewer than `k` classes.
#[track_caller]
pub fn top_k_accuracy<B: Backend>(scores: &Tensor<B>, target: &Tensor<B>, k: usize) -> f64 {
    check_scores("top_k_accuracy", scores, k);
    if k == 0 {
        raise(Error::Argument { op: "top_k_accuracy", why: "k must be at least 1".into() });
    }
    let target = check_target("top_k_accuracy", scores, target);
    if target.is_empty() {
        return f64::NAN;
    }
    let best: Vec<i64> = B::topk(&scores.detach(), k, 1, true).1.to_vec();
    let hits = best.chunks(k).zip(&target).filter(|(best, target)| best.contains(target)).count();
    hits as f64 / target.len() as f64
}

#[track_caller]
fn check_scores<B: Backend>(op: &'static str, scores: &Tensor<B>, classes: usize) {
    if scores.rank() != 2 || scores.dims()[1] < classes {
        raise(Error::Shape {
            op,
            shapes: vec![scores.shape().clone()],
            why: format!("scores are wanted as [n, classes] with at least {classes} classes"),
        });
    }
}

#[track_caller]
fn check_target<B: Backend>(op: &'static str, scores: &Tensor<B>, target: &Tensor<B>) -> Vec<i64> {
    if target.dtype() != DType::I64 {
        raise(Error::DType {
            op,
            dtypes: vec![target.dtype()],
            why: "targets are classes, as i64".into(),
        });
    }
    if target.dims() != &scores.dims()[..1] {
        raise(Error::Shape {
            op,
            shapes: vec![scores.shape().clone(), target.shape().clone()],
            why: "scores [n, classes] want targets [n]".into(),
        });
    }
    target.to_vec()
}
