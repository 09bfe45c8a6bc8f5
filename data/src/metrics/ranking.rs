//! How well scores rank: ROC and precision-recall curves and the areas under them, as scikit-learn
//! defines them. Equal scores are one threshold.

use kiln_tensor_core::{Error, raise};

/// A receiver operating characteristic, from the strictest threshold to the mildest:
/// `sklearn.metrics.roc_curve`.
#[derive(Clone, Debug, PartialEq)]
pub struct RocCurve {
    /// Of the negatives, the share that is called positive.
    pub fpr: Vec<f64>,
    /// Of the positives, the share that is called so.
    pub tpr: Vec<f64>,
    /// Positive is what has at least this score. The first one is infinite.
    pub thresholds: Vec<f64>,
}

/// Precision against recall, from the mildest threshold to the strictest:
/// `sklearn.metrics.precision_recall_curve`.
#[derive(Clone, Debug, PartialEq)]
pub struct PrecisionRecallCurve {
    /// Of what is called positive, the share that is; 1 at the end.
    pub precision: Vec<f64>,
    /// Of the positives, the share that is called so; 0 at the end.
    pub recall: Vec<f64>,
    /// Positive is what has at least this score; one fewer than points.
    pub thresholds: Vec<f64>,
}

/// How many false and true positives there are at each threshold, from the highest score down.
struct Counts {
    fps: Vec<f64>,
    tps: Vec<f64>,
    thresholds: Vec<f64>,
}

#[track_caller]
fn counts(op: &'static str, scores: &[f64], positive: &[bool]) -> Counts {
    if scores.len() != positive.len() || scores.iter().any(|score| score.is_nan()) {
        let (scores, labels) = (scores.len(), positive.len());
        let why = format!("wants as many labels ({labels}) as scores ({scores}), and no NaN");
        raise(Error::Argument { op, why });
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let mut counts = Counts { fps: Vec::new(), tps: Vec::new(), thresholds: Vec::new() };
    let (mut fp, mut tp) = (0.0, 0.0);
    for (at, &item) in order.iter().enumerate() {
        if positive[item] {
            tp += 1.0;
        } else {
            fp += 1.0;
        }
        if order.get(at + 1).is_none_or(|&next| scores[next] != scores[item]) {
            counts.fps.push(fp);
            counts.tps.push(tp);
            counts.thresholds.push(scores[item]);
        }
    }
    counts
}

/// The ROC curve of scores for what is `positive` and what is not. Points on a straight line between
/// their neighbours are left out. A rate of which there is nothing is NaN.
///
/// # Panics
/// If there are not as many labels as scores, or a score is NaN; so for all functions here.
#[track_caller]
pub fn roc_curve(scores: &[f64], positive: &[bool]) -> RocCurve {
    let Counts { fps, tps, thresholds } = counts("roc_curve", scores, positive);
    let (negatives, positives) =
        (fps.last().copied().unwrap_or(0.0), tps.last().copied().unwrap_or(0.0));
    let mut curve = RocCurve {
        fpr: vec![0.0 / negatives],
        tpr: vec![0.0 / positives],
        thresholds: vec![f64::INFINITY],
    };
    for at in 0..fps.len() {
        let bend = |of: &[f64]| of[at + 1] - of[at] != of[at] - of[at - 1];
        if at == 0 || at + 1 == fps.len() || bend(&fps) || bend(&tps) {
            curve.fpr.push(fps[at] / negatives);
            curve.tpr.push(tps[at] / positives);
            curve.thresholds.push(thresholds[at]);
        }
    }
    curve
}

/// The area under the ROC curve: the chance that a positive has a higher score than a negative, equal
/// scores counting half. `sklearn.metrics.roc_auc_score`. NaN if either is missing.
///
/// ```
/// use kiln_data::metrics::roc_auc;
/// assert_eq!(roc_auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), 0.75);
/// ```
#[track_caller]
pub fn roc_auc(scores: &[f64], positive: &[bool]) -> f64 {
    let RocCurve { fpr, tpr, .. } = roc_curve(scores, positive);
    let step = |at: usize| (fpr[at] - fpr[at - 1]) * (tpr[at] + tpr[at - 1]) / 2.0;
    (1..fpr.len()).map(step).sum::<f64>() + 0.0 * (fpr[0] + tpr[0])
}

/// The precision-recall curve of scores for what is `positive` and what is not. Without positives the
/// recall is 1 but for the last point.
#[track_caller]
pub fn precision_recall_curve(scores: &[f64], positive: &[bool]) -> PrecisionRecallCurve {
    let Counts { fps, tps, mut thresholds } = counts("precision_recall_curve", scores, positive);
    let positives = tps.last().copied().unwrap_or(0.0);
    let mut precision: Vec<f64> = tps.iter().zip(&fps).map(|(tp, fp)| tp / (tp + fp)).collect();
    let share = |tp: &f64| if positives == 0.0 { 1.0 } else { tp / positives };
    let mut recall: Vec<f64> = tps.iter().map(share).collect();
    for list in [&mut precision, &mut recall, &mut thresholds] {
        list.reverse();
    }
    precision.push(1.0);
    recall.push(0.0);
    PrecisionRecallCurve { precision, recall, thresholds }
}

/// The mean of the precisions at each threshold, weighted by the gain in recall:
/// `sklearn.metrics.average_precision_score`. 0 without positives.
#[track_caller]
pub fn average_precision(scores: &[f64], positive: &[bool]) -> f64 {
    if !positive.contains(&true) {
        return 0.0;
    }
    let curve = precision_recall_curve(scores, positive);
    let step = |at: usize| (curve.recall[at] - curve.recall[at + 1]) * curve.precision[at];
    (0..curve.thresholds.len()).map(step).sum()
}

/// How the two-class area becomes one of several classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiClass {
    /// Each class against all others.
    OneVsRest,
    /// Each class against each other one (Hand and Till, 2001): does not depend on how frequent they are.
    OneVsOne,
}

