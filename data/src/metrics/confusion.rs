//! The confusion matrix, which all scores of a classifier follow from.

use std::fmt;

use kiln_tensor_core::{Backend, Error, Shape, Tensor, raise};

use super::{ClassScores, Report, check_target, predictions};

/// How the scores of classes become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// The score of class 1 of two.
    Binary,
    /// The mean over classes.
    Macro,
    /// The score of the summed counts; for one label per item this is the accuracy.
    Micro,
    /// The mean over classes, each weighted by how often it is the target.
    Weighted,
}

/// Counts of predictions by target and predicted class, added batch by batch.
///
/// ```
/// use kiln_data::metrics::{Average, ConfusionMatrix};
/// let mut matrix = ConfusionMatrix::new(2);
/// matrix.add(&[1, 0, 1, 1], &[1, 0, 0, 1]); // predicted, target
/// assert_eq!(matrix.count(0, 1), 1);
/// assert_eq!(matrix.accuracy(), 0.75);
/// assert_eq!(matrix.recall(Average::Binary), 1.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ConfusionMatrix {
    names: Vec<String>,
    /// `counts[target · classes + predicted]`.
    counts: Vec<u64>,
    zero_division: f64,
}

impl ConfusionMatrix {
    /// A matrix of zeros for classes `0 .. classes`.
    pub fn new(classes: usize) -> Self {
        Self::with_names((0..classes).map(|class| class.to_string()))
    }

