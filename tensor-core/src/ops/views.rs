//! Views: other shapes over the same elements.

use super::Sizes;
use crate::{Backend, Error, Shape, Tensor, ViewOp, raise};

impl<B: Backend> Tensor<B> {
    /// The same elements under another shape; one size may be −1, worked out from the others.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// let x = kiln_tensor_core::Tensor::<Cpu>::zeros([2, 3, 4], &CpuDevice);
    /// assert_eq!(*x.view([6, -1]).shape(), [6, 4]);
    /// let n = x.dims()[0];
    /// assert_eq!(*x.view((n, -1)).shape(), [2, 12]); // a tuple where a `usize` meets −1
    /// ```
    ///
    /// # Panics
    /// If the sizes do not have as many elements, or the memory cannot be viewed so (`reshape` copies
    /// then).
    #[track_caller]
    pub fn view(&self, sizes: impl Sizes) -> Self {
        let shape = self.sizes("view", &sizes.sizes());
        self.view_as_op(&ViewOp::Reshape(shape))
    }

    /// Another shape for the same elements in row-major order: a view where memory allows it, else a
    /// copy. One size may be −1, worked out from the others.
    ///
    /// # Panics
    /// If the sizes do not have as many elements.
    #[track_caller]
    pub fn reshape(&self, sizes: impl Sizes) -> Self {
        let shape = self.sizes("reshape", &sizes.sizes());
        self.reshape_to(&shape)
    }

    /// `reshape` to a shape without −1.
    #[track_caller]
    pub fn reshape_to(&self, shape: &Shape) -> Self {
        if self.shape() == shape {
            return self.clone();
        }
        let op = ViewOp::Reshape(shape.clone());
        if shape.numel() != self.numel() || self.layout().view(&op).is_some() {
            return self.view_as_op(&op);
        }
        self.copy().view_as_op(&op)
    }

