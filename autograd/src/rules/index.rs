//! Reading and writing by index: each is the other's gradient.

use kiln_tensor_core::{Backend, Error, Fused, ScatterOp, Shape, Tensor, Val, raise};
use smallvec::smallvec;

use super::{Context, Gradients, Rule, backward_name, name, only, zeros};

/// The rule of `gather`; saves the index.
pub(crate) struct Gather {
    pub(crate) dim: usize,
    pub(crate) input: Shape,
}

impl Rule for Gather {
    name!("gather");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        let zeros = zeros(grad, &self.input);
        smallvec![Some(T::scatter(ScatterOp::Add, &zeros, self.dim, &cx.saved[0], grad))]
    }
}

/// The rule of `scatter`; saves the index, and for `Max` and `Min` also target, source and result.
pub(crate) struct Scatter {
    pub(crate) op: ScatterOp,
    pub(crate) dim: usize,
}

impl Rule for Scatter {
    fn name(&self) -> String {
        backward_name(match self.op {
            ScatterOp::Set => "scatter",
            ScatterOp::Add => "scatter_add",
            ScatterOp::Mul => "scatter_mul",
            ScatterOp::Max => "scatter_max",
            ScatterOp::Min => "scatter_min",
        })
    }

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let (grad, index, dim) = (only(grads), &cx.saved[0], self.dim);
        match self.op {
            ScatterOp::Add => {
                smallvec![Some(grad.clone()), cx.when(1, || T::gather(grad, dim, index))]
            }
            // Where several sources write to one place, each gets the gradient, as in PyTorch.
            ScatterOp::Set => smallvec![
                cx.when(0, || {
                    T::scatter(ScatterOp::Set, grad, dim, index, &zeros(grad, index.shape()))
                }),
                cx.when(1, || T::gather(grad, dim, index)),
            ],
            ScatterOp::Max | ScatterOp::Min => {
                let (x, src, y) = (&cx.saved[1], &cx.saved[2], &cx.saved[3]);
                extremum_grad(grad, dim, index, [x, src, y])
            }
            ScatterOp::Mul => raise(Error::Autograd {
                op: self.name(),
                why: "scatter with multiplication has no derivative rule; detach its operands, or \
                      multiply by a gathered factor instead"
                    .into(),
            }),
        }
    }
}

/// All that equal the extremum share its gradient, as in PyTorch's `scatter_reduce`.
fn extremum_grad<T: Backend>(
    grad: &Tensor<T>,
    dim: usize,
    index: &Tensor<T>,
    [x, src, y]: [&Tensor<T>; 3],
) -> Gradients<T> {
    static EQUAL: Fused<2> = Fused::new("eq", |[a, b]: [Val<'_>; 2]| a.eq(b).cast(a.dtype()));
    let picked = T::gather(&y.detach(), dim, index);
    let from_x = EQUAL.call([&x.detach(), &y.detach()]);
    let from_src = EQUAL.call([&src.detach(), &picked]);
    let share = grad / T::scatter(ScatterOp::Add, &from_x, dim, index, &from_src);
    smallvec![Some(&share * &from_x), Some(T::gather(&share, dim, index) * from_src)]
}

/// The rule of `index_select`; saves the index.
pub(crate) struct IndexSelect {
    pub(crate) dim: usize,
    pub(crate) input: Shape,
}

impl Rule for IndexSelect {
    name!("index_select");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        smallvec![Some(T::index_add(&zeros(grad, &self.input), self.dim, &cx.saved[0], grad))]
    }
}

/// The rule of `index_add`; saves the index.
pub(crate) struct IndexAdd {
    pub(crate) dim: usize,
}

impl Rule for IndexAdd {
    name!("index_add");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        smallvec![Some(grad.clone()), cx.when(1, || T::index_select(grad, self.dim, &cx.saved[0])),]
    }
}
