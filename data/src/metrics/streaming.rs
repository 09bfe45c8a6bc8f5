//! Metrics that take batch by batch: `update`, `compute`, `reset`.

use kiln_tensor_core::{Backend, DType, Error, Tensor, raise};

use super::{
    Average, ConfusionMatrix, Mean, MultiClass, accuracy, average_precision, check_target, roc_auc,
    roc_auc_multiclass, top_k_accuracy,
};

/// A score of everything that has been seen so far.
///
/// ```
/// use kiln_conformance::{Reference, ReferenceDevice};
/// use kiln_data::metrics::{Metric, R2};
/// use kiln_tensor_core::Tensor;
/// let tensor = |values: &[f64]| Tensor::<Reference>::from_slice(values, [values.len()], &ReferenceDevice);
/// let mut r2 = R2::new();
/// r2.update(&tensor(&[2.5, 0.0]), &tensor(&[3.0, -0.5]));
/// r2.update(&tensor(&[2.0, 8.0]), &tensor(&[2.0, 7.0]));
/// assert!((r2.compute() - 0.948_608_137_044_967_9).abs() < 1e-12);
/// ```
pub trait Metric {
    /// Takes a batch of the model's outputs and what they should be.
    ///
    /// # Panics
    /// If shapes or dtypes are others than the metric says. Nothing has been added then.
    #[track_caller]
    fn update<B: Backend>(&mut self, output: &Tensor<B>, target: &Tensor<B>);

    /// The score; NaN or as scikit-learn has it where nothing has been seen.
    fn compute(&self) -> f64;

    /// Forgets everything.
    fn reset(&mut self);
}

/// Values as `f64`, on the host.
fn host<B: Backend>(tensor: &Tensor<B>) -> Vec<f64> {
    tensor.detach().to_dtype(DType::F64).to_vec()
}

#[track_caller]
fn refuse<B: Backend>(op: &'static str, of: &[&Tensor<B>], why: &str) -> ! {
    let shapes = of.iter().map(|tensor| tensor.shape().clone()).collect();
    raise(Error::Shape { op, shapes, why: why.into() })
}

macro_rules! simple {
    ($(#[$doc:meta])* $name:ident($($field:ident: $ty:ty),*) $state:ident; |$this:ident, $output:ident, $target:ident| $update:expr; $compute:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $($field: $ty,)*
            $state: Mean,
        }

        impl $name {
            /// Of nothing yet.
            pub fn new($($field: $ty),*) -> Self {
                $name { $($field,)* $state: Mean::new() }
            }
        }

        impl Metric for $name {
            #[track_caller]
            fn update<B: Backend>(&mut self, $output: &Tensor<B>, $target: &Tensor<B>) {
                let $this = self;
                $update
            }

            fn compute(&self) -> f64 {
                let finish: fn(f64) -> f64 = $compute;
                finish(self.$state.value())
            }

            fn reset(&mut self) {
                self.$state.reset();
            }
        }
    };
}

simple! {
    /// The share of rows of scores `[n, classes]` whose highest one is at the target (`i64` `[n]`).
    Accuracy() mean; |this, output, target| {
        this.mean.add(nonempty(accuracy(output, target)), target.numel());
    }; |mean| mean
}

simple! {
    /// The share of rows of scores `[n, classes]` with the target (`i64` `[n]`) among the `k` highest.
    TopKAccuracy(k: usize) mean; |this, output, target| {
        this.mean.add(nonempty(top_k_accuracy(output, target, this.k)), target.numel());
    }; |mean| mean
}

simple! {
    /// The mean square of the differences of outputs and targets of one shape.
    MeanSquaredError() mean; |this, output, target| {
        for difference in differences("MeanSquaredError", output, target) {
            this.mean.add(difference * difference, 1);
        }
    }; |mean| mean
}

simple! {
    /// The mean of the absolute differences of outputs and targets of one shape.
    MeanAbsoluteError() mean; |this, output, target| {
        for difference in differences("MeanAbsoluteError", output, target) {
            this.mean.add(difference.abs(), 1);
        }
    }; |mean| mean
}