    #[track_caller]
    fn sizes(&self, op: &'static str, sizes: &[isize]) -> Shape {
        match inferred(self.numel(), sizes) {
            Some(shape) => shape,
            None => raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone()],
                why: format!("{} elements cannot have sizes {sizes:?}", self.numel()),
            }),
        }
    }

    /// Dimensions in another order: `out.shape[i] = self.shape[dims[i]]`.
    ///
    /// # Panics
    /// If `dims` is not a permutation of the dimensions.
    #[track_caller]
    pub fn permute(&self, dims: impl AsRef<[isize]>) -> Self {
        let perm = self.positions_of("permute", dims.as_ref()).into();
        self.view_as_op(&ViewOp::Permute(perm))
    }

    /// Two dimensions swapped.
    ///
    /// # Panics
    /// If there is no such dimension.
    #[track_caller]
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Self {
        let (a, b) = (self.dim_of_vector("transpose", dim0), self.dim_of_vector("transpose", dim1));
        if a == b {
            return self.clone();
        }
        let mut perm: smallvec::SmallVec<[usize; 6]> = (0..self.rank()).collect();
        perm.swap(a, b);
        self.view_as_op(&ViewOp::Permute(perm)).named("transpose", &[self])
    }

    /// The transpose of a matrix.
    ///
    /// # Panics
    /// If this has more than two dimensions.
    #[track_caller]
    pub fn t(&self) -> Self {
        match self.rank() {
            0 | 1 => self.clone(),
            2 => self.transpose(0, 1).named("t", &[self]),
            _ => raise(Error::Shape {
                op: "t",
                shapes: vec![self.shape().clone()],
                why: "a matrix is wanted; `transpose(dim0, dim1)` swaps dims of any tensor".into(),
            }),
        }
    }

    /// Elements `start .. start + len` of `dim`.
    ///
    /// # Panics
    /// If they lie outside.
    #[track_caller]
    pub fn narrow(&self, dim: isize, start: usize, len: usize) -> Self {
        let at = self.dim("narrow", dim);
        if start.checked_add(len).is_none_or(|end| end > self.dims()[at]) {
            raise(Error::Index {
                op: "narrow",
                what: "end",
                index: start.saturating_add(len) as i64,
                size: self.dims()[at],
                shape: self.shape().clone(),
                called: None,
            });
        }
        self.view_as_op(&ViewOp::Slice { dim: at, start, len, step: 1 })
    }

    /// Sizes of 1, and new leading dimensions, repeated without copying; −1 leaves a size as it is.
    ///
    /// # Panics
    /// If another size than 1 would have to change, or a new dimension has no size.
    #[track_caller]
    pub fn expand(&self, sizes: impl Sizes) -> Self {
        let sizes = sizes.sizes();
        let new = sizes.len().saturating_sub(self.rank());
        let size = |(at, &size): (usize, &isize)| match usize::try_from(size) {
            Ok(size) => Some(size),
            Err(_) if size == -1 && at >= new => Some(self.dims()[at - new]),
            Err(_) => None,
        };
        match sizes.iter().enumerate().map(size).collect::<Option<Shape>>() {
            Some(shape) => self.view_as_op(&ViewOp::Expand(shape)),
            None => raise(Error::Shape {
                op: "expand",
                shapes: vec![self.shape().clone()],
                why: format!("{:?} are no sizes: −1 stands for a size that is there", &sizes[..]),
            }),
        }
    }

    /// A new dimension of size 1 before `dim` (−1: at the end).
    ///
    /// # Panics
    /// If `dim` is out of range.
    #[track_caller]
    pub fn unsqueeze(&self, dim: isize) -> Self {
        let at = self.dim_below("unsqueeze", dim, self.rank() + 1);
        let mut shape = self.shape().clone();
        shape.insert(at, 1);
        self.view_as_op(&ViewOp::Reshape(shape)).named("unsqueeze", &[self])
    }

    /// Without dimension `dim`, if its size is 1.
    ///
    /// # Panics
    /// If there is no such dimension.
    #[track_caller]
    pub fn squeeze(&self, dim: isize) -> Self {
        let at = self.dim_of_vector("squeeze", dim);
        if self.dims().get(at) != Some(&1) {
            return self.clone();
        }
        let mut shape = self.shape().clone();
        shape.remove(at);
        self.view_as_op(&ViewOp::Reshape(shape)).named("squeeze", &[self])
    }

    /// All elements of dimensions `start_dim ..= end_dim` in one dimension.
    ///
    /// # Panics
    /// If a dimension is out of range or they are in the wrong order.
    #[track_caller]
    pub fn flatten(&self, start_dim: isize, end_dim: isize) -> Self {
        let start = self.dim_of_vector("flatten", start_dim);
        let end = self.dim_of_vector("flatten", end_dim);
        if start > end {
            raise(Error::Argument {
                op: "flatten",
                why: format!("start_dim {start_dim} comes after end_dim {end_dim}"),
            });
        }
        let dims = self.vector().shape().clone();
        let mut shape: Shape = dims[..start].into();
        shape.push(dims[start..=end].iter().product());
        dims[end + 1..].iter().for_each(|&size| shape.push(size));
        self.reshape_to(&shape)
    }

    /// Dimension `dim` cut into `sizes`, of which one may be −1; the inverse of `flatten`.
    ///
    /// # Panics
    /// If the dimension is out of range or the sizes do not fit it.
    #[track_caller]
    pub fn unflatten(&self, dim: isize, sizes: impl Sizes) -> Self {
        let (at, sizes) = (self.dim("unflatten", dim), sizes.sizes());
        let size = self.dims()[at];
        let inner = match inferred(size, &sizes) {
            Some(inner) => inner,
            None => raise(Error::Shape {
                op: "unflatten",
                shapes: vec![self.shape().clone()],
                why: format!("dim {at} of size {size} cannot have sizes {sizes:?}"),
            }),
        };
        self.reshape_to(&[&self.dims()[..at], &inner[..], &self.dims()[at + 1..]].concat().into())
    }

    /// Without all dimensions of size 1: `torch.squeeze` without a dim.
    pub fn squeeze_all(&self) -> Self {
        let ones: Vec<usize> = (0..self.rank()).filter(|&d| self.dims()[d] == 1).collect();
        self.without(&ones).named("squeeze", &[self])
    }

    /// Dimension `source` moved to place `destination`; the others keep their order.
    ///
    /// # Panics
    /// If there is no such dimension.
    #[track_caller]
    pub fn movedim(&self, source: isize, destination: isize) -> Self {
        let from = self.dim_of_vector("movedim", source);
        let to = self.dim_of_vector("movedim", destination);
        if from == to {
            return self.clone();
        }
        let mut perm: smallvec::SmallVec<[usize; 6]> = (0..self.rank()).collect();
        perm.remove(from);
        perm.insert(to, from);
        self.view_as_op(&ViewOp::Permute(perm))
    }

    /// Two dimensions swapped; another name of `transpose`.
    ///
    /// # Panics
    /// If there is no such dimension.
    #[track_caller]
    pub fn swapaxes(&self, axis0: isize, axis1: isize) -> Self {
        self.transpose(axis0, axis1)
    }

    /// Broadcast to `shape`; another name of `expand`.
    ///
    /// # Panics
    /// If another size than 1 would have to change.
    #[track_caller]
    pub fn broadcast_to(&self, sizes: impl Sizes) -> Self {
        self.expand(sizes)
    }

    /// Broadcast to the shape of another tensor.
    ///
    /// # Panics
    /// If another size than 1 would have to change.
    #[track_caller]
    pub fn expand_as(&self, other: &Self) -> Self {
        self.expand(other.shape())
    }

    /// The same elements under the shape of another tensor.
    ///
    /// # Panics
    /// As [`Tensor::view`].
    #[track_caller]
    pub fn view_as(&self, other: &Self) -> Self {
        self.view_as_op(&ViewOp::Reshape(other.shape().clone()))
    }

    /// `reshape` to the shape of another tensor.
    ///
    /// # Panics
    /// If the numbers of elements differ.
    #[track_caller]
    pub fn reshape_as(&self, other: &Self) -> Self {
        self.reshape_to(other.shape())
    }
}

/// Sizes that hold `count` elements, with a −1 worked out from the others.
fn inferred(count: usize, sizes: &[isize]) -> Option<Shape> {
    let unknown = sizes.iter().filter(|&&s| s == -1).count();
    let known = sizes
        .iter()
        .filter(|&&s| s != -1)
        .try_fold(1usize, |n, &s| n.checked_mul(usize::try_from(s).ok()?))?;
    let missing = match unknown {
        0 if known == count => 1,
        1 if known > 0 && count.is_multiple_of(known) => count / known,
        _ => return None,
    };
    Some(sizes.iter().map(|&s| if s == -1 { missing } else { s as usize }).collect())
}

/// The bounds of a Python slice over `size` positions: negative ones count from the end, and what lies
/// outside is cut off.
pub(crate) fn normal_bounds(
    size: usize,
    start: Option<isize>,
    end: Option<isize>,
) -> (usize, usize) {
    let clamp = |at: isize| {
        let at = if at < 0 { at + size as isize } else { at };
        at.clamp(0, size as isize) as usize
    };
    (start.map_or(0, clamp), end.map_or(size, clamp))
}
