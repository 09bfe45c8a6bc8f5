//! Copies of a tensor with a part replaced, and values combined by an index in more ways than a primitive has.

use crate::{Backend, DType, Error, Operand, Scalar, ScatterOp, Shape, Tensor, raise};

use super::{IndexItem, spread};

impl<B: Backend> Tensor<B> {
    /// A copy with `src` in place of what a view of the elements' numbers shows.
    #[track_caller]
    fn replaced(&self, op: &'static str, src: &Self, part: &Self) -> Self {
        self.alike(op, [src]);
        if src.shape() != part.shape() {
            raise(Error::Shape {
                op,
                shapes: vec![part.shape().clone(), src.shape().clone()],
                why: "the source has the shape of what it replaces".into(),
            });
        }
        let (places, flat) = (part.reshape([-1]), self.reshape([-1]));
        B::scatter(ScatterOp::Set, &flat, 0, &places, &src.reshape([-1])).reshape_to(self.shape())
    }

    /// A copy with `src` in place of slice `index` of `dim`: what `x.select(dim, index)` would show.
    ///
    /// # Panics
    /// If the dimension or the index is out of range, or the source has another shape or dtype.
    #[track_caller]
    pub fn select_scatter(&self, src: &Self, dim: isize, index: isize) -> Self {
        self.replaced("select_scatter", src, &self.numbers().select(dim, index))
    }

    /// A copy with `src` in place of what `x.slice(dim, start, end, step)` shows.
    ///
    /// # Panics
    /// If the dimension is out of range, the step is 0, or the source has another shape or dtype.
    #[track_caller]
    pub fn slice_scatter(
        &self,
        src: &Self,
        dim: isize,
        start: impl Into<Option<isize>>,
        end: impl Into<Option<isize>>,
        step: usize,
    ) -> Self {
        self.replaced("slice_scatter", src, &self.numbers().slice(dim, start, end, step))
    }

    /// A copy with `src` in place of a diagonal: what `x.diagonal(offset, dim1, dim2)` shows.
    ///
    /// # Panics
    /// If a dimension is out of range, both are the same, or the source has another shape or dtype.
    #[track_caller]
    pub fn diagonal_scatter(&self, src: &Self, offset: isize, dim1: isize, dim2: isize) -> Self {
        self.replaced("diagonal_scatter", src, &self.numbers().diagonal(offset, dim1, dim2))
    }

    /// A copy with `value` at the elements that index tensors name together, or added to them with `accumulate`:
    /// `torch.index_put`. [`Tensor::set`] and [`Tensor::accumulate`] take every kind of index.
    ///
    /// # Panics
    /// As [`Tensor::set`].
    #[track_caller]
    pub fn index_put(&self, index: &[&Self], value: impl Operand<B>, accumulate: bool) -> Self {
        let copied = self.copy();
        copied.index_put_(index, value, accumulate)
    }

    /// `index_put`, in place.
    ///
    /// # Panics
    /// As [`Tensor::set`].
    #[track_caller]
    pub fn index_put_(&self, index: &[&Self], value: impl Operand<B>, accumulate: bool) -> Self {
        let items: Vec<IndexItem<B>> = index.iter().map(|&at| at.into()).collect();
        if accumulate { self.accumulate(items, value) } else { self.set(items, value) }
    }

    /// Writes `src`, or adds it with `accumulate`, to the elements of the flattened tensor that an `i64` index of
    /// its shape names.
    ///
    /// # Panics
    /// If index and source differ in shape, dtypes do not fit, or the index names an element that does not exist.
    #[track_caller]
    pub fn put_(&self, index: &Self, src: &Self, accumulate: bool) -> Self {
        if index.numel() != src.numel() {
            raise(Error::Shape {
                op: "put_",
                shapes: vec![index.shape().clone(), src.shape().clone()],
                why: "a source for each index is wanted".into(),
            });
        }
        let (flat, places) = (self.reshape([-1]), index.reshape([-1]));
        let src = src.reshape([-1]);
        let written = if accumulate {
            flat.scatter_add(0, &places, &src)
        } else {
            flat.scatter(0, &places, &src)
        };
        self.copy_(&written.reshape_to(self.shape()))
    }

