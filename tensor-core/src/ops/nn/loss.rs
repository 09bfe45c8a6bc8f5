//! Losses: each is one fused program, and one pass where it is reduced.

use crate::autocast::{cast, cast_given};
use crate::{Backend, DType, Error, Fused, FusedWith, ReduceOp, Shape, Tensor, Val, raise};

/// What becomes of the losses of the elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// They stay.
    None,
    /// Their mean; where elements have weights, the weighted mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Their sum divided by the size of the first dim; for `kl_div` only.
    BatchMean,
}

/// Runs a pointwise loss of `N` operands of one shape.
macro_rules! pointwise_loss {
    ($op:expr, $row:expr, $reduction:expr, $inputs:expr $(, $numbers:expr)?) => {{
        let inputs = $inputs;
        let dims: Vec<usize> = (0..inputs[0].rank()).collect();
        match $reduction {
            Reduction::None => $row.call(inputs $(, $numbers)?),
            reduction => {
                let sum = $row.reduce(ReduceOp::Sum, inputs $(, $numbers)?, &dims).reshape(());
                let loss = match reduction {
                    Reduction::Mean => sum / inputs[0].numel() as f64,
                    Reduction::BatchMean => sum / inputs[0].dims().first().map_or(1, |&n| n) as f64,
                    _ => sum,
                };
                loss.named($op, &inputs)
            }
        }
    }};
}

impl<B: Backend> Tensor<B> {
    /// `(x − y)²`
    ///
    /// # Panics
    /// If shapes, dtypes or devices differ.
    #[track_caller]
    pub fn mse_loss(&self, target: &Self, reduction: Reduction) -> Self {
        if let Some((_inside, [x, target])) = cast("mse_loss", [self, target]) {
            return x.mse_loss(&target, reduction);
        }
        static ROW: Fused<2> = Fused::new("mse_loss", |[x, y]| (x - y).square());
        self.check_loss("mse_loss", target, reduction);
        pointwise_loss!("mse_loss", ROW, reduction, [self, target])
    }

    /// `|x − y|`
    ///
    /// # Panics
    /// If shapes, dtypes or devices differ.
    #[track_caller]
    pub fn l1_loss(&self, target: &Self, reduction: Reduction) -> Self {
        if let Some((_inside, [x, target])) = cast("l1_loss", [self, target]) {
            return x.l1_loss(&target, reduction);
        }
        static ROW: Fused<2> = Fused::new("l1_loss", |[x, y]| (x - y).abs());
        self.check_loss("l1_loss", target, reduction);
        pointwise_loss!("l1_loss", ROW, reduction, [self, target])
    }

    /// `(x − y)² / (2·beta)` where `|x − y| < beta`, else `|x − y| − beta / 2`.
    ///
    /// # Panics
    /// If shapes, dtypes or devices differ, or `beta` is negative.
    #[track_caller]
    pub fn smooth_l1_loss(&self, target: &Self, beta: f64, reduction: Reduction) -> Self {
        if let Some((_inside, [x, target])) = cast("smooth_l1_loss", [self, target]) {
            return x.smooth_l1_loss(&target, beta, reduction);
        }
        static ROW: FusedWith<2, 1> = FusedWith::new("smooth_l1_loss", |[x, y], [beta]| {
            let d = (x - y).abs();
            d.lt(beta).select(d.square() * 0.5 / beta, d - beta * 0.5)
        });
        self.check_loss("smooth_l1_loss", target, reduction);
        positive("smooth_l1_loss", "beta", beta, beta >= 0.0);
        if beta == 0.0 {
            return self.l1_loss(target, reduction);
        }
        pointwise_loss!("smooth_l1_loss", ROW, reduction, [self, target], [beta])
    }

