//! Reductions: many elements become one, over the whole tensor or along dimensions.

use super::convert::cast_program;
use crate::autocast::cast;
use crate::{Backend, DType, Error, Fused, Kernel, ReduceOp, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// The sum of all elements; integers and bools add up in `i64`.
    pub fn sum(&self) -> Self {
        if let Some((_inside, [x])) = cast("sum", [self]) {
            return x.sum();
        }
        self.reduced(ReduceOp::Sum, &self.every_dim(), false).named("sum", &[self])
    }

    /// The sums along `dims`. As in PyTorch, a list of no dims means all of them, here and in the other
    /// reductions but `any_dims` and `all_dims`.
    ///
    /// # Panics
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn sum_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        if let Some((_inside, [x])) = cast("sum", [self]) {
            return x.sum_dims(dims, keepdim);
        }
        let dims = self.reduced_dims("sum", dims.as_ref());
        self.reduced(ReduceOp::Sum, &dims, keepdim).named("sum", &[self])
    }

    /// The sums that undo a broadcast from `shape` to this shape.
    pub fn sum_to(&self, shape: &Shape) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        let lead = self.rank() - shape.rank();
        let dims: Vec<usize> = (0..self.rank())
            .filter(|&d| d < lead || (shape[d - lead] == 1 && self.dims()[d] != 1))
            .collect();
        self.reduced(ReduceOp::Sum, &dims, true).reshape_to(shape)
    }

    /// The product of all elements; integers and bools multiply in `i64`.
    pub fn prod(&self) -> Self {
        if let Some((_inside, [x])) = cast("prod", [self]) {
            return x.prod();
        }
        self.reduced(ReduceOp::Prod, &self.every_dim(), false).named("prod", &[self])
    }

    /// The products along `dims`.
    ///
    /// # Panics
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn prod_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        if let Some((_inside, [x])) = cast("prod", [self]) {
            return x.prod_dims(dims, keepdim);
        }
        let dims = self.reduced_dims("prod", dims.as_ref());
        self.reduced(ReduceOp::Prod, &dims, keepdim).named("prod", &[self])
    }

    /// The mean of all elements, NaN if there are none.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    pub fn mean(&self) -> Self {
        self.floats("mean");
        self.averaged(&self.every_dim(), false).named("mean", &[self])
    }

    /// The means along `dims`.
    ///
    /// # Panics
    /// If the elements are not floats, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn mean_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        self.floats("mean");
        let dims = self.reduced_dims("mean", dims.as_ref());
        self.averaged(&dims, keepdim).named("mean", &[self])
    }

    /// The variance of all elements, with Bessel's correction (divided by n − 1).
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    pub fn var(&self) -> Self {
        self.floats("var");
        self.variance(&self.every_dim(), 1.0, false).named("var", &[self])
    }

    /// The variances along `dims`, divided by n − `correction`. Taken in two passes, so that a mean far
    /// from zero costs no precision.
    ///
    /// # Panics
    /// If the elements are not floats, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn var_dims(&self, dims: impl AsRef<[isize]>, correction: f64, keepdim: bool) -> Self {
        self.floats("var");
        let dims = self.reduced_dims("var", dims.as_ref());
        self.variance(&dims, correction, keepdim).named("var", &[self])
    }

    /// The standard deviation of all elements, with Bessel's correction. Its gradient is 0 where it is 0.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    pub fn std(&self) -> Self {
        self.floats("std");
        SAFE_SQRT.call([&self.variance(&self.every_dim(), 1.0, false)]).named("std", &[self])
    }

    /// The standard deviations along `dims`: roots of `var_dims`.
    ///
    /// # Panics
    /// If the elements are not floats, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn std_dims(&self, dims: impl AsRef<[isize]>, correction: f64, keepdim: bool) -> Self {
        self.floats("std");
        let dims = self.reduced_dims("std", dims.as_ref());
        SAFE_SQRT.call([&self.variance(&dims, correction, keepdim)]).named("std", &[self])
    }

    /// The largest element; NaN if any is. Equal ones share the gradient.
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    pub fn max(&self) -> Self {
        self.extremum("max", ReduceOp::Max, &self.every_dim(), false)
    }

    /// The smallest element; NaN if any is. Equal ones share the gradient.
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    pub fn min(&self) -> Self {
        self.extremum("min", ReduceOp::Min, &self.every_dim(), false)
    }

    /// The largest elements along `dims`; equal ones share the gradient.
    ///
    /// # Panics
    /// If a dimension is out of range, named twice, or empty.
    #[track_caller]
    pub fn amax_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        let dims = self.reduced_dims("amax", dims.as_ref());
        self.extremum("amax", ReduceOp::Max, &dims, keepdim)
    }

    /// The smallest elements along `dims`; equal ones share the gradient.
    ///
    /// # Panics
    /// If a dimension is out of range, named twice, or empty.
    #[track_caller]
    pub fn amin_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        let dims = self.reduced_dims("amin", dims.as_ref());
        self.extremum("amin", ReduceOp::Min, &dims, keepdim)
    }

    /// The largest elements along `dim` and their positions, the first of equals; the gradient goes to
    /// that one.
    ///
    /// # Panics
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn max_dim(&self, dim: isize, keepdim: bool) -> (Self, Self) {
        self.extremum_at("max", ReduceOp::ArgMax, dim, keepdim)
    }

    /// The smallest elements along `dim` and their positions, the first of equals; the gradient goes to
    /// that one.
    ///
    /// # Panics
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn min_dim(&self, dim: isize, keepdim: bool) -> (Self, Self) {
        self.extremum_at("min", ReduceOp::ArgMin, dim, keepdim)
    }

    /// The positions of the largest elements along `dim`, `i64`; the first of equals.
    ///
    /// # Panics
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn argmax(&self, dim: isize, keepdim: bool) -> Self {
        let (x, dim) = self.along("argmax", dim);
        x.extremum("argmax", ReduceOp::ArgMax, &[dim], keepdim).shaped_as(self)
    }

    /// The positions of the smallest elements along `dim`, `i64`; the first of equals.
    ///
    /// # Panics
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn argmin(&self, dim: isize, keepdim: bool) -> Self {
        let (x, dim) = self.along("argmin", dim);
        x.extremum("argmin", ReduceOp::ArgMin, &[dim], keepdim).shaped_as(self)
    }

    /// The row-major number of the largest element, `i64`: `torch.argmax` without a dim.
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    pub fn argmax_all(&self) -> Self {
        self.reshape([-1]).argmax(0, false)
    }

    /// The row-major number of the smallest element, `i64`: `torch.argmin` without a dim.
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    pub fn argmin_all(&self) -> Self {
        self.reshape([-1]).argmin(0, false)
    }

    /// Whether any element differs from zero, as bool.
    pub fn any(&self) -> Self {
        self.reduced(ReduceOp::Any, &self.every_dim(), false)
    }

    /// Whether any element along `dims` differs from zero, as bool. As in PyTorch, a list of no dims means
    /// that nothing is combined.
    ///
    /// # Panics
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn any_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        let dims = self.sorted_dims("any", dims.as_ref());
        self.reduced(ReduceOp::Any, &dims, keepdim)
    }

    /// Whether all elements differ from zero, as bool.
    pub fn all(&self) -> Self {
        self.reduced(ReduceOp::All, &self.every_dim(), false)
    }

    /// Whether all elements along `dims` differ from zero, as bool. As in PyTorch, a list of no dims means
    /// that nothing is combined.
    ///
    /// # Panics
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn all_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        let dims = self.sorted_dims("all", dims.as_ref());
        self.reduced(ReduceOp::All, &dims, keepdim)
    }

    /// How many elements differ from zero, `i64`.
    pub fn count_nonzero(&self) -> Self {
        COUNT.reduce(ReduceOp::Sum, [self], &self.every_dim()).without(&self.every_dim())
    }

    /// How many elements along `dims` differ from zero, `i64`.
    ///
    /// # Panics
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn count_nonzero_dims(&self, dims: impl AsRef<[isize]>) -> Self {
        let dims = self.reduced_dims("count_nonzero", dims.as_ref());
        COUNT.reduce(ReduceOp::Sum, [self], &dims).without(&dims)
    }

    /// The positions that a reduction combines: all where none is named, as in PyTorch.
    #[track_caller]
    pub(crate) fn reduced_dims(&self, op: &'static str, dims: &[isize]) -> Vec<usize> {
        if dims.is_empty() { self.every_dim() } else { self.sorted_dims(op, dims) }
    }

    /// Distinct positions in order; none for dims 0 or −1 of a 0-d tensor.
    #[track_caller]
    pub(crate) fn sorted_dims(&self, op: &'static str, dims: &[isize]) -> Vec<usize> {
        let mut sorted = Vec::with_capacity(dims.len());
        for &dim in dims {
            sorted.push(self.dim_of_vector(op, dim));
        }
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            raise(Error::Argument { op, why: format!("a dim appears twice in {dims:?}") });
        }
        sorted.truncate(self.rank());
        sorted
    }

    /// The positions of dimensions that may count from the end. A loop: a closure would hide the
    /// caller's line from messages.
    #[track_caller]
    pub(crate) fn positions_of(&self, op: &'static str, dims: &[isize]) -> Vec<usize> {
        let mut positions = Vec::with_capacity(dims.len());
        for &dim in dims {
            positions.push(self.dim(op, dim));
        }
        positions
    }

    /// Every dimension.
    pub(crate) fn every_dim(&self) -> Vec<usize> {
        (0..self.rank()).collect()
    }

    pub(crate) fn reduced(&self, op: ReduceOp, dims: &[usize], keepdim: bool) -> Self {
        let dtype = match op {
            ReduceOp::Sum | ReduceOp::Prod => self.dtype().sum(),
            ReduceOp::Any | ReduceOp::All => DType::Bool,
            _ => self.dtype(),
        };
        let kernel = Kernel::new(cast_program(self.dtype(), dtype));
        let kept = B::reduce(op, kernel, &[self], self.shape(), dims);
        if keepdim { kept } else { kept.without(dims) }
    }

    /// How many elements are combined along `dims`.
    pub(crate) fn count(&self, dims: &[usize]) -> f64 {
        dims.iter().map(|&d| self.dims()[d]).product::<usize>() as f64
    }

    /// The mean along `dims`. Narrow floats add up and divide in `f32`, where their sum fits.
    pub(crate) fn averaged(&self, dims: &[usize], keepdim: bool) -> Self {
        let wide = self.dtype().compute();
        let kernel = Kernel::new(cast_program(self.dtype(), wide));
        let sum = B::reduce(ReduceOp::Sum, kernel, &[self], self.shape(), dims);
        let mean = (sum / self.count(dims)).to_dtype(self.dtype());
        if keepdim { mean } else { mean.without(dims) }
    }

    fn variance(&self, dims: &[usize], correction: f64, keepdim: bool) -> Self {
        let (_, var) = self.moments(dims, correction);
        if keepdim { var } else { var.without(dims) }
    }

    /// Mean and variance along `dims`, which stay with size 1, in two passes. Both are taken in the type
    /// that the elements are computed in, where sums of narrow floats fit.
    pub(crate) fn moments(&self, dims: &[usize], correction: f64) -> (Self, Self) {
        let wide = self.dtype().compute();
        let kernel = Kernel::new(cast_program(self.dtype(), wide));
        let mean = B::reduce(ReduceOp::Sum, kernel, &[self], self.shape(), dims) / self.count(dims);
        let spread = SPREAD.reduce(ReduceOp::Sum, [self, &mean], dims);
        let var = spread / (self.count(dims) - correction).max(0.0);
        (mean.to_dtype(self.dtype()), var.to_dtype(self.dtype()))
    }

    #[track_caller]
    fn extremum(&self, name: &'static str, op: ReduceOp, dims: &[usize], keepdim: bool) -> Self {
        if dims.iter().any(|&d| self.dims()[d] == 0) {
            raise(Error::Shape {
                op: name,
                shapes: vec![self.shape().clone()],
                why: "of no elements there is none; only a reduction with a neutral element works"
                    .into(),
            });
        }
        self.reduced(op, dims, keepdim).named(name, &[self])
    }

    #[track_caller]
    fn extremum_at(
        &self,
        name: &'static str,
        op: ReduceOp,
        dim: isize,
        keepdim: bool,
    ) -> (Self, Self) {
        let (x, at) = self.along(name, dim);
        let indices = x.extremum(name, op, &[at], true);
        let values = B::gather(&x, at, &indices);
        let (values, indices) = if keepdim && self.rank() > 0 {
            (values, indices)
        } else {
            (values.without(&[at]), indices.without(&[at]))
        };
        (values.named(name, &[self]), indices)
    }

    /// Without `dims`, which have size 1.
    pub(crate) fn without(&self, dims: &[usize]) -> Self {
        if dims.is_empty() {
            return self.clone();
        }
        let shape: Shape =
            (0..self.rank()).filter(|d| !dims.contains(d)).map(|d| self.dims()[d]).collect();
        self.reshape_to(&shape)
    }
}

static COUNT: Fused<1> = Fused::new("count_nonzero", |[x]| x.ne(x.lit(0)).cast(DType::I64));

static SPREAD: Fused<2> = Fused::new("spread", |[x, mean]| (x - mean).square());

/// √x with the derivative 0 at 0, where PyTorch's `std` and `norm` have it so.
pub(crate) static SAFE_SQRT: Fused<1> = Fused::new("sqrt", |[x]| {
    let zero = x.eq(0.0);
    zero.select(x.lit(0.0), zero.select(x.lit(1.0), x).sqrt())
});
