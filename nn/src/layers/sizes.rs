//! One size for every spatial dimension, or one each.

use std::fmt;

use crate::python;

/// Sizes of `N` spatial dimensions: a number stands for all of them, an array gives each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes<const N: usize> {
    /// The same in every dimension.
    All(usize),
    /// One for each, outermost first.
    Each([usize; N]),
}

impl<const N: usize> Sizes<N> {
    /// One for each.
    pub fn each(self) -> [usize; N] {
        match self {
            Sizes::All(size) => [size; N],
            Sizes::Each(sizes) => sizes,
        }
    }
}

impl<const N: usize> From<usize> for Sizes<N> {
    fn from(size: usize) -> Self {
        Sizes::All(size)
    }
}

impl<const N: usize> From<[usize; N]> for Sizes<N> {
    fn from(sizes: [usize; N]) -> Self {
        Sizes::Each(sizes)
    }
}

impl From<(usize, usize)> for Sizes<2> {
    fn from((height, width): (usize, usize)) -> Self {
        Sizes::Each([height, width])
    }
}

impl From<(usize, usize, usize)> for Sizes<3> {
    fn from((depth, height, width): (usize, usize, usize)) -> Self {
        Sizes::Each([depth, height, width])
    }
}

/// The name of a layer over `dims` spatial dimensions, of the names for one, two and three.
pub(super) fn named(names: [&'static str; 3], dims: usize) -> &'static str {
    names.get(dims.wrapping_sub(1)).copied().unwrap_or("a layer over other than 1 to 3 dimensions")
}

/// As it was given: `2` or `(2, 3)`.
impl<const N: usize> fmt::Display for Sizes<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sizes::All(size) => write!(f, "{size}"),
            Sizes::Each(sizes) => f.write_str(&python::tuple(sizes)),
        }
    }
}