    /// `scatter_reduce` without this tensor's elements where the index names a place (`include_self=False`); the
    /// others stay.
    ///
    /// # Panics
    /// As [`Tensor::scatter`].
    #[track_caller]
    pub fn scatter_reduce_fresh(
        &self,
        op: ScatterOp,
        dim: isize,
        index: &Self,
        src: &Self,
    ) -> Self {
        let neutral: Scalar = match op {
            ScatterOp::Set | ScatterOp::Add => 0.into(),
            ScatterOp::Mul => 1.into(),
            ScatterOp::Max => lowest(self.dtype()),
            ScatterOp::Min => highest(self.dtype()),
        };
        let named = Self::full(self.shape(), false, self.device()).scatter_value(dim, index, true);
        let neutral = Self::full((), neutral, (self.device(), self.dtype()));
        Self::where_(&named, &neutral, self).scatter_reduce(op, dim, index, src)
    }

    /// A copy with the mean of the values of `src` at the places that the index names along `dim`, this tensor's
    /// elements counted in with `include_self`: `torch.scatter_reduce` with `mean`. Means of integers are rounded
    /// down.
    ///
    /// # Panics
    /// As [`Tensor::scatter`].
    #[track_caller]
    pub fn scatter_mean(&self, dim: isize, index: &Self, src: &Self, include_self: bool) -> Self {
        let sums = if include_self {
            self.scatter_add(dim, index, src)
        } else {
            self.scatter_reduce_fresh(ScatterOp::Add, dim, index, src)
        };
        let first = Self::full(self.shape(), i64::from(include_self), (self.device(), DType::I64));
        let ones = Self::ones(src.shape(), (self.device(), DType::I64));
        let counts = first.scatter_add(dim, index, &ones).clamp_min(1).to_dtype(self.dtype());
        if self.dtype().is_float() { sums / counts } else { sums.floor_divide(&counts) }
    }

    /// A copy with each slice of `src` combined into the slice along `dim` that a 1-d `i64` index names:
    /// `torch.index_reduce`. `include_self` counts this tensor's elements in.
    ///
    /// # Panics
    /// As [`Tensor::index_add`].
    #[track_caller]
    pub fn index_reduce(
        &self,
        op: ScatterOp,
        dim: isize,
        index: &Self,
        src: &Self,
        include_self: bool,
    ) -> Self {
        let places = self.places_of("index_reduce", dim, index, src);
        if include_self {
            self.scatter_reduce(op, dim, &places, src)
        } else {
            self.scatter_reduce_fresh(op, dim, &places, src)
        }
    }

    /// `index_reduce` with the mean.
    ///
    /// # Panics
    /// As [`Tensor::index_add`].
    #[track_caller]
    pub fn index_mean(&self, dim: isize, index: &Self, src: &Self, include_self: bool) -> Self {
        let places = self.places_of("index_reduce", dim, index, src);
        self.scatter_mean(dim, &places, src, include_self)
    }

