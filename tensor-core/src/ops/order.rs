//! Order along a dimension: sorting, the best few, running sums, medians.

use crate::autocast::cast;
use crate::{Backend, Error, Fused, ScanOp, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// The elements in order along `dim`, and their positions (`i64`). Equal elements keep their order;
    /// NaN counts as the largest.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn sort(&self, dim: isize, descending: bool) -> (Self, Self) {
        let (x, dim) = self.along("sort", dim);
        let (values, positions) = B::sort(&x, dim, descending);
        (values.shaped_as(self), positions.shaped_as(self))
    }

    /// The positions (`i64`) that would sort the elements along `dim`.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn argsort(&self, dim: isize, descending: bool) -> Self {
        let (x, dim) = self.along("argsort", dim);
        B::sort(&x.detach(), dim, descending).1.shaped_as(self)
    }

    /// The `k` largest (or smallest) elements along `dim`, best first, and their positions (`i64`).
    ///
    /// # Panics
    /// If the dimension is out of range or has fewer than `k` elements.
    #[track_caller]
    pub fn topk(&self, k: usize, dim: isize, largest: bool) -> (Self, Self) {
        let (x, dim) = self.along("topk", dim);
        if k > x.dims()[dim] {
            raise(Error::Index {
                op: "topk",
                what: "k",
                index: k as i64,
                size: x.dims()[dim],
                shape: self.shape().clone(),
                called: None,
            });
        }
        let (values, positions) = B::topk(&x, k, dim, largest);
        (values.shaped_as(self), positions.shaped_as(self))
    }

    /// Running sums along `dim`; integers and bools add up in `i64`.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn cumsum(&self, dim: isize) -> Self {
        if let Some((_inside, [x])) = cast("cumsum", [self]) {
            return x.cumsum(dim);
        }
        let (x, dim) = self.along("cumsum", dim);
        B::scan(ScanOp::Sum, &x.to_dtype(x.dtype().sum()), dim).shaped_as(self)
    }

    /// [`Tensor::cumsum`], in place.
    ///
    /// # Panics
    /// As that does; also if elements of this view share memory.
    #[track_caller]
    pub fn cumsum_(&self, dim: isize) -> Self {
        self.copy_(&self.cumsum(dim))
    }

    /// Running products along `dim`; integers and bools multiply in `i64`.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn cumprod(&self, dim: isize) -> Self {
        if let Some((_inside, [x])) = cast("cumprod", [self]) {
            return x.cumprod(dim);
        }
        let (x, dim) = self.along("cumprod", dim);
        B::scan(ScanOp::Prod, &x.to_dtype(x.dtype().sum()), dim).shaped_as(self)
    }

    /// [`Tensor::cumprod`], in place.
    ///
    /// # Panics
    /// As that does; also if elements of this view share memory.
    #[track_caller]
    pub fn cumprod_(&self, dim: isize) -> Self {
        // What is overwritten is what the derivative needs.
        self.copy_(&self.copy().cumprod(dim))
    }

    /// The median of all elements: the lower of two in the middle, NaN if any is.
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    pub fn median(&self) -> Self {
        self.reshape([-1]).median_dim(0, false).0
    }

    /// The medians along `dim` and their positions (`i64`): the lower of two in the middle, NaN if any
    /// element is.
    ///
    /// # Panics
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn median_dim(&self, dim: isize, keepdim: bool) -> (Self, Self) {
        static CHOOSE: Fused<3> =
            Fused::new("median", |[last, middle, other]| last.is_nan().select(other, middle));
        let (x, at) = self.along("median", dim);
        let count = x.dims()[at];
        if count == 0 {
            raise(Error::Shape {
                op: "median",
                shapes: vec![self.shape().clone()],
                why: "of no elements there is none".into(),
            });
        }
        let (values, positions) = B::sort(&x, at, false);
        let pick = |x: &Self, i: usize| x.narrow(at as isize, i, 1);
        let (middle, last) = ((count - 1) / 2, pick(&values, count - 1));
        let median = CHOOSE.call([&last.detach(), &pick(&values, middle), &last]);
        let [here, end] = [pick(&positions, middle), pick(&positions, count - 1)];
        let position = CHOOSE.call([&last.detach(), &here, &end]);
        if keepdim && self.rank() > 0 {
            (median, position)
        } else {
            (median.without(&[at]), position.without(&[at]))
        }
    }

    /// The indices of the elements that differ from zero, `i64` `[count, rank]`, in row-major order.
    pub fn nonzero(&self) -> Self {
        B::nonzero(&self.detach())
    }

    /// Another name of [`Tensor::nonzero`].
    pub fn argwhere(&self) -> Self {
        self.nonzero()
    }

    /// ln Σ eˣ along `dims`, without overflow.
    ///
    /// # Panics
    /// If the elements are not floats, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn logsumexp(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        if let Some((_inside, [x])) = cast("logsumexp", [self]) {
            return x.logsumexp(dims, keepdim);
        }
        self.floats("logsumexp");
        let dims = self.reduced_dims("logsumexp", dims.as_ref());
        let out = crate::compose::logsumexp(self, &dims);
        let out = if keepdim { out } else { out.without(&dims) };
        out.named("logsumexp", &[self])
    }
}
