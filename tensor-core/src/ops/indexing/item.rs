//! What an index consists of: positions, ranges, new axes, masks, index tensors, alone or in a tuple.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use crate::{Backend, Tensor};

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
    /// Positions as an integer tensor, or a mask as a bool tensor. A number counts as [`IndexItem::At`].
    Tensor(Tensor<B>),
    /// Positions that the program names.
    List(Vec<isize>),
    /// A new dimension of size 1, or 0 if false.
    Bool(bool),
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
    bool: on => IndexItem::Bool(on);
    Vec<isize>: list => IndexItem::List(list);
    &[isize]: list => IndexItem::List(list.to_vec());
    NewAxis: _axis => IndexItem::NewAxis;
    Ellipsis: _dots => IndexItem::Ellipsis;
    Tensor<B>: index => IndexItem::Tensor(index);
    &Tensor<B>: index => IndexItem::Tensor(index.clone());
}

impl<B: Backend, const N: usize> From<[isize; N]> for IndexItem<B> {
    fn from(list: [isize; N]) -> Self {
        IndexItem::List(list.to_vec())
    }
}

/// What `i` and `set` take: one part, or a tuple of up to eight.
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
tuples! {
    (P0) (P0 P1) (P0 P1 P2) (P0 P1 P2 P3) (P0 P1 P2 P3 P4) (P0 P1 P2 P3 P4 P5)
    (P0 P1 P2 P3 P4 P5 P6) (P0 P1 P2 P3 P4 P5 P6 P7)
}
