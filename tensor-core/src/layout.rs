//! How elements lie in a storage: sizes, strides and an offset. Views are computed here, nowhere else.

use smallvec::SmallVec;

use crate::Shape;

/// Strides in elements, negative for flipped dimensions.
pub type Strides = SmallVec<[isize; 6]>;

/// Which element of the storage each index of a tensor means: `offset + Σ index[i]·strides[i]`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Layout {
    shape: Shape,
    strides: Strides,
    offset: usize,
}

impl Clone for Layout {
    // The derived form copies strides element by element.
    #[inline]
    fn clone(&self) -> Self {
        let strides = SmallVec::from_slice(&self.strides);
        Layout { shape: self.shape.clone(), strides, offset: self.offset }
    }
}

/// A way to see the same storage differently. `Layout::view` applies one; autograd reads one backwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ViewOp {
    /// Other sizes for the same elements in the same row-major order.
    Reshape(Shape),
    /// `out.shape[i] = in.shape[perm[i]]`.
    Permute(SmallVec<[usize; 6]>),
    /// Broadcasting: sizes of 1 and new leading dimensions repeat with stride 0.
    Expand(Shape),
    /// Elements `start, start + step, …` of `dim`, `len` of them; a negative step walks backwards.
    Slice {
        /// The dimension that is sliced.
        dim: usize,
        /// The first element taken.
        start: usize,
        /// How many are taken.
        len: usize,
        /// Distance between two taken elements.
        step: isize,
    },
    /// The diagonal of `dim1 × dim2`, which are removed; it becomes the last dimension.
    Diagonal {
        /// Above (positive) or below (negative) the main diagonal.
        offset: isize,
        /// Rows.
        dim1: usize,
        /// Columns.
        dim2: usize,
    },
    /// Windows of `size` every `step` elements of `dim`; the window becomes the last dimension.
    Unfold {
        /// The dimension that is cut into windows.
        dim: usize,
        /// Length of a window.
        size: usize,
        /// Distance between the starts of two windows.
        step: usize,
    },
}

impl ViewOp {
    /// The op's name in messages and graphs.
    pub const fn name(&self) -> &'static str {
        match self {
            ViewOp::Reshape(_) => "view",
            ViewOp::Permute(_) => "permute",
            ViewOp::Expand(_) => "expand",
            ViewOp::Slice { .. } => "slice",
            ViewOp::Diagonal { .. } => "diagonal",
            ViewOp::Unfold { .. } => "unfold",
        }
    }
}

impl Layout {
    /// A row-major layout that starts at the storage's first element.
    pub fn contiguous(shape: impl Into<Shape>) -> Self {
        let shape = shape.into();
        let strides = row_major(&shape);
        Layout { shape, strides, offset: 0 }
    }

    /// A layout of explicit parts.
    ///
    /// # Panics
    /// If `shape` and `strides` have different lengths.
    pub fn new(shape: Shape, strides: Strides, offset: usize) -> Self {
        assert_eq!(shape.rank(), strides.len(), "Layout: one stride per dimension");
        Layout { shape, strides, offset }
    }

    /// Sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Strides, in elements.
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// The storage's element that index `[0, 0, …]` means.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// Number of elements that the layout names (an expanded element counts each time).
    pub fn numel(&self) -> usize {
        self.shape.numel()
    }

