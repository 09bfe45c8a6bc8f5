//! Running sums and products.

use kiln_tensor_core::{Backend, Fused, ReduceOp, ScanOp, Tensor, Val, ViewOp};
use smallvec::smallvec;

use super::reduce::running_others;
use super::{Context, Gradients, Rule, backward_name, only};

/// The rule of `scan`; a product saves its input and result.
pub(crate) struct Scan {
    pub(crate) op: ScanOp,
    pub(crate) dim: usize,
}

impl Rule for Scan {
    fn name(&self) -> String {
        backward_name(match self.op {
            ScanOp::Sum => "cumsum",
            ScanOp::Prod => "cumprod",
        })
    }

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        smallvec![Some(match self.op {
            ScanOp::Sum => sum_from_end(grad, self.dim),
            ScanOp::Prod => prod_grad(grad, &cx.saved[0], &cx.saved[1], self.dim),
        })]
    }
}

fn flip<T: Backend>(x: &Tensor<T>, dim: usize) -> Tensor<T> {
    let len = x.dims()[dim];
    if len == 0 {
        return x.clone();
    }
    x.view_as_op(&ViewOp::Slice { dim, start: len - 1, len, step: -1 })
}

fn sum_from_end<T: Backend>(x: &Tensor<T>, dim: usize) -> Tensor<T> {
    flip(&T::scan(ScanOp::Sum, &flip(x, dim), dim), dim)
}

/// `Σ_{k ≥ i} gₖ yₖ / xᵢ`; where a factor is zero, the products without `xᵢ` are taken as such.
fn prod_grad<T: Backend>(grad: &Tensor<T>, x: &Tensor<T>, y: &Tensor<T>, dim: usize) -> Tensor<T> {
    static ZERO: Fused<1> = Fused::new("eq", |[x]: [Val<'_>; 1]| x.eq(0.0));
    let all: Vec<usize> = (0..x.rank()).collect();
    if ZERO.reduce(ReduceOp::Any, [&x.detach()], &all).item() == 0.0 {
        return sum_from_end(&(grad * y), dim) / x;
    }
    let moved = x.transpose(dim as isize, -1);
    let n = x.dims()[dim];
    let rows = (x.numel() / n) as isize;
    let flat = moved.reshape([rows, n as isize]);
    let grad = grad.transpose(dim as isize, -1).reshape([rows, 1, n as isize]);
    let later: Vec<bool> = (0..n * n).map(|at| at % n >= at / n).collect();
    let later = Tensor::from_slice(&later, [n, n], x.device());
    static KEEP: Fused<3> =
        Fused::new("keep", |[g, others, later]: [Val<'_>; 3]| later.select(g * others, g.lit(0.0)));
    let sum = KEEP.reduce(ReduceOp::Sum, [&grad, &running_others(&flat), &later], &[2]);
    sum.reshape_to(moved.shape()).transpose(dim as isize, -1)
}
