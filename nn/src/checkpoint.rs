//! Modules whose insides are not kept for backward but run again in it.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use kiln_autograd::{Autograd, checkpoint};
use kiln_tensor_core::{Backend, Error, Shape, Tensor, raise};

use crate::containers::{Sequential, Shared};
use crate::{Forward, Hooks, Module, Visitor};

/// A module whose call keeps nothing for backward but its input: backward runs it again. See
/// [`checkpoint`](kiln_autograd::checkpoint) for what that means.
///
/// To everything else it is the module inside: names in state dicts, parameters, hooks, what is printed. Its hooks run
/// twice, and so do updates of running statistics, as in PyTorch.
///
/// ```
/// use kiln_autograd::{Autograd, Backward};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Checkpointed, Dropout, Forward, Linear, ModuleExt, ReLU, Sequential};
/// use kiln_tensor_core::Tensor;
///
/// let block = || Sequential::<Autograd<Cpu>>::new((Linear::new(8, 8, &CpuDevice), ReLU::new(), Dropout::new(0.1)));
/// let net = Sequential::new([Checkpointed::new(block()), Checkpointed::new(block())]);
/// net.call(&Tensor::ones([4, 8], &CpuDevice)).sum().backward();
/// assert_eq!(net.named_parameters()[0].0, "0.0.weight");
/// assert!(net.parameters().iter().all(|p| p.grad().is_some()));
/// ```
pub struct Checkpointed<M>(Arc<M>);

impl<M> Checkpointed<M> {
    /// This module, run again in backward.
    pub fn new(module: M) -> Self {
        Checkpointed(Arc::new(module))
    }
}

impl<M> Deref for Checkpointed<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M: Module> Module for Checkpointed<M> {
    type Backend = M::Backend;

    fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, M::Backend>) {
        self.0.visit(visitor);
    }

    fn as_dyn(&self) -> &dyn Module<Backend = M::Backend> {
        self.0.as_dyn()
    }

    fn type_name(&self) -> &'static str {
        self.0.type_name()
    }

    fn extra_repr(&self) -> String {
        self.0.extra_repr()
    }

    fn hooks(&self) -> Option<&Hooks<M::Backend>> {
        self.0.hooks()
    }

    fn flops(&self, input: &Shape, output: &Shape) -> Option<u64> {
        self.0.flops(input, output)
    }

    fn folds(&self) -> bool {
        self.0.folds()
    }
}

impl<B: Backend, M: Forward<Backend = Autograd<B>>> Forward for Checkpointed<M> {
    fn forward(&self, x: &Tensor<Autograd<B>>) -> Tensor<Autograd<B>> {
        let module = self.0.clone();
        checkpoint(move |[x]| module.forward(x), [x])
    }

    fn call(&self, x: &Tensor<Autograd<B>>) -> Tensor<Autograd<B>> {
        let module = self.0.clone();
        checkpoint(move |[x]| module.call(x), [x])
    }
}

impl<M: Module> fmt::Display for Checkpointed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_dyn().fmt(f)
    }
}

impl<M: Module> fmt::Debug for Checkpointed<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Calls the layers of `functions` one after the other, in `segments` parts of the same number of layers: all parts but
/// the last, which takes the layers left over too, keep only their inputs for backward and run again in it. PyTorch's
/// `torch.utils.checkpoint.checkpoint_sequential`. Hooks of `functions` itself do not run.
///
/// With `n` layers and about `√n` segments, memory grows with `√n` for one more forward.
///
/// ```
/// use kiln_autograd::{Autograd, Backward};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Linear, ModuleExt, Sequential, Tanh, checkpoint_sequential};
/// use kiln_tensor_core::Tensor;
///
/// let mut net = Sequential::<Autograd<Cpu>>::empty();
/// for _ in 0..8 {
///     net.push(Linear::new(4, 4, &CpuDevice)).push(Tanh::new());
/// }
/// checkpoint_sequential(&net, 4, &Tensor::ones([2, 4], &CpuDevice)).sum().backward();
/// assert!(net.parameters().iter().all(|p| p.grad().is_some()));
/// ```
///
/// # Panics
/// With [`Error::Argument`] if there are fewer layers than segments, or no segment; what the layers raise; in backward as
/// [`checkpoint`](kiln_autograd::checkpoint).
#[track_caller]
pub fn checkpoint_sequential<B: Backend>(
    functions: &Sequential<Autograd<B>>,
    segments: usize,
    input: &Tensor<Autograd<B>>,
) -> Tensor<Autograd<B>> {
    let layers: Vec<Shared<Autograd<B>>> = functions.shared().cloned().collect();
    if segments == 0 || segments > layers.len() {
        raise(Error::Argument {
            op: "checkpoint_sequential",
            why: format!(
                "{segments} segments of {} layers; each segment has a layer at least",
                layers.len()
            ),
        });
    }
    let size = layers.len() / segments;
    let (kept_not, last) = layers.split_at(size * (segments - 1));
    let run = |layers: &[Shared<Autograd<B>>], x: &Tensor<Autograd<B>>| {
        layers.iter().fold(x.clone(), |x, layer| layer.call(&x))
    };
    let x = kept_not.chunks(size).fold(input.clone(), |x, part| {
        let part = part.to_vec();
        checkpoint(move |[x]| run(&part, x), [&x])
    });
    run(last, &x)
}
