//! Batch normalisation.

use kiln_tensor_core::{Backend, DType, Error, Options, Shape, Tensor, raise};
use parking_lot::Mutex;

use super::options::norm_options;
use super::sizes::named;
use crate::{Buffer, Forward, Hooks, Module, Param, init, python};

/// Batch normalisation of `[n, c]` or `[n, c, length]`.
pub type BatchNorm1d<B> = BatchNorm<B, 1>;
/// Batch normalisation of `[n, c, height, width]`.
pub type BatchNorm2d<B> = BatchNorm<B, 2>;
/// Batch normalisation of `[n, c, depth, height, width]`.
pub type BatchNorm3d<B> = BatchNorm<B, 3>;

/// Normalises each channel (Ioffe, Szegedy 2015): in training by the mean and biased variance of the
/// batch, which also move the running statistics; in evaluation by those. [`BatchNorm1d`],
/// [`BatchNorm2d`], [`BatchNorm3d`].
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name, flops = Self::count)]
pub struct BatchNorm<B: Backend, const N: usize> {
    /// `[c]`, ones at first.
    pub weight: Option<Param<B>>,
    /// `[c]`, zeros at first.
    pub bias: Option<Param<B>>,
    /// `[c]`, zeros at first.
    pub running_mean: Option<Buffer<B>>,
    /// `[c]`, ones at first; of unbiased variances.
    pub running_var: Option<Buffer<B>>,
    /// 0-d `i64`.
    pub num_batches_tracked: Option<Buffer<B>>,
    num_features: usize,
    eps: f64,
    #[module(skip)]
    momentum: Mutex<Option<f64>>,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> BatchNorm<B, N> {
    /// For `num_features` channels: `eps` 1e-5, momentum 0.1, affine, with running statistics. The
    /// options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(num_features: usize, options: impl Into<Options<'a, B>>) -> Self {
        let options = options.into();
        let ones = || Tensor::ones([num_features], Options { ..options });
        let zeros = || Tensor::zeros([num_features], Options { ..options });
        let count = Tensor::zeros((), (options.device, DType::I64));
        BatchNorm {
            weight: Some(Param::new(ones())),
            bias: Some(Param::new(zeros())),
            running_mean: Some(Buffer::new(zeros())),
            running_var: Some(Buffer::new(ones())),
            num_batches_tracked: Some(Buffer::new(count)),
            num_features,
            eps: 1e-5,
            momentum: Mutex::new(Some(0.1)),
            hooks: Hooks::new(),
        }
    }

    /// How far a batch moves the running statistics; 0.1 by default. `None`: they are the mean over all
    /// batches.
    #[must_use]
    pub fn momentum(self, momentum: impl Into<Option<f64>>) -> Self {
        self.set_momentum(momentum.into());
        self
    }

    /// How far a batch moves the running statistics.
    pub fn get_momentum(&self) -> Option<f64> {
        *self.momentum.lock()
    }

    /// Sets how far a batch moves the running statistics.
    pub fn set_momentum(&self, momentum: Option<f64>) {
        *self.momentum.lock() = momentum;
    }

    norm_options!(affine);

    /// Whether it keeps running statistics; `true` by default. Without them it normalises by the
    /// batch in evaluation too.
    #[must_use]
    pub fn track_running_stats(mut self, on: bool) -> Self {
        if !on {
            (self.running_mean, self.running_var, self.num_batches_tracked) = (None, None, None);
        }
        self
    }

    /// Starts the running statistics anew.
    pub fn reset_running_stats(&self) {
        self.running_mean.iter().chain(&self.num_batches_tracked).for_each(init::zeros_);
        self.running_var.iter().for_each(init::ones_);
    }

    fn name(&self) -> &'static str {
        named(["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"], N)
    }

    /// Of each element: mean 1 and variance 3 where the batch gives them, normalisation 2, weight 1, bias 1.
    fn count(&self, input: &Shape, _output: &Shape) -> u64 {
        let measures = self.hooks.training() || self.running_mean.is_none();
        let affine = [&self.weight, &self.bias].into_iter().flatten().count();
        ((if measures { 6 } else { 2 } + affine) * input.numel()) as u64
    }

    fn describe(&self) -> String {
        format!(
            "{}, eps={}, momentum={}, affine={}, bias={}, track_running_stats={}",
            self.num_features,
            python::float(self.eps),
            self.get_momentum().map_or("None".into(), python::float),
            python::bool(self.weight.is_some()),
            python::bool(self.bias.is_some()),
            python::bool(self.running_mean.is_some()),
        )
    }

    #[track_caller]
    fn check(&self, x: &Tensor<B>) {
        let ranks = if N == 1 { 2..=3 } else { N + 2..=N + 2 };
        if !ranks.contains(&x.rank()) || x.dims()[1] != self.num_features {
            raise(Error::Shape {
                op: "batch_norm",
                shapes: vec![x.shape().clone()],
                why: format!(
                    "{} over {} features takes [n, {1}{}]",
                    self.name(),
                    self.num_features,
                    ["", ", length] or [n, c", ", height, width", ", depth, height, width"]
                        .get(N)
                        .unwrap_or(&", …"),
                ),
            });
        }
    }

    /// Moves the running statistics towards those of a batch.
    fn track(&self, x: &Tensor<B>, mean: &Tensor<B>, var: &Tensor<B>) {
        let (Some(running_mean), Some(running_var)) = (&self.running_mean, &self.running_var)
        else {
            return;
        };
        let batches = self.num_batches_tracked.as_ref().map(|count| count.tensor().add_(1));
        let share = match (self.get_momentum(), batches) {
            (Some(momentum), _) => momentum,
            (None, Some(batches)) => 1.0 / batches.item(),
            (None, None) => 1.0,
        };
        let count = (x.numel() / self.num_features.max(1)) as f64;
        for (running, batch) in
            [(running_mean, mean * share), (running_var, var * (share * count / (count - 1.0)))]
        {
            running.tensor().mul_(1.0 - share).add_(&batch);
        }
    }
}

impl<B: Backend, const N: usize> Forward for BatchNorm<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        self.check(x);
        let weight = self.weight.as_ref().map(Param::tensor);
        let bias = self.bias.as_ref().map(Param::tensor);
        if let (false, Some(mean), Some(var)) =
            (self.hooks.training(), &self.running_mean, &self.running_var)
        {
            let (mean, var) = (mean.tensor(), var.tensor());
            return x.batch_norm_eval(&mean, &var, weight.as_ref(), bias.as_ref(), self.eps);
        }
        let (y, mean, var) = x.batch_norm_train(weight.as_ref(), bias.as_ref(), self.eps);
        if self.hooks.training() {
            self.track(x, &mean, &var);
        }
        y
    }
}
