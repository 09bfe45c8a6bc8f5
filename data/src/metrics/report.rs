//! The scores of a classifier as a table, as `sklearn.metrics.classification_report` prints them.

use std::fmt;

use super::{Average, ConfusionMatrix};

/// The scores of one class, or an average of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScores {
    /// Of what was called this class, the share that was one.
    pub precision: f64,
    /// Of what was this class, the share that was called so.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
    /// How many targets are of this class.
    pub support: u64,
}

/// The scores of all classes and their averages.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Name and scores of each class.
    pub classes: Vec<(String, ClassScores)>,
    /// The share of predictions that are right.
    pub accuracy: f64,
    /// The mean over classes.
    pub macro_average: ClassScores,
    /// The mean over classes, weighted by support.
    pub weighted_average: ClassScores,
}

impl Report {
    pub(super) fn new(matrix: &ConfusionMatrix) -> Self {
        let average = |average| ClassScores {
            precision: matrix.precision(average),
            recall: matrix.recall(average),
            f1: matrix.f1(average),
            support: matrix.total(),
        };
        let classes = matrix.names().iter().enumerate();
        Report {
            classes: classes.map(|(at, name)| (name.clone(), matrix.class(at))).collect(),
            accuracy: matrix.accuracy(),
            macro_average: average(Average::Macro),
            weighted_average: average(Average::Weighted),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.classes.iter().map(|(name, _)| name.chars().count());
        let left = names.max().unwrap_or(0).max("weighted avg".len());
        let row = |f: &mut fmt::Formatter<'_>, name: &str, s: &ClassScores| {
            let ClassScores { precision, recall, f1, support } = s;
            writeln!(f, "{name:>left$}  {precision:>9.4} {recall:>9.4} {f1:>9.4} {support:>9}")
        };
        writeln!(f, "{:>left$}  precision    recall  f1-score   support\n", "")?;
        self.classes.iter().try_for_each(|(name, scores)| row(f, name, scores))?;
        let (accuracy, total) = (self.accuracy, self.macro_average.support);
        writeln!(f, "\n{:>left$}  {accuracy:>29.4} {total:>9}", "accuracy")?;
        row(f, "macro avg", &self.macro_average)?;
        row(f, "weighted avg", &self.weighted_average)
    }
}