    /// Whether the elements lie in row-major order without gaps, from `offset` on.
    pub fn is_contiguous(&self) -> bool {
        let mut expected = 1isize;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size == 0 {
                return true;
            }
            if size != 1 {
                if stride != expected {
                    return false;
                }
                expected *= size as isize;
            }
        }
        true
    }

    /// Whether two indices may mean one element (strides of 0, overlapping windows): such a tensor
    /// must not be written to. Errs on the side of `true`.
    pub fn may_overlap(&self) -> bool {
        if self.numel() <= 1 {
            return false;
        }
        let mut dims: SmallVec<[(usize, usize); 6]> = self
            .shape
            .iter()
            .zip(&self.strides)
            .filter(|&(&size, _)| size > 1)
            .map(|(&size, &stride)| (stride.unsigned_abs(), size))
            .collect();
        dims.sort_unstable();
        let mut reach = 0;
        dims.iter().any(|&(stride, size)| {
            let overlaps = stride <= reach;
            reach += stride * (size - 1);
            overlaps
        })
    }

    /// The lowest and highest storage element that the layout names, or `None` when it names none.
    pub fn span(&self) -> Option<(usize, usize)> {
        if self.numel() == 0 {
            return None;
        }
        let (mut low, mut high) = (self.offset as isize, self.offset as isize);
        for (&size, &stride) in self.shape.iter().zip(&self.strides) {
            let reach = (size as isize - 1) * stride;
            if reach < 0 { low += reach } else { high += reach }
        }
        Some((low as usize, high as usize))
    }

    /// The layout that `op` sees, or `None` where no strides can express it (a reshape of memory
    /// that cannot be viewed so) or an index lies outside.
    pub fn view(&self, op: &ViewOp) -> Option<Layout> {
        match op {
            ViewOp::Reshape(shape) => self.reshape(shape),
            ViewOp::Permute(perm) => self.permute(perm),
            ViewOp::Expand(shape) => self.broadcast_to(shape),
            &ViewOp::Slice { dim, start, len, step } => self.slice(dim, start, len, step),
            &ViewOp::Diagonal { offset, dim1, dim2 } => self.diagonal(offset, dim1, dim2),
            &ViewOp::Unfold { dim, size, step } => self.unfold(dim, size, step),
        }
    }

    /// This layout broadcast to `shape` (stride 0 where a size of 1 repeats), or `None` where it
    /// does not broadcast.
    pub fn broadcast_to(&self, shape: &[usize]) -> Option<Layout> {
        let lead = shape.len().checked_sub(self.rank())?;
        let mut strides: Strides = smallvec::smallvec![0; shape.len()];
        for (i, (&size, &stride)) in self.shape.iter().zip(&self.strides).enumerate() {
            strides[lead + i] = match shape[lead + i] {
                to if to == size => stride,
                _ if size == 1 => 0,
                _ => return None,
            };
        }
        Some(Layout { shape: shape.into(), strides, offset: self.offset })
    }

    fn reshape(&self, to: &Shape) -> Option<Layout> {
        if to.numel() != self.numel() {
            return None;
        }
        if self.is_contiguous() || self.numel() == 0 {
            return Some(Layout { offset: self.offset, ..Layout::contiguous(to) });
        }
        // Merge neighbours that lie row-major into runs, then cut the runs into the new sizes.
        let mut runs: SmallVec<[(usize, isize); 6]> = SmallVec::new();
        for (&size, &stride) in self.shape.iter().zip(&self.strides).filter(|&(&size, _)| size != 1)
        {
            match runs.last_mut() {
                Some((len, inner)) if *inner == stride * size as isize => {
                    *len *= size;
                    *inner = stride;
                }
                _ => runs.push((size, stride)),
            }
        }
        let mut strides: Strides = smallvec::smallvec![1; to.rank()];
        let mut dim = to.rank();
        for (mut left, mut stride) in runs.into_iter().rev() {
            while left > 1 {
                dim = dim.checked_sub(1)?;
                if left % to[dim] != 0 {
                    return None;
                }
                strides[dim] = stride;
                stride *= to[dim] as isize;
                left /= to[dim];
            }
        }
        Some(Layout { shape: to.clone(), strides, offset: self.offset })
    }

    fn permute(&self, perm: &[usize]) -> Option<Layout> {
        if perm.len() != self.rank() || !(0..perm.len()).all(|d| perm.contains(&d)) {
            return None;
        }
        Some(Layout {
            shape: perm.iter().map(|&d| self.shape[d]).collect(),
            strides: perm.iter().map(|&d| self.strides[d]).collect(),
            offset: self.offset,
        })
    }

    fn slice(&self, dim: usize, start: usize, len: usize, step: isize) -> Option<Layout> {
        let size = *self.shape.get(dim)? as isize;
        if len > 0 {
            let last = step.checked_mul(len as isize - 1)?.checked_add(start as isize)?;
            if start as isize >= size || !(0..size).contains(&last) {
                return None;
            }
        }
        let mut out = self.clone();
        out.shape[dim] = len;
        if len > 0 {
            out.offset = (self.offset as isize + start as isize * self.strides[dim]) as usize;
        }
        out.strides[dim] *= step;
        Some(out)
    }

    fn diagonal(&self, offset: isize, dim1: usize, dim2: usize) -> Option<Layout> {
        let (rows, cols) = (*self.shape.get(dim1)?, *self.shape.get(dim2)?);
        if dim1 == dim2 {
            return None;
        }
        let (row, col) = if offset < 0 { (offset.unsigned_abs(), 0) } else { (0, offset as usize) };
        let len = rows.saturating_sub(row).min(cols.saturating_sub(col));
        let (s1, s2) = (self.strides[dim1], self.strides[dim2]);
        let mut out = self.clone();
        for dim in [dim1.max(dim2), dim1.min(dim2)] {
            out.shape.remove(dim);
            out.strides.remove(dim);
        }
        out.shape.push(len);
        out.strides.push(s1 + s2);
        if len > 0 {
            out.offset = (self.offset as isize + row as isize * s1 + col as isize * s2) as usize;
        }
        Some(out)
    }

    fn unfold(&self, dim: usize, size: usize, step: usize) -> Option<Layout> {
        let len = *self.shape.get(dim)?;
        if size > len || step == 0 {
            return None;
        }
        let mut out = self.clone();
        let stride = self.strides[dim];
        out.shape[dim] = (len - size) / step + 1;
        out.strides[dim] = stride * step as isize;
        out.shape.push(size);
        out.strides.push(stride);
        Some(out)
    }
}

fn row_major(shape: &[usize]) -> Strides {
    let mut strides: Strides = smallvec::smallvec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].wrapping_mul(shape[i].max(1) as isize);
    }
    strides
}
