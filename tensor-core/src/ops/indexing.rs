//! Indexing: `x.i((1, 2..5, All, &mask))`, and writing through an index.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use super::views::normal_bounds;
use crate::{Backend, DType, Error, ScatterOp, Shape, Tensor, ViewOp, raise};

/// A dimension of size 1 that an index inserts; `None` in Python.
#[derive(Clone, Copy, Debug)]
pub struct NewAxis;

/// As many whole dimensions as the rest of the index leaves; `...` in Python.
#[derive(Clone, Copy, Debug)]
pub struct Ellipsis;

/// A range with a step: `Step(.., 2)` is `::2` in Python.
#[derive(Clone, Copy, Debug)]
pub struct Step<R>(pub R, pub usize);

/// One part of an index.
#[derive(Clone, Debug)]
pub enum IndexItem<B: Backend> {
    /// One position, which removes the dimension; negative ones count from the end.
    At(isize),
    /// Positions from `start` up to `end` by `step`; negative ones count from the end.
    Slice {
        /// The first position.
        start: Option<isize>,
        /// The position after the last.
        end: Option<isize>,
        /// Distance between positions.
        step: usize,
    },
    /// A new dimension of size 1.
    NewAxis,
    /// All dimensions in between.
    Ellipsis,
    /// Positions as an integer tensor, or a mask as a bool tensor.
    Tensor(Tensor<B>),
}

macro_rules! item_from {
    ($($ty:ty: $value:ident => $item:expr;)*) => {$(
        impl<B: Backend> From<$ty> for IndexItem<B> {
            fn from($value: $ty) -> Self {
                $item
            }
        }

        impl<B: Backend> From<Step<$ty>> for IndexItem<B> {
            fn from(Step($value, step): Step<$ty>) -> Self {
                let item: IndexItem<B> = $item;
                match item {
                    IndexItem::Slice { start, end, .. } => IndexItem::Slice { start, end, step },
                    other => other,
                }
            }
        }
    )*};
}

fn slice<B: Backend>(start: Option<isize>, end: Option<isize>) -> IndexItem<B> {
    IndexItem::Slice { start, end, step: 1 }
}

item_from! {
    RangeFull: _r => slice(None, None);
    Range<isize>: r => slice(Some(r.start), Some(r.end));
    RangeFrom<isize>: r => slice(Some(r.start), None);
    RangeTo<isize>: r => slice(None, Some(r.end));
    RangeInclusive<isize>: r => slice(Some(*r.start()), after(*r.end()));
    RangeToInclusive<isize>: r => slice(None, after(r.end));
}

/// The end of a range that includes `last`; the range `..= -1` reaches to the end.
fn after(last: isize) -> Option<isize> {
    (last != -1).then_some(last + 1)
}

macro_rules! item_from_one {
    ($($ty:ty: $value:ident => $item:expr;)*) => {$(
        impl<B: Backend> From<$ty> for IndexItem<B> {
            fn from($value: $ty) -> Self {
                $item
            }
        }
    )*};
}

item_from_one! {
    isize: at => IndexItem::At(at);
    NewAxis: _axis => IndexItem::NewAxis;
    Ellipsis: _dots => IndexItem::Ellipsis;
    Tensor<B>: index => IndexItem::Tensor(index);
    &Tensor<B>: index => IndexItem::Tensor(index.clone());
}

/// What `i` and `set` take: one part, or a tuple of up to six.
pub trait IntoIndex<B: Backend> {
    /// The parts, in order.
    fn into_index(self) -> Vec<IndexItem<B>>;
}

impl<B: Backend, T: Into<IndexItem<B>>> IntoIndex<B> for T {
    fn into_index(self) -> Vec<IndexItem<B>> {
        vec![self.into()]
    }
}

