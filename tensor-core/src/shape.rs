//! Sizes of dimensions, without heap up to rank 6.

use std::fmt;
use std::ops::{Deref, DerefMut};

use smallvec::SmallVec;

/// The sizes of a tensor's dimensions, outermost first. Dereferences to `[usize]`.
#[derive(Default, PartialEq, Eq, Hash)]
pub struct Shape(SmallVec<[usize; 6]>);

impl Clone for Shape {
    // The derived form copies element by element.
    #[inline]
    fn clone(&self) -> Self {
        Shape(SmallVec::from_slice(&self.0))
    }
}

impl Shape {
    /// The shape of a 0-d tensor: no dimension, one element.
    pub fn scalar() -> Self {
        Shape::default()
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Number of elements: the product of all sizes, 1 for rank 0. Saturates instead of overflowing.
    pub fn numel(&self) -> usize {
        if self.0.contains(&0) { 0 } else { self.0.iter().fold(1, |n, &d| n.saturating_mul(d)) }
    }

    /// Appends a dimension.
    pub fn push(&mut self, size: usize) {
        self.0.push(size);
    }

    /// Inserts a dimension before `dim`.
    pub fn insert(&mut self, dim: usize, size: usize) {
        self.0.insert(dim, size);
    }

    /// Removes dimension `dim` and returns its size.
    pub fn remove(&mut self, dim: usize) -> usize {
        self.0.remove(dim)
    }

    /// This shape with the size of `dim` replaced.
    pub fn with(&self, dim: usize, size: usize) -> Shape {
        let mut shape = self.clone();
        shape[dim] = size;
        shape
    }

    /// The shape that two operands broadcast to, by NumPy's rule (aligned at the last dimension,
    /// sizes equal or 1), or `None` where they do not.
    ///
    /// ```
    /// use kiln_tensor_core::Shape;
    /// let (a, b) = (Shape::from([2, 1, 5]), Shape::from([3, 1]));
    /// assert_eq!(a.broadcast(&b), Some(Shape::from([2, 3, 5])));
    /// ```
    pub fn broadcast(&self, other: &[usize]) -> Option<Shape> {
        if self[..] == *other {
            return Some(self.clone());
        }
        let rank = self.rank().max(other.len());
        let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |j| s[j]);
        (0..rank)
            .map(|i| match (at(self, i), at(other, i)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect()
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl DerefMut for Shape {
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.0
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(iter: I) -> Self {
        Shape(iter.into_iter().collect())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(sizes: [usize; N]) -> Self {
        Shape(SmallVec::from_slice(&sizes))
    }
}

impl<const N: usize> From<&[usize; N]> for Shape {
    fn from(sizes: &[usize; N]) -> Self {
        Shape(SmallVec::from_slice(sizes))
    }
}

impl From<&[usize]> for Shape {
    fn from(sizes: &[usize]) -> Self {
        Shape(SmallVec::from_slice(sizes))
    }
}

impl From<Vec<usize>> for Shape {
    fn from(sizes: Vec<usize>) -> Self {
        Shape(sizes.into())
    }
}

impl From<usize> for Shape {
    fn from(size: usize) -> Self {
        Shape::from([size])
    }
}

impl From<()> for Shape {
    fn from((): ()) -> Self {
        Shape::scalar()
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Self {
        shape.clone()
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self[..] == other[..]
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        self[..] == *other
    }
}

/// Prints as PyTorch does: `[2, 3]`.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0[..])
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0[..])
    }
}
