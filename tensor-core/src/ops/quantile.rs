//! Ranks along a dimension: quantiles, the k-th element, the most frequent one.

use crate::{Backend, DType, Error, Fused, Tensor, raise};

/// What a quantile between two elements is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Interpolation {
    /// As far between them as the rank lies.
    #[default]
    Linear,
    /// The lower one.
    Lower,
    /// The higher one.
    Higher,
    /// The nearer one, of two the one of even rank.
    Nearest,
    /// The middle between them.
    Midpoint,
}

impl Interpolation {
    /// Where between rank ⌊r⌋ and the next the value lies, from 0 to 1.
    fn weight(self, rank: f64) -> f64 {
        let part = rank - rank.floor();
        match self {
            Interpolation::Linear => part,
            Interpolation::Lower => 0.0,
            Interpolation::Higher => part.ceil(),
            Interpolation::Nearest => rank.round_ties_even() - rank.floor(),
            Interpolation::Midpoint => part.ceil() / 2.0,
        }
    }

    /// `weight` of ranks that are known on the device only.
    fn weights<B: Backend>(self, rank: &Tensor<B>) -> Tensor<B> {
        let part = rank - rank.floor();
        match self {
            Interpolation::Linear => part,
            Interpolation::Lower => part.zeros_like(),
            Interpolation::Higher => part.ceil(),
            Interpolation::Nearest => rank.round() - rank.floor(),
            Interpolation::Midpoint => part.ceil() * 0.5,
        }
    }
}

/// The value, or NaN where the last element in order is one.
static KNOWN: Fused<2> = Fused::new("quantile", |[value, last]| last.is_nan().select(last, value));

impl<B: Backend> Tensor<B> {
    /// The value along `dim` below which a part `q` of the elements lies, interpolated between two; NaN if any
    /// element is. Of a whole tensor: `x.flatten(0, -1).quantile(q, 0, false)`.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::{Interpolation, Tensor};
    /// let x = Tensor::<Cpu>::new([3.0, 1.0, 4.0, 2.0], &CpuDevice);
    /// assert_eq!(x.quantile(0.5, 0, false).item(), 2.5);
    /// let both = x.quantiles(&[0.25, 1.0], 0, false, Interpolation::Lower);
    /// assert_eq!(both.to_vec::<f64>(), [1.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If the elements are not floats, the dimension is out of range or empty, or `q` lies outside of 0 to 1.
    #[track_caller]
    pub fn quantile(&self, q: f64, dim: isize, keepdim: bool) -> Self {
        let one = self.quantiles(&[q], dim, keepdim, Interpolation::Linear).squeeze(0);
        one.named("quantile", &[self])
    }

    /// Several quantiles at once, along a new first dimension.
    ///
    /// # Panics
    /// As [`Tensor::quantile`].
    #[track_caller]
    pub fn quantiles(&self, q: &[f64], dim: isize, keepdim: bool, between: Interpolation) -> Self {
        let (sorted, at) = self.ranked("quantile", q, dim);
        let count = sorted.dims()[at];
        let pick = |i: usize| sorted.narrow(at as isize, i, 1);
        let last = pick(count - 1).detach();
        let value = |&q: &f64| {
            let rank = q * (count - 1) as f64;
            let (low, weight) = (rank.floor() as usize, between.weight(rank));
            let value = match weight {
                0.0 => pick(low),
                1.0 => pick(low + 1),
                weight => pick(low).lerp(&pick(low + 1), weight),
            };
            KNOWN.call([&value, &last])
        };
        self.stacked(q.iter().map(value).collect(), at, keepdim).named("quantile", &[self])
    }

    /// `quantile` of the elements that are not NaN; NaN where all are.
    ///
    /// # Panics
    /// As [`Tensor::quantile`].
    #[track_caller]
    pub fn nanquantile(&self, q: f64, dim: isize, keepdim: bool) -> Self {
        self.nanquantiles(&[q], dim, keepdim, Interpolation::Linear).squeeze(0)
    }

    /// `quantiles` of the elements that are not NaN.
    ///
    /// # Panics
    /// As [`Tensor::quantile`].
    #[track_caller]
    pub fn nanquantiles(
        &self,
        q: &[f64],
        dim: isize,
        keepdim: bool,
        between: Interpolation,
    ) -> Self {
        let (sorted, at) = self.ranked("nanquantile", q, dim);
        let count = sorted.detach().isnan().logical_not().sum_dims([at as isize], true);
        let value = |&q: &f64| {
            let rank = (count.to_dtype(self.dtype()) - 1.0).clamp_min(0.0) * q;
            let low = rank.floor().to_dtype(DType::I64);
            let high = rank.ceil().to_dtype(DType::I64);
            let pick = |place: &Self| B::gather(&sorted, at, place);
            pick(&low).lerp(&pick(&high), between.weights(&rank))
        };
        self.stacked(q.iter().map(value).collect(), at, keepdim)
    }

