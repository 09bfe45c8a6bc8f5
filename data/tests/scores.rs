//! Metrics against scikit-learn's numbers: `scores/make.py` made them.

mod common;

use common::{Tensor, device};
use kiln_data::metrics::{
    Accuracy, Average, AveragePrecision, ClassScore, LogLoss, MeanAbsoluteError, MeanSquaredError,
    Metric, MultiClass, Perplexity, R2, RocAuc, TopKAccuracy, average_precision,
    precision_recall_curve, roc_auc, roc_curve,
};
use kiln_tensor_core::catch;
use serde_json::Value;

fn table(part: &str) -> Value {
    let all: Value = serde_json::from_str(include_str!("scores/scores.json")).unwrap();
    all[part].clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap().iter();
    list.flat_map(|v| v.as_f64().map_or_else(|| numbers(v), |v| vec![v])).collect()
}

#[track_caller]
fn near(a: f64, b: &Value) {
    assert!((a - b.as_f64().unwrap()).abs() < 1e-12, "{a} is not {b}");
}

#[track_caller]
fn all_near(a: &[f64], b: &Value) {
    let b = numbers(b);
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-12), "{a:?} {b:?}");
}

/// The score of rows in three batches, after another life.
#[track_caller]
fn streamed<M: Metric>(mut metric: M, output: &Tensor, target: &Tensor) -> f64 {
    metric.update(output, target);
    metric.reset();
    let mut start = 0;
    for rows in [1, 40, output.dims()[0] - 41] {
        let part = |x: &Tensor| x.narrow(0, start, rows);
        metric.update(&part(output), &part(target));
        start += rows;
    }
    metric.compute()
}

fn vector(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, [values.len()], &device())
}

fn integers(value: &Value) -> Tensor {
    let values: Vec<i64> = numbers(value).iter().map(|v| *v as i64).collect();
    Tensor::from_slice(&values, [values.len()], &device())
}

#[test]
fn two_classes() {
    let t = table("binary");
    let (scores, labels) = (numbers(&t["scores"]), numbers(&t["labels"]));
    let positive: Vec<bool> = labels.iter().map(|l| *l == 1.0).collect();
    near(roc_auc(&scores, &positive), &t["roc_auc"]);
    near(average_precision(&scores, &positive), &t["average_precision"]);
    let roc = roc_curve(&scores, &positive);
    all_near(&roc.fpr, &t["fpr"]);
    all_near(&roc.tpr, &t["tpr"]);
    assert_eq!(roc.thresholds[0], f64::INFINITY);
    all_near(&roc.thresholds[1..], &t["roc_thresholds"]);
    let curve = precision_recall_curve(&scores, &positive);
    all_near(&curve.precision, &t["precision"]);
    all_near(&curve.recall, &t["recall"]);
    all_near(&curve.thresholds, &t["pr_thresholds"]);

    let (output, target) = (vector(&scores), integers(&t["labels"]));
    near(streamed(RocAuc::new(), &output, &target), &t["roc_auc"]);
    near(streamed(AveragePrecision::new(), &output, &target), &t["average_precision"]);
    let p1: Vec<f64> = scores.iter().map(|s| 1.0 / (1.0 + (-s).exp())).collect();
    near(streamed(LogLoss::new(), &vector(&p1), &target), &t["log_loss"]);
}

#[test]
fn several_classes() {
    let t = table("classes");
    let logits = Tensor::from_slice(&numbers(&t["logits"]), [60, 4], &device());
    let (probs, target) = (logits.softmax(1), integers(&t["target"]));
    for (name, average) in
        [("macro", Average::Macro), ("micro", Average::Micro), ("weighted", Average::Weighted)]
    {
        near(streamed(ClassScore::precision(4, average), &logits, &target), &t["precision"][name]);
        near(streamed(ClassScore::recall(4, average), &logits, &target), &t["recall"][name]);
        near(streamed(ClassScore::f1(4, average), &logits, &target), &t["f1"][name]);
    }
    near(streamed(Accuracy::new(), &logits, &target), &t["accuracy"]);
    near(streamed(TopKAccuracy::new(1), &logits, &target), &t["accuracy"]);
    assert_eq!(streamed(TopKAccuracy::new(4), &logits, &target), 1.0);
    near(streamed(LogLoss::new(), &probs, &target), &t["log_loss"]);
    near(streamed(Perplexity::new(), &logits, &target).ln(), &t["log_loss"]);
    for (name, kind) in [("ovr", MultiClass::OneVsRest), ("ovo", MultiClass::OneVsOne)] {
        for (average, weighted) in [("macro", false), ("weighted", true)] {
            let auc = streamed(RocAuc::multiclass(kind, weighted), &probs, &target);
            near(auc, &t["roc_auc"][format!("{name}_{average}")]);
        }
    }
}

#[test]
fn regression() {
    let t = table("regression");
    let (truth, guess) = (vector(&numbers(&t["truth"])), vector(&numbers(&t["guess"])));
    near(streamed(MeanSquaredError::new(), &guess, &truth), &t["mse"]);
    near(streamed(MeanAbsoluteError::new(), &guess, &truth), &t["mae"]);
    near(streamed(R2::new(), &guess, &truth), &t["r2"]);
    let mut flat = R2::new();
    flat.update(&vector(&[2.0, 2.0]), &vector(&[2.0, 2.0]));
    assert_eq!(flat.compute(), 1.0);
    flat.update(&vector(&[3.0]), &vector(&[2.0]));
    assert_eq!(flat.compute(), 0.0);
}

#[test]
fn edges() {
    assert!(roc_auc(&[0.1, 0.2], &[true, true]).is_nan());
    assert!(roc_auc(&[], &[]).is_nan());
    assert_eq!(roc_auc(&[0.5; 4], &[true, false, true, false]), 0.5);
    assert_eq!(average_precision(&[0.3], &[false]), 0.0);
    assert!(MeanSquaredError::new().compute().is_nan() && R2::new().compute().is_nan());
    // What has no probability is not infinitely wrong.
    let mut loss = LogLoss::new();
    loss.update(&vector(&[0.0]), &vector(&[1.0]));
    assert!((loss.compute() - 36.04).abs() < 0.01, "{}", loss.compute());
}

#[test]
fn wrong_input_is_refused() {
    let (x, y) = (vector(&[1.0, 2.0]), vector(&[1.0]));
    assert!(catch(|| R2::new().update(&x, &y)).is_err());
    assert!(catch(|| RocAuc::new().update(&x, &y)).is_err());
    assert!(catch(|| roc_auc(&[f64::NAN], &[true])).is_err());
    let scores = Tensor::zeros([1, 3], &device());
    let class = Tensor::from_slice(&[3i64], [1], &device());
    assert!(catch(|| Perplexity::new().update(&scores, &class)).is_err());
    assert!(
        catch(|| RocAuc::multiclass(MultiClass::OneVsOne, false).update(&scores, &class)).is_err()
    );
}
