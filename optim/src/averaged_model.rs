//! Averages of a model's weights along its training: `torch.optim.swa_utils`.

use std::fmt;
use std::sync::Arc;

use kiln_nn::{Buffer, Forward, Module, ModuleExt, Param, Visitor};
use kiln_tensor_core::{Backend, DType, Error, Fused, FusedWith, Kernel, Scalar, Tensor, raise};

/// A function of the average so far, the model's tensor, and how many went into the average.
type AvgFn<B> = Arc<dyn Fn(&Tensor<B>, &Tensor<B>, u64) -> Tensor<B> + Send + Sync>;

/// A model whose weights are an average of those that another has had: the mean (stochastic weight averaging, Izmailov et
/// al. 2018), or an exponential one. Saved and called like any module; after training with batch normalisation see
/// [`update_bn`](kiln_nn::update_bn).
///
/// It is given a model of its own, for example one made a second time; its first update copies the weights.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Forward, Linear};
/// use kiln_optim::AveragedModel;
/// use kiln_tensor_core::Tensor;
///
/// let net = || Linear::<Cpu>::new(4, 2, &CpuDevice);
/// let model = net();
/// let ema = AveragedModel::new(net()).ema(0.99);
/// for _ in 0..3 {
///     // … a step of training, then:
///     ema.update_parameters(&model);
/// }
/// assert_eq!(*ema.call(&Tensor::ones([3, 4], &CpuDevice)).shape(), [3, 2]);
/// ```
pub struct AveragedModel<M: Module> {
    /// The averaged model.
    pub module: M,
    n_averaged: Buffer<M::Backend>,
    average: Average<M::Backend>,
    use_buffers: bool,
}

enum Average<B: Backend> {
    Mean,
    Exponential(f64),
    Own(AvgFn<B>),
}

impl<M: Module> fmt::Debug for AveragedModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AveragedModel")
            .field("n_averaged", &self.n_averaged)
            .field("use_buffers", &self.use_buffers)
            .finish_non_exhaustive()
    }
}

impl<M: Module> AveragedModel<M> {
    /// The mean of all models that `update_parameters` sees.
    pub fn new(module: M) -> Self {
        let device = module.parameters().first().map(|param| param.tensor().device().clone());
        let zero = Tensor::zeros((), (&device.unwrap_or_default(), DType::I64));
        let n_averaged = Buffer::new(zero);
        AveragedModel { module, n_averaged, average: Average::Mean, use_buffers: false }
    }

    /// An exponential average instead, `decay · average + (1 − decay) · model`: PyTorch's
    /// `multi_avg_fn=get_ema_multi_avg_fn(decay)`, with 0.999 by default there.
    ///
    /// # Panics
    /// If `decay` lies outside `[0, 1]`.
    #[must_use]
    #[track_caller]
    pub fn ema(mut self, decay: f64) -> Self {
        if !(0.0..=1.0).contains(&decay) {
            let why = format!("decay = {decay} lies outside 0..=1");
            raise(Error::Argument { op: "AveragedModel::ema", why });
        }
        self.average = Average::Exponential(decay);
        self
    }

    /// An average of one's own, of the average so far, the model's tensor, and how many went into the average. This reads
    /// the count from the device at each update.
    #[must_use]
    pub fn avg_fn(
        mut self,
        f: impl Fn(&Tensor<M::Backend>, &Tensor<M::Backend>, u64) -> Tensor<M::Backend>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        self.average = Average::Own(Arc::new(f));
        self
    }

    /// Whether buffers are averaged, too; `false` by default: they are the model's latest. Those that are no floats are
    /// always that.
    #[must_use]
    pub fn use_buffers(mut self, on: bool) -> Self {
        self.use_buffers = on;
        self
    }

    /// How many models went into the average, 0-d `i64`.
    pub fn n_averaged(&self) -> Tensor<M::Backend> {
        self.n_averaged.tensor()
    }