    /// The elements in order along a dim that has some, for quantiles that there are.
    #[track_caller]
    fn ranked(&self, op: &'static str, q: &[f64], dim: isize) -> (Self, usize) {
        self.floats(op);
        if q.is_empty() || q.iter().any(|q| !(0.0..=1.0).contains(q)) {
            raise(Error::Argument { op, why: format!("parts from 0 to 1 are wanted, not {q:?}") });
        }
        let (x, at) = self.along(op, dim);
        x.nonempty(op, at);
        (B::sort(&x, at, false).0, at)
    }

    fn stacked(&self, values: Vec<Self>, at: usize, keepdim: bool) -> Self {
        let keep = keepdim && self.rank() > 0;
        let finish = |x: &Self| if keep { x.clone() } else { x.without(&[at]) };
        Self::stack(&values.iter().map(finish).collect::<Vec<_>>(), 0)
    }

    #[track_caller]
    fn nonempty(&self, op: &'static str, dim: usize) {
        if self.dims()[dim] == 0 {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone()],
                why: "of no elements there is none".into(),
            });
        }
    }

    /// The `k`-th smallest elements along `dim`, counted from 1, and their positions (`i64`). NaN counts as the
    /// largest.
    ///
    /// # Panics
    /// If the dimension is out of range or has no `k`-th element.
    #[track_caller]
    pub fn kthvalue(&self, k: usize, dim: isize, keepdim: bool) -> (Self, Self) {
        let (x, at) = self.along("kthvalue", dim);
        if k == 0 || k > x.dims()[at] {
            raise(Error::Index {
                op: "kthvalue",
                what: "k",
                index: k as i64,
                size: x.dims()[at],
                shape: self.shape().clone(),
                called: None,
            });
        }
        let (values, places) = B::sort(&x, at, false);
        let pick = |x: &Self| x.narrow(at as isize, k - 1, 1);
        self.both(pick(&values), pick(&places), at, keepdim)
    }

    /// The medians along `dim` of the elements that are not NaN, and their positions (`i64`): the lower of two in
    /// the middle, NaN where all are.
    ///
    /// # Panics
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn nanmedian_dim(&self, dim: isize, keepdim: bool) -> (Self, Self) {
        let (x, at) = self.along("nanmedian", dim);
        x.nonempty("nanmedian", at);
        let (values, places) = B::sort(&x, at, false);
        let count = x.detach().isnan().logical_not().sum_dims([at as isize], true);
        let middle = (count - 1).clamp_min(0).floor_divide(2);
        let pick = |x: &Self| B::gather(x, at, &middle);
        self.both(pick(&values), pick(&places), at, keepdim)
    }

    /// The median of all elements that are not NaN.
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    pub fn nanmedian(&self) -> Self {
        self.reshape([-1]).nanmedian_dim(0, false).0
    }

    /// The most frequent elements along `dim`, of equally frequent ones the smallest, and their last positions
    /// (`i64`).
    ///
    /// # Panics
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn mode(&self, dim: isize, keepdim: bool) -> (Self, Self) {
        static RUN: Fused<3> = Fused::new("mode", |[value, before, place]| {
            value.eq(before).select(place.lit(0), place)
        });
        let (x, at) = self.along("mode", dim);
        x.nonempty("mode", at);
        let (values, places) = B::sort(&x.detach(), at, false);
        let n = x.dims()[at];
        // Where the run of equals begins that an element is in; it is longest where it ends.
        let mut shape: crate::Shape = std::iter::repeat_n(1, x.rank()).collect();
        shape[at] = n;
        let numbers = Self::arange(n, x.device()).reshape_to(&shape);
        let pairs = |start| values.narrow(at as isize, start, n - 1);
        let starts = RUN.call([&pairs(1), &pairs(0), &numbers.narrow(at as isize, 1, n - 1)]);
        let first = Self::zeros(starts.shape().with(at, 1), (x.device(), DType::I64));
        let (start, _) = B::cat(&[&first, &starts], at).cummax(at as isize);
        let longest = (numbers - start).argmax(at as isize, true);
        let place = B::gather(&places, at, &longest);
        self.both(B::gather(&x, at, &place), place, at, keepdim)
    }

    /// The elements in order along the first dim: `sort(0, false).0`.
    ///
    /// # Panics
    /// If the dimension is out of range.
    #[track_caller]
    pub fn msort(&self) -> Self {
        self.sort(0, false).0
    }

    /// The smallest and the largest of all elements.
    ///
    /// # Panics
    /// If there are no elements.
    #[track_caller]
    pub fn aminmax(&self) -> (Self, Self) {
        (self.min(), self.max())
    }

    /// The smallest and the largest elements along `dim`.
    ///
    /// # Panics
    /// If the dimension is out of range or empty.
    #[track_caller]
    pub fn aminmax_dim(&self, dim: isize, keepdim: bool) -> (Self, Self) {
        (self.amin_dims([dim], keepdim), self.amax_dims([dim], keepdim))
    }

    fn both(&self, values: Self, places: Self, at: usize, keepdim: bool) -> (Self, Self) {
        if keepdim && self.rank() > 0 {
            (values, places)
        } else {
            (values.without(&[at]), places.without(&[at]))
        }
    }
}
