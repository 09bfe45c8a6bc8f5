//! Sizes as users write them: any integers, one of which may be −1.

use smallvec::SmallVec;

use crate::Shape;

/// Sizes of dimensions, of which one may be −1: what [`Tensor::view`](crate::Tensor::view) takes. An array, slice or
/// `Vec` of integers of one kind, a [`Shape`], or a tuple
/// where kinds are mixed, as `(n, -1)` with a `usize`; `()` for no dimensions.
pub trait Sizes {
    /// The sizes as one kind of integer.
    fn sizes(self) -> SizeList;
}

/// A few sizes, without an allocation.
pub type SizeList = SmallVec<[isize; 6]>;

/// An integer that may be a size.
pub trait Size: Copy {
    /// This size; what no tensor can have becomes `isize::MIN`, which no tensor has either.
    fn size(self) -> isize;
}

macro_rules! integers {
    ($($ty:ty)*) => {$(
        impl Size for $ty {
            fn size(self) -> isize {
                isize::try_from(self).unwrap_or(isize::MIN)
            }
        }
    )*};
}
integers! { i32 u32 i64 u64 isize usize }

impl<S: Size> Sizes for &[S] {
    fn sizes(self) -> SizeList {
        self.iter().map(|size| size.size()).collect()
    }
}

impl<S: Size, const N: usize> Sizes for [S; N] {
    fn sizes(self) -> SizeList {
        self[..].sizes()
    }
}

impl<S: Size, const N: usize> Sizes for &[S; N] {
    fn sizes(self) -> SizeList {
        self[..].sizes()
    }
}

impl<S: Size> Sizes for Vec<S> {
    fn sizes(self) -> SizeList {
        self[..].sizes()
    }
}

impl<S: Size> Sizes for &Vec<S> {
    fn sizes(self) -> SizeList {
        self[..].sizes()
    }
}

impl Sizes for &Shape {
    fn sizes(self) -> SizeList {
        self[..].sizes()
    }
}

impl Sizes for Shape {
    fn sizes(self) -> SizeList {
        self[..].sizes()
    }
}

/// The one size of a tensor of one dimension.
impl<S: Size> Sizes for S {
    fn sizes(self) -> SizeList {
        [self].sizes()
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: Size),*> Sizes for ($($name,)*) {
            fn sizes(self) -> SizeList {
                #[allow(non_snake_case)]
                let ($($name,)*) = self;
                SizeList::from_slice(&[$($name.size()),*])
            }
        }
    )*};
}
tuples! { () (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) }
