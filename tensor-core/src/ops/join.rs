//! Tensors joined, repeated, and cut into parts.

use crate::{Backend, DType, Error, Shape, Tensor, ViewOp, raise};

impl<B: Backend> Tensor<B> {
    /// Tensors joined along `dim`. Dtypes are promoted; a 1-d tensor without elements is passed over, as
    /// in PyTorch.
    ///
    /// # Panics
    /// If there are none, or they differ in another dim or in device.
    #[track_caller]
    pub fn cat<T: std::borrow::Borrow<Self>>(tensors: &[T], dim: isize) -> Self {
        let all: Vec<&Self> = tensors.iter().map(std::borrow::Borrow::borrow).collect();
        let dtype = common("cat", &all);
        let counted: Vec<&Self> = all.iter().copied().filter(|x| *x.shape() != [0]).collect();
        let Some(first) = counted.first() else { return all[0].to_dtype(dtype) };
        let at = first.dim("cat", dim);
        let fits = |x: &&Self| {
            x.rank() == first.rank() && x.shape().with(at, 0) == first.shape().with(at, 0)
        };
        if !counted.iter().all(fits) {
            raise(Error::Shape {
                op: "cat",
                shapes: all.iter().map(|x| x.shape().clone()).collect(),
                why: format!("all sizes but that of dim {at} must be equal"),
            });
        }
        if let [only] = counted[..] {
            return only.to_dtype(dtype).copy();
        }
        let converted: Vec<Self> = counted.iter().map(|x| x.to_dtype(dtype)).collect();
        B::cat(&converted.iter().collect::<Vec<_>>(), at)
    }

    /// Tensors of one shape joined along a new dimension before `dim`.
    ///
    /// # Panics
    /// If there are none, or they differ in shape or device.
    #[track_caller]
    pub fn stack<T: std::borrow::Borrow<Self>>(tensors: &[T], dim: isize) -> Self {
        let all: Vec<&Self> = tensors.iter().map(std::borrow::Borrow::borrow).collect();
        let dtype = common("stack", &all);
        if all.iter().any(|x| x.shape() != all[0].shape()) {
            raise(Error::Shape {
                op: "stack",
                shapes: all.iter().map(|x| x.shape().clone()).collect(),
                why: "all must have one shape; `cat` joins along a dim that is there".into(),
            });
        }
        let at = all[0].dim_below("stack", dim, all[0].rank() + 1);
        let rows: Vec<Self> =
            all.iter().map(|x| x.to_dtype(dtype).unsqueeze(at as isize)).collect();
        B::cat(&rows.iter().collect::<Vec<_>>(), at).named("stack", &all)
    }

    /// Parts of `size` along `dim`, the last one shorter where it does not divide. Views.
    ///
    /// # Panics
    /// If the dimension is out of range or `size` is 0.
    #[track_caller]
    pub fn split(&self, size: usize, dim: isize) -> Vec<Self> {
        let at = self.dim("split", dim);
        if size == 0 {
            raise(Error::Argument { op: "split", why: "parts of size 0 never end".into() });
        }
        let len = self.dims()[at];
        let sizes: Vec<usize> =
            (0..len.div_ceil(size).max(1)).map(|i| size.min(len - i * size)).collect();
        self.split_sizes(&sizes, dim)
    }

    /// Parts of the given sizes along `dim`. Views.
    ///
    /// # Panics
    /// If the dimension is out of range or the sizes do not add up to its own.
    #[track_caller]
    pub fn split_sizes(&self, sizes: &[usize], dim: isize) -> Vec<Self> {
        let at = self.dim("split", dim);
        if sizes.iter().sum::<usize>() != self.dims()[at] {
            raise(Error::Shape {
                op: "split",
                shapes: vec![self.shape().clone(), sizes.into()],
                why: format!("the parts must add up to {}, the size of dim {at}", self.dims()[at]),
            });
        }
        let mut start = 0;
        sizes
            .iter()
            .map(|&len| {
                let part = self.view_as_op(&ViewOp::Slice { dim: at, start, len, step: 1 });
                let part = part.named("split", &[self]);
                start += len;
                part
            })
            .collect()
    }