impl<B: Backend> IntoIndex<B> for Vec<IndexItem<B>> {
    fn into_index(self) -> Vec<IndexItem<B>> {
        self
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<B: Backend, $($name: Into<IndexItem<B>>),*> IntoIndex<B> for ($($name,)*) {
            #[allow(non_snake_case, reason = "variables are named like their types")]
            fn into_index(self) -> Vec<IndexItem<B>> {
                let ($($name,)*) = self;
                vec![$($name.into()),*]
            }
        }
    )*};
}
tuples! { (P0) (P0 P1) (P0 P1 P2) (P0 P1 P2 P3) (P0 P1 P2 P3 P4) (P0 P1 P2 P3 P4 P5) }

impl<B: Backend> Tensor<B> {
    /// The elements that an index names. Positions, ranges, [`NewAxis`] and [`Ellipsis`] give a view;
    /// index tensors and masks give a copy, with NumPy's rules where several meet.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::{Ellipsis, Step, Tensor};
    /// let x = Tensor::<Cpu>::from_slice(&[0i64, 1, 2, 3, 4, 5], [2, 3], &CpuDevice);
    /// assert_eq!(x.i((1, 2)).to_vec::<i64>(), [5]);
    /// assert_eq!(x.i((.., -1)).to_vec::<i64>(), [2, 5]);
    /// assert_eq!(x.i((0, Step(.., 2))).to_vec::<i64>(), [0, 2]);
    /// assert_eq!(x.i((Ellipsis, 1..)).shape(), &[2, 2]);
    /// assert_eq!(x.i(x.gt(2)).to_vec::<i64>(), [3, 4, 5]);
    /// ```
    ///
    /// # Panics
    /// If a position is out of range, there are more parts than dimensions, a mask has another shape
    /// than what it selects from, or index tensors do not broadcast.
    #[track_caller]
    pub fn i(&self, index: impl IntoIndex<B>) -> Self {
        let (view, tensors) = self.basic(index.into_index());
        if tensors.iter().all(Option::is_none) { view } else { view.advanced(tensors).0 }
    }

    /// Overwrites the elements that an index names with `value`, a tensor that broadcasts to them or
    /// a number: `x[index] = value`. Where an index tensor names an element twice, one of the values
    /// stays.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let x = Tensor::<Cpu>::from_slice(&[1i64, 2, 3, 4], [2, 2], &CpuDevice);
    /// x.set((.., 0), 0);
    /// assert_eq!(x.to_vec::<i64>(), [0, 2, 0, 4]);
    /// x.set(x.eq(0), 7);
    /// assert_eq!(x.to_vec::<i64>(), [7, 2, 7, 4]);
    /// ```
    ///
    /// # Panics
    /// As [`Tensor::i`]; also if the value does not broadcast or this tensor may not be written to in
    /// place.
    #[track_caller]
    pub fn set(&self, index: impl IntoIndex<B>, value: impl super::Operand<B>) -> Self {
        self.put(index, value, ScatterOp::Set)
    }

    /// Adds `value` to the elements that an index names, once for each time that an index tensor
    /// names them: `x.index_put_(index, value, accumulate=True)`.
    ///
    /// # Panics
    /// As [`Tensor::set`].
    #[track_caller]
    pub fn accumulate(&self, index: impl IntoIndex<B>, value: impl super::Operand<B>) -> Self {
        self.put(index, value, ScatterOp::Add)
    }

    #[track_caller]
    fn put(&self, index: impl IntoIndex<B>, value: impl super::Operand<B>, op: ScatterOp) -> Self {
        let (view, tensors) = self.basic(index.into_index());
        let value = match value.term() {
            super::Term::Tensor(value) => value.to_dtype(self.dtype()),
            super::Term::Scalar(value) => Tensor::full((), value, (self.device(), self.dtype())),
        };
        if tensors.iter().all(Option::is_none) {
            match op {
                ScatterOp::Add => view.add_(&value),
                _ => view.copy_(&value),
            };
            return self.clone();
        }
        let (places, shape) = view.places(tensors);
        let source = value.expand(shape).reshape([-1]);
        let flat = B::scatter(op, &view.reshape([-1]), 0, &places.reshape([-1]), &source);
        view.copy_(&flat.reshape_to(view.shape()));
        self.clone()
    }

