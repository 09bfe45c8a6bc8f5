//! Layers that learn the size of their input from the first one.

use std::fmt;
use std::sync::{Arc, OnceLock};

use kiln_tensor_core::{Backend, DType, Error, Tensor, raise};

use super::sizes::named;
use super::{BatchNorm, Conv, ConvTranspose, InstanceNorm, Linear, Sizes};
use crate::{Field, Forward, Hooks, Module, Visitor};

/// [`Linear`] whose `in_features` are those of its first input.
pub type LazyLinear<B> = Lazy<B, Linear<B>>;
/// [`Conv1d`](super::Conv1d) whose input channels are those of its first input.
pub type LazyConv1d<B> = Lazy<B, Conv<B, 1>>;
/// [`Conv2d`](super::Conv2d) whose input channels are those of its first input.
pub type LazyConv2d<B> = Lazy<B, Conv<B, 2>>;
/// [`Conv3d`](super::Conv3d) whose input channels are those of its first input.
pub type LazyConv3d<B> = Lazy<B, Conv<B, 3>>;
/// [`ConvTranspose1d`](super::ConvTranspose1d) whose input channels are those of its first input.
pub type LazyConvTranspose1d<B> = Lazy<B, ConvTranspose<B, 1>>;
/// [`ConvTranspose2d`](super::ConvTranspose2d) whose input channels are those of its first input.
pub type LazyConvTranspose2d<B> = Lazy<B, ConvTranspose<B, 2>>;
/// [`ConvTranspose3d`](super::ConvTranspose3d) whose input channels are those of its first input.
pub type LazyConvTranspose3d<B> = Lazy<B, ConvTranspose<B, 3>>;
/// [`BatchNorm1d`](super::BatchNorm1d) whose channels are those of its first input.
pub type LazyBatchNorm1d<B> = Lazy<B, BatchNorm<B, 1>>;
/// [`BatchNorm2d`](super::BatchNorm2d) whose channels are those of its first input.
pub type LazyBatchNorm2d<B> = Lazy<B, BatchNorm<B, 2>>;
/// [`BatchNorm3d`](super::BatchNorm3d) whose channels are those of its first input.
pub type LazyBatchNorm3d<B> = Lazy<B, BatchNorm<B, 3>>;
/// [`InstanceNorm1d`](super::InstanceNorm1d) whose channels are those of its first input.
pub type LazyInstanceNorm1d<B> = Lazy<B, InstanceNorm<B, 1>>;
/// [`InstanceNorm2d`](super::InstanceNorm2d) whose channels are those of its first input.
pub type LazyInstanceNorm2d<B> = Lazy<B, InstanceNorm<B, 2>>;
/// [`InstanceNorm3d`](super::InstanceNorm3d) whose channels are those of its first input.
pub type LazyInstanceNorm3d<B> = Lazy<B, InstanceNorm<B, 3>>;

/// A layer that is made at its first call, on the device and in the dtype of the input. Before, it has no
/// parameters: call the model once before the optimizer is made or weights are loaded.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Forward, LazyConv2d, ModuleExt};
/// use kiln_tensor_core::Tensor;
///
/// let layer = LazyConv2d::<Cpu>::new(8, 3).with(|conv| conv.stride(2));
/// assert!(layer.parameters().is_empty());
/// let y = layer.call(&Tensor::randn([1, 3, 9, 9], &CpuDevice));
/// assert_eq!((y.dims(), layer.parameters().len()), (&[1, 8, 4, 4][..], 2));
/// ```
#[derive(Module)]
#[module(extra_repr = Self::describe, type_name = Self::name)]
pub struct Lazy<B: Backend, M: Forward<Backend = B>> {
    made: Made<M>,
    #[module(skip)]
    make: Arc<dyn Fn(&Tensor<B>) -> M + Send + Sync>,
    #[module(skip)]
    name: &'static str,
    hooks: Hooks<B>,
}

/// The layer inside, whose parts are shown as the lazy layer's own.
struct Made<M>(OnceLock<M>);

impl<M: Module> Field<M::Backend> for Made<M> {
    fn visit_field<'a>(&'a self, _: &str, visitor: &mut dyn Visitor<'a, M::Backend>) {
        if let Some(layer) = self.0.get() {
            layer.visit(visitor);
        }
    }
}

