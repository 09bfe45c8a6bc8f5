//! `map`: the program's own derivative, again one `map`; sums where an input was broadcast.

use kiln_tensor_core::expr::Op;
use kiln_tensor_core::graph::Live;
use kiln_tensor_core::{
    Backend, Error, Expr, Kernel, Layout, ReduceOp, Scalar, Shape, Tensor, ViewOp, raise,
};
use smallvec::SmallVec;

use super::{Context, Gradients, Rule, backward_name, zeros};

/// A program on inputs that broadcast to a shape, and which of them are among the saved tensors.
pub(crate) struct Pointwise {
    pub(crate) expr: Expr,
    params: SmallVec<[Scalar; 2]>,
    live: Option<Live>,
    shape: Layout,
    inputs: SmallVec<[Layout; 3]>,
    kept: u64,
}

impl Pointwise {
    /// `shape` is a layout of the shape that the inputs broadcast to; the inputs whose bits are set in `kept` are
    /// saved, in order.
    pub(crate) fn new<B: Backend>(
        kernel: Kernel<'_>,
        inputs: &[&Tensor<B>],
        shape: Layout,
        kept: u64,
    ) -> Self {
        Pointwise {
            expr: kernel.expr.clone(),
            params: SmallVec::from_slice(kernel.params),
            live: kernel.live.cloned(),
            shape,
            inputs: inputs.iter().map(|x| x.layout().clone()).collect(),
            kept,
        }
    }

    /// The shape that the inputs broadcast to.
    pub(crate) fn shape(&self) -> &Shape {
        self.shape.shape()
    }

    /// Where input `i` is among the saved tensors.
    fn slot(&self, i: usize) -> usize {
        debug_assert!(self.kept >> i & 1 == 1, "what the gradient reads was saved");
        (self.kept & ((1 << i) - 1)).count_ones() as usize
    }

    /// The gradients in the inputs `needs`, given those of the outputs, which broadcast to `shape`.
    pub(crate) fn vjp<T: Backend>(
        &self,
        saved: &[Tensor<T>],
        needs: u64,
        grads: &[Option<Tensor<T>>],
    ) -> Gradients<T> {
        let count = self.inputs.len();
        let like = grads.iter().flatten().next().expect("some output has a gradient");
        let operand = |i: usize| -> Tensor<T> {
            if i < count {
                saved[self.slot(i)].clone()
            } else {
                grads[i - count].clone().unwrap_or_else(|| {
                    let dtype = self.expr.outputs()[i - count].dtype;
                    Tensor::zeros(self.shape(), (like.device(), dtype))
                })
            }
        };
        let mut results: Gradients<T> = smallvec::smallvec![None; count];
        let mut together = 0;
        for i in (0..count).filter(|&i| needs >> i & 1 == 1) {
            let gradient = self.expr.grad(1 << i);
            if let Some(through) = passed_through(&gradient.expr) {
                let grad = operand(gradient.reads[through]);
                results[i] = Some(fit(&grad, self.shape(), self.inputs[i].shape()));
            } else if self.inputs[i].shape() == self.shape() {
                together |= 1 << i;
            } else {
                let operands: Vec<Tensor<T>> = gradient.reads.iter().map(|&i| operand(i)).collect();
                let operands: Vec<&Tensor<T>> = operands.iter().collect();
                let dims = broadcast_dims(self.shape(), self.inputs[i].shape());
                let sum = if operands.is_empty() {
                    zeros(like, self.inputs[i].shape()).to_dtype(gradient.expr.outputs()[0].dtype)
                } else {
                    T::reduce(
                        ReduceOp::Sum,
                        self.kernel(&gradient.expr),
                        &operands,
                        self.shape(),
                        &dims,
                    )
                };
                results[i] = Some(sum.reshape_to(self.inputs[i].shape()));
            }
        }
        if together != 0 {
            let gradient = self.expr.grad(together);
            let operands: Vec<Tensor<T>> = gradient.reads.iter().map(|&i| operand(i)).collect();
            let operands: Vec<&Tensor<T>> = operands.iter().collect();
            let made =
                T::map_many(self.kernel(&gradient.expr), &operands, self.shape(), like.device());
            let targets = (0..count).filter(|&i| together >> i & 1 == 1);
            targets.zip(made).for_each(|(i, grad)| results[i] = Some(grad));
        }
        results
    }

    /// A program with the parameters of the one that was recorded.
    pub(crate) fn kernel<'a>(&'a self, expr: &'a Expr) -> Kernel<'a> {
        if self.live.as_ref().is_some_and(Live::is_past) {
            raise(Error::Autograd {
                op: backward_name(self.expr.name()),
                why: "the captured step that ran forward has been replayed since, with other random numbers; \
                      call backward in the step"
                    .into(),
            });
        }
        Kernel::with(expr, &self.params).live(self.live.as_ref())
    }
}

/// The input that a one-output program hands through unchanged.
fn passed_through(expr: &Expr) -> Option<usize> {
    let output = expr.outputs()[0];
    match expr.instrs()[output.value as usize].op {
        Op::Input(i) if expr.inputs()[i as usize] == output.dtype => Some(i as usize),
        _ => None,
    }
}

/// The dims of `shape` along which an input of shape `input` was repeated.
fn broadcast_dims(shape: &Shape, input: &Shape) -> Vec<usize> {
    let lead = shape.rank() - input.rank();
    (0..shape.rank()).filter(|&d| d < lead || (input[d - lead] == 1 && shape[d] != 1)).collect()
}

/// A gradient that broadcasts to `shape`, as the gradient of an input of shape `input`.
fn fit<T: Backend>(grad: &Tensor<T>, shape: &Shape, input: &Shape) -> Tensor<T> {
    let whole = if grad.shape() == shape {
        grad.clone()
    } else {
        grad.view_as_op(&ViewOp::Expand(shape.clone()))
    };
    whole.sum_to(input)
}

/// The rule of `map`.
pub(crate) struct Map(pub(crate) Pointwise);

impl Rule for Map {
    fn name(&self) -> String {
        backward_name(self.0.expr.name())
    }

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        self.0.vjp(cx.saved, cx.needs, grads)
    }
}
