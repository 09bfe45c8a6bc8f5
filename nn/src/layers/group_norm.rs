//! Norms within a sample: of groups of channels, of each channel, by the root of the mean square, and across
//! neighbouring channels.

use kiln_tensor_core::{Backend, DType, Error, Options, Shape, Tensor, raise};

use super::options::norm_options;
use super::sizes::named;
use crate::functional::local_response_norm;
use crate::{Buffer, Forward, Hooks, Module, Param, python};

/// Normalises groups of channels of each sample (Wu, He 2018): `[n, channels, …]`.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct GroupNorm<B: Backend> {
    /// `[num_channels]`, ones at first.
    pub weight: Option<Param<B>>,
    /// `[num_channels]`, zeros at first.
    pub bias: Option<Param<B>>,
    num_groups: usize,
    num_channels: usize,
    eps: f64,
    hooks: Hooks<B>,
}

impl<B: Backend> GroupNorm<B> {
    /// `eps` 1e-5, with weight and bias. The options are `&device` or `(&device, dtype)`.
    ///
    /// # Panics
    /// If the groups do not divide the channels.
    #[track_caller]
    pub fn new<'a>(
        num_groups: usize,
        num_channels: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let options = options.into();
        if num_groups == 0 || !num_channels.is_multiple_of(num_groups) {
            raise(Error::Argument {
                op: "GroupNorm::new",
                why: format!("{num_groups} groups do not divide {num_channels} channels"),
            });
        }
        GroupNorm {
            weight: Some(Param::new(Tensor::ones([num_channels], Options { ..options }))),
            bias: Some(Param::new(Tensor::zeros([num_channels], options))),
            num_groups,
            num_channels,
            eps: 1e-5,
            hooks: Hooks::new(),
        }
    }

    norm_options!(affine);

    fn describe(&self) -> String {
        format!(
            "{}, {}, eps={}, affine={}, bias={}",
            self.num_groups,
            self.num_channels,
            python::float(self.eps),
            python::bool(self.weight.is_some()),
            python::bool(self.bias.is_some()),
        )
    }
}

impl<B: Backend> Forward for GroupNorm<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let weight = self.weight.as_ref().map(Param::tensor);
        let bias = self.bias.as_ref().map(Param::tensor);
        x.group_norm(self.num_groups, weight.as_ref(), bias.as_ref(), self.eps)
    }
}

/// Divides by the root of the mean square over the trailing dimensions (Zhang, Sennrich 2019).
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, flops = Self::count)]
pub struct RMSNorm<B: Backend> {
    /// Of the normalized shape, ones at first.
    pub weight: Option<Param<B>>,
    normalized_shape: Shape,
    eps: Option<f64>,
    hooks: Hooks<B>,
}

impl<B: Backend> RMSNorm<B> {
    /// Over trailing dimensions of these sizes, with a weight; `eps` is the distance from 1 to the next number.
    /// The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(normalized_shape: impl Into<Shape>, options: impl Into<Options<'a, B>>) -> Self {
        let shape = normalized_shape.into();
        RMSNorm {
            weight: Some(Param::new(Tensor::ones(&shape, options))),
            normalized_shape: shape,
            eps: None,
            hooks: Hooks::new(),
        }
    }

    /// What is added to the mean square; by default the distance from 1 to the next number.
    #[must_use]
    pub fn eps(mut self, eps: impl Into<Option<f64>>) -> Self {
        self.eps = eps.into();
        self
    }

    /// Whether it multiplies by a weight; `true` by default.
    #[must_use]
    pub fn elementwise_affine(mut self, on: bool) -> Self {
        if !on {
            self.weight = None;
        }
        self
    }

    /// Of each element: the mean square 2, division 1, weight 1.
    fn count(&self, input: &Shape, _output: &Shape) -> u64 {
        ((3 + usize::from(self.weight.is_some())) * input.numel()) as u64
    }

    fn describe(&self) -> String {
        format!(
            "{}, eps={}, elementwise_affine={}",
            python::tuple(&self.normalized_shape),
            self.eps.map_or("None".into(), python::float),
            python::bool(self.weight.is_some()),
        )
    }
}

impl<B: Backend> Forward for RMSNorm<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let weight = self.weight.as_ref().map(Param::tensor);
        x.rms_norm(&self.normalized_shape, weight.as_ref(), self.eps)
    }
}

/// Instance normalisation of `[n, c, length]` (or `[c, length]`).
pub type InstanceNorm1d<B> = InstanceNorm<B, 1>;
/// Instance normalisation of `[n, c, height, width]` (or `[c, height, width]`).
pub type InstanceNorm2d<B> = InstanceNorm<B, 2>;
/// Instance normalisation of `[n, c, depth, height, width]` (or without `n`).
pub type InstanceNorm3d<B> = InstanceNorm<B, 3>;

/// Normalises each channel of each sample (Ulyanov et al. 2016); with running statistics, in evaluation by those:
/// [`InstanceNorm1d`], [`InstanceNorm2d`], [`InstanceNorm3d`].
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name)]
pub struct InstanceNorm<B: Backend, const N: usize> {
    /// `[c]`, ones at first.
    pub weight: Option<Param<B>>,
    /// `[c]`, zeros at first.
    pub bias: Option<Param<B>>,
    /// `[c]`, zeros at first.
    pub running_mean: Option<Buffer<B>>,
    /// `[c]`, ones at first; of unbiased variances.
    pub running_var: Option<Buffer<B>>,
    /// 0-d `i64`, which stays 0, as in PyTorch.
    pub num_batches_tracked: Option<Buffer<B>>,
    num_features: usize,
    eps: f64,
    momentum: f64,
    /// Where parameters and statistics go that are asked for later.
    like: Tensor<B>,
    hooks: Hooks<B>,
}