impl<B: Backend, M: Forward<Backend = B>> fmt::Debug for Lazy<B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.describe())
    }
}

impl<B: Backend, M: Forward<Backend = B>> Lazy<B, M> {
    fn of(name: &'static str, make: impl Fn(&Tensor<B>) -> M + Send + Sync + 'static) -> Self {
        Lazy { made: Made(OnceLock::new()), make: Arc::new(make), name, hooks: Hooks::new() }
    }

    /// Sets options of the layer, once it is made: `.with(|conv| conv.stride(2))`.
    #[must_use]
    pub fn with(self, options: impl Fn(M) -> M + Send + Sync + 'static) -> Self {
        let make = self.make;
        Lazy { make: Arc::new(move |x| options(make(x))), ..self }
    }

    /// The layer, if there was an input.
    pub fn get(&self) -> Option<&M> {
        self.made.0.get()
    }

    fn name(&self) -> &'static str {
        self.get().map_or(self.name, Module::type_name)
    }

    fn describe(&self) -> String {
        self.get().map_or(String::new(), Module::extra_repr)
    }
}

impl<B: Backend, M: Forward<Backend = B>> Forward for Lazy<B, M> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let layer = self.made.0.get_or_init(|| (self.make)(x));
        // Whoever switches to training or evaluation sees this layer alone.
        if let Some(hooks) = layer.hooks() {
            hooks.set_training(self.hooks.training());
        }
        layer.forward(x)
    }
}

/// The size of a dim of the first input, counted from the end.
#[track_caller]
fn size<B: Backend>(x: &Tensor<B>, from_end: usize) -> usize {
    match x.rank().checked_sub(from_end) {
        Some(dim) => x.dims()[dim],
        None => raise(Error::Shape {
            op: "lazy layer",
            shapes: vec![x.shape().clone()],
            why: format!("at least {from_end} dims are wanted"),
        }),
    }
}

/// Where the layer is made.
fn beside<B: Backend>(x: &Tensor<B>) -> (&B::Device, DType) {
    (x.device(), x.dtype())
}

impl<B: Backend> LazyLinear<B> {
    /// To `out_features`.
    pub fn new(out_features: usize) -> Self {
        Lazy::of("LazyLinear", move |x| Linear::new(size(x, 1), out_features, beside(x)))
    }
}

impl<B: Backend, const N: usize> Lazy<B, Conv<B, N>> {
    /// To `out_channels`.
    pub fn new(out_channels: usize, kernel_size: impl Into<Sizes<N>>) -> Self {
        let kernel = kernel_size.into();
        Lazy::of(named(["LazyConv1d", "LazyConv2d", "LazyConv3d"], N), move |x| {
            Conv::new(size(x, N + 1), out_channels, kernel, beside(x))
        })
    }
}

impl<B: Backend, const N: usize> Lazy<B, ConvTranspose<B, N>> {
    /// To `out_channels`.
    pub fn new(out_channels: usize, kernel_size: impl Into<Sizes<N>>) -> Self {
        let kernel = kernel_size.into();
        Lazy::of(
            named(["LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d"], N),
            move |x| ConvTranspose::new(size(x, N + 1), out_channels, kernel, beside(x)),
        )
    }
}

/// Dim 1 of the first input.
#[track_caller]
fn channels<B: Backend>(x: &Tensor<B>) -> usize {
    size(x, x.rank().saturating_sub(1).max(1))
}

impl<B: Backend, const N: usize> Lazy<B, BatchNorm<B, N>> {
    /// With the defaults of [`BatchNorm`].
    #[allow(clippy::new_without_default, reason = "a layer is made on purpose")]
    pub fn new() -> Self {
        Lazy::of(named(["LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d"], N), |x| {
            BatchNorm::new(channels(x), beside(x))
        })
    }
}

impl<B: Backend, const N: usize> Lazy<B, InstanceNorm<B, N>> {
    /// With the defaults of [`InstanceNorm`].
    #[allow(clippy::new_without_default, reason = "a layer is made on purpose")]
    pub fn new() -> Self {
        Lazy::of(
            named(["LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d"], N),
            |x| InstanceNorm::new(size(x, N + 1), beside(x)),
        )
    }
}
