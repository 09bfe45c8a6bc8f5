//! Indexing: `x.i((1, 2..5, .., &mask))`, and writing through an index. The rules are those of `x[…]` in
//! PyTorch.

mod item;
mod replace;

use std::borrow::Cow;

pub use item::{Ellipsis, IndexItem, IntoIndex, NewAxis, Step};

use super::views::normal_bounds;
use crate::{Backend, DType, Error, Scalar, ScatterOp, Shape, Tensor, ViewOp, raise};

impl<B: Backend> Tensor<B> {
    /// The elements that an index names: `x[…]`. Positions, ranges, [`NewAxis`] and [`Ellipsis`] give a view;
    /// lists, index tensors and masks give a copy. Index tensors broadcast together; the dimensions that they
    /// have in common stand where they stood, or first, if something else is in between.
    ///
    /// | PyTorch | here |
    /// |---|---|
    /// | `x[1]`, `x[-1, 2]` | `x.i(1)`, `x.i((-1, 2))` |
    /// | `x[:, 1:3]`, `x[:-1]`, `x[::2]` | `x.i((.., 1..3))`, `x.i(..-1)`, `x.i(Step(.., 2))` |
    /// | `x[..., 0]`, `x[:, None]` | `x.i((Ellipsis, 0))`, `x.i((.., NewAxis))` |
    /// | `x[[0, 2]]`, `x[idx, :, idx2]` | `x.i([0, 2])`, `x.i((&idx, .., &idx2))` |
    /// | `x[x > 0]`, `x[:, mask]` | `x.i(x.gt(0))`, `x.i((.., &mask))` |
    /// | `x[1:] = y`, `x[mask] = 0` | `x.set(1.., &y)`, `x.set(&mask, 0)` |
    /// | `x.index_put_((idx,), y, accumulate=True)` | `x.accumulate(&idx, &y)` |
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
        if tensors.iter().all(Option::is_none) {
            view
        } else {
            view.advanced(tensors).0.named("index", &[self])
        }
    }

    /// Overwrites the elements that an index names with `value`, a tensor that broadcasts to them or
    /// a number: `x[index] = value`. Where an index tensor names an element twice, the last value
    /// stays. Gradients flow to the value, and to what is not overwritten.
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
        let index = index.into_index();
        let value = match value.term() {
            super::Term::Tensor(value) => {
                self.same_device("index", value);
                value.to_dtype(self.dtype())
            }
            super::Term::Scalar(value) => Tensor::full((), value, (self.device(), self.dtype())),
        };
        if self.requires_grad() || value.requires_grad() {
            // What is recorded is written to the whole, of which others may have taken views.
            let numbers = self.numbers();
            let (view, tensors) = numbers.basic(index);
            let places =
                if tensors.iter().all(Option::is_none) { view } else { view.advanced(tensors).0 };
            let source = spread(&value, places.shape()).reshape([-1]);
            let places = places.reshape([-1]);
            let flat = B::scatter(op, &self.reshape([-1]), 0, &places, &source);
            return self.copy_(&flat.reshape_to(self.shape()));
        }
        let (view, tensors) = self.basic(index);
        if tensors.iter().all(Option::is_none) {
            let value = spread(&value, view.shape());
            match op {
                ScatterOp::Add => view.add_(&value),
                _ => view.copy_(&value),
            };
            return self.clone();
        }
        let (places, _) = view.numbers().advanced(tensors);
        let source = spread(&value, places.shape()).reshape([-1]);
        let flat = B::scatter(op, &view.reshape([-1]), 0, &places.reshape([-1]), &source);
        view.copy_(&flat.reshape_to(view.shape()));
        self.clone()
    }

    /// Applies the parts that are views. What remains is one entry per dimension of the view: an index
    /// tensor, or nothing.
    #[track_caller]
    fn basic(&self, items: Vec<IndexItem<B>>) -> (Self, Vec<Option<Self>>) {
        let taken = |item: &IndexItem<B>| match item {
            IndexItem::NewAxis | IndexItem::Ellipsis | IndexItem::Bool(_) => 0,
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
                IndexItem::At(at) => x = x.select_as("index", dim, at),
                IndexItem::Slice { start, end, step } => {
                    x = x.sliced(dim, start, end, step);
                    tensors.push(None);
                }
                IndexItem::NewAxis => {
                    x = x.unsqueeze(dim as isize);
                    tensors.push(None);
                }
                IndexItem::Ellipsis => tensors.extend((wanted..self.rank()).map(|_| None)),
                IndexItem::Bool(on) => {
                    x = x.unsqueeze(dim as isize);
                    tensors.push(Some(Self::zeros([usize::from(on)], (x.device(), DType::I64))));
                }
                IndexItem::List(list) => {
                    let list: Vec<i64> = list.iter().map(|&at| at as i64).collect();
                    let index = Self::from_slice(&list, list.len(), x.device());
                    tensors.push(Some(x.positions(dim, &index)));
                }
                IndexItem::Tensor(index) if index.rank() == 0 => {
                    x.same_device("index", &index);
                    match index.to_scalar() {
                        Scalar::Bool(on) => {
                            x = x.unsqueeze(dim as isize);
                            let found = Self::zeros([usize::from(on)], (x.device(), DType::I64));
                            tensors.push(Some(found));
                        }
                        Scalar::I64(at) => x = x.select_as("index", dim, at as isize),
                        Scalar::F64(_) => no_index(index.dtype()),
                    }
                }
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
            no_index(index.dtype());
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
        if !self.dims()[dim..].starts_with(mask.dims()) {
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
        let picks = indexed.iter().filter_map(|&d| tensors[d].clone());
        let (flat, shape) = combined(self.shape(), &sizes, picks);
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

    /// The row-major numbers of the elements, in their places.
    fn numbers(&self) -> Self {
        Self::arange(self.numel(), self.device()).reshape_to(self.shape())
    }
}

/// A value broadcast to what is written; leading sizes of 1 too many are passed over, as in PyTorch.
#[track_caller]
fn spread<B: Backend>(value: &Tensor<B>, shape: &Shape) -> Tensor<B> {
    let mut value = Cow::Borrowed(value);
    while value.rank() > shape.rank() && value.dims()[0] == 1 {
        value = Cow::Owned(value.squeeze(0));
    }
    if value.layout().broadcast_to(shape).is_none() {
        raise(Error::Shape {
            op: "index",
            shapes: vec![shape.clone(), value.shape().clone()],
            why: "the value does not broadcast to the elements that are written".into(),
        });
    }
    value.expand(shape)
}

#[cold]
#[track_caller]
fn no_index(dtype: DType) -> ! {
    raise(Error::DType {
        op: "index",
        dtypes: vec![dtype],
        why: "index tensors are integers, or bools as masks".into(),
    })
}

/// Several index tensors as one over the flattened dimensions, checked against each size.
#[track_caller]
fn combined<B: Backend>(
    whole: &Shape,
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
        check(&index, size, whole);
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
fn check<B: Backend>(index: &Tensor<B>, size: usize, whole: &Shape) {
    let outside = index.lt(0).logical_or(index.ge(size));
    let found = B::nonzero(&outside.reshape([-1]));
    if found.dims()[0] > 0 {
        let at = found.to_vec::<i64>()[0] as usize;
        let value = index.reshape([-1]).to_vec::<i64>()[at];
        raise(Error::Index {
            op: "index",
            what: "index",
            // As it was given: counted from the end where it is negative.
            index: if value < 0 { value - size as i64 } else { value },
            size,
            shape: whole.clone(),
            called: None,
        });
    }
}
