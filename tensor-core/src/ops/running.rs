//! Along a dimension, each element with those before it or beside it: running extremes and sums of exponentials,
//! differences, the area under points.

use crate::{Backend, DType, Error, Fused, Operand, Tensor, Term, raise};

/// Whether the later of two elements takes the place of the earlier one: the larger does, of equals the later;
/// a NaN always.
static LARGER: Fused<2> = Fused::new("cummax", |[a, b]| b.is_nan() | (!a.is_nan() & b.ge(a)));
static SMALLER: Fused<2> = Fused::new("cummin", |[a, b]| b.is_nan() | (!a.is_nan() & b.le(a)));

impl<B: Backend> Tensor<B> {
    /// The largest element so far along `dim`, and its position (`i64`), the last of equals; NaN from the first
    /// NaN on. The gradient goes to the elements at these positions.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let (values, at) = Tensor::<Cpu>::new([1i64, 3, 2, 3], &CpuDevice).cummax(0);
    /// assert_eq!(values.to_vec::<i64>(), [1, 3, 3, 3]);
    /// assert_eq!(at.to_vec::<i64>(), [0, 1, 1, 3]);
    /// ```
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn cummax(&self, dim: isize) -> (Self, Self) {
        self.running_extreme("cummax", dim, &LARGER)
    }

    /// The smallest element so far along `dim`, and its position; otherwise as [`Tensor::cummax`].
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn cummin(&self, dim: isize) -> (Self, Self) {
        self.running_extreme("cummin", dim, &SMALLER)
    }

    /// Each pass looks twice as far back, so that there are as many as the logarithm of the size.
    #[track_caller]
    fn running_extreme(&self, op: &'static str, dim: isize, later: &Fused<2>) -> (Self, Self) {
        let (x, at) = self.along(op, dim);
        let mut values = x.detach();
        let mut shape: crate::Shape = std::iter::repeat_n(1, x.rank()).collect();
        shape[at] = x.dims()[at];
        let mut places =
            Self::arange(x.dims()[at], x.device()).reshape_to(&shape).expand(x.shape());
        let mut reach = 1;
        while reach < x.dims()[at] {
            let takes = {
                let [before, after] = shifted(&values, at, reach);
                later.call([&before, &after])
            };
            let choose = |all: &Self| {
                let [before, after] = shifted(all, at, reach);
                let rest = Self::where_(&takes, &after, &before);
                B::cat(&[&all.narrow(at as isize, 0, reach), &rest], at)
            };
            (values, places) = (choose(&values), choose(&places));
            reach *= 2;
        }
        let places = places.contiguous();
        (B::gather(&x, at, &places).shaped_as(self), places.shaped_as(self))
    }

    /// ln of the running sums of eˣ along `dim`, without overflow.
    ///
    /// # Panics
    /// If the elements are not floats, or the dimension is out of range.
    #[track_caller]
    pub fn logcumsumexp(&self, dim: isize) -> Self {
        self.floats("logcumsumexp");
        let (x, at) = self.along("logcumsumexp", dim);
        let wide = x.dtype().compute();
        let (mut sums, mut reach) = (x.to_dtype(wide), 1);
        while reach < x.dims()[at] {
            let [before, after] = shifted(&sums, at, reach);
            sums = B::cat(&[&sums.narrow(at as isize, 0, reach), &before.logaddexp(&after)], at);
            reach *= 2;
        }
        sums.to_dtype(x.dtype()).shaped_as(self)
    }

    /// The differences of neighbours along `dim`, `n` times over; of bools, whether they differ.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn diff(&self, n: usize, dim: isize) -> Self {
        let at = self.dim("diff", dim);
        (0..n).fold(self.clone(), |x, _| {
            if x.dims()[at] == 0 {
                return x;
            }
            let [before, after] = shifted(&x, at, 1);
            if x.dtype() == DType::Bool { after.logical_xor(&before) } else { after - before }
        })
    }

    /// The derivative along `dim` of samples that lie `spacing` apart, by central differences, at the two ends
    /// by the difference of two: `torch.gradient`.
    ///
    /// # Panics
    /// If the elements are not floats, or the dimension is out of range or has fewer than two of them.
    #[track_caller]
    pub fn gradient(&self, spacing: f64, dim: isize) -> Self {
        self.floats("gradient");
        let at = self.dim("gradient", dim);
        let n = self.dims()[at];
        if n < 2 {
            raise(Error::Shape {
                op: "gradient",
                shapes: vec![self.shape().clone()],
                why: format!("dim {at} must have two elements at least"),
            });
        }
        let [before, after] = shifted(self, at, 2);
        let inner = (after - before) / (2.0 * spacing);
        let end = |start| self.narrow(dim, start, 2).diff(1, dim) / spacing;
        B::cat(&[&end(0), &inner, &end(n - 2)], at)
    }

    /// The area under points along `dim`, by the rule of the trapezoid. `x` is where they lie, a vector or a
    /// tensor like this one, or a number: how far they lie apart.
    ///
    /// # Panics
    /// If the dimension is out of range, or shapes or devices do not fit.
    #[track_caller]
    pub fn trapezoid(&self, x: impl Operand<B>, dim: isize) -> Self {
        self.strips("trapezoid", &x, dim).sum_dims([dim], false)
    }

    /// Another name of [`Tensor::trapezoid`].
    ///
    /// # Panics
    /// As that does.
    #[track_caller]
    pub fn trapz(&self, x: impl Operand<B>, dim: isize) -> Self {
        self.trapezoid(x, dim)
    }

    /// The area under points along `dim` up to each of them but the first; otherwise as [`Tensor::trapezoid`].
    ///
    /// # Panics
    /// As [`Tensor::trapezoid`].
    #[track_caller]
    pub fn cumulative_trapezoid(&self, x: impl Operand<B>, dim: isize) -> Self {
        self.strips("cumulative_trapezoid", &x, dim).cumsum(dim)
    }

    /// The areas between neighbours.
    #[track_caller]
    fn strips(&self, op: &'static str, x: &impl Operand<B>, dim: isize) -> Self {
        let at = self.dim(op, dim);
        if self.dims()[at] == 0 {
            return self.clone();
        }
        let [before, after] = shifted(self, at, 1);
        let middle = (before + after) * 0.5;
        match x.term() {
            Term::Scalar(step) => middle * step.to_f64(),
            Term::Tensor(x) if x.rank() == 1 && self.rank() > 1 => {
                let mut shape: crate::Shape = std::iter::repeat_n(1, self.rank()).collect();
                shape[at] = x.numel().saturating_sub(1);
                middle * x.diff(1, 0).reshape_to(&shape)
            }
            Term::Tensor(x) => middle * x.diff(1, at as isize - self.rank() as isize),
        }
    }
}

/// Without the last, and without the first `by` elements of `dim`.
fn shifted<B: Backend>(x: &Tensor<B>, dim: usize, by: usize) -> [Tensor<B>; 2] {
    let len = x.dims()[dim] - by;
    [x.narrow(dim as isize, 0, len), x.narrow(dim as isize, by, len)]
}
