//! How elements lie in a storage: sizes, strides and an offset. Views are computed here, nowhere else.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::Shape;

/// Strides in elements, negative for flipped dimensions.
pub type Strides = SmallVec<[isize; 6]>;

/// Which element of the storage each index of a tensor means: `offset + Σ index[i]·strides[i]`.
/// A cheap handle: a tensor that is wrapped, saved or recorded shares its layout.
#[derive(Clone)]
pub struct Layout(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    shape: Shape,
    strides: Strides,
    offset: usize,
    contiguous: bool,
}

impl PartialEq for Layout {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Eq for Layout {}

impl Hash for Layout {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { shape, strides, offset, .. } = &*self.0;
        write!(f, "{shape} with strides {:?} from {offset}", &strides[..])
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
        Layout::contiguous_from(shape.into(), 0)
    }

    fn contiguous_from(shape: Shape, offset: usize) -> Self {
        let strides = row_major(&shape);
        Layout(Arc::new(Parts { shape, strides, offset, contiguous: true }))
    }

    /// A layout of explicit parts.
    ///
    /// # Panics
    /// If `shape` and `strides` have different lengths.
    pub fn new(shape: Shape, strides: Strides, offset: usize) -> Self {
        assert_eq!(shape.rank(), strides.len(), "Layout: one stride per dimension");
        let contiguous = is_row_major(&shape, &strides);
        Layout(Arc::new(Parts { shape, strides, offset, contiguous }))
    }

    /// Sizes.
    pub fn shape(&self) -> &Shape {
        &self.0.shape
    }

    /// Strides, in elements.
    pub fn strides(&self) -> &[isize] {
        &self.0.strides
    }

    /// The storage's element that index `[0, 0, …]` means.
    pub fn offset(&self) -> usize {
        self.0.offset
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.shape.rank()
    }

    /// Number of elements that the layout names (an expanded element counts each time).
    pub fn numel(&self) -> usize {
        self.0.shape.numel()
    }

    /// Whether the elements lie in row-major order without gaps, from `offset` on.
    pub fn is_contiguous(&self) -> bool {
        self.0.contiguous
    }

    /// Whether two indices may mean one element (strides of 0, overlapping windows): such a tensor
    /// must not be written to. Errs on the side of `true`.
    pub fn may_overlap(&self) -> bool {
        if self.numel() <= 1 {
            return false;
        }
        let mut dims: SmallVec<[(usize, usize); 6]> = self
            .pairs()
            .filter(|&(size, _)| size > 1)
            .map(|(size, stride)| (stride.unsigned_abs(), size))
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
        let (mut low, mut high) = (self.offset() as isize, self.offset() as isize);
        for (size, stride) in self.pairs() {
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
        for (i, (size, stride)) in self.pairs().enumerate() {
            strides[lead + i] = match shape[lead + i] {
                to if to == size => stride,
                _ if size == 1 => 0,
                _ => return None,
            };
        }
        Some(Layout::new(shape.into(), strides, self.offset()))
    }

    fn pairs(&self) -> impl DoubleEndedIterator<Item = (usize, isize)> + '_ {
        self.shape().iter().copied().zip(self.strides().iter().copied())
    }

    fn parts(&self) -> (Shape, Strides, usize) {
        (self.shape().clone(), SmallVec::from_slice(self.strides()), self.offset())
    }

    fn reshape(&self, to: &Shape) -> Option<Layout> {
        if to.numel() != self.numel() {
            return None;
        }
        if self.is_contiguous() || self.numel() == 0 {
            return Some(Layout::contiguous_from(to.clone(), self.offset()));
        }
        // Merge neighbours that lie row-major into runs, then cut the runs into the new sizes.
        let mut runs: SmallVec<[(usize, isize); 6]> = SmallVec::new();
        for (size, stride) in self.pairs().filter(|&(size, _)| size != 1) {
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
        Some(Layout::new(to.clone(), strides, self.offset()))
    }

    fn permute(&self, perm: &[usize]) -> Option<Layout> {
        if perm.len() != self.rank() || !(0..perm.len()).all(|d| perm.contains(&d)) {
            return None;
        }
        let shape = perm.iter().map(|&d| self.shape()[d]).collect();
        let strides = perm.iter().map(|&d| self.strides()[d]).collect();
        Some(Layout::new(shape, strides, self.offset()))
    }

    fn slice(&self, dim: usize, start: usize, len: usize, step: isize) -> Option<Layout> {
        let size = *self.shape().get(dim)? as isize;
        if len > 0 {
            let last = step.checked_mul(len as isize - 1)?.checked_add(start as isize)?;
            if start as isize >= size || !(0..size).contains(&last) {
                return None;
            }
        }
        let (mut shape, mut strides, mut offset) = self.parts();
        shape[dim] = len;
        if len > 0 {
            offset = (self.offset() as isize + start as isize * self.strides()[dim]) as usize;
        }
        if len > 1 {
            strides[dim] *= step;
        }
        Some(Layout::new(shape, strides, offset))
    }

    fn diagonal(&self, above: isize, dim1: usize, dim2: usize) -> Option<Layout> {
        let (rows, cols) = (*self.shape().get(dim1)?, *self.shape().get(dim2)?);
        if dim1 == dim2 {
            return None;
        }
        let (row, col) = if above < 0 { (above.unsigned_abs(), 0) } else { (0, above as usize) };
        let len = rows.saturating_sub(row).min(cols.saturating_sub(col));
        let (s1, s2) = (self.strides()[dim1], self.strides()[dim2]);
        let (mut shape, mut strides, mut offset) = self.parts();
        for dim in [dim1.max(dim2), dim1.min(dim2)] {
            shape.remove(dim);
            strides.remove(dim);
        }
        shape.push(len);
        strides.push(s1 + s2);
        if len > 0 {
            offset = (self.offset() as isize + row as isize * s1 + col as isize * s2) as usize;
        }
        Some(Layout::new(shape, strides, offset))
    }

    fn unfold(&self, dim: usize, size: usize, step: usize) -> Option<Layout> {
        let len = *self.shape().get(dim)?;
        if size > len || step == 0 {
            return None;
        }
        let (mut shape, mut strides, offset) = self.parts();
        let stride = self.strides()[dim];
        shape[dim] = (len - size) / step + 1;
        strides[dim] = stride * step as isize;
        shape.push(size);
        strides.push(stride);
        Some(Layout::new(shape, strides, offset))
    }
}

fn row_major(shape: &[usize]) -> Strides {
    let mut strides: Strides = smallvec::smallvec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i].wrapping_mul(shape[i].max(1) as isize);
    }
    strides
}

fn is_row_major(shape: &[usize], strides: &[isize]) -> bool {
    if shape.contains(&0) {
        return true;
    }
    let mut expected = 1isize;
    for (&size, &stride) in shape.iter().zip(strides).rev() {
        if size != 1 {
            if stride != expected {
                return false;
            }
            expected *= size as isize;
        }
    }
    true
}
