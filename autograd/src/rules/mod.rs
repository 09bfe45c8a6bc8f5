//! Derivative rules: one per primitive, in ordinary tensor ops over any backend.

mod attention;
mod conv;
mod index;
mod linalg;
mod map;
mod matmul;
mod norm;
mod pool;
mod reduce;
mod scan;
mod softmax;
mod sort;
mod view;

use kiln_tensor_core::{Backend, Tensor};
use smallvec::SmallVec;

pub(crate) use attention::ScaledDotProductAttention;
pub(crate) use conv::{Conv, ConvGradInput, ConvGradWeight};
pub(crate) use index::{Gather, IndexAdd, IndexSelect, Scatter};
pub(crate) use linalg::{Factor, SolveTriangular};
pub(crate) use map::{Map, Pointwise};
pub(crate) use matmul::{Linear, LinearAct, Matmul};
pub(crate) use norm::{BatchNorm, LayerNorm, RmsNorm};
pub(crate) use pool::{AvgPool, AvgPoolGrad, MaxPool, MaxPoolGrad};
pub(crate) use reduce::Reduce;
pub(crate) use scan::Scan;
pub(crate) use softmax::{CrossEntropy, LogSoftmax, Softmax};
pub(crate) use sort::Sort;
pub(crate) use view::{Cat, CopySlices, ToDevice, View, ViewGrad};

use crate::Autograd;

/// One gradient per input, `None` where nothing flows or nobody asks.
pub type Gradients<T> = SmallVec<[Option<Tensor<T>>; 3]>;

/// What a rule gets besides the gradients.
#[derive(Debug)]
pub struct Context<'a, T: Backend> {
    /// The tensors that were saved, in order.
    pub saved: &'a [Tensor<T>],
    /// The inputs whose gradient is wanted, as bits.
    pub needs: u64,
}

impl<T: Backend> Context<'_, T> {
    /// Whether the gradient of input `i` is wanted.
    pub fn needs(&self, i: usize) -> bool {
        self.needs >> i & 1 == 1
    }

    /// Computes the gradient of input `i` if it is wanted.
    fn when(&self, i: usize, grad: impl FnOnce() -> Tensor<T>) -> Option<Tensor<T>> {
        self.needs(i).then(grad)
    }
}

/// The derivative of an operation.
pub trait Rule: Send + Sync + 'static {
    /// The name of the backward operation: `AddBackward`.
    fn name(&self) -> String;

    /// The gradients of the inputs, given those of the outputs (`None`: the output is not used).
    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T>;
}

/// A rule, for the two backends on which a graph over `B` can run it.
pub(crate) trait ErasedRule<B: Backend>: Send + Sync {
    fn name(&self) -> String;
    fn vjp_plain(&self, cx: Context<'_, B>, grads: &[Option<Tensor<B>>]) -> Gradients<B>;
    fn vjp_recorded(
        &self,
        cx: Context<'_, Autograd<B>>,
        grads: &[Option<Tensor<Autograd<B>>>],
    ) -> Gradients<Autograd<B>>;
}

impl<B: Backend, R: Rule> ErasedRule<B> for R {
    fn name(&self) -> String {
        Rule::name(self)
    }

    fn vjp_plain(&self, cx: Context<'_, B>, grads: &[Option<Tensor<B>>]) -> Gradients<B> {
        self.vjp(cx, grads)
    }

    fn vjp_recorded(
        &self,
        cx: Context<'_, Autograd<B>>,
        grads: &[Option<Tensor<Autograd<B>>>],
    ) -> Gradients<Autograd<B>> {
        self.vjp(cx, grads)
    }
}

/// The gradient of the first output, for rules of operations with one differentiable output.
fn only<T: Backend>(grads: &[Option<Tensor<T>>]) -> &Tensor<T> {
    grads[0].as_ref().expect("an operation runs backward when its output has a gradient")
}

/// Zeros like `x` but of another shape.
fn zeros<T: Backend>(like: &Tensor<T>, shape: &kiln_tensor_core::Shape) -> Tensor<T> {
    Tensor::zeros(shape, (like.device(), like.dtype()))
}

/// `softmax_grad` → `SoftmaxGradBackward`.
pub(crate) fn backward_name(op: &str) -> String {
    let mut name = String::with_capacity(op.len() + 8);
    for word in op.split('_').filter(|word| !word.is_empty()) {
        let mut letters = word.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
    }
    name.push_str("Backward");
    name
}

/// Names a rule after its primitive.
macro_rules! name {
    ($op:literal) => {
        fn name(&self) -> String {
            crate::rules::backward_name($op)
        }
    };
}
use name;