    /// `(x − y)² / 2` where `|x − y| ≤ delta`, else `delta·(|x − y| − delta / 2)` (Huber 1964).
    ///
    /// # Panics
    /// If shapes, dtypes or devices differ, or `delta` is not positive.
    #[track_caller]
    pub fn huber_loss(&self, target: &Self, delta: f64, reduction: Reduction) -> Self {
        if let Some((_inside, [x, target])) = cast("huber_loss", [self, target]) {
            return x.huber_loss(&target, delta, reduction);
        }
        static ROW: FusedWith<2, 1> = FusedWith::new("huber_loss", |[x, y], [delta]| {
            let d = (x - y).abs();
            d.le(delta).select(d.square() * 0.5, delta * (d - delta * 0.5))
        });
        self.check_loss("huber_loss", target, reduction);
        positive("huber_loss", "delta", delta, delta > 0.0);
        pointwise_loss!("huber_loss", ROW, reduction, [self, target], [delta])
    }

    /// `−(y·ln p + (1 − y)·ln(1 − p))` for probabilities `p`, with logarithms cut off at −100, as in
    /// PyTorch. Where `p` is 0 or 1 the cut-off logarithm has derivative 0.
    ///
    /// # Panics
    /// If shapes, dtypes or devices differ, or `weight` does not broadcast.
    #[track_caller]
    pub fn binary_cross_entropy(
        &self,
        target: &Self,
        weight: Option<&Self>,
        reduction: Reduction,
    ) -> Self {
        if let Some((_inside, [x, target])) = cast("binary_cross_entropy", [self, target]) {
            return x.binary_cross_entropy(&target, weight, reduction);
        }
        static ROW: Fused<3> = Fused::new("binary_cross_entropy", |[p, y, weight]| {
            let one = p.lit(1.0);
            -(weight * (y * cut_log(p) + (one - y) * cut_log(one - p)))
        });
        self.check_loss("binary_cross_entropy", target, reduction);
        let weight = self.weights("binary_cross_entropy", weight);
        pointwise_loss!("binary_cross_entropy", ROW, reduction, [self, target, &weight])
    }

    /// `binary_cross_entropy` of `sigmoid(x)`, without overflow; `pos_weight` multiplies the loss of
    /// positive targets.
    ///
    /// # Panics
    /// If shapes, dtypes or devices differ, or a weight does not broadcast.
    #[track_caller]
    pub fn binary_cross_entropy_with_logits(
        &self,
        target: &Self,
        weight: Option<&Self>,
        pos_weight: Option<&Self>,
        reduction: Reduction,
    ) -> Self {
        if let Some((_inside, [x, target], [weight, positive])) =
            cast_given("binary_cross_entropy_with_logits", [self, target], [weight, pos_weight])
        {
            return x.binary_cross_entropy_with_logits(
                &target,
                weight.as_ref(),
                positive.as_ref(),
                reduction,
            );
        }
        static ROW: Fused<4> =
            Fused::new("binary_cross_entropy_with_logits", |[x, y, weight, pos_weight]| {
                let one = y.lit(1.0);
                let log = (-x.abs()).exp().log1p() + (-x).max(0.0);
                weight * ((one - y) * x + (one + (pos_weight - one) * y) * log)
            });
        let op = "binary_cross_entropy_with_logits";
        self.check_loss(op, target, reduction);
        let (weight, pos_weight) = (self.weights(op, weight), self.weights(op, pos_weight));
        pointwise_loss!(
            "binary_cross_entropy_with_logits",
            ROW,
            reduction,
            [self, target, &weight, &pos_weight]
        )
    }

