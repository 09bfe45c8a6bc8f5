//! Tensors put together and cut along a dim that goes by its name: rows, columns, depth.

use crate::{Backend, Error, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// Cut into so many equal parts side by side, along dim 1, or 0 of a vector. Views.
    ///
    /// # Panics
    /// If there is no dim, or the size is no multiple of the number of parts.
    #[track_caller]
    pub fn hsplit(&self, sections: usize) -> Vec<Self> {
        self.cut("hsplit", 1);
        self.equal_parts("hsplit", sections, usize::from(self.rank() > 1))
    }

    /// Cut side by side, along dim 1, or 0 of a vector, before each of these positions. Views.
    ///
    /// # Panics
    /// If there is no dim.
    #[track_caller]
    pub fn hsplit_at(&self, positions: &[isize]) -> Vec<Self> {
        self.cut("hsplit", 1);
        self.tensor_split_at(positions, isize::from(self.rank() > 1))
    }

    /// Cut into so many equal parts one above the other, along dim 0. Views.
    ///
    /// # Panics
    /// If there are fewer than two dims, or the size is no multiple of the number of parts.
    #[track_caller]
    pub fn vsplit(&self, sections: usize) -> Vec<Self> {
        self.cut("vsplit", 2);
        self.equal_parts("vsplit", sections, 0)
    }

    /// Cut one above the other, along dim 0, before each of these positions. Views.
    ///
    /// # Panics
    /// If there are fewer than two dims.
    #[track_caller]
    pub fn vsplit_at(&self, positions: &[isize]) -> Vec<Self> {
        self.cut("vsplit", 2);
        self.tensor_split_at(positions, 0)
    }

    /// Cut into so many equal parts in depth, along dim 2. Views.
    ///
    /// # Panics
    /// If there are fewer than three dims, or the size is no multiple of the number of parts.
    #[track_caller]
    pub fn dsplit(&self, sections: usize) -> Vec<Self> {
        self.cut("dsplit", 3);
        self.equal_parts("dsplit", sections, 2)
    }

    /// Cut in depth, along dim 2, before each of these positions. Views.
    ///
    /// # Panics
    /// If there are fewer than three dims.
    #[track_caller]
    pub fn dsplit_at(&self, positions: &[isize]) -> Vec<Self> {
        self.cut("dsplit", 3);
        self.tensor_split_at(positions, 2)
    }

    #[track_caller]
    fn equal_parts(&self, op: &'static str, sections: usize, dim: usize) -> Vec<Self> {
        if sections == 0 || !self.dims()[dim].is_multiple_of(sections) {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone()],
                why: format!("dim {dim} does not part into {sections} of one size"),
            });
        }
        self.tensor_split(sections, dim as isize)
    }

    #[track_caller]
    fn cut(&self, op: &'static str, low: usize) {
        if self.rank() < low {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone()],
                why: format!("{low} dims at least are wanted"),
            });
        }
    }

    /// Cut along `dim` into so many parts, the first ones longer by one where it does not part evenly. Views.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let parts = Tensor::<Cpu>::arange(7, &CpuDevice).tensor_split(3, 0);
    /// assert_eq!(parts.iter().map(Tensor::numel).collect::<Vec<_>>(), [3, 2, 2]);
    /// ```
    ///
    /// # Panics
    /// If the dimension is out of range or there are to be no parts.
    #[track_caller]
    pub fn tensor_split(&self, sections: usize, dim: isize) -> Vec<Self> {
        let size = self.dims()[self.dim("tensor_split", dim)];
        if sections == 0 {
            let why = "at least one part is wanted".into();
            raise(Error::Argument { op: "tensor_split", why });
        }
        let sizes: Vec<usize> =
            (0..sections).map(|i| size / sections + usize::from(i < size % sections)).collect();
        self.split_sizes(&sizes, dim)
    }

    /// Cut along `dim` before each of these positions; negative ones count from the end, and positions outside
    /// are cut off as in a slice. Views.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn tensor_split_at(&self, positions: &[isize], dim: isize) -> Vec<Self> {
        self.dim("tensor_split", dim);
        let mut start = None;
        let mut parts = Vec::with_capacity(positions.len() + 1);
        for end in positions.iter().map(|&at| Some(at)).chain([None]) {
            parts.push(self.slice(dim, start, end, 1));
            start = end;
        }
        parts
    }

    /// Side by side: along dim 1, vectors along dim 0.
    ///
    /// # Panics
    /// As [`Tensor::cat`].
    #[track_caller]
    pub fn hstack(tensors: &[&Self]) -> Self {
        let all: Vec<Self> = tensors.iter().map(|x| x.atleast_1d()).collect();
        let dim = isize::from(all.first().is_some_and(|x| x.rank() > 1));
        Self::cat(&all, dim)
    }

    /// One above the other: along dim 0, a vector is a row. Also `torch.row_stack`.
    ///
    /// # Panics
    /// As [`Tensor::cat`].
    #[track_caller]
    pub fn vstack(tensors: &[&Self]) -> Self {
        Self::cat(&tensors.iter().map(|x| x.atleast_2d()).collect::<Vec<_>>(), 0)
    }

    /// In depth: along dim 2.
    ///
    /// # Panics
    /// As [`Tensor::cat`].
    #[track_caller]
    pub fn dstack(tensors: &[&Self]) -> Self {
        Self::cat(&tensors.iter().map(|x| x.atleast_3d()).collect::<Vec<_>>(), 2)
    }

    /// Side by side, where a vector is a column.
    ///
    /// # Panics
    /// As [`Tensor::cat`].
    #[track_caller]
    pub fn column_stack(tensors: &[&Self]) -> Self {
        let column = |x: &&Self| if x.rank() < 2 { x.reshape([-1, 1]) } else { (*x).clone() };
        Self::cat(&tensors.iter().map(column).collect::<Vec<_>>(), 1)
    }

    /// A number as a vector of one element; others as they are.
    #[must_use]
    pub fn atleast_1d(&self) -> Self {
        if self.rank() == 0 { self.unsqueeze(0) } else { self.clone() }
    }

    /// A vector as a row of a matrix; others with two dims or more as they are.
    #[must_use]
    pub fn atleast_2d(&self) -> Self {
        let x = self.atleast_1d();
        if x.rank() == 1 { x.unsqueeze(0) } else { x }
    }

    /// A matrix with a third dim of size 1 at the end; others with three dims or more as they are.
    #[must_use]
    pub fn atleast_3d(&self) -> Self {
        let x = self.atleast_2d();
        if x.rank() == 2 { x.unsqueeze(2) } else { x }
    }

    /// All tensors broadcast to the shape that they have in common. Views.
    ///
    /// # Panics
    /// If they do not broadcast.
    #[track_caller]
    pub fn broadcast_tensors(tensors: &[&Self]) -> Vec<Self> {
        let mut shape = Shape::scalar();
        for x in tensors {
            shape = match shape.broadcast(x.shape()) {
                Some(shape) => shape,
                None => raise(Error::Shape {
                    op: "broadcast_tensors",
                    shapes: tensors.iter().map(|x| x.shape().clone()).collect(),
                    why: "sizes, aligned at the last dim, must be equal or 1".into(),
                }),
            };
        }
        tensors.iter().map(|x| x.expand(&shape)).collect()
    }

    /// The columns in the opposite order. A view.
    ///
    /// # Panics
    /// If there are fewer than two dims.
    #[track_caller]
    pub fn fliplr(&self) -> Self {
        self.cut("fliplr", 2);
        self.flip([1])
    }

    /// The rows in the opposite order. A view.
    ///
    /// # Panics
    /// If there is no dim.
    #[track_caller]
    pub fn flipud(&self) -> Self {
        self.cut("flipud", 1);
        self.flip([0])
    }

    /// Turned by `k` quarters from the first of two dims towards the second. A view.
    ///
    /// # Panics
    /// If a dimension is out of range or both are the same.
    #[track_caller]
    pub fn rot90(&self, k: isize, dims: [isize; 2]) -> Self {
        let [from, to] = dims;
        if self.dim("rot90", from) == self.dim("rot90", to) {
            let why = format!("two different dims are wanted, not {dims:?}");
            raise(Error::Argument { op: "rot90", why });
        }
        match k.rem_euclid(4) {
            0 => self.clone(),
            1 => self.flip([to]).transpose(from, to),
            2 => self.flip(dims),
            _ => self.flip([from]).transpose(from, to),
        }
    }

    /// All elements in one dim; another name of `flatten(0, -1)`.
    #[must_use]
    pub fn ravel(&self) -> Self {
        self.reshape([-1])
    }

    /// The matrices of the last two dims, transposed: `x.mT`.
    ///
    /// # Panics
    /// If there are fewer than two dims.
    #[track_caller]
    pub fn mt(&self) -> Self {
        self.cut("mt", 2);
        self.transpose(-2, -1)
    }

    /// Two dimensions swapped; another name of `transpose`.
    ///
    /// # Panics
    /// If there is no such dimension.
    #[track_caller]
    pub fn swapdims(&self, dim0: isize, dim1: isize) -> Self {
        self.transpose(dim0, dim1)
    }

    /// Dimensions moved to other places, the rest in order: `torch.movedim` with lists.
    ///
    /// # Panics
    /// If the lists differ in length, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn movedims(&self, source: &[isize], destination: &[isize]) -> Self {
        let op = "movedim";
        let (from, to) = (self.positions_of(op, source), self.positions_of(op, destination));
        let distinct = |dims: &[usize]| (1..dims.len()).all(|i| !dims[..i].contains(&dims[i]));
        if from.len() != to.len() || !distinct(&from) || !distinct(&to) {
            let why =
                format!("as many distinct dims are wanted, not {source:?} and {destination:?}");
            raise(Error::Argument { op, why });
        }
        let mut rest = (0..self.rank()).filter(|d| !from.contains(d));
        let place = |d: usize| match to.iter().position(|&t| t == d) {
            Some(i) => Some(from[i]),
            None => rest.next(),
        };
        let order: Vec<isize> = (0..self.rank()).filter_map(place).map(|d| d as isize).collect();
        self.permute(order)
    }

    /// Another name of [`Tensor::movedim`].
    ///
    /// # Panics
    /// As that does.
    #[track_caller]
    pub fn moveaxis(&self, source: isize, destination: isize) -> Self {
        self.movedim(source, destination)
    }
}
