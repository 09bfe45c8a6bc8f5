//! Parameters that are worked out from others: weight and spectral normalisation.

use std::fmt;

use kiln_tensor_core::{Backend, Error, Shape, Tensor, raise};
use parking_lot::Mutex;

use crate::{Buffer, Forward, Hooks, Module, Param, Visitor};

/// How a parameter is worked out.
pub trait Parametrization<B: Backend>: Send + Sync + 'static {
    /// The parameter as it is now. `training` says whether what it remembers may change.
    fn compute(&self, training: bool) -> Tensor<B>;
    /// Shows what it is worked out from: names in the state dict come after `parametrizations.NAME.`.
    fn visit<'a>(&'a self, prefix: &str, visitor: &mut dyn Visitor<'a, B>);
}

/// A layer one of whose parameters is worked out from others at each call: what [`weight_norm`] and [`spectral_norm`]
/// give. In the state dict the others stand in its place, with PyTorch's names.
pub struct Parametrized<M: Forward, P: Parametrization<M::Backend>> {
    module: M,
    name: String,
    param: Param<M::Backend>,
    parametrization: P,
    /// Calls come one after the other, because the layer reads its parameter where all of them write it.
    calling: Mutex<()>,
}

impl<M: Forward, P: Parametrization<M::Backend>> Parametrized<M, P> {
    /// The layer, whose parameter stays as it is now (`remove_parametrizations`).
    #[must_use]
    pub fn remove_parametrizations(self) -> M {
        self.param.set(self.parametrization.compute(false));
        self.module
    }

    /// The parameter as it is now.
    pub fn weight(&self) -> Tensor<M::Backend> {
        self.parametrization.compute(false)
    }

    fn is_training(&self) -> bool {
        self.module.hooks().is_none_or(Hooks::training)
    }
}

impl<M: Forward, P: Parametrization<M::Backend>> Module for Parametrized<M, P> {
    type Backend = M::Backend;

    fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, M::Backend>) {
        self.module.visit(&mut Without { visitor, name: &self.name });
        self.parametrization.visit(&format!("parametrizations.{}.", self.name), visitor);
    }

    fn as_dyn(&self) -> &dyn Module<Backend = M::Backend> {
        self
    }

    fn type_name(&self) -> &'static str {
        self.module.type_name()
    }

    fn extra_repr(&self) -> String {
        self.module.extra_repr()
    }

    fn hooks(&self) -> Option<&Hooks<M::Backend>> {
        self.module.hooks()
    }

    fn flops(&self, input: &Shape, output: &Shape) -> Option<u64> {
        self.module.flops(input, output)
    }
}

impl<M: Forward, P: Parametrization<M::Backend>> Forward for Parametrized<M, P> {
    fn forward(&self, x: &Tensor<M::Backend>) -> Tensor<M::Backend> {
        let _one = self.calling.lock();
        self.param.put(self.parametrization.compute(self.is_training()));
        let y = self.module.forward(x);
        // The parameter keeps no graph.
        self.param.put(self.param.tensor().detach());
        y
    }
}

impl<M: Forward, P: Parametrization<M::Backend>> fmt::Debug for Parametrized<M, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parametrized({}, {})", self.module.type_name(), self.name)
    }
}

/// Shows all of a module but one parameter.
struct Without<'v, 'a, B: Backend> {
    visitor: &'v mut dyn Visitor<'a, B>,
    name: &'v str,
}

impl<'a, B: Backend> Visitor<'a, B> for Without<'_, 'a, B> {
    fn param(&mut self, name: &str, param: &'a Param<B>) {
        if name != self.name {
            self.visitor.param(name, param);
        }
    }

    fn buffer(&mut self, name: &str, buffer: &'a Buffer<B>) {
        self.visitor.buffer(name, buffer);
    }

    fn child(&mut self, name: &str, child: &'a dyn Module<Backend = B>) {
        self.visitor.child(name, child);
    }
}

/// Finds a parameter of a module itself.
struct Find<'n, B: Backend> {
    name: &'n str,
    found: Option<Param<B>>,
}

impl<'a, B: Backend> Visitor<'a, B> for Find<'_, B> {
    fn param(&mut self, name: &str, param: &'a Param<B>) {
        if name == self.name {
            self.found = Some(param.clone());
        }
    }

    fn buffer(&mut self, _: &str, _: &'a Buffer<B>) {}

    fn child(&mut self, _: &str, _: &'a dyn Module<Backend = B>) {}
}

#[track_caller]
fn parametrized<M: Forward, P: Parametrization<M::Backend>>(
    op: &'static str,
    module: M,
    name: &str,
    make: impl FnOnce(&Tensor<M::Backend>) -> P,
) -> Parametrized<M, P> {
    let mut find = Find { name, found: None };
    module.visit(&mut find);
    let Some(param) = find.found else {
        let why = format!("{} has no parameter of its own called {name:?}", module.type_name());
        raise(Error::Argument { op, why })
    };
    let parametrization = make(&param.tensor().detach());
    // It is no leaf any more.
    param.put(param.tensor().detach());
    Parametrized { module, name: name.to_owned(), param, parametrization, calling: Mutex::new(()) }
}

/// All dims but one; all of them for `None`.
fn but<B: Backend>(x: &Tensor<B>, dim: Option<usize>) -> Vec<isize> {
    (0..x.rank()).filter(|&d| Some(d) != dim).map(|d| d as isize).collect()
}

/// Direction and length apart: see [`weight_norm`].
#[derive(Debug)]
pub struct WeightNorm<B: Backend> {
    /// The lengths `g`.
    original0: Param<B>,
    /// The directions `v`.
    original1: Param<B>,
    dim: Option<usize>,
}

impl<B: Backend> Parametrization<B> for WeightNorm<B> {
    fn compute(&self, _: bool) -> Tensor<B> {
        let (lengths, v) = (self.original0.tensor(), self.original1.tensor());
        let norms = v.norm_dims(2.0, but(&v, self.dim), true);
        &v * (lengths / norms)
    }

    fn visit<'a>(&'a self, prefix: &str, visitor: &mut dyn Visitor<'a, B>) {
        visitor.param(&format!("{prefix}original0"), &self.original0);
        visitor.param(&format!("{prefix}original1"), &self.original1);
    }
}

