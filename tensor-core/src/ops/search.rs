//! Places in sorted lists, membership, and how many elements fall where.

use crate::{Backend, DType, Error, Fused, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// For each value, how many elements of this sorted tensor lie before it, `i64`: where to insert it, before
    /// equal elements, or after them with `right`. `[…, n]` and values `[…, m]` have equal leading dims; one
    /// sorted list serves values of any shape. `torch.searchsorted(self, values, right=…)`.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let sorted = Tensor::<Cpu>::new([1i64, 3, 5, 7], &CpuDevice);
    /// let values = Tensor::<Cpu>::new([[0i64, 3], [4, 9]], &CpuDevice);
    /// assert_eq!(sorted.searchsorted(&values, false).to_vec::<i64>(), [0, 1, 2, 4]);
    /// assert_eq!(values.bucketize(&sorted, true).to_vec::<i64>(), [0, 2, 2, 4]);
    /// ```
    ///
    /// # Panics
    /// If the leading dims or the devices differ.
    #[track_caller]
    pub fn searchsorted(&self, values: &Self, right: bool) -> Self {
        // Of a NaN nothing is known, and it is sorted last.
        static LEFT: Fused<2> = Fused::new("searchsorted", |[element, value]| !element.ge(value));
        static RIGHT: Fused<2> = Fused::new("searchsorted", |[element, value]| !element.gt(value));
        self.same_device("searchsorted", values);
        let lead = |x: &Self| -> Shape { x.dims()[..x.rank().saturating_sub(1)].into() };
        if self.rank() == 0
            || (self.rank() > 1 && (values.rank() == 0 || lead(self) != lead(values)))
        {
            raise(Error::Shape {
                op: "searchsorted",
                shapes: vec![self.shape().clone(), values.shape().clone()],
                why: "one sorted list, or as many as there are lists of values, are wanted".into(),
            });
        }
        let n = self.dims()[self.rank() - 1];
        let (list, wanted) = if self.rank() == 1 {
            (self.detach(), values.detach().reshape([-1]))
        } else {
            (self.detach(), values.detach())
        };
        let dim = list.rank() - 1;
        let mut before = Self::zeros(wanted.shape(), (values.device(), DType::I64));
        // The answer bit by bit, the highest first.
        let mut step = if n == 0 { 0 } else { 1usize << n.ilog2() };
        while step > 0 {
            let next = &before + step;
            let element = B::gather(&list, dim, &(&next - 1).clamp_max(n as i64 - 1));
            let further = if right { &RIGHT } else { &LEFT }.call([&element, &wanted]);
            before = Self::where_(&further.logical_and(next.le(n)), &next, &before);
            step /= 2;
        }
        before.reshape_to(values.shape())
    }

    /// The bucket of each element between sorted boundaries: `boundaries.searchsorted(self, right)`.
    ///
    /// # Panics
    /// If the boundaries are not a list, or the devices differ.
    #[track_caller]
    pub fn bucketize(&self, boundaries: &Self, right: bool) -> Self {
        if boundaries.rank() != 1 {
            raise(Error::Shape {
                op: "bucketize",
                shapes: vec![self.shape().clone(), boundaries.shape().clone()],
                why: "boundaries have one dim".into(),
            });
        }
        boundaries.searchsorted(self, right)
    }

    /// Whether each element is one of those of `test`, as bool.
    ///
    /// # Panics
    /// If the devices differ.
    #[track_caller]
    pub fn isin(&self, test: &Self) -> Self {
        self.same_device("isin", test);
        if test.numel() == 0 {
            return Self::full(self.shape(), false, self.device());
        }
        let common = self.dtype().promote(test.dtype());
        let (x, test) = (self.detach().to_dtype(common), test.detach().to_dtype(common));
        let (list, _) = B::sort(&test.reshape([-1]), 0, false);
        let at = list.searchsorted(&x, false).clamp_max(list.numel() as i64 - 1);
        list.take(&at).eq(&x)
    }

    /// How often each of the numbers 0, 1, … occurs in a list of integers, `i64`, for `minlength` numbers at
    /// least; with `weights`, the sums of these, in their dtype. Waits for the device.
    ///
    /// # Panics
    /// If this is not a list of integers, one is negative, or the weights do not fit.
    #[track_caller]
    pub fn bincount(&self, weights: Option<&Self>, minlength: usize) -> Self {
        let op = "bincount";
        if !self.dtype().is_int() {
            raise(Error::DType {
                op,
                dtypes: vec![self.dtype()],
                why: "integers are wanted".into(),
            });
        }
        if self.rank() != 1 || weights.is_some_and(|w| w.shape() != self.shape()) {
            let shapes = std::iter::once(self).chain(weights).map(|x| x.shape().clone()).collect();
            raise(Error::Shape {
                op,
                shapes,
                why: "a list, and as many weights, are wanted".into(),
            });
        }
        let index = self.detach().to_dtype(DType::I64);
        let mut size = minlength;
        if index.numel() > 0 {
            let [low, high] = [index.min(), index.max()].map(|x| x.to_scalar().to_i64());
            if low < 0 {
                let shape = self.shape().clone();
                raise(Error::Index { op, what: "number", index: low, size, shape, called: None });
            }
            size = size.max(high as usize + 1);
        }
        let ones = || Self::ones(index.shape(), (self.device(), DType::I64));
        let weights = weights.cloned().unwrap_or_else(ones);
        weights.same_device(op, self);
        let bins = Self::zeros([size], (self.device(), weights.dtype()));
        B::index_add(&bins, 0, &index, &weights)
    }

    /// How many elements lie in each of `bins` equal parts of `min ..= max`, in this dtype; where both are equal,
    /// of the range of the elements. Others, and NaN, are not counted.
    ///
    /// # Panics
    /// If the elements are not floats, there are no bins, or `max` lies below `min`.
    #[track_caller]
    pub fn histc(&self, bins: usize, min: f64, max: f64) -> Self {
        self.floats("histc");
        let x = self.detach().reshape([-1]);
        let (low, high) = bounds("histc", &x, bins, min, max);
        let place = ((&x - low) * (bins as f64 / (high - low))).floor();
        let inside = x.ge(low).logical_and(x.le(high));
        let place =
            Self::where_(&inside, &place, 0.0).to_dtype(DType::I64).clamp_max(bins as i64 - 1);
        let zeros = Self::zeros([bins], (self.device(), DType::I64));
        B::index_add(&zeros, 0, &place, &inside.to_dtype(DType::I64)).to_dtype(self.dtype())
    }

    /// A histogram of `bins` equal parts of a range, or of the elements' own, and the parts' edges: how many
    /// elements lie in each, or the sums of their `weight`, as a density with `density`. The last part holds its
    /// upper edge.
    ///
    /// # Panics
    /// If the elements are not floats, there are no bins, the range is none, or the weights do not fit.
    #[track_caller]
    pub fn histogram(
        &self,
        bins: usize,
        range: Option<(f64, f64)>,
        weight: Option<&Self>,
        density: bool,
    ) -> (Self, Self) {
        self.floats("histogram");
        let x = self.detach().reshape([-1]);
        let (min, max) = range.unwrap_or((0.0, 0.0));
        let (low, high) = bounds("histogram", &x, bins, min, max);
        let edges = Self::linspace(low, high, bins + 1, (self.device(), self.dtype()));
        (self.histogram_between(&edges, weight, density), edges)
    }

    /// A histogram of the parts between sorted edges; otherwise as [`Tensor::histogram`].
    ///
    /// # Panics
    /// If the elements are not floats, there are fewer than two edges, or dtypes, devices or weights do not fit.
    #[track_caller]
    pub fn histogram_between(&self, edges: &Self, weight: Option<&Self>, density: bool) -> Self {
        let op = "histogram";
        self.floats(op);
        self.alike(op, std::iter::once(edges).chain(weight));
        let [count] = *edges.dims() else { self.no_histogram(edges) };
        if count < 2 || weight.is_some_and(|w| w.shape() != self.shape()) {
            self.no_histogram(weight.filter(|_| count > 1).unwrap_or(edges));
        }
        let (x, bins) = (self.detach().reshape([-1]), count - 1);
        let [low, high] = [0, count - 1].map(|i| edges.narrow(0, i, 1));
        let inside = x.ge(&low).logical_and(x.le(&high));
        let place = (edges.searchsorted(&x, true) - 1).clamp(0, bins as i64 - 1);
        let weight = weight.map_or_else(|| x.ones_like(), |w| w.detach().reshape([-1]));
        let weight = Self::where_(&inside, &weight, 0.0);
        let zeros = Self::zeros([bins], (self.device(), self.dtype()));
        let sums = B::index_add(&zeros, 0, &place, &weight);
        if !density {
            return sums;
        }
        let total = sums.sum();
        sums / (edges.diff(1, 0) * total)
    }

    #[cold]
    #[track_caller]
    fn no_histogram(&self, other: &Self) -> ! {
        raise(Error::Shape {
            op: "histogram",
            shapes: vec![self.shape().clone(), other.shape().clone()],
            why: "a list of two edges at least, and a weight for each element, are wanted".into(),
        })
    }
}

/// The range of a histogram: that of the elements where none is given, and never an empty one.
#[track_caller]
fn bounds<B: Backend>(
    op: &'static str,
    x: &Tensor<B>,
    bins: usize,
    min: f64,
    max: f64,
) -> (f64, f64) {
    let (mut low, mut high) = (min, max);
    if low == high && x.numel() > 0 {
        (low, high) = (x.min().item(), x.max().item());
    }
    if bins == 0 || low > high || !(high - low).is_finite() {
        raise(Error::Argument {
            op,
            why: format!("{bins} bins of the range from {low} to {high}"),
        });
    }
    if low == high { (low - 1.0, high + 1.0) } else { (low, high) }
}
