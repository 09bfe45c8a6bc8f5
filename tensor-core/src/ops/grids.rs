//! Tensors laid out by position: grids, products of lists, triangles' places, blocks on a diagonal.

use super::create::Options;
use crate::{Backend, DType, Error, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// The coordinates of the grid that lists span, a tensor for each of them: `torch.meshgrid` with
    /// `indexing="ij"`. Views.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let (a, b) = (Tensor::<Cpu>::arange(2, &CpuDevice), Tensor::arange(3, &CpuDevice));
    /// let grid = Tensor::meshgrid(&[&a, &b]);
    /// assert_eq!(grid[0].to_vec::<i64>(), [0, 0, 0, 1, 1, 1]);
    /// assert_eq!(Tensor::cartesian_prod(&[&a, &b]).shape(), &[6, 2]);
    /// ```
    ///
    /// # Panics
    /// If there are none, or one has more than one dim.
    #[track_caller]
    pub fn meshgrid(lists: &[&Self]) -> Vec<Self> {
        if lists.is_empty() || lists.iter().any(|x| x.rank() > 1) {
            raise(Error::Shape {
                op: "meshgrid",
                shapes: lists.iter().map(|x| x.shape().clone()).collect(),
                why: "lists are wanted, one at least".into(),
            });
        }
        let shape: Shape = lists.iter().map(|x| x.numel()).collect();
        let laid = |(dim, x): (usize, &&Self)| {
            let mut own: Shape = std::iter::repeat_n(1, lists.len()).collect();
            own[dim] = x.numel();
            x.reshape_to(&own).expand(&shape)
        };
        lists.iter().enumerate().map(laid).collect()
    }

    /// `meshgrid` with the first two dims swapped: `indexing="xy"`.
    ///
    /// # Panics
    /// As [`Tensor::meshgrid`].
    #[track_caller]
    pub fn meshgrid_xy(lists: &[&Self]) -> Vec<Self> {
        let grid = Self::meshgrid(lists);
        grid.into_iter().map(|x| if x.rank() > 1 { x.transpose(0, 1) } else { x }).collect()
    }

    /// Every choice of one element from each list, a row each; of one list, itself.
    ///
    /// # Panics
    /// As [`Tensor::meshgrid`]; also if the lists' devices differ.
    #[track_caller]
    pub fn cartesian_prod(lists: &[&Self]) -> Self {
        let columns: Vec<Self> = Self::meshgrid(lists).iter().map(|x| x.reshape([-1])).collect();
        if let [only] = &columns[..] { only.clone() } else { Self::stack(&columns, -1) }
    }

    /// Every choice of `r` elements of a list in its order, a row each; with repetitions, if these are allowed.
    ///
    /// # Panics
    /// If this is not a list.
    #[track_caller]
    pub fn combinations(&self, r: usize, with_replacement: bool) -> Self {
        let [n] = *self.dims() else {
            raise(Error::Shape {
                op: "combinations",
                shapes: vec![self.shape().clone()],
                why: "a list is wanted".into(),
            })
        };
        let mut rows: Vec<Vec<i64>> = vec![vec![]];
        for _ in 0..r {
            rows = rows
                .iter()
                .flat_map(|row| {
                    let next = row.last().map_or(0, |&last| last + i64::from(!with_replacement));
                    (next..n as i64).map(move |i| [&row[..], &[i]].concat())
                })
                .collect();
        }
        if r == 0 {
            return self.narrow(0, 0, 0);
        }
        let places = Self::from_slice(&rows.concat(), [rows.len() * r], self.device());
        B::index_select(self, 0, &places).reshape_to(&[rows.len(), r].into())
    }

    /// The places in a tensor of `shape` that have these numbers in row-major order: an index for each dim. The
    /// numbers are not checked.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let x = Tensor::<Cpu>::from_slice(&[1.0f32, 5.0, 2.0, 0.0, 3.0, 4.0], [2, 3], &CpuDevice);
    /// let place = x.argmax_all().unravel_index([2, 3]);
    /// assert_eq!((place[0].item(), place[1].item()), (0.0, 1.0));
    /// ```
    ///
    /// # Panics
    /// If the numbers are not integers.
    #[track_caller]
    pub fn unravel_index(&self, shape: impl Into<Shape>) -> Vec<Self> {
        if self.dtype().is_float() || self.dtype() == DType::Bool {
            raise(Error::DType {
                op: "unravel_index",
                dtypes: vec![self.dtype()],
                why: "integers are wanted".into(),
            });
        }
        let (shape, mut rest) = (shape.into(), self.clone());
        let mut places: Vec<Self> = Vec::with_capacity(shape.rank());
        for &size in shape.iter().rev() {
            places.push(rest.remainder(size.max(1) as i64));
            rest = rest.floor_divide(size.max(1) as i64);
        }
        places.reverse();
        places
    }

    /// The places of the lower triangle of a matrix, up to `offset` above its diagonal: rows and columns as
    /// `[2, count]`, `i64` unless another dtype is given.
    pub fn tril_indices<'a>(
        rows: usize,
        cols: usize,
        offset: isize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        places(rows, cols, options.into(), |ones| ones.tril(offset))
    }

    /// The places of the upper triangle of a matrix, from `offset` above its diagonal on: rows and columns as
    /// `[2, count]`, `i64` unless another dtype is given.
    pub fn triu_indices<'a>(
        rows: usize,
        cols: usize,
        offset: isize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        places(rows, cols, options.into(), |ones| ones.triu(offset))
    }

    /// Matrices with the last dim on the diagonal `offset` above the main one, as new dims `dim1` and `dim2`.
    ///
    /// # Panics
    /// If a dimension is out of range or both are the same.
    #[track_caller]
    pub fn diag_embed(&self, offset: isize, dim1: isize, dim2: isize) -> Self {
        let op = "diag_embed";
        let rank = self.rank() + 1;
        let (dim1, dim2) = (self.dim_below(op, dim1, rank), self.dim_below(op, dim2, rank));
        if dim1 == dim2 || self.rank() == 0 {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone()],
                why: format!("diagonals, and two dims for them, not {dim1} and {dim2}, are wanted"),
            });
        }
        let size = self.dims()[self.rank() - 1] + offset.unsigned_abs();
        let mut shape: Shape = self.dims()[..self.rank() - 1].into();
        shape.insert(dim1.min(dim2), size);
        shape.insert(dim1.max(dim2), size);
        let zeros = Self::zeros(shape, (self.device(), self.dtype()));
        zeros.diagonal_scatter(self, offset, dim1 as isize, dim2 as isize)
    }

    /// Matrices along the diagonal of one; a list is a row, a number a matrix of one.
    ///
    /// # Panics
    /// If there are none, one has more than two dims, or devices differ.
    #[track_caller]
    pub fn block_diag(blocks: &[&Self]) -> Self {
        let matrix =
            |x: &&Self| x.reshape_to(&[&[1, 1][x.rank().min(2)..], x.dims()].concat().into());
        if blocks.is_empty() || blocks.iter().any(|x| x.rank() > 2) {
            raise(Error::Shape {
                op: "block_diag",
                shapes: blocks.iter().map(|x| x.shape().clone()).collect(),
                why: "matrices are wanted, one at least".into(),
            });
        }
        let blocks: Vec<Self> = blocks.iter().map(matrix).collect();
        let cols: usize = blocks.iter().map(|x| x.dims()[1]).sum();
        let mut before = 0;
        let mut rows = Vec::with_capacity(blocks.len());
        for x in &blocks {
            let after = cols - before - x.dims()[1];
            rows.push(x.pad(&[before as isize, after as isize], super::PadMode::Constant(0.0)));
            before += x.dims()[1];
        }
        Self::cat(&rows, 0)
    }

    /// The powers of a list's elements, a column each, the highest first, or the lowest with `increasing`:
    /// `torch.vander` with `n` columns.
    ///
    /// # Panics
    /// If this is not a list.
    #[track_caller]
    pub fn vander(&self, n: usize, increasing: bool) -> Self {
        if self.rank() != 1 {
            raise(Error::Shape {
                op: "vander",
                shapes: vec![self.shape().clone()],
                why: "a list is wanted".into(),
            });
        }
        let powers = Self::arange(n, self.device()).to_dtype(DType::I64);
        let powers = if increasing { powers } else { powers.flip([0]) };
        self.unsqueeze(1).pow(powers.to_dtype(self.dtype()))
    }

    /// `steps` numbers from `base` to the power of `start` to that to the power of `end`, of evenly spaced
    /// powers.
    pub fn logspace<'a>(
        start: f64,
        end: f64,
        steps: usize,
        base: f64,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let options = options.into();
        let dtype = options.dtype.unwrap_or(DType::F32);
        let powers = Self::linspace(start, end, steps, (options.device, dtype.compute().float()));
        Self::full((), base, (options.device, powers.dtype())).pow(&powers).to_dtype(dtype)
    }
}

fn places<B: Backend>(
    rows: usize,
    cols: usize,
    options: Options<'_, B>,
    part: impl FnOnce(&Tensor<B>) -> Tensor<B>,
) -> Tensor<B> {
    let ones = Tensor::full([rows, cols], true, options.device);
    let found = B::nonzero(&part(&ones)).transpose(0, 1).contiguous();
    found.to_dtype(options.dtype.unwrap_or(DType::I64))
}