    /// `y·(ln y − x)` for log-probabilities `x` and probabilities `y`, 0 where `y` is 0; with
    /// `log_target`, `exp(y)·(y − x)`.
    ///
    /// # Panics
    /// If shapes, dtypes or devices differ.
    #[track_caller]
    pub fn kl_div(&self, target: &Self, log_target: bool, reduction: Reduction) -> Self {
        if let Some((_inside, [x, target])) = cast("kl_div", [self, target]) {
            return x.kl_div(&target, log_target, reduction);
        }
        static PLAIN: Fused<2> = Fused::new("kl_div", |[x, y]| {
            let zero = y.eq(0.0);
            // ln of 1 where y is 0, so that 0 · −∞ never appears, in the derivative either.
            let log = zero.select(y.lit(1.0), y).log();
            y * (log - x)
        });
        static LOG: Fused<2> = Fused::new("kl_div", |[x, y]| y.exp() * (y - x));
        self.alike("kl_div", [target]);
        self.same_shape("kl_div", target);
        if log_target {
            pointwise_loss!("kl_div", LOG, reduction, [self, target])
        } else {
            pointwise_loss!("kl_div", PLAIN, reduction, [self, target])
        }
    }

    /// `−weight[t]·x[t]` for log-probabilities `x` `[n, classes, …]` (or `[classes]`) and `i64` targets
    /// `t` `[n, …]` (or 0-d); 0 where the target is `ignore_index`. The mean is weighted.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit, or a target is no class.
    #[track_caller]
    pub fn nll_loss(
        &self,
        target: &Self,
        weight: Option<&Self>,
        ignore_index: i64,
        reduction: Reduction,
    ) -> Self {
        if let Some((_inside, [x], [weight])) = cast_given("nll_loss", [self], [weight]) {
            return x.nll_loss(target, weight.as_ref(), ignore_index, reduction);
        }
        let op = "nll_loss";
        let rows = self.class_rows(op, target, weight, reduction);
        let flat = target.reshape([-1]);
        let (losses, weights) = picked(&rows, &flat, weight, ignore_index);
        reduced(losses, &weights, target.shape(), reduction).named(op, &[self])
    }

    /// `nll_loss` of `log_softmax` over the classes, dim 1 of logits `[n, classes, …]` (or dim 0 of
    /// `[classes]`). Targets are `i64` classes `[n, …]`, or floats of the logits' shape: probabilities
    /// of the classes (`ignore_index` has no meaning then). With `label_smoothing` ε, a target
    /// becomes `(1 − ε)` for its class plus `ε / classes` for all (Szegedy et al. 2016).
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::{Reduction, Tensor};
    /// let logits = Tensor::<Cpu>::from_slice(&[0.0, 0.0, 0.0, 0.0f32], [2, 2], &CpuDevice);
    /// let target = Tensor::from_slice(&[0i64, 1], [2], &CpuDevice);
    /// let loss = logits.cross_entropy(&target, None, -100, 0.0, Reduction::Mean);
    /// assert!((loss.item() - 2f64.ln()).abs() < 1e-6);
    /// ```
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit, a target is no class, or `label_smoothing` is not in
    /// `[0, 1]`.
    #[track_caller]
    pub fn cross_entropy(
        &self,
        target: &Self,
        weight: Option<&Self>,
        ignore_index: i64,
        label_smoothing: f64,
        reduction: Reduction,
    ) -> Self {
        if let Some((_inside, [x, target], [weight])) =
            cast_given("cross_entropy", [self, target], [weight])
        {
            return x.cross_entropy(
                &target,
                weight.as_ref(),
                ignore_index,
                label_smoothing,
                reduction,
            );
        }
        let op = "cross_entropy";
        positive(op, "label_smoothing", label_smoothing, (0.0..=1.0).contains(&label_smoothing));
        if target.dtype().is_float() {
            let loss = self.soft_cross_entropy(target, weight, label_smoothing, reduction);
            return loss.named(op, &[self, target]);
        }
        self.hard_cross_entropy(target, weight, ignore_index, label_smoothing, reduction)
            .named(op, &[self])
    }