    /// A list of slices as the index that `scatter` takes.
    #[track_caller]
    fn places_of(&self, op: &'static str, dim: isize, index: &Self, src: &Self) -> Self {
        let at = self.dim(op, dim);
        if index.rank() != 1 || *src.shape() != self.shape().with(at, index.numel()) {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone(), index.shape().clone(), src.shape().clone()],
                why: "the source must have one slice per index, and the tensor's other dims".into(),
            });
        }
        let mut along: Shape = std::iter::repeat_n(1, self.rank()).collect();
        along[at] = index.numel();
        spread(&index.reshape_to(&along), src.shape()).contiguous()
    }

    /// Each slice along `dim` repeated as often as its number in `counts`, a list of integers: `repeat_interleave`
    /// with a tensor. Waits for the device.
    ///
    /// # Panics
    /// If the dimension is out of range, there is not one number per slice, or one is negative.
    #[track_caller]
    pub fn repeat_interleave_each(&self, counts: &Self, dim: isize) -> Self {
        let op = "repeat_interleave";
        let at = self.dim(op, dim);
        if *counts.shape() != [self.dims()[at]] || !counts.dtype().is_int() {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone(), counts.shape().clone()],
                why: format!("an integer for each slice of dim {at} is wanted"),
            });
        }
        let counts = counts.detach().to_dtype(DType::I64);
        if counts.numel() == 0 {
            return self.clone();
        }
        let least = counts.min().to_scalar().to_i64();
        if least < 0 {
            raise(Error::Argument { op, why: format!("nothing can be repeated {least} times") });
        }
        let ends = counts.cumsum(0);
        let total = ends.select(0, -1).to_scalar().to_i64();
        let slices = ends.searchsorted(&Self::arange(total, self.device()), true);
        B::index_select(self, at, &slices)
    }
}

impl<B: Backend> Tensor<B> {
    /// [`Tensor::index_add`], in place.
    ///
    /// # Panics
    /// As that does; also if elements of this view share memory.
    #[track_caller]
    pub fn index_add_(&self, dim: isize, index: &Self, src: &Self) -> Self {
        self.copy_(&self.index_add(dim, index, src))
    }

    /// [`Tensor::index_copy`], in place.
    ///
    /// # Panics
    /// As that does; also if elements of this view share memory.
    #[track_caller]
    pub fn index_copy_(&self, dim: isize, index: &Self, src: &Self) -> Self {
        self.copy_(&self.index_copy(dim, index, src))
    }

    /// [`Tensor::index_fill`], in place.
    ///
    /// # Panics
    /// As that does; also if elements of this view share memory.
    #[track_caller]
    pub fn index_fill_(&self, dim: isize, index: &Self, value: impl Into<Scalar>) -> Self {
        self.copy_(&self.index_fill(dim, index, value))
    }

    /// [`Tensor::masked_scatter`], in place.
    ///
    /// # Panics
    /// As that does; also if elements of this view share memory.
    #[track_caller]
    pub fn masked_scatter_(&self, mask: &Self, src: &Self) -> Self {
        self.copy_(&self.masked_scatter(mask, src))
    }

    /// [`Tensor::scatter_value`], in place.
    ///
    /// # Panics
    /// As that does; also if elements of this view share memory.
    #[track_caller]
    pub fn scatter_value_(&self, dim: isize, index: &Self, value: impl Into<Scalar>) -> Self {
        self.copy_(&self.scatter_value(dim, index, value))
    }

    /// [`Tensor::scatter_reduce`], in place.
    ///
    /// # Panics
    /// As that does; also if elements of this view share memory.
    #[track_caller]
    pub fn scatter_reduce_(&self, op: ScatterOp, dim: isize, index: &Self, src: &Self) -> Self {
        self.copy_(&self.scatter_reduce(op, dim, index, src))
    }
}

/// What is never larger than another element.
fn lowest(dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => false.into(),
        DType::U8 => 0.into(),
        DType::I8 => i64::from(i8::MIN).into(),
        DType::I16 => i64::from(i16::MIN).into(),
        DType::I32 => i64::from(i32::MIN).into(),
        DType::I64 => i64::MIN.into(),
        _ => f64::NEG_INFINITY.into(),
    }
}

/// What is never smaller than another element.
fn highest(dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => true.into(),
        DType::U8 => i64::from(u8::MAX).into(),
        DType::I8 => i64::from(i8::MAX).into(),
        DType::I16 => i64::from(i16::MAX).into(),
        DType::I32 => i64::from(i32::MAX).into(),
        DType::I64 => i64::MAX.into(),
        _ => f64::INFINITY.into(),
    }
}