simple! {
    /// The mean of −log p of the targets: `sklearn.metrics.log_loss`. Outputs are probabilities
    /// `[n, classes]` with classes (`i64` `[n]`), or those of class 1 `[n]` with 0 and 1. Probabilities are
    /// kept an epsilon of `f64` away from 0 and 1.
    LogLoss() mean; |this, output, target| {
        let rows = host(output);
        let probability: Vec<f64> = match output.rank() {
            1 => positives("LogLoss", output, target)
                .iter()
                .zip(&rows)
                .map(|(yes, p)| if *yes { *p } else { 1.0 - p })
                .collect(),
            _ => classes("LogLoss", output, target)
                .iter()
                .zip(rows.chunks(output.dims()[1].max(1)))
                .map(|(class, row)| row[*class as usize])
                .collect(),
        };
        for p in probability {
            this.mean.add(-p.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln(), 1);
        }
    }; |mean| mean
}

simple! {
    /// e to the mean of −log p of the targets: of scores before softmax `[n, classes]` (as
    /// `cross_entropy` takes them) and classes (`i64` `[n]`), one row for each token. Batches of sequences are
    /// flattened first.
    Perplexity() mean; |this, output, target| {
        let targets = classes("Perplexity", output, target);
        let rows = host(output);
        for (class, row) in targets.iter().zip(rows.chunks(output.dims()[1].max(1))) {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|score| (score - most).exp()).sum();
            this.mean.add(most + sum.ln() - row[*class as usize], 1);
        }
    }; f64::exp
}

/// The mean of no rows weighs nothing.
fn nonempty(mean: f64) -> f64 {
    if mean.is_nan() { 0.0 } else { mean }
}

#[track_caller]
fn differences<B: Backend>(op: &'static str, output: &Tensor<B>, target: &Tensor<B>) -> Vec<f64> {
    if output.shape() != target.shape() {
        refuse(op, &[output, target], "outputs and targets have one shape");
    }
    host(output).iter().zip(host(target)).map(|(a, b)| a - b).collect()
}

/// Targets below the number of columns.
#[track_caller]
fn classes<B: Backend>(op: &'static str, output: &Tensor<B>, target: &Tensor<B>) -> Vec<i64> {
    if output.rank() != 2 {
        refuse(op, &[output, target], "outputs are wanted as [n, classes]");
    }
    let targets = check_target(op, output, target);
    let size = output.dims()[1];
    let fits = |class: &&i64| usize::try_from(**class).is_ok_and(|class| class < size);
    if let Some(&index) = targets.iter().find(|class| !fits(class)) {
        let shape = target.shape().clone();
        raise(Error::Index { op, what: "class", index, size, shape, called: None });
    }
    targets
}

/// Which of as many targets as outputs are not 0.
#[track_caller]
fn positives<B: Backend>(op: &'static str, output: &Tensor<B>, target: &Tensor<B>) -> Vec<bool> {
    if output.rank() != 1 || output.shape() != target.shape() {
        refuse(op, &[output, target], "outputs [n] want targets [n] of 0 and 1");
    }
    host(target).iter().map(|value| *value != 0.0).collect()
}

/// Of the spread of the targets, the share that outputs of the same shape explain:
/// `sklearn.metrics.r2_score`. Of targets without spread 1 if all outputs are right, else 0.
#[derive(Clone, Debug, Default)]
pub struct R2 {
    residual: f64,
    /// Number, mean, and sum of squared distances from the mean.
    count: f64,
    mean: f64,
    spread: f64,
}

impl R2 {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Metric for R2 {
    #[track_caller]
    fn update<B: Backend>(&mut self, output: &Tensor<B>, target: &Tensor<B>) {
        let differences = differences("R2", output, target);
        self.residual += differences.iter().map(|d| d * d).sum::<f64>();
        // Welford, "Note on a method for calculating corrected sums of squares and products", 1962.
        for value in host(target) {
            self.count += 1.0;
            let before = value - self.mean;
            self.mean += before / self.count;
            self.spread += before * (value - self.mean);
        }
    }

