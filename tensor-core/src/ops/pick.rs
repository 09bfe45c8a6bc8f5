//! Reading and writing by index along one dimension.

use super::pointwise::is_mask;
use crate::autocast::cast;
use crate::{Backend, DType, Error, Scalar, ScatterOp, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// `out[…, i, …] = self[…, index[…, i, …], …]` with `i` at `dim`. The `i64` index has this rank and is
    /// no longer than this tensor in the other dims; the result has its shape.
    ///
    /// # Panics
    /// If the index does not fit, or names an element that does not exist.
    #[track_caller]
    pub fn gather(&self, dim: isize, index: &Self) -> Self {
        let ((x, dim), at) = (self.along("gather", dim), index.vector());
        x.check_index("gather", dim, &at, None);
        B::gather(&x, dim, &at).shaped_as(index)
    }

    /// A copy with `src[…, i, …]` written to place `[…, index[…, i, …], …]` along `dim`; where one place is
    /// named twice, the last value in row-major order stays. `src` may be longer than the index.
    ///
    /// # Panics
    /// If index and source do not fit, or the index names an element that does not exist.
    #[track_caller]
    pub fn scatter(&self, dim: isize, index: &Self, src: &Self) -> Self {
        self.scattered("scatter", ScatterOp::Set, dim, index, src)
    }

    /// `scatter` of one number.
    ///
    /// # Panics
    /// As [`Tensor::scatter`].
    #[track_caller]
    pub fn scatter_value(&self, dim: isize, index: &Self, value: impl Into<Scalar>) -> Self {
        let src = Self::full((), value, (self.device(), self.dtype())).expand(index.shape());
        self.scattered("scatter", ScatterOp::Set, dim, index, &src)
    }

    /// A copy with `src[…, i, …]` added to place `[…, index[…, i, …], …]` along `dim`.
    ///
    /// # Panics
    /// As [`Tensor::scatter`].
    #[track_caller]
    pub fn scatter_add(&self, dim: isize, index: &Self, src: &Self) -> Self {
        if let Some((_inside, [x, src])) = cast("scatter_add", [self, src]) {
            return x.scatter_add(dim, index, &src);
        }
        self.scattered("scatter_add", ScatterOp::Add, dim, index, src)
    }

    /// A copy with each value of `src` combined into the place that the index names along `dim`:
    /// `torch.scatter_reduce` with `sum`, `prod`, `amax` or `amin`, this tensor's elements included.
    ///
    /// # Panics
    /// As [`Tensor::scatter`].
    #[track_caller]
    pub fn scatter_reduce(&self, op: ScatterOp, dim: isize, index: &Self, src: &Self) -> Self {
        self.scattered("scatter_reduce", op, dim, index, src)
    }

    /// `scatter`, in place.
    ///
    /// # Panics
    /// As [`Tensor::scatter`]; also if elements of this view share memory.
    #[track_caller]
    pub fn scatter_(&self, dim: isize, index: &Self, src: &Self) -> Self {
        self.copy_(&self.scattered("scatter_", ScatterOp::Set, dim, index, src))
    }

    /// `scatter_add`, in place.
    ///
    /// # Panics
    /// As [`Tensor::scatter`]; also if elements of this view share memory.
    #[track_caller]
    pub fn scatter_add_(&self, dim: isize, index: &Self, src: &Self) -> Self {
        self.copy_(&self.scattered("scatter_add_", ScatterOp::Add, dim, index, src))
    }

    /// The slices along `dim` that a 1-d `i64` index names, in its order.
    ///
    /// # Panics
    /// If the index is not a 1-d `i64` tensor, or names a slice that does not exist.
    #[track_caller]
    pub fn index_select(&self, dim: isize, index: &Self) -> Self {
        let ((x, dim), at) = (self.along("index_select", dim), index.vector());
        self.check_list("index_select", &at);
        B::index_select(&x, dim, &at).shaped_as(self)
    }

    /// A copy with slice `i` of `src` added to slice `index[i]` along `dim`.
    ///
    /// # Panics
    /// If the index is not a 1-d `i64` tensor or names a slice that does not exist, or `src` differs from
    /// this tensor in another dim or in its dtype.
    #[track_caller]
    pub fn index_add(&self, dim: isize, index: &Self, src: &Self) -> Self {
        let ((x, dim), at, src) = (self.along("index_add", dim), index.vector(), src.vector());
        x.check_slices("index_add", dim, &at, &src);
        B::index_add(&x, dim, &at, &src).shaped_as(self)
    }

    /// A copy with slice `i` of `src` written to slice `index[i]` along `dim`.
    ///
    /// # Panics
    /// As [`Tensor::index_add`].
    #[track_caller]
    pub fn index_copy(&self, dim: isize, index: &Self, src: &Self) -> Self {
        let ((x, dim), at, src) = (self.along("index_copy", dim), index.vector(), src.vector());
        x.check_slices("index_copy", dim, &at, &src);
        let places = along(&at, x.rank(), dim).expand(src.shape());
        B::scatter(ScatterOp::Set, &x, dim, &places, &src).shaped_as(self)
    }

    /// A copy with one number in the slices along `dim` that a 1-d `i64` index names.
    ///
    /// # Panics
    /// If the index is not a 1-d `i64` tensor or names a slice that does not exist.
    #[track_caller]
    pub fn index_fill(&self, dim: isize, index: &Self, value: impl Into<Scalar>) -> Self {
        let ((x, dim), at) = (self.along("index_fill", dim), index.vector());
        x.check_list("index_fill", &at);
        let shape = x.shape().with(dim, at.numel());
        let places = along(&at, x.rank(), dim).expand(&shape);
        let src = Self::full((), value, (x.device(), x.dtype())).expand(&shape);
        B::scatter(ScatterOp::Set, &x, dim, &places, &src).shaped_as(self)
    }

    /// `gather` with an index that broadcasts against this tensor in the other dims; it suits what
    /// `argsort`, and `argmax` with `keepdim`, give.
    ///
    /// # Panics
    /// If the index does not fit, or names an element that does not exist.
    #[track_caller]
    pub fn take_along_dim(&self, index: &Self, dim: isize) -> Self {
        let dim = self.dim("take_along_dim", dim);
        if index.rank() != self.rank() {
            raise(self.unlike("take_along_dim", index, "the index must have the tensor's rank"));
        }
        let Some(shape) = self.shape().with(dim, 1).broadcast(&index.shape().with(dim, 1)) else {
            raise(self.unlike("take_along_dim", index, "the other dims do not broadcast"))
        };
        let x = self.expand(shape.with(dim, self.dims()[dim]));
        let index = index.expand(shape.with(dim, index.dims()[dim]));
        x.check_index("take_along_dim", dim, &index, None);
        B::gather(&x, dim, &index)
    }

    /// The elements of the flattened tensor that an `i64` index names, in the index's shape.
    ///
    /// # Panics
    /// If the index is not `i64` or names an element that does not exist.
    #[track_caller]
    pub fn take(&self, index: &Self) -> Self {
        let flat = self.reshape([-1]);
        let list = index.reshape([-1]);
        flat.check_list("take", &list);
        B::index_select(&flat, 0, &list).reshape_to(index.shape()).named("take", &[self])
    }

    /// The elements where a mask is true, in row-major order, as a 1-d tensor. Mask and tensor broadcast.
    /// Its size depends on values, so this waits for the device.
    ///
    /// # Panics
    /// If the mask is not bool or does not broadcast.
    #[track_caller]
    pub fn masked_select(&self, mask: &Self) -> Self {
        is_mask("masked_select", mask);
        self.same_device("masked_select", mask);
        let shape = super::pointwise::broadcast("masked_select", self, mask);
        let x = self.expand(&shape).reshape([-1]);
        let places = B::nonzero(&mask.detach().expand(&shape).reshape([-1])).reshape([-1]);
        B::index_select(&x, 0, &places).named("masked_select", &[self])
    }

    /// A copy with the elements where a mask is true replaced, in row-major order, by those of `src`.
    ///
    /// # Panics
    /// If the mask is not bool or does not broadcast to this shape, dtypes differ, or `src` has fewer
    /// elements than the mask has places.
    #[track_caller]
    pub fn masked_scatter(&self, mask: &Self, src: &Self) -> Self {
        is_mask("masked_scatter", mask);
        self.alike("masked_scatter", [src]);
        self.same_device("masked_scatter", mask);
        let places = B::nonzero(&mask.detach().expand(self.shape()).reshape([-1])).reshape([-1]);
        if places.numel() > src.numel() {
            raise(self.unlike("masked_scatter", src, "the mask has more places than the source"));
        }
        let src = src.reshape([-1]).narrow(0, 0, places.numel());
        let flat = B::scatter(ScatterOp::Set, &self.reshape([-1]), 0, &places, &src);
        flat.reshape_to(self.shape())
    }

    #[track_caller]
    fn scattered(
        &self,
        op: &'static str,
        combine: ScatterOp,
        dim: isize,
        index: &Self,
        src: &Self,
    ) -> Self {
        let ((x, dim), at, src) = (self.along(op, dim), index.vector(), src.vector());
        x.check_index(op, dim, &at, Some(&src));
        let src = (0..at.rank()).fold(src.into_owned(), |src, d| {
            let len = at.dims()[d];
            if src.dims()[d] == len { src } else { src.narrow(d as isize, 0, len) }
        });
        B::scatter(combine, &x, dim, &at, &src).shaped_as(self)
    }

    /// Requires an index of this rank, no longer than this tensor outside `dim`, and a source no shorter
    /// than the index.
    #[track_caller]
    fn check_index(&self, op: &'static str, dim: usize, index: &Self, src: Option<&Self>) {
        self.check_positions(op, index);
        let fits = index.rank() == self.rank()
            && (0..self.rank()).all(|d| d == dim || index.dims()[d] <= self.dims()[d]);
        if !fits {
            raise(self.unlike(
                op,
                index,
                "the index must have the tensor's rank and be no longer outside the dim",
            ));
        }
        if let Some(src) = src {
            self.alike(op, [src]);
            let covers = src.rank() == index.rank()
                && src.dims().iter().zip(index.dims()).all(|(have, want)| have >= want);
            if !covers {
                raise(index.unlike(op, src, "the source must be as long as the index in each dim"));
            }
        }
    }

    #[track_caller]
    fn check_positions(&self, op: &'static str, index: &Self) {
        self.same_device(op, index);
        if index.dtype() != DType::I64 {
            raise(Error::DType {
                op,
                dtypes: vec![index.dtype()],
                why: "an index is i64; convert with `to_dtype(DType::I64)`".into(),
            });
        }
    }

    #[track_caller]
    fn check_list(&self, op: &'static str, index: &Self) {
        self.check_positions(op, index);
        if index.rank() != 1 {
            raise(self.unlike(op, index, "the index must have one dim"));
        }
        if self.rank() == 0 && index.numel() != 1 {
            raise(self.unlike(op, index, "of a number there is one element to name"));
        }
    }

    #[track_caller]
    fn check_slices(&self, op: &'static str, dim: usize, index: &Self, src: &Self) {
        self.check_list(op, index);
        self.alike(op, [src]);
        if *src.shape() != self.shape().with(dim, index.numel()) {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone(), index.shape().clone(), src.shape().clone()],
                why: "the source must have one slice per index, and the tensor's other dims".into(),
            });
        }
    }

    fn unlike(&self, op: &'static str, other: &Self, why: &str) -> Error {
        Error::Shape {
            op,
            shapes: vec![self.shape().clone(), other.shape().clone()],
            why: why.into(),
        }
    }
}

/// A 1-d tensor laid along `dim` of a tensor of `rank`.
fn along<B: Backend>(list: &Tensor<B>, rank: usize, dim: usize) -> Tensor<B> {
    let shape: Shape = (0..rank).map(|d| if d == dim { list.numel() } else { 1 }).collect();
    list.reshape_to(&shape)
}
