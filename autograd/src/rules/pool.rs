//! Pooling: maxima hand their gradient back to where they were, means spread it.

use kiln_tensor_core::{Backend, PoolSpec, Shape, Tensor};
use smallvec::smallvec;

use super::{Context, Gradients, Rule, name, only};

/// The rule of `max_pool`; saves the positions.
pub(crate) struct MaxPool(pub(crate) Shape);

impl Rule for MaxPool {
    name!("max_pool");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        smallvec![Some(T::max_pool_grad(only(grads), &cx.saved[0], &self.0))]
    }
}

/// The rule of `max_pool_grad`; saves the positions.
pub(crate) struct MaxPoolGrad;

impl Rule for MaxPoolGrad {
    name!("max_pool_grad");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let indices = &cx.saved[0];
        let picked = T::gather(&only(grads).flatten(2, -1), 2, &indices.flatten(2, -1));
        smallvec![Some(picked.reshape_to(indices.shape()))]
    }
}

/// The rule of `avg_pool`.
pub(crate) struct AvgPool(pub(crate) PoolSpec, pub(crate) Shape);

impl Rule for AvgPool {
    name!("avg_pool");

    fn vjp<T: Backend>(&self, _: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        smallvec![Some(T::avg_pool_grad(only(grads), &self.1, &self.0))]
    }
}

/// The rule of `avg_pool_grad`.
pub(crate) struct AvgPoolGrad(pub(crate) PoolSpec);

impl Rule for AvgPoolGrad {
    name!("avg_pool_grad");

    fn vjp<T: Backend>(&self, _: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        smallvec![Some(T::avg_pool(only(grads), &self.0))]
    }
}
