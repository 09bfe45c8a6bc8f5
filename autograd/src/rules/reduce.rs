//! `reduce`: the gradient of the combination, then that of the program applied first.

use kiln_tensor_core::{Backend, Fused, ReduceOp, Tensor, Val};

use super::{Context, Gradients, Pointwise, Rule, backward_name, only};

/// The rule of `reduce`. For `Sum` it saves what the program's gradient reads; otherwise all inputs,
/// then the result.
pub(crate) struct Reduce {
    pub(crate) op: ReduceOp,
    pub(crate) pointwise: Pointwise,
    pub(crate) dims: Vec<usize>,
}

impl Rule for Reduce {
    fn name(&self) -> String {
        let program = &self.pointwise.expr;
        let op = format!("{:?}", self.op).to_lowercase();
        if program.instrs().len() == 1 {
            backward_name(&op)
        } else {
            backward_name(&format!("{}_{op}", program.name()))
        }
    }

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let grad = only(grads);
        if self.op == ReduceOp::Sum {
            return self.pointwise.vjp(cx.saved, cx.needs, &[Some(grad.clone())]);
        }
        let (inputs, result) = cx.saved.split_at(cx.saved.len() - 1);
        let operands: Vec<&Tensor<T>> = inputs.iter().collect();
        let kernel = self.pointwise.kernel(&self.pointwise.expr);
        let shape = self.pointwise.shape();
        let values = T::map(kernel, &operands, shape, grad.device());
        let grad = match self.op {
            ReduceOp::Max | ReduceOp::Min => extremum_grad(grad, &values, &result[0], &self.dims),
            ReduceOp::Prod => prod_grad(grad, &values, &result[0], &self.dims),
            other => unreachable!("{other:?} gives no float"),
        };
        self.pointwise.vjp(inputs, cx.needs, &[Some(grad)])
    }
}

/// Equal extrema share the gradient, as `torch.amax` has it; so do NaN.
fn extremum_grad<T: Backend>(
    grad: &Tensor<T>,
    x: &Tensor<T>,
    y: &Tensor<T>,
    dims: &[usize],
) -> Tensor<T> {
    fn is<'a>(x: Val<'a>, y: Val<'a>) -> Val<'a> {
        x.eq(y) | (x.is_nan() & y.is_nan())
    }
    static TIES: Fused<2> = Fused::new("ties", |[x, y]: [Val<'_>; 2]| is(x, y).cast(x.dtype()));
    static SHARE: Fused<4> = Fused::new("share", |[g, x, y, count]: [Val<'_>; 4]| {
        is(x, y).select(g / count, g.lit(0.0))
    });
    let count = TIES.reduce(ReduceOp::Sum, [&x.detach(), &y.detach()], dims);
    SHARE.call([grad, x, y, &count])
}

/// `g · Π x / xᵢ`; where a factor may be zero, the product of the other factors is taken as such.
fn prod_grad<T: Backend>(
    grad: &Tensor<T>,
    x: &Tensor<T>,
    y: &Tensor<T>,
    dims: &[usize],
) -> Tensor<T> {
    static QUOTIENT: Fused<3> = Fused::new("quotient", |[g, x, y]: [Val<'_>; 3]| g * y / x);
    static ZERO: Fused<1> = Fused::new("eq", |[x]: [Val<'_>; 1]| x.eq(0.0));
    let all: Vec<usize> = (0..x.rank()).collect();
    if ZERO.reduce(ReduceOp::Any, [&x.detach()], &all).item() == 0.0 {
        return QUOTIENT.call([grad, x, y]);
    }
    grad * others(x, dims)
}

/// For each element the product of all others along `dims`: rows of copies with the element itself
/// replaced by 1. Takes the square of the reduced size in memory; only for factors that are zero.
fn others<T: Backend>(x: &Tensor<T>, dims: &[usize]) -> Tensor<T> {
    static HIDE: Fused<2> = Fused::new("hide", |[x, own]: [Val<'_>; 2]| own.select(x.lit(1.0), x));
    let kept = (0..x.rank()).filter(|d| !dims.contains(d));
    let order: Vec<isize> = kept.chain(dims.iter().copied()).map(|d| d as isize).collect();
    let moved = x.permute(&order);
    let count: usize = dims.iter().map(|&d| x.dims()[d]).product();
    let rows = x.numel() / count;
    let flat = moved.reshape([rows as isize, 1, count as isize]);
    let own = diagonal_mask::<T>(count, x);
    let hidden = HIDE.call([&flat, &own]);
    static PRODUCT: Fused<1> = Fused::new("prod", |[x]: [Val<'_>; 1]| x);
    let product = PRODUCT.reduce(ReduceOp::Prod, [&hidden], &[2]).reshape_to(moved.shape());
    let mut inverse: Vec<isize> = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| inverse[from as usize] = to as isize);
    product.permute(&inverse)
}

fn diagonal_mask<T: Backend>(n: usize, like: &Tensor<T>) -> Tensor<T> {
    let mask: Vec<bool> = (0..n * n).map(|i| i / n == i % n).collect();
    Tensor::from_slice(&mask, [n, n], like.device())
}

/// For scans: for each `k` the product of `x[..= k]` without `x[i]`, as `[rows, i, k]`.
pub(crate) fn running_others<T: Backend>(x: &Tensor<T>) -> Tensor<T> {
    static HIDE: Fused<2> = Fused::new("hide", |[x, own]: [Val<'_>; 2]| own.select(x.lit(1.0), x));
    let [rows, n] = [x.dims()[0], x.dims()[1]];
    let flat = x.reshape([rows as isize, 1, n as isize]);
    let hidden = HIDE.call([&flat, &diagonal_mask::<T>(n, x)]);
    T::scan(kiln_tensor_core::ScanOp::Prod, &hidden, 2)
}