    /// Applies the parts that are views. What remains is one entry per dimension of the view: an index
    /// tensor, or nothing.
    #[track_caller]
    fn basic(&self, items: Vec<IndexItem<B>>) -> (Self, Vec<Option<Self>>) {
        let taken = |item: &IndexItem<B>| match item {
            IndexItem::NewAxis | IndexItem::Ellipsis => 0,
            IndexItem::Tensor(mask) if mask.dtype() == DType::Bool => mask.rank(),
            _ => 1,
        };
        let wanted: usize = items.iter().map(taken).sum();
        let dots = items.iter().filter(|item| matches!(item, IndexItem::Ellipsis)).count();
        if wanted > self.rank() || dots > 1 {
            raise(Error::Index {
                op: "index",
                what: "number of parts",
                index: wanted as i64,
                size: self.rank(),
                shape: self.shape().clone(),
                called: None,
            });
        }
        let mut x = self.clone();
        let mut tensors: Vec<Option<Self>> = Vec::new();
        for item in items {
            let dim = tensors.len();
            match item {
                IndexItem::At(at) => x = x.at(dim, at),
                IndexItem::Slice { start, end, step } => {
                    x = x.sliced(dim, start, end, step);
                    tensors.push(None);
                }
                IndexItem::NewAxis => {
                    x = x.unsqueeze(dim as isize);
                    tensors.push(None);
                }
                IndexItem::Ellipsis => tensors.extend((wanted..self.rank()).map(|_| None)),
                IndexItem::Tensor(index) if index.dtype() == DType::Bool => {
                    tensors.extend(x.mask_positions(dim, &index).into_iter().map(Some));
                }
                IndexItem::Tensor(index) => tensors.push(Some(x.positions(dim, &index))),
            }
        }
        tensors.resize(x.rank(), None);
        (x, tensors)
    }

    #[track_caller]
    fn at(&self, dim: usize, at: isize) -> Self {
        let size = self.dims()[dim];
        let start = if at < 0 { at + size as isize } else { at };
        if start < 0 || start >= size as isize {
            raise(Error::Index {
                op: "index",
                what: "index",
                index: at as i64,
                size,
                shape: self.shape().clone(),
                called: None,
            });
        }
        let slice = ViewOp::Slice { dim, start: start as usize, len: 1, step: 1 };
        self.view_as_op(&slice).squeeze(dim as isize)
    }

    #[track_caller]
    fn sliced(&self, dim: usize, start: Option<isize>, end: Option<isize>, step: usize) -> Self {
        if step == 0 {
            raise(Error::Argument { op: "index", why: "a step of 0 goes nowhere".into() });
        }
        let (start, end) = normal_bounds(self.dims()[dim], start, end);
        let len = end.saturating_sub(start).div_ceil(step);
        if (start, len, step) == (0, self.dims()[dim], 1) {
            return self.clone();
        }
        self.view_as_op(&ViewOp::Slice { dim, start, len, step: step as isize })
    }

    /// An index tensor as `i64` positions that are not negative.
    #[track_caller]
    fn positions(&self, dim: usize, index: &Self) -> Self {
        self.same_device("index", index);
        if !index.dtype().is_int() {
            raise(Error::DType {
                op: "index",
                dtypes: vec![index.dtype()],
                why: "index tensors are integers, or bools as masks".into(),
            });
        }
        let index = index.detach().to_dtype(DType::I64);
        let size = self.dims()[dim] as i64;
        // Positions are checked where they are used; only the sign is settled here.
        &index + index.lt(0).to_dtype(DType::I64) * size
    }

    /// The positions of a mask's true elements, one tensor per dimension of the mask.
    #[track_caller]
    fn mask_positions(&self, dim: usize, mask: &Self) -> Vec<Self> {
        self.same_device("index", mask);
        if !self.dims()[dim..].starts_with(mask.dims()) || mask.rank() == 0 {
            raise(Error::Shape {
                op: "index",
                shapes: vec![self.shape().clone(), mask.shape().clone()],
                why: "a mask has the shape of the dims that it selects from".into(),
            });
        }
        let found = B::nonzero(&mask.detach());
        (0..mask.rank()).map(|d| found.narrow(1, d, 1).squeeze(1)).collect()
    }

