//! Metrics against values worked out by hand and by scikit-learn's conventions.

mod common;

use common::{Tensor, device};
use kiln_data::metrics::{Average, ConfusionMatrix, accuracy, predictions, top_k_accuracy};
use kiln_tensor_core::{Error, catch};

/// Targets 0 0 0 1 1 2 against predictions 0 0 1 1 0 1: class 2 is never predicted.
fn three() -> ConfusionMatrix {
    let mut matrix = ConfusionMatrix::new(3);
    matrix.add(&[0, 0, 1], &[0, 0, 0]);
    matrix.add(&[1, 0, 1], &[1, 1, 2]);
    matrix
}

#[track_caller]
fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} is not {b}");
}

#[test]
fn counts_and_accuracy() {
    let matrix = three();
    let rows: Vec<Vec<u64>> =
        (0..3).map(|t| (0..3).map(|p| matrix.count(t, p)).collect()).collect();
    assert_eq!(rows, [[2, 1, 0], [1, 1, 0], [0, 1, 0]]);
    assert_eq!(matrix.total(), 6);
    near(matrix.accuracy(), 0.5);
}

#[test]
fn precision_recall_and_f1_by_class() {
    let matrix = three();
    // tp, fp, fn: class 0: 2 1 1; class 1: 1 2 1; class 2: 0 0 1.
    let [a, b, c] = [0, 1, 2].map(|class| matrix.class(class));
    near(a.precision, 2.0 / 3.0);
    near(a.recall, 2.0 / 3.0);
    near(a.f1, 2.0 / 3.0);
    near(b.precision, 1.0 / 3.0);
    near(b.recall, 0.5);
    near(b.f1, 0.4);
    // Nothing was called class 2: precision is 0/0, by convention 0; F1 is 0/1.
    assert_eq!([c.precision, c.recall, c.f1], [0.0; 3]);
    assert_eq!([a.support, b.support, c.support], [3, 2, 1]);
}

#[test]
fn averages() {
    let matrix = three();
    near(matrix.precision(Average::Macro), 1.0 / 3.0);
    near(matrix.recall(Average::Macro), (2.0 / 3.0 + 0.5) / 3.0);
    near(matrix.f1(Average::Macro), (2.0 / 3.0 + 0.4) / 3.0);
    near(matrix.precision(Average::Weighted), (3.0 * 2.0 / 3.0 + 2.0 / 3.0) / 6.0);
    near(matrix.recall(Average::Weighted), 0.5);
    near(matrix.f1(Average::Weighted), (3.0 * 2.0 / 3.0 + 2.0 * 0.4) / 6.0);
    for score in [ConfusionMatrix::precision, ConfusionMatrix::recall, ConfusionMatrix::f1] {
        near(score(&matrix, Average::Micro), 0.5);
    }
    let error = catch(|| matrix.f1(Average::Binary)).unwrap_err();
    assert!(error.to_string().contains("two classes, not 3"), "{error}");
}

#[test]
fn binary_scores_are_those_of_class_1() {
    let mut matrix = ConfusionMatrix::new(2);
    matrix.add(&[1, 1, 1, 0, 0, 0, 0], &[1, 1, 0, 1, 1, 0, 0]);
    near(matrix.precision(Average::Binary), 2.0 / 3.0);
    near(matrix.recall(Average::Binary), 0.5);
    near(matrix.f1(Average::Binary), 4.0 / 7.0);
}

#[test]
fn division_by_zero_gives_what_was_asked_for() {
    let empty = ConfusionMatrix::new(2);
    for average in [Average::Binary, Average::Macro, Average::Micro, Average::Weighted] {
        assert_eq!(empty.f1(average), 0.0);
        assert_eq!(empty.clone().zero_division(1.0).f1(average), 1.0);
    }
    // As scikit-learn: with zero_division=1 precision of class 2 is 1 and its F1 stays 0.
    let class = three().zero_division(1.0).class(2);
    assert_eq!((class.precision, class.f1), (1.0, 0.0));
}

#[test]
fn merging_is_adding() {
    let mut first = ConfusionMatrix::new(3);
    first.add(&[0, 0, 1], &[0, 0, 0]);
    let mut second = ConfusionMatrix::new(3);
    second.add(&[1, 0, 1], &[1, 1, 2]);
    first.merge(&second);
    assert_eq!(first, three());
}

#[test]
fn wrong_input_is_refused_and_leaves_no_trace() {
    let mut matrix = three();
    let error = catch(|| matrix.clone().add(&[0], &[0, 1])).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }));
    for bad in [3, -1] {
        let error = catch(|| matrix.add(&[0, bad], &[0, 0])).unwrap_err();
        assert!(matches!(error, Error::Index { index, size: 3, .. } if index == bad));
    }
    assert_eq!(matrix, three());
}

#[test]
fn scores_of_tensors() {
    let scores = [0.1f32, 0.7, 0.2, 0.5, 0.3, 0.2, 0.3, 0.4, 0.4, 0.2, 0.2, 0.6];
    let scores = Tensor::from_slice(&scores, [4, 3], &device());
    let target = Tensor::from_slice(&[1i64, 1, 2, 0], [4], &device());
    assert_eq!(predictions(&scores), [1, 0, 1, 2]);
    near(accuracy(&scores, &target), 0.25);
    near(top_k_accuracy(&scores, &target, 1), 0.25);
    near(top_k_accuracy(&scores, &target, 2), 1.0);
    near(top_k_accuracy(&scores, &target, 3), 1.0);
    let mut matrix = ConfusionMatrix::new(3);
    matrix.add_scores(&scores, &target);
    near(matrix.accuracy(), 0.25);
    // Strided scores mean the same.
    let turned = scores.t().copy().t();
    assert_eq!(predictions(&turned), [1, 0, 1, 2]);
}

#[test]
fn tensors_of_other_shapes_are_refused() {
    let scores = Tensor::zeros([4, 3], &device());
    let target = |n: usize| Tensor::from_slice(&vec![0i64; n], [n], &device());
    let error = catch(|| accuracy(&scores, &target(3))).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    let error = catch(|| accuracy(&scores, &Tensor::zeros([4], &device()))).unwrap_err();
    assert!(matches!(error, Error::DType { .. }), "{error}");
    let error = catch(|| accuracy(&target(4), &target(4))).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    assert!(catch(|| top_k_accuracy(&scores, &target(4), 4)).is_err());
    assert!(accuracy(&Tensor::zeros([0, 3], &device()), &target(0)).is_nan());
}

#[test]
fn tables_are_readable() {
    let mut matrix = ConfusionMatrix::with_names(["cat", "dog"]);
    matrix.add(&[0, 0, 1, 1, 1], &[0, 0, 0, 1, 1]);
    let wanted = "\
target | cat dog  <- predicted
-------+--------
   cat |   2   1
   dog |   0   2
";
    assert_eq!(matrix.to_string(), wanted);
    let wanted = "              precision    recall  f1-score   support

         cat     1.0000    0.6667    0.8000         3
         dog     0.6667    1.0000    0.8000         2

    accuracy                         0.8000         5
   macro avg     0.8333    0.8333    0.8000         5
weighted avg     0.8667    0.8000    0.8000         5
";
    assert_eq!(matrix.report().to_string(), wanted);
}
