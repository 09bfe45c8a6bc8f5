//! Walking over several strided layouts of one shape, a row at a time.

use std::ops::Range;

use kiln_tensor_core::Strides;
use smallvec::SmallVec;

use super::strides::advance;

/// One shape and `N` ways to lay it out. Neighbouring dimensions that every layout walks through
/// evenly are merged, so rows are as long as can be.
#[derive(Clone, Debug)]
pub(crate) struct Walk<const N: usize> {
    sizes: SmallVec<[usize; 6]>,
    strides: SmallVec<[[isize; N]; 6]>,
    /// Size of a row and the strides in it.
    pub(crate) len: usize,
    pub(crate) step: [isize; N],
}

impl<const N: usize> Walk<N> {
    pub(crate) fn new(shape: &[usize], strides: [&[isize]; N]) -> Self {
        let mut sizes: SmallVec<[usize; 6]> = SmallVec::new();
        let mut steps: SmallVec<[[isize; N]; 6]> = SmallVec::new();
        for (dim, &size) in shape.iter().enumerate() {
            let step = strides.map(|s| s[dim]);
            if size == 1 {
                continue;
            }
            match (sizes.last_mut(), steps.last_mut()) {
                (Some(len), Some(outer))
                    if (0..N).all(|n| outer[n] == step[n] * size as isize) && *len > 0 =>
                {
                    *len *= size;
                    *outer = step;
                }
                _ => {
                    sizes.push(size);
                    steps.push(step);
                }
            }
        }
        let len = sizes.pop().unwrap_or(1);
        let step = steps.pop().unwrap_or([0; N]);
        Walk { sizes, strides: steps, len, step }
    }

    /// How many rows there are.
    pub(crate) fn rows(&self) -> usize {
        self.sizes.iter().product()
    }

    /// Calls `f` with the position of each row's first element in every layout, in row-major order.
    pub(crate) fn each(&self, rows: Range<usize>, mut f: impl FnMut([isize; N])) {
        if rows.is_empty() {
            return;
        }
        let mut index: SmallVec<[usize; 6]> = SmallVec::from_elem(0, self.sizes.len());
        let mut at = [0isize; N];
        let mut rest = rows.start;
        for dim in (0..self.sizes.len()).rev() {
            index[dim] = rest % self.sizes[dim];
            rest /= self.sizes[dim];
            (0..N).for_each(|n| at[n] += index[dim] as isize * self.strides[dim][n]);
        }
        for row in rows.clone() {
            f(at);
            if row + 1 == rows.end {
                break;
            }
            advance(&self.sizes, &mut index, |dim, by| {
                (0..N).for_each(|n| at[n] += by * self.strides[dim][n]);
            });
        }
    }
}

/// The strides with that of `dim` set to 0.
pub(crate) fn without(strides: &[isize], dim: usize) -> Strides {
    let mut strides: Strides = strides.into();
    strides[dim] = 0;
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_in_order_from_any_start() {
        let walk = Walk::new(&[2, 3, 5], [&[15, 5, 1], &[1, 11, 2]]);
        assert_eq!((walk.rows(), walk.len, walk.step), (6, 5, [1, 2]));
        let mut all = Vec::new();
        walk.each(0..6, |at| all.push(at));
        assert_eq!(all, [[0, 0], [5, 11], [10, 22], [15, 1], [20, 12], [25, 23]]);
        let mut tail = Vec::new();
        walk.each(4..6, |at| tail.push(at));
        assert_eq!(tail, all[4..]);
    }

    #[test]
    fn even_dimensions_merge() {
        let walk = Walk::new(&[2, 1, 3, 5], [&[15, 7, 5, 1], &[30, 0, 10, 2]]);
        assert_eq!((walk.rows(), walk.len, walk.step), (1, 30, [1, 2]));
        assert_eq!(Walk::new(&[], [&[]; 1]).rows(), 1);
        assert_eq!(Walk::new(&[2, 0], [&[0, 1]; 1]).len, 0);
    }
}