impl<B: Backend, const N: usize> InstanceNorm<B, N> {
    /// For `num_features` channels: `eps` 1e-5, momentum 0.1, not affine, without running statistics. The
    /// options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(num_features: usize, options: impl Into<Options<'a, B>>) -> Self {
        InstanceNorm {
            weight: None,
            bias: None,
            running_mean: None,
            running_var: None,
            num_batches_tracked: None,
            num_features,
            eps: 1e-5,
            momentum: 0.1,
            like: Tensor::zeros([num_features], options),
            hooks: Hooks::new(),
        }
    }

    /// What is added to the variance; 1e-5 by default.
    #[must_use]
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// How far a batch moves the running statistics; 0.1 by default.
    #[must_use]
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Whether it multiplies by a weight and adds a bias; `false` by default.
    #[must_use]
    pub fn affine(mut self, on: bool) -> Self {
        self.weight = on.then(|| Param::new(self.like.ones_like()));
        self.bias = on.then(|| Param::new(self.like.zeros_like()));
        self
    }

    /// Whether it keeps running statistics, and normalises by them in evaluation; `false` by default.
    #[must_use]
    pub fn track_running_stats(mut self, on: bool) -> Self {
        self.running_mean = on.then(|| Buffer::new(self.like.zeros_like()));
        self.running_var = on.then(|| Buffer::new(self.like.ones_like()));
        let count = || Buffer::new(Tensor::zeros((), (self.like.device(), DType::I64)));
        self.num_batches_tracked = on.then(count);
        self
    }

    fn name(&self) -> &'static str {
        named(["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"], N)
    }

    fn describe(&self) -> String {
        format!(
            "{}, eps={}, momentum={}, affine={}, bias={}, track_running_stats={}",
            self.num_features,
            python::float(self.eps),
            python::float(self.momentum),
            python::bool(self.weight.is_some()),
            python::bool(self.bias.is_some()),
            python::bool(self.running_mean.is_some()),
        )
    }

    /// Moves the running statistics towards the means over the samples of theirs.
    fn track(&self, x: &Tensor<B>) {
        let (Some(mean), Some(var)) = (&self.running_mean, &self.running_var) else { return };
        let x = x.detach();
        let over: Vec<isize> = (2..x.rank() as isize).collect();
        let of = |each: Tensor<B>| each.mean_dims([0], false) * self.momentum;
        for (running, batch) in
            [(mean, of(x.mean_dims(&over, false))), (var, of(x.var_dims(&over, 1.0, false)))]
        {
            running.tensor().mul_(1.0 - self.momentum).add_(&batch);
        }
    }
}

impl<B: Backend, const N: usize> Forward for InstanceNorm<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        if x.rank() == N + 1 {
            return self.forward(&x.unsqueeze(0)).squeeze(0);
        }
        let each: usize = x.dims().iter().skip(2).product();
        if x.rank() != N + 2 || x.dims()[1] != self.num_features || each < 2 {
            raise(Error::Shape {
                op: "instance_norm",
                shapes: vec![x.shape().clone()],
                why: format!(
                    "[n, {}, …] or [{0}, …] with {N} more dims and more than one element per channel \
                     is wanted",
                    self.num_features
                ),
            });
        }
        let weight = self.weight.as_ref().map(Param::tensor);
        let bias = self.bias.as_ref().map(Param::tensor);
        if let (false, Some(mean), Some(var)) =
            (self.hooks.training(), &self.running_mean, &self.running_var)
        {
            let (mean, var) = (mean.tensor(), var.tensor());
            return x.batch_norm_eval(&mean, &var, weight.as_ref(), bias.as_ref(), self.eps);
        }
        if self.hooks.training() {
            self.track(x);
        }
        let y = x.group_norm(self.num_features, weight.as_ref(), bias.as_ref(), self.eps);
        // Autocast widens the other norms, not this one.
        y.to_dtype(x.dtype())
    }
}

/// Divides by the squares of `size` neighbouring channels (Krizhevsky et al. 2012):
/// `x / (k + alpha · mean of squares)^beta`.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct LocalResponseNorm<B: Backend> {
    size: usize,
    alpha: f64,
    beta: f64,
    k: f64,
    hooks: Hooks<B>,
}

impl<B: Backend> LocalResponseNorm<B> {
    /// Over `size` channels: `alpha` 1e-4, `beta` 0.75, `k` 1.
    pub const fn new(size: usize) -> Self {
        LocalResponseNorm { size, alpha: 1e-4, beta: 0.75, k: 1.0, hooks: Hooks::new() }
    }

    /// The factor of the mean square; 1e-4 by default.
    #[must_use]
    pub const fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// The exponent; 0.75 by default.
    #[must_use]
    pub const fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// What is added; 1 by default.
    #[must_use]
    pub const fn k(mut self, k: f64) -> Self {
        self.k = k;
        self
    }

    fn describe(&self) -> String {
        let [alpha, beta, k] = [self.alpha, self.beta, self.k].map(python::float);
        format!("{}, alpha={alpha}, beta={beta}, k={k}", self.size)
    }
}

impl<B: Backend> Forward for LocalResponseNorm<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        local_response_norm(x, self.size, self.alpha, self.beta, self.k)
    }
}