/// The layer with its parameter `name` as `g · v / ‖v‖`, of which `g` and `v` are trained (Salimans, Kingma 2016). Norms
/// are taken over all dims but `dim`; over all for `None`. PyTorch's defaults are `"weight"` and 0.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Linear, ModuleExt, weight_norm};
///
/// let layer = weight_norm(Linear::<Cpu>::new(5, 3, &CpuDevice), "weight", 0);
/// let names: Vec<_> = layer.named_parameters().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(
///     names,
///     ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]
/// );
/// ```
///
/// # Panics
/// If there is no such parameter or dim.
#[track_caller]
pub fn weight_norm<M: Forward>(
    module: M,
    name: &str,
    dim: impl Into<Option<usize>>,
) -> Parametrized<M, WeightNorm<M::Backend>> {
    let dim = dim.into();
    parametrized("weight_norm", module, name, |weight| {
        if dim.is_some_and(|dim| dim >= weight.rank()) {
            raise(Error::Argument {
                op: "weight_norm",
                why: format!("a parameter {} has no dim {dim:?}", weight.shape()),
            });
        }
        let norms = weight.norm_dims(2.0, but(weight, dim), true);
        // Without a dim PyTorch keeps one number.
        let norms = if dim.is_none() { norms.reshape(()) } else { norms };
        WeightNorm { original0: Param::new(norms), original1: Param::new(weight.copy()), dim }
    })
}

/// Division by the largest singular value: see [`spectral_norm`].
#[derive(Debug)]
pub struct SpectralNorm<B: Backend> {
    original: Param<B>,
    u: Buffer<B>,
    v: Buffer<B>,
    iterations: usize,
    eps: f64,
    dim: usize,
}

impl<B: Backend> SpectralNorm<B> {
    /// The parameter as a matrix whose rows are those of `dim`.
    fn matrix(&self, weight: &Tensor<B>) -> Tensor<B> {
        weight.movedim(self.dim as isize, 0).reshape([weight.dims()[self.dim] as isize, -1])
    }

    fn iterate(&self, matrix: &Tensor<B>, count: usize) {
        let unit = |x: Tensor<B>| &x / x.norm().clamp_min(self.eps);
        for _ in 0..count {
            self.u.set(unit(matrix.mv(&self.v.tensor())));
            self.v.set(unit(matrix.t().mv(&self.u.tensor())));
        }
    }
}

impl<B: Backend> Parametrization<B> for SpectralNorm<B> {
    fn compute(&self, training: bool) -> Tensor<B> {
        let weight = self.original.tensor();
        let matrix = self.matrix(&weight);
        if training {
            self.iterate(&matrix.detach(), self.iterations);
        }
        let sigma = self.u.tensor().dot(&matrix.mv(&self.v.tensor()));
        weight / sigma
    }

    fn visit<'a>(&'a self, prefix: &str, visitor: &mut dyn Visitor<'a, B>) {
        visitor.param(&format!("{prefix}original"), &self.original);
        visitor.buffer(&format!("{prefix}0._u"), &self.u);
        visitor.buffer(&format!("{prefix}0._v"), &self.v);
    }
}

/// The layer with its parameter `name` divided by its largest singular value, which `n_power_iterations` steps at each call
/// in training follow (Miyato et al. 2018). The matrix has the rows of dim `dim`. PyTorch's defaults are `"weight"`, 1 and
/// 0 (1 for transposed convolutions), with `eps` 1e-12.
///
/// # Panics
/// If there is no such parameter or dim, or it has less than two dims.
#[track_caller]
pub fn spectral_norm<M: Forward>(
    module: M,
    name: &str,
    n_power_iterations: usize,
    eps: f64,
    dim: usize,
) -> Parametrized<M, SpectralNorm<M::Backend>> {
    parametrized("spectral_norm", module, name, |weight| {
        if weight.rank() < 2 || dim >= weight.rank() {
            raise(Error::Argument {
                op: "spectral_norm",
                why: format!("a matrix with rows of dim {dim} is wanted, not {}", weight.shape()),
            });
        }
        let rows = weight.dims()[dim];
        let options = (weight.device(), weight.dtype());
        let unit = |size: usize| {
            let x = Tensor::randn([size], options);
            Buffer::new(&x / x.norm().clamp_min(eps))
        };
        let made = SpectralNorm {
            original: Param::new(weight.copy()),
            u: unit(rows),
            v: unit(weight.numel() / rows.max(1)),
            iterations: n_power_iterations,
            eps,
            dim,
        };
        made.iterate(&made.matrix(weight), 15);
        made
    })
}
