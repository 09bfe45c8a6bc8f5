//! How operands lie relative to each other: dims merged, strides side by side.

use kiln_tensor_core::{Layout, Strides};
use smallvec::SmallVec;

/// The sizes of dims and each operand's strides over them.
pub(crate) struct Merged {
    pub(crate) sizes: SmallVec<[usize; 6]>,
    pub(crate) strides: SmallVec<[Strides; 4]>,
}

impl Merged {
    /// Operands broadcast to `shape`; dims of size 1 are dropped.
    pub(crate) fn new<'a>(shape: &[usize], operands: impl Iterator<Item = &'a Layout>) -> Self {
        let kept = |d: &usize| shape[*d] != 1;
        let sizes = (0..shape.len()).filter(kept).map(|d| shape[d]).collect();
        let strides = operands.map(|layout| {
            let lead = shape.len() - layout.rank();
            let stride = |d: usize| match d.checked_sub(lead) {
                Some(own) if layout.shape()[own] != 1 => layout.strides()[own],
                _ => 0,
            };
            (0..shape.len()).filter(kept).map(stride).collect()
        });
        Merged { strides: strides.collect(), sizes }
    }

    /// Merges neighbouring dims that every operand passes through as one.
    pub(crate) fn merged(mut self) -> Self {
        let mut to = 0;
        for d in 1..self.sizes.len() {
            let size = self.sizes[d] as isize;
            if self.strides.iter().all(|s| s[to] == s[d] * size) {
                self.sizes[to] *= self.sizes[d];
                self.strides.iter_mut().for_each(|s| s[to] = s[d]);
            } else {
                to += 1;
                self.sizes[to] = self.sizes[d];
                self.strides.iter_mut().for_each(|s| s[to] = s[d]);
            }
        }
        if !self.sizes.is_empty() {
            self.sizes.truncate(to + 1);
            self.strides.iter_mut().for_each(|s| s.truncate(to + 1));
        }
        self
    }

    /// Whether an operand's elements lie in row-major order without gaps.
    pub(crate) fn is_flat(&self, operand: usize) -> bool {
        let mut expected = 1;
        self.sizes.iter().zip(&self.strides[operand]).rev().all(|(&size, &stride)| {
            let fits = stride == expected;
            expected *= size as isize;
            fits
        })
    }
}

/// The distance of element `index` (row-major) from the first, and its position in each dim.
#[inline]
pub(crate) fn locate(
    sizes: &[usize],
    strides: &[isize],
    mut index: usize,
) -> (isize, SmallVec<[usize; 6]>) {
    let mut position: SmallVec<[usize; 6]> = SmallVec::from_elem(0, sizes.len());
    let mut distance = 0;
    for d in (0..sizes.len()).rev() {
        position[d] = index % sizes[d];
        index /= sizes[d];
        distance += position[d] as isize * strides[d];
    }
    (distance, position)
}

/// Goes to the next position in row-major order, and from the last to the first. Tells `moved` each dim
/// that changes and how far, so that whoever holds distances keeps them up.
#[inline(always)]
pub(crate) fn advance(
    sizes: &[usize],
    position: &mut [usize],
    mut moved: impl FnMut(usize, isize),
) {
    for d in (0..sizes.len()).rev() {
        position[d] += 1;
        if position[d] < sizes[d] {
            return moved(d, 1);
        }
        position[d] = 0;
        moved(d, 1 - sizes[d] as isize);
    }
}

/// Calls `f(distance, first, count)` for the pieces of rows (of the last dim) that elements
/// `start..start + len` fall into; `first` counts from 0 within the range.
#[inline]
pub(crate) fn pieces(
    sizes: &[usize],
    strides: &[isize],
    start: usize,
    len: usize,
    mut f: impl FnMut(isize, usize, usize),
) {
    let Some((&row, outer)) = sizes.split_last() else {
        return f(0, 0, len);
    };
    let (mut distance, mut position) = locate(sizes, strides, start);
    let last = sizes.len() - 1;
    let mut done = 0;
    loop {
        let count = (row - position[last]).min(len - done);
        f(distance, done, count);
        done += count;
        if done == len {
            return;
        }
        // The next row: back to its start, then one further in the innermost dim that has room.
        distance -= position[last] as isize * strides[last];
        position[last] = 0;
        advance(outer, &mut position[..last], |d, by| distance += by * strides[d]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_tensor_core::ViewOp;

    #[test]
    fn rows_of_a_transposed_matrix() {
        let layout = Layout::contiguous([2, 3]);
        let turned = layout.view(&ViewOp::Permute([1, 0].as_slice().into())).unwrap();
        let merged = Merged::new(&[3, 2], [&turned].into_iter()).merged();
        assert_eq!(&merged.sizes[..], [3, 2]);
        let mut seen = Vec::new();
        pieces(&merged.sizes, &merged.strides[0], 1, 4, |at, first, count| {
            seen.extend((0..count).map(|i| (first + i, at + i as isize * merged.strides[0][1])));
        });
        assert_eq!(seen, [(0, 3), (1, 1), (2, 4), (3, 2)]);
    }

    #[test]
    fn contiguous_dims_merge() {
        let a = Layout::contiguous([2, 1, 3, 4]);
        let b = Layout::contiguous([1, 1, 4]);
        let merged = Merged::new(&[2, 1, 3, 4], [&a, &b].into_iter()).merged();
        assert_eq!(&merged.sizes[..], [6, 4]);
        assert_eq!(&merged.strides[1][..], [0, 1]);
        assert!(merged.is_flat(0) && !merged.is_flat(1));
    }
}