    fn compute(&self) -> f64 {
        if self.count < 2.0 {
            return f64::NAN;
        }
        match (self.spread == 0.0, self.residual == 0.0) {
            (false, _) => 1.0 - self.residual / self.spread,
            (true, true) => 1.0,
            (true, false) => 0.0,
        }
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Which score of a confusion matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Score {
    Precision,
    Recall,
    F1,
}

/// Precision, recall or F1 of scores `[n, classes]` and classes (`i64` `[n]`).
#[derive(Clone, Debug)]
pub struct ClassScore {
    matrix: ConfusionMatrix,
    score: Score,
    average: Average,
}

impl ClassScore {
    /// Of what was called a class, the share that was one.
    pub fn precision(classes: usize, average: Average) -> Self {
        ClassScore { matrix: ConfusionMatrix::new(classes), score: Score::Precision, average }
    }

    /// Of what was a class, the share that was called so.
    pub fn recall(classes: usize, average: Average) -> Self {
        ClassScore { matrix: ConfusionMatrix::new(classes), score: Score::Recall, average }
    }

    /// The harmonic mean of precision and recall.
    pub fn f1(classes: usize, average: Average) -> Self {
        ClassScore { matrix: ConfusionMatrix::new(classes), score: Score::F1, average }
    }

    /// The counts that the score follows from.
    pub fn matrix(&self) -> &ConfusionMatrix {
        &self.matrix
    }
}

impl Metric for ClassScore {
    #[track_caller]
    fn update<B: Backend>(&mut self, output: &Tensor<B>, target: &Tensor<B>) {
        self.matrix.add_scores(output, target);
    }

    fn compute(&self) -> f64 {
        match self.score {
            Score::Precision => self.matrix.precision(self.average),
            Score::Recall => self.matrix.recall(self.average),
            Score::F1 => self.matrix.f1(self.average),
        }
    }

    fn reset(&mut self) {
        self.matrix = ConfusionMatrix::with_names(self.matrix.names().to_vec());
    }
}

/// The area under the ROC curve: of scores `[n]` and targets `[n]` of 0 and 1, or of probabilities
/// `[n, classes]` and classes (`i64` `[n]`). Keeps all scores.
#[derive(Clone, Debug)]
pub struct RocAuc {
    /// How several classes become one number, and whether by frequency.
    kind: Option<(MultiClass, bool)>,
    classes: usize,
    scores: Vec<f64>,
    labels: Vec<i64>,
}

impl RocAuc {
    /// Of two classes.
    pub fn new() -> Self {
        RocAuc { kind: None, classes: 0, scores: Vec::new(), labels: Vec::new() }
    }

    /// Of several classes; see [`roc_auc_multiclass`].
    pub fn multiclass(kind: MultiClass, weighted: bool) -> Self {
        RocAuc { kind: Some((kind, weighted)), ..Self::new() }
    }
}

impl Default for RocAuc {
    fn default() -> Self {
        Self::new()
    }
}

impl Metric for RocAuc {
    #[track_caller]
    fn update<B: Backend>(&mut self, output: &Tensor<B>, target: &Tensor<B>) {
        if self.kind.is_none() {
            let positive = positives("RocAuc", output, target);
            self.labels.extend(positive.iter().map(|yes| i64::from(*yes)));
        } else {
            let labels = classes("RocAuc", output, target);
            if !self.labels.is_empty() && output.dims()[1] != self.classes {
                refuse("RocAuc", &[output], "all batches have one number of classes");
            }
            self.classes = output.dims()[1];
            self.labels.extend(labels);
        }
        self.scores.extend(host(output));
    }

    fn compute(&self) -> f64 {
        match self.kind {
            None => roc_auc(&self.scores, &self.labels.iter().map(|l| *l == 1).collect::<Vec<_>>()),
            Some((kind, weighted)) => {
                roc_auc_multiclass(&self.scores, &self.labels, self.classes, kind, weighted)
            }
        }
    }

    fn reset(&mut self) {
        self.scores.clear();
        self.labels.clear();
    }
}

/// The average precision of scores `[n]` and targets `[n]` of 0 and 1. Keeps all scores.
#[derive(Clone, Debug, Default)]
pub struct AveragePrecision {
    scores: Vec<f64>,
    positive: Vec<bool>,
}

impl AveragePrecision {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Metric for AveragePrecision {
    #[track_caller]
    fn update<B: Backend>(&mut self, output: &Tensor<B>, target: &Tensor<B>) {
        self.positive.extend(positives("AveragePrecision", output, target));
        self.scores.extend(host(output));
    }

    fn compute(&self) -> f64 {
        average_precision(&self.scores, &self.positive)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}
