//! Views, their adjoint, joining, and moving between devices.

use kiln_tensor_core::{Backend, Shape, Tensor, ViewOp};

use smallvec::smallvec;

use super::{Context, Gradients, Rule, backward_name, name, only};

/// The rule of `view`.
pub(crate) struct View {
    pub(crate) op: ViewOp,
    pub(crate) input: Shape,
}

impl Rule for View {
    fn name(&self) -> String {
        backward_name(self.op.name())
    }

    fn vjp<T: Backend>(&self, _: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        smallvec![Some(T::view_grad(only(grads), &self.op, &self.input))]
    }
}

/// The rule of `view_grad`: the view again.
pub(crate) struct ViewGrad {
    pub(crate) op: ViewOp,
}

impl Rule for ViewGrad {
    name!("view_grad");

    fn vjp<T: Backend>(&self, _: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        smallvec![Some(match &self.op {
            ViewOp::Reshape(shape) => grad.reshape_to(shape),
            op => grad.view_as_op(op),
        })]
    }
}

/// The rule of a write through a view: of the tensor before and of what was written. What was overwritten gets no
/// gradient.
pub(crate) struct CopySlices {
    pub(crate) ops: Vec<ViewOp>,
}

impl Rule for CopySlices {
    name!("copy_slices");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        let seen = |x: &Tensor<T>| {
            self.ops.iter().fold(x.clone(), |x, op| match op {
                ViewOp::Reshape(shape) => x.reshape_to(shape),
                op => x.view_as_op(op),
            })
        };
        let rest = || {
            let kept = Tensor::ones(grad.shape(), (grad.device(), grad.dtype()));
            seen(&kept).zero_();
            grad * kept
        };
        smallvec![cx.when(0, rest), cx.when(1, || seen(grad))]
    }
}

/// The rule of `cat`.
pub(crate) struct Cat {
    pub(crate) dim: usize,
    pub(crate) sizes: Vec<usize>,
}

impl Rule for Cat {
    name!("cat");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        let mut start = 0;
        let part = |(i, &len): (usize, &usize)| {
            let at = start;
            start += len;
            cx.when(i, || grad.narrow(self.dim as isize, at, len))
        };
        self.sizes.iter().enumerate().map(part).collect()
    }
}

/// The rule of `to_device`; saves a tensor on the device that the gradient goes back to.
pub(crate) struct ToDevice;

impl Rule for ToDevice {
    name!("to_device");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        smallvec![Some(T::to_device(only(grads), cx.saved[0].device()))]
    }
}