    /// Lets the model's weights into the average, in one pass for each dtype; nothing waits for the device.
    ///
    /// # Panics
    /// If the model has other parameters or buffers than the averaged one.
    #[track_caller]
    pub fn update_parameters(&self, model: &impl Module<Backend = M::Backend>) {
        let pairs = |ours: Vec<Tensor<M::Backend>>, theirs: Vec<Tensor<M::Backend>>| {
            let shapes =
                |xs: &[Tensor<_>]| xs.iter().map(|x| x.shape().clone()).collect::<Vec<_>>();
            if shapes(&ours) != shapes(&theirs) {
                raise(Error::Argument {
                    op: "AveragedModel::update_parameters",
                    why:
                        "the model's parameters and buffers are not of the averaged model's shapes"
                            .into(),
                });
            }
            ours.into_iter().zip(theirs).map(|(ours, theirs)| {
                let theirs = theirs.detach().to(ours.device());
                (ours.detach(), theirs)
            })
        };
        let params = |model: &dyn Module<Backend = M::Backend>| -> Vec<_> {
            model.parameters().iter().map(Param::tensor).collect()
        };
        let buffers = |model: &dyn Module<Backend = M::Backend>| -> Vec<_> {
            model.buffers().iter().map(Buffer::tensor).collect()
        };
        let (ours, theirs) = (self.module.as_dyn(), model.as_dyn());
        let mut averaged: Vec<_> = pairs(params(ours), params(theirs)).collect();
        for (ours, theirs) in pairs(buffers(ours), buffers(theirs)) {
            match self.use_buffers && ours.dtype().is_float() {
                true => averaged.push((ours, theirs)),
                false => drop(ours.copy_(&theirs)),
            }
        }
        self.average(&averaged);
        self.n_averaged.tensor().add_(1);
    }

    fn average(&self, pairs: &[(Tensor<M::Backend>, Tensor<M::Backend>)]) {
        // Without any before, the average is the model.
        static MEAN: Fused<3> = Fused::new("swa", |[average, x, count]| {
            let (dtype, wide) = (average.dtype(), average.dtype().compute());
            let (average, x) = (average.cast(wide), x.cast(wide));
            let moved = average + (x - average) / (count.cast(wide) + 1.0);
            count.eq(0).select(x, moved).cast(dtype)
        });
        static EXPONENTIAL: FusedWith<3, 1> =
            FusedWith::new("ema", |[average, x, count], [weight]| {
                let (dtype, wide) = (average.dtype(), average.dtype().compute());
                let (average, x) = (average.cast(wide), x.cast(wide));
                let moved = average + (x - average) * weight.cast(wide);
                count.eq(0).select(x, moved).cast(dtype)
            });
        let count = self.n_averaged.tensor();
        if let Average::Own(f) = &self.average {
            let so_far = count.item() as u64;
            for (ours, theirs) in pairs {
                match so_far {
                    0 => ours.copy_(theirs),
                    _ => ours.copy_(&f(ours, theirs, so_far)),
                };
            }
            return;
        }
        let mut batches: Vec<(DType, Vec<&(Tensor<_>, Tensor<_>)>)> = Vec::new();
        for pair in pairs {
            let key = pair.0.dtype();
            let at = |batch: &&mut (DType, Vec<_>)| {
                let batch: &(DType, Vec<&(Tensor<M::Backend>, Tensor<M::Backend>)>) = batch;
                batch.0 == key && batch.1[0].0.device() == pair.0.device()
            };
            match batches.iter_mut().find(at) {
                Some(batch) => batch.1.push(pair),
                None => batches.push((key, vec![pair])),
            }
        }
        for (dtype, batch) in batches {
            let count = count.to(batch[0].0.device());
            let theirs: Vec<_> = batch.iter().map(|(_, x)| x.to_dtype(dtype)).collect();
            let groups: Vec<_> = batch
                .iter()
                .zip(&theirs)
                .map(|((ours, _), theirs)| (vec![ours, theirs, &count], vec![ours]))
                .collect();
            let dtypes = [dtype, dtype, DType::I64];
            match self.average {
                Average::Exponential(decay) => {
                    let weight = [Scalar::F64(1.0 - decay)];
                    let program = EXPONENTIAL.program(dtypes);
                    <M::Backend as Backend>::map_each_into(
                        Kernel::with(&program, &weight),
                        &groups,
                    );
                }
                _ => {
                    let program = MEAN.program(dtypes);
                    <M::Backend as Backend>::map_each_into(Kernel::new(&program), &groups);
                }
            }
        }
    }
}

impl<M: Module> Module for AveragedModel<M> {
    type Backend = M::Backend;

    fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, Self::Backend>) {
        visitor.buffer("n_averaged", &self.n_averaged);
        visitor.child("module", self.module.as_dyn());
    }

    fn as_dyn(&self) -> &dyn Module<Backend = Self::Backend> {
        self
    }

    fn type_name(&self) -> &'static str {
        "AveragedModel"
    }
}

impl<M: Forward> Forward for AveragedModel<M> {
    fn forward(&self, x: &Tensor<Self::Backend>) -> Tensor<Self::Backend> {
        self.module.call(x)
    }
}