    /// The elements that index tensors name, and the shape that those broadcast to.
    #[track_caller]
    fn advanced(&self, tensors: Vec<Option<Self>>) -> (Self, Shape) {
        let indexed: Vec<usize> = (0..self.rank()).filter(|&d| tensors[d].is_some()).collect();
        let kept: Vec<usize> = (0..self.rank()).filter(|&d| tensors[d].is_none()).collect();
        let order: Vec<isize> = indexed.iter().chain(&kept).map(|&d| d as isize).collect();
        let front = self.permute(order);
        let sizes: Shape = indexed.iter().map(|&d| self.dims()[d]).collect();
        let (flat, shape) = combined(&sizes, indexed.iter().filter_map(|&d| tensors[d].clone()));
        let rest: Shape = kept.iter().map(|&d| self.dims()[d]).collect();
        let rows = front.reshape_to(&[&[sizes.numel()], &rest[..]].concat().into());
        let picked = B::index_select(&rows, 0, &flat.reshape([-1]));
        let picked = picked.reshape_to(&[&shape[..], &rest[..]].concat().into());
        // Neighbouring index tensors leave their dims in place; others go to the front.
        let first = indexed[0];
        let neighbours = indexed.iter().enumerate().all(|(i, &d)| d == first + i);
        let lead = if neighbours { first } else { 0 };
        let (broadcast, rank) = (shape.rank(), picked.rank());
        let back = (broadcast..broadcast + lead).chain(0..broadcast).chain(broadcast + lead..rank);
        (picked.permute(back.map(|d| d as isize).collect::<Vec<_>>()), shape)
    }

    /// The row-major numbers of the elements that index tensors name.
    #[track_caller]
    fn places(&self, tensors: Vec<Option<Self>>) -> (Self, Shape) {
        let numbers: Vec<i64> = (0..self.numel() as i64).collect();
        let numbers = Tensor::from_slice(&numbers, self.shape(), self.device());
        let (places, _) = numbers.advanced(tensors);
        let shape = places.shape().clone();
        (places, shape)
    }
}

/// Several index tensors as one over the flattened dimensions, checked against each size.
#[track_caller]
fn combined<B: Backend>(
    sizes: &Shape,
    tensors: impl Iterator<Item = Tensor<B>> + Clone,
) -> (Tensor<B>, Shape) {
    let mut shape = Shape::scalar();
    for index in tensors.clone() {
        shape = match shape.broadcast(index.shape()) {
            Some(shape) => shape,
            None => raise(Error::Shape {
                op: "index",
                shapes: tensors.clone().map(|t| t.shape().clone()).collect(),
                why: "index tensors must broadcast together".into(),
            }),
        };
    }
    let mut flat: Option<Tensor<B>> = None;
    for (index, &size) in tensors.zip(sizes.iter()) {
        check(&index, size, sizes);
        flat = Some(match flat {
            Some(flat) => flat * size as i64 + &index,
            None => index,
        });
    }
    let flat = flat.expect("at least one index tensor");
    (flat.expand(shape.clone()).contiguous(), shape)
}

/// Requires that all positions are inside: combined with others, one outside could land inside.
#[track_caller]
fn check<B: Backend>(index: &Tensor<B>, size: usize, sizes: &Shape) {
    let outside = index.lt(0).logical_or(index.ge(size));
    let found = B::nonzero(&outside.reshape([-1]));
    if found.dims()[0] > 0 {
        let at = found.to_vec::<i64>()[0] as usize;
        let value = index.reshape([-1]).to_vec::<i64>()[at];
        raise(Error::Index {
            op: "index",
            what: "index",
            index: value,
            size,
            shape: sizes.clone(),
            called: None,
        });
    }
}