/// The area under the ROC curve of several classes, of probabilities `[n, classes]` row by row and the
/// class of each row: `sklearn.metrics.roc_auc_score` with `multi_class`. `weighted` takes the mean over
/// classes or pairs by how frequent they are.
///
/// # Panics
/// If there are not as many probabilities as labels and classes, or a label is no class.
#[track_caller]
pub fn roc_auc_multiclass(
    probabilities: &[f64],
    labels: &[i64],
    classes: usize,
    kind: MultiClass,
    weighted: bool,
) -> f64 {
    let fits = |&label: &i64| usize::try_from(label).is_ok_and(|label| label < classes);
    if probabilities.len() != labels.len() * classes || !labels.iter().all(fits) {
        let why = format!(
            "{} probabilities for {} labels below {classes}",
            probabilities.len(),
            labels.len()
        );
        raise(Error::Argument { op: "roc_auc", why });
    }
    // The area of one class against those rows that `other` names, and how many rows take part.
    let area = |class: usize, other: &dyn Fn(i64) -> bool| {
        let rows = labels.iter().enumerate().filter(|(_, l)| **l == class as i64 || other(**l));
        let (scores, positive): (Vec<f64>, Vec<bool>) = rows
            .map(|(at, label)| (probabilities[at * classes + class], *label == class as i64))
            .unzip();
        (roc_auc(&scores, &positive), positive)
    };
    let parts: Vec<(f64, f64)> = match kind {
        MultiClass::OneVsRest => (0..classes)
            .map(|class| {
                let (area, positive) = area(class, &|_| true);
                (area, positive.iter().filter(|yes| **yes).count() as f64)
            })
            .collect(),
        MultiClass::OneVsOne => (0..classes)
            .flat_map(|a| (a + 1..classes).map(move |b| (a, b)))
            .map(|(a, b)| {
                let (first, rows) = area(a, &|label| label == b as i64);
                let (second, _) = area(b, &|label| label == a as i64);
                ((first + second) / 2.0, rows.len() as f64)
            })
            .collect(),
    };
    let weight = |count: f64| if weighted { count } else { 1.0 };
    let total: f64 = parts.iter().map(|part| weight(part.1)).sum();
    parts.iter().map(|(area, count)| area * weight(*count)).sum::<f64>() / total
}