    /// At most `chunks` parts of one size along `dim`, the last one shorter where it does not divide.
    /// Views.
    ///
    /// # Panics
    /// If the dimension is out of range or `chunks` is 0.
    #[track_caller]
    pub fn chunk(&self, chunks: usize, dim: isize) -> Vec<Self> {
        let at = self.dim("chunk", dim);
        if chunks == 0 {
            raise(Error::Argument { op: "chunk", why: "at least one part is wanted".into() });
        }
        match self.dims()[at] {
            0 => vec![self.clone(); chunks],
            len => self.split(len.div_ceil(chunks), dim),
        }
    }

    /// The slices along `dim`, without that dimension. Views.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn unbind(&self, dim: isize) -> Vec<Self> {
        let at = self.dim("unbind", dim);
        let part = |i| self.select(dim, i as isize).named("unbind", &[self]);
        (0..self.dims()[at]).map(part).collect()
    }

    /// The tensor repeated `counts[i]` times along dim `i`; more counts than dims add leading dims.
    ///
    /// # Panics
    /// If there are fewer counts than dims.
    #[track_caller]
    pub fn repeat(&self, counts: impl AsRef<[usize]>) -> Self {
        let counts = counts.as_ref();
        let Some(lead) = counts.len().checked_sub(self.rank()) else {
            raise(Error::Shape {
                op: "repeat",
                shapes: vec![self.shape().clone(), counts.into()],
                why: "one count per dim is wanted; `tile` takes fewer".into(),
            })
        };
        // [a, b] as [1, a, 1, b], expanded to [m, a, n, b], read as [m·a, n·b].
        let sizes = || std::iter::repeat_n(1, lead).chain(self.dims().iter().copied());
        let apart: Shape = sizes().flat_map(|size| [1, size]).collect();
        let spread: Shape = counts.iter().zip(sizes()).flat_map(|(&n, size)| [n, size]).collect();
        let joined: Shape = counts.iter().zip(sizes()).map(|(&n, size)| n * size).collect();
        let all = self.reshape_to(&apart).expand(spread).copy().reshape_to(&joined);
        all.named("repeat", &[self])
    }

    /// `repeat` that takes counts for the last dims only, where there are fewer than dims.
    pub fn tile(&self, counts: impl AsRef<[usize]>) -> Self {
        let counts = counts.as_ref();
        let lead = self.rank().saturating_sub(counts.len());
        self.repeat([&vec![1; lead], counts].concat())
    }

    /// Each slice along `dim` repeated `count` times before the next.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn repeat_interleave(&self, count: usize, dim: isize) -> Self {
        let at = self.dim("repeat_interleave", dim);
        let mut spread = self.shape().clone();
        spread.insert(at + 1, count);
        let joined = self.shape().with(at, self.dims()[at] * count);
        let all = self.unsqueeze(at as isize + 1).expand(spread).copy().reshape_to(&joined);
        all.named("repeat_interleave", &[self])
    }

    /// Elements moved along `dims` by `shifts`; those that leave at one end enter at the other.
    ///
    /// # Panics
    /// If there are not as many shifts as dims, or a dimension is out of range.
    #[track_caller]
    pub fn roll(&self, shifts: impl AsRef<[isize]>, dims: impl AsRef<[isize]>) -> Self {
        let (shifts, dims) = (shifts.as_ref(), dims.as_ref());
        if shifts.len() != dims.len() {
            raise(Error::Argument {
                op: "roll",
                why: format!("one shift per dim is wanted, not {shifts:?} for {dims:?}"),
            });
        }
        let mut x = self.clone();
        for (&shift, at) in shifts.iter().zip(self.positions_of("roll", dims)) {
            let size = x.dims()[at];
            if size > 0 {
                let cut = (size - shift.rem_euclid(size as isize) as usize) % size;
                let parts = x.split_sizes(&[cut, size - cut], at as isize);
                x = B::cat(&[&parts[1], &parts[0]], at);
            }
        }
        x.named("roll", &[self])
    }
}

/// The dtype that all meet in.
#[track_caller]
fn common<B: Backend>(op: &'static str, tensors: &[&Tensor<B>]) -> DType {
    let Some(first) = tensors.first() else {
        raise(Error::Argument { op, why: "at least one tensor is wanted".into() })
    };
    for x in tensors {
        first.same_device(op, x);
    }
    tensors.iter().fold(first.dtype(), |dtype, x| dtype.promote(x.dtype()))
}