    /// Cross-entropy with classes for targets.
    #[track_caller]
    fn hard_cross_entropy(
        &self,
        target: &Self,
        weight: Option<&Self>,
        ignore_index: i64,
        label_smoothing: f64,
        reduction: Reduction,
    ) -> Self {
        let rows = self.class_rows("cross_entropy", target, weight, reduction);
        let flat = target.reshape([-1]);
        if weight.is_none() && label_smoothing == 0.0 {
            let losses = B::cross_entropy(&rows, &flat, ignore_index);
            if reduction == Reduction::Mean {
                let count = flat.ne(ignore_index).sum().to_dtype(self.dtype());
                return losses.sum() / count;
            }
            return finished(losses, target.shape(), reduction);
        }
        let log_p = B::log_softmax(&rows, 1);
        let (losses, weights) = picked(&log_p, &flat, weight, ignore_index);
        if label_smoothing == 0.0 {
            return reduced(losses, &weights, target.shape(), reduction);
        }
        // The part spread over all classes counts only for rows that are not ignored.
        let classes = log_p.dims()[1] as f64;
        let spread = match weight {
            Some(weight) => (&log_p * weight).sum_dims([1], false),
            None => log_p.sum_dims([1], false),
        };
        let counted = flat.ne(ignore_index).to_dtype(self.dtype());
        let losses =
            losses * (1.0 - label_smoothing) - spread * counted * (label_smoothing / classes);
        reduced(losses, &weights, target.shape(), reduction)
    }

    /// Cross-entropy with probabilities for targets.
    #[track_caller]
    fn soft_cross_entropy(
        &self,
        target: &Self,
        weight: Option<&Self>,
        label_smoothing: f64,
        reduction: Reduction,
    ) -> Self {
        static ROW: FusedWith<3, 2> =
            FusedWith::new("cross_entropy", |[log_p, y, weight], [smoothing, classes]| {
                let y = y * (y.lit(1.0) - smoothing) + smoothing / classes;
                -(log_p * y * weight)
            });
        let op = "cross_entropy";
        self.floats(op);
        self.alike(op, [target]);
        self.same_shape(op, target);
        let dim = usize::from(self.rank() > 1);
        if self.rank() == 0 || weight.is_some_and(|w| *w.shape() != [self.dims()[dim]]) {
            raise(Error::Shape {
                op,
                shapes: std::iter::once(self).chain(weight).map(|x| x.shape().clone()).collect(),
                why: "[n, classes, …] or [classes], and one weight per class, are wanted".into(),
            });
        }
        let classes = self.dims()[dim] as f64;
        let weight = match weight {
            Some(weight) if dim == 1 => weight.per_channel(self.rank()),
            Some(weight) => weight.clone(),
            None => self.weights(op, None),
        };
        let log_p = B::log_softmax(self, dim);
        let losses = ROW.reduce(
            ReduceOp::Sum,
            [&log_p, target, &weight],
            [label_smoothing, classes],
            &[dim],
        );
        let losses = losses.squeeze(dim as isize);
        let shape = losses.shape().clone();
        let count = losses.numel() as f64;
        match reduction {
            Reduction::Mean => losses.sum() / count,
            other => finished(losses, &shape, other),
        }
    }

    /// Logits as `[rows, classes]`.
    #[track_caller]
    fn class_rows(
        &self,
        op: &'static str,
        target: &Self,
        weight: Option<&Self>,
        reduction: Reduction,
    ) -> Self {
        self.floats(op);
        self.alike(op, weight);
        self.same_device(op, target);
        no_batch_mean(op, reduction);
        if target.dtype() != DType::I64 {
            raise(Error::DType {
                op,
                dtypes: vec![target.dtype()],
                why: "targets are i64 classes; convert with `to_dtype`".into(),
            });
        }
        let dim = usize::from(self.rank() > 1);
        let mut expected = self.shape().clone();
        if self.rank() > 0 {
            expected.remove(dim);
        }
        let weighted = |w: &Self| *w.shape() == [self.dims()[dim]];
        if self.rank() == 0 || *target.shape() != expected || !weight.is_none_or(weighted) {
            let shapes = [Some(self), Some(target), weight];
            raise(Error::Shape {
                op,
                shapes: shapes.iter().flatten().map(|x| x.shape().clone()).collect(),
                why: "x [n, classes, …] with targets [n, …], or [classes] with a 0-d target, and one \
                      weight per class, are wanted"
                    .into(),
            });
        }
        let classes = self.dims()[dim];
        let last = if self.rank() > 2 {
            let order = [0].into_iter().chain(2..self.rank()).chain([1]);
            self.permute(order.map(|d| d as isize).collect::<Vec<_>>())
        } else {
            self.clone()
        };
        last.reshape_to(&Shape::from([target.numel(), classes]))
    }