    /// A matrix of zeros for classes with names.
    pub fn with_names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let names: Vec<String> = names.into_iter().map(Into::into).collect();
        ConfusionMatrix { counts: vec![0; names.len() * names.len()], names, zero_division: 0.0 }
    }

    /// What a ratio is whose denominator is 0, instead of 0.
    pub fn zero_division(mut self, value: f64) -> Self {
        self.zero_division = value;
        self
    }

    /// Counts predicted classes against targets.
    ///
    /// # Panics
    /// If there are not as many of one as of the other, or a class is out of range.
    #[track_caller]
    pub fn add(&mut self, predicted: &[i64], target: &[i64]) {
        let shape = |of: &[i64]| Shape::from([of.len()]);
        if predicted.len() != target.len() {
            raise(Error::Shape {
                op: "ConfusionMatrix::add",
                shapes: vec![shape(predicted), shape(target)],
                why: "each prediction wants one target".into(),
            });
        }
        let classes = self.classes();
        let fits = |class: i64| usize::try_from(class).is_ok_and(|class| class < classes);
        // Everything is checked first: a refused batch leaves no trace.
        if let Some(&index) = predicted.iter().chain(target).find(|&&class| !fits(class)) {
            raise(Error::Index {
                op: "ConfusionMatrix::add",
                what: "class",
                index,
                size: classes,
                shape: shape(target),
                called: None,
            });
        }
        for (&predicted, &target) in predicted.iter().zip(target) {
            self.counts[target as usize * classes + predicted as usize] += 1;
        }
    }

    /// Counts the highest scores of `scores` `[n, classes]` against targets (`i64` `[n]`).
    ///
    /// # Panics
    /// If shapes or dtypes are others, or a class is out of range.
    #[track_caller]
    pub fn add_scores<B: Backend>(&mut self, scores: &Tensor<B>, target: &Tensor<B>) {
        let predicted = predictions(scores);
        let target = check_target("ConfusionMatrix::add_scores", scores, target);
        self.add(&predicted, &target);
    }

    /// Adds the counts of another matrix over the same classes.
    ///
    /// # Panics
    /// If it has another number of classes.
    #[track_caller]
    pub fn merge(&mut self, other: &Self) {
        if self.classes() != other.classes() {
            raise(Error::Argument {
                op: "ConfusionMatrix::merge",
                why: format!("{} classes are not {}", self.classes(), other.classes()),
            });
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.names.len()
    }

    /// The names of the classes.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How often `predicted` was said where `target` was right.
    ///
    /// # Panics
    /// If a class is out of range.
    pub fn count(&self, target: usize, predicted: usize) -> u64 {
        assert!(predicted < self.classes(), "count: no class {predicted} of {}", self.classes());
        self.counts[target * self.classes() + predicted]
    }

    /// Number of predictions.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share of predictions that are right.
    pub fn accuracy(&self) -> f64 {
        self.ratio((0..self.classes()).map(|class| self.count(class, class)).sum(), self.total())
    }

    /// Of what was called a class, the share that was one.
    ///
    /// # Panics
    /// If `average` is `Binary` and there are not two classes; so too `recall` and `f1`.
    #[track_caller]
    pub fn precision(&self, average: Average) -> f64 {
        self.average(average, |s| s.precision)
    }

    /// Of what was a class, the share that was called so.
    #[track_caller]
    pub fn recall(&self, average: Average) -> f64 {
        self.average(average, |s| s.recall)
    }

    /// The harmonic mean of precision and recall. Its macro average is the mean of the classes' F1.
    #[track_caller]
    pub fn f1(&self, average: Average) -> f64 {
        self.average(average, |s| s.f1)
    }

    /// The scores of one class.
    ///
    /// # Panics
    /// If there is no such class.
    pub fn class(&self, class: usize) -> ClassScores {
        let hits = self.count(class, class);
        let targets = (0..self.classes()).map(|p| self.count(class, p)).sum();
        let said = (0..self.classes()).map(|t| self.count(t, class)).sum();
        self.scores(hits, said, targets)
    }

    /// The scores of all classes and their averages, to print.
    pub fn report(&self) -> Report {
        Report::new(self)
    }

    fn scores(&self, hits: u64, said: u64, targets: u64) -> ClassScores {
        ClassScores {
            precision: self.ratio(hits, said),
            recall: self.ratio(hits, targets),
            f1: self.ratio(2 * hits, said + targets),
            support: targets,
        }
    }

    fn ratio(&self, part: u64, whole: u64) -> f64 {
        if whole == 0 { self.zero_division } else { part as f64 / whole as f64 }
    }

    #[track_caller]
    fn average(&self, average: Average, score: impl Fn(&ClassScores) -> f64) -> f64 {
        let classes = || (0..self.classes()).map(|class| self.class(class));
        match average {
            Average::Binary if self.classes() != 2 => raise(Error::Argument {
                op: "Average::Binary",
                why: format!("wants two classes, not {}; take another average", self.classes()),
            }),
            Average::Binary => score(&self.class(1)),
            Average::Micro => {
                let hits = (0..self.classes()).map(|class| self.count(class, class)).sum();
                score(&self.scores(hits, self.total(), self.total()))
            }
            Average::Macro if self.classes() == 0 => self.zero_division,
            Average::Macro => classes().map(|s| score(&s)).sum::<f64>() / self.classes() as f64,
            Average::Weighted if self.total() == 0 => self.zero_division,
            Average::Weighted => {
                let sum: f64 = classes().map(|s| score(&s) * s.support as f64).sum();
                sum / self.total() as f64
            }
        }
    }
}

/// Rows are targets, columns are predictions.
impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.iter().map(|count| count.to_string().len());
        let names = self.names.iter().map(|name| name.chars().count());
        let width = counts.chain(names.clone()).max().unwrap_or(1);
        let left = names.max().unwrap_or(0).max("target".len());
        write!(f, "{:>left$} |", "target")?;
        self.names.iter().try_for_each(|name| write!(f, " {name:>width$}"))?;
        writeln!(f, "  <- predicted")?;
        writeln!(f, "{:-<left$}-+{:-<right$}", "", "", right = self.classes() * (width + 1))?;
        for (target, name) in self.names.iter().enumerate() {
            write!(f, "{name:>left$} |")?;
            (0..self.classes()).try_for_each(|predicted| {
                write!(f, " {:>width$}", self.count(target, predicted))
            })?;
            writeln!(f)?;
        }
        Ok(())
    }
}
