//! Layers one after the other.

use std::ops::Index;
use std::sync::Arc;

use kiln_tensor_core::{Backend, Tensor};

use crate::{Field, Forward, Hooks, Module, Visitor};

/// A layer of any type on backend `B`.
pub type Layer<B> = Box<dyn Forward<Backend = B>>;

/// A layer of any type that several hold.
pub(crate) type Shared<B> = Arc<dyn Forward<Backend = B>>;

/// Calls its layers one after the other. Made from a tuple of layers, an array or a list of them, or
/// built up with [`push`](Sequential::push).
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Forward, Linear, ReLU, Sequential};
/// use kiln_tensor_core::Tensor;
///
/// let device = CpuDevice;
/// let mlp = Sequential::<Cpu>::new((
///     Linear::new(4, 8, &device),
///     ReLU::new(),
///     Linear::new(8, 2, &device),
/// ));
/// assert_eq!(*mlp.call(&Tensor::ones([5, 4], &device)).shape(), [5, 2]);
///
/// let mut deep = Sequential::<Cpu>::empty();
/// for widths in [4, 8, 16].windows(2) {
///     deep.push(Linear::new(widths[0], widths[1], &device));
/// }
/// assert_eq!(deep.len(), 2);
/// ```
#[derive(Debug)]
pub struct Sequential<B: Backend> {
    /// Shared, so that a part of them can run again in backward.
    layers: Vec<(String, Shared<B>)>,
    hooks: Hooks<B>,
}

impl<B: Backend> std::fmt::Debug for dyn Forward<Backend = B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self.as_dyn(), f)
    }
}

/// What a [`Sequential`] is made from: a tuple of up to 16 layers, an array or a list of layers.
pub trait IntoLayers<B: Backend> {
    /// The layers in order.
    fn into_layers(self) -> Vec<Layer<B>>;
}

impl<B: Backend, F: Forward<Backend = B>> IntoLayers<B> for Vec<F> {
    fn into_layers(self) -> Vec<Layer<B>> {
        self.into_iter().map(|layer| Box::new(layer) as _).collect()
    }
}

impl<B: Backend, F: Forward<Backend = B>, const N: usize> IntoLayers<B> for [F; N] {
    fn into_layers(self) -> Vec<Layer<B>> {
        self.into_iter().map(|layer| Box::new(layer) as _).collect()
    }
}

macro_rules! tuples {
    ($($ty:ident)*; ) => { tuples!(@one $($ty)*); };
    ($($ty:ident)*; $next:ident $($rest:ident)*) => {
        tuples!(@one $($ty)*);
        tuples!($($ty)* $next; $($rest)*);
    };
    (@one $($ty:ident)*) => {
        #[allow(non_snake_case, reason = "a layer has its type's name")]
        impl<Back: Backend, $($ty: Forward<Backend = Back>),*> IntoLayers<Back> for ($($ty,)*) {
            fn into_layers(self) -> Vec<Layer<Back>> {
                let ($($ty,)*) = self;
                vec![$(Box::new($ty)),*]
            }
        }
    };
}
tuples!(A; B C D E F G H I J K L M N O P);

impl<B: Backend> Sequential<B> {
    /// The layers of a tuple, an array or a list, named `0`, `1`, …
    pub fn new(layers: impl IntoLayers<B>) -> Self {
        let layers = layers.into_layers().into_iter().enumerate();
        Sequential {
            layers: layers.map(|(i, layer)| (i.to_string(), layer.into())).collect(),
            hooks: Hooks::new(),
        }
    }

    /// No layers yet: gives its input.
    pub const fn empty() -> Self {
        Sequential { layers: Vec::new(), hooks: Hooks::new() }
    }

    /// Appends a layer under the next number; PyTorch's `append`.
    pub fn push(&mut self, layer: impl Forward<Backend = B>) -> &mut Self {
        let name = self.layers.len().to_string();
        self.push_named(name, layer)
    }

    /// Appends a layer under a name.
    pub fn push_named(
        &mut self,
        name: impl Into<String>,
        layer: impl Forward<Backend = B>,
    ) -> &mut Self {
        self.layers.push((name.into(), Arc::new(layer)));
        self
    }

    /// The number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there is no layer.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// The layers in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &dyn Forward<Backend = B>> {
        self.layers.iter().map(|(_, layer)| &**layer)
    }

    /// The layers in order, to hold on to.
    pub(crate) fn shared(&self) -> impl ExactSizeIterator<Item = &Shared<B>> {
        self.layers.iter().map(|(_, layer)| layer)
    }
}

impl<B: Backend> Index<usize> for Sequential<B> {
    type Output = dyn Forward<Backend = B>;

    #[track_caller]
    fn index(&self, index: usize) -> &Self::Output {
        &*self.layers[index].1
    }
}

impl<B: Backend> Forward for Sequential<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        let Some(((_, first), rest)) = self.layers.split_first() else { return x.clone() };
        rest.iter().fold(first.call(x), |x, (_, layer)| layer.call(&x))
    }
}

impl<B: Backend> Module for Sequential<B> {
    type Backend = B;

    fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, B>) {
        self.layers.iter().for_each(|(name, layer)| layer.visit_field(name, visitor));
    }

    fn as_dyn(&self) -> &dyn Module<Backend = B> {
        self
    }

    fn type_name(&self) -> &'static str {
        "Sequential"
    }

    fn hooks(&self) -> Option<&Hooks<B>> {
        Some(&self.hooks)
    }
}

impl<B: Backend> std::fmt::Display for Sequential<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_dyn().fmt(f)
    }
}
