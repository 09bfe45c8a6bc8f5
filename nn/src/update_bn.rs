//! Running statistics for weights that were never trained with.

use kiln_autograd::no_grad;
use kiln_tensor_core::{Backend, Tensor};

use crate::{BatchNorm, Forward, Hooks, Module, ModuleExt};

/// Works the running statistics of all batch normalisations out anew, as means over these batches: what averaged weights
/// need before evaluation. `torch.optim.swa_utils.update_bn`.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{BatchNorm1d, Linear, Sequential, update_bn};
/// use kiln_tensor_core::Tensor;
///
/// let net = Sequential::<Cpu>::new((Linear::new(4, 3, &CpuDevice), BatchNorm1d::new(3, &CpuDevice)));
/// update_bn((0..5).map(|_| Tensor::randn([8, 4], &CpuDevice)), &net);
/// ```
///
/// # Panics
/// Where the model does.
#[track_caller]
pub fn update_bn<M: Forward>(batches: impl IntoIterator<Item = Tensor<M::Backend>>, model: &M) {
    let modules = model.modules();
    let norms: Vec<&dyn Statistics> =
        modules.iter().filter_map(|module| statistics(*module)).collect();
    if norms.is_empty() {
        return;
    }
    let momenta: Vec<_> = norms.iter().map(|norm| norm.begin()).collect();
    let hooks = modules.iter().filter_map(|module| module.hooks());
    let resting: Vec<&Hooks<_>> = hooks.filter(|hooks| !hooks.training()).collect();
    model.train();
    no_grad(|| batches.into_iter().for_each(|batch| drop(model.call(&batch))));
    resting.iter().for_each(|hooks| hooks.set_training(false));
    norms.iter().zip(momenta).for_each(|(norm, momentum)| norm.end(momentum));
}

/// A batch normalisation of any rank.
trait Statistics {
    /// Starts the means; gives the momentum of before.
    fn begin(&self) -> Option<f64>;
    fn end(&self, momentum: Option<f64>);
}

impl<B: Backend, const N: usize> Statistics for BatchNorm<B, N> {
    fn begin(&self) -> Option<f64> {
        self.reset_running_stats();
        let momentum = self.get_momentum();
        self.set_momentum(None);
        momentum
    }

    fn end(&self, momentum: Option<f64>) {
        self.set_momentum(momentum);
    }
}

fn statistics<B: Backend>(module: &dyn Module<Backend = B>) -> Option<&dyn Statistics> {
    let as_statistics: [Option<&dyn Statistics>; 3] = [
        module.downcast_ref::<BatchNorm<B, 1>>().map(|norm| norm as _),
        module.downcast_ref::<BatchNorm<B, 2>>().map(|norm| norm as _),
        module.downcast_ref::<BatchNorm<B, 3>>().map(|norm| norm as _),
    ];
    as_statistics.into_iter().flatten().next()
}