    /// The given weights, or a 1 that broadcasts.
    #[track_caller]
    fn weights(&self, op: &'static str, given: Option<&Self>) -> Self {
        let Some(weight) = given else {
            return Tensor::ones((), (self.device(), self.dtype()));
        };
        self.alike(op, [weight]);
        if weight.layout().broadcast_to(self.shape()).is_none() {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone(), weight.shape().clone()],
                why: "the weight does not broadcast to the input".into(),
            });
        }
        weight.clone()
    }

    #[track_caller]
    fn check_loss(&self, op: &'static str, target: &Self, reduction: Reduction) {
        self.floats(op);
        self.alike(op, [target]);
        self.same_shape(op, target);
        no_batch_mean(op, reduction);
    }

    #[track_caller]
    fn same_shape(&self, op: &'static str, other: &Self) {
        if self.shape() != other.shape() {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone(), other.shape().clone()],
                why: "input and target must have one shape; `expand` one if it is to broadcast"
                    .into(),
            });
        }
    }
}

/// `ln p`, or −100 below the smallest normal `f32`, where `1 / p` would overflow.
fn cut_log(p: Val<'_>) -> Val<'_> {
    let tiny = f64::from(f32::MIN_POSITIVE);
    p.lt(tiny).select(p.lit(-100.0), p.clamp_min(tiny).log())
}

/// The weighted losses of the rows' targets, and the weights.
fn picked<B: Backend>(
    log_p: &Tensor<B>,
    target: &Tensor<B>,
    weight: Option<&Tensor<B>>,
    ignore: i64,
) -> (Tensor<B>, Tensor<B>) {
    static LOSS: Fused<2> = Fused::new("nll_loss", |[x, w]| -(w.eq(0.0).select(x.lit(0.0), x) * w));
    let counted = target.ne(ignore);
    let index = target * &counted;
    let counted = counted.to_dtype(log_p.dtype());
    let weights = match weight {
        Some(weight) => B::index_select(weight, 0, &index) * counted,
        None => counted,
    };
    let x = B::gather(log_p, 1, &index.unsqueeze(1)).squeeze(1);
    (LOSS.call([&x, &weights]), weights)
}

fn reduced<B: Backend>(
    losses: Tensor<B>,
    weights: &Tensor<B>,
    shape: &Shape,
    reduction: Reduction,
) -> Tensor<B> {
    match reduction {
        Reduction::Mean => losses.sum() / weights.sum(),
        other => finished(losses, shape, other),
    }
}

fn finished<B: Backend>(losses: Tensor<B>, shape: &Shape, reduction: Reduction) -> Tensor<B> {
    match reduction {
        Reduction::None => losses.reshape_to(shape),
        _ => losses.sum(),
    }
}

#[track_caller]
fn no_batch_mean(op: &'static str, reduction: Reduction) {
    if reduction == Reduction::BatchMean {
        raise(Error::Argument {
            op,
            why: "the batch mean is for kl_div only; use Mean or Sum".into(),
        });
    }
}

#[track_caller]
fn positive(op: &'static str, name: &str, value: f64, fits: bool) {
    if !fits {
        raise(Error::Argument { op, why: format!("{name} = {value} is out of its range") });
    }
}
