//! Statistics of samples: sums without NaN, moments together, covariances, distances, norms brought to size.

use super::reduce::SAFE_SQRT;
use crate::{Backend, Error, Fused, FusedWith, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// The sum of the elements that are not NaN.
    #[must_use]
    pub fn nansum(&self) -> Self {
        known(self).sum()
    }

    /// The sums along `dims` of the elements that are not NaN.
    ///
    /// # Panics
    /// If a dimension is out of range or named twice.
    #[track_caller]
    pub fn nansum_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        known(self).sum_dims(dims, keepdim)
    }

    /// The mean of the elements that are not NaN; NaN if all are.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    pub fn nanmean(&self) -> Self {
        self.nanmean_dims([], false)
    }

    /// The means along `dims` of the elements that are not NaN.
    ///
    /// # Panics
    /// If the elements are not floats, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn nanmean_dims(&self, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        self.floats("nanmean");
        let dims = dims.as_ref();
        let wide = self.dtype().compute();
        let sum = known(&self.to_dtype(wide)).sum_dims(dims, keepdim);
        let count = self.detach().isnan().logical_not().sum_dims(dims, keepdim);
        (sum / count.to_dtype(wide)).to_dtype(self.dtype())
    }

    /// Variances and means along `dims`; see [`Tensor::var_dims`].
    ///
    /// # Panics
    /// If the elements are not floats, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn var_mean(
        &self,
        dims: impl AsRef<[isize]>,
        correction: f64,
        keepdim: bool,
    ) -> (Self, Self) {
        self.floats("var_mean");
        let dims = self.reduced_dims("var_mean", dims.as_ref());
        let (mean, var) = self.moments(&dims, correction);
        if keepdim { (var, mean) } else { (var.without(&dims), mean.without(&dims)) }
    }

    /// Standard deviations and means along `dims`; see [`Tensor::std_dims`].
    ///
    /// # Panics
    /// If the elements are not floats, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn std_mean(
        &self,
        dims: impl AsRef<[isize]>,
        correction: f64,
        keepdim: bool,
    ) -> (Self, Self) {
        self.floats("std_mean");
        let (var, mean) = self.var_mean(dims, correction, keepdim);
        (SAFE_SQRT.call([&var]), mean)
    }

    /// The covariances of the rows of a matrix, each row the samples of one variable, divided by
    /// n − `correction`; of a vector, its variance. PyTorch's default correction is 1.
    ///
    /// # Panics
    /// If the elements are not floats, or there are more than two dims.
    #[track_caller]
    pub fn cov(&self, correction: f64) -> Self {
        self.cov_weighted(correction, None, None)
    }

    /// [`Tensor::cov`] with samples that count more than once, or more than others: `fweights` `[samples]` says how often each
    /// one was seen, in integers, and `aweights` `[samples]` how much each one weighs, in floats.
    ///
    /// # Panics
    /// As [`Tensor::cov`]; also if the weights are not one for each sample, or not of these kinds. What they hold is not
    /// looked at: none may be negative.
    #[track_caller]
    pub fn cov_weighted(
        &self,
        correction: f64,
        fweights: Option<&Self>,
        aweights: Option<&Self>,
    ) -> Self {
        self.floats("cov");
        if self.rank() > 2 {
            raise(Error::Shape {
                op: "cov",
                shapes: vec![self.shape().clone()],
                why: "a matrix [variables, samples], or a vector, is wanted".into(),
            });
        }
        let x = self.atleast_2d();
        let flat = |products: Self| if self.rank() < 2 { products.reshape(()) } else { products };
        for weights in [fweights, aweights].into_iter().flatten() {
            if *weights.dims() != [x.dims()[1]] {
                raise(Error::Shape {
                    op: "cov",
                    shapes: vec![self.shape().clone(), weights.shape().clone()],
                    why: "one weight for each sample is wanted".into(),
                });
            }
        }
        let whole = fweights.is_none_or(|weights| weights.dtype().is_int());
        if !whole || !aweights.is_none_or(|weights| weights.dtype().is_float()) {
            raise(Error::DType {
                op: "cov",
                dtypes: [fweights, aweights].into_iter().flatten().map(Self::dtype).collect(),
                why: "integers for fweights and floats for aweights are wanted".into(),
            });
        }
        let aweights = aweights.map(|weights| weights.to_dtype(x.dtype()));
        let weights = match (fweights.map(|weights| weights.to_dtype(x.dtype())), &aweights) {
            (None, None) => {
                let count = x.dims()[1] as f64 - correction;
                let centred = &x - x.mean_dims([1], true);
                let products = centred.matmul(&centred.transpose(0, 1));
                return flat(products / count.max(0.0));
            }
            (Some(often), Some(much)) => often * much,
            (Some(weights), None) => weights,
            (None, Some(weights)) => weights.clone(),
        };
        let total = weights.sum();
        let mean = (&x * &weights).sum_dims([1], true) / &total;
        let lost = match &aweights {
            Some(aweights) => (&weights * aweights).sum() / &total,
            None => total.ones_like(),
        };
        let centred = x - mean;
        let products = (&centred * &weights).matmul(&centred.transpose(0, 1));
        flat(products / (total - lost * correction).clamp_min(0.0))
    }

    /// The coefficients of correlation of the rows of a matrix; of a vector, 1.
    ///
    /// # Panics
    /// As [`Tensor::cov`].
    #[track_caller]
    pub fn corrcoef(&self) -> Self {
        let cov = self.cov(1.0);
        if cov.rank() == 0 {
            return cov.div(&cov);
        }
        let std = cov.diagonal(0, 0, 1).sqrt();
        (cov / std.unsqueeze(1) / std.unsqueeze(0)).clamp(-1.0, 1.0)
    }

    /// The `p`-norm of the difference to another tensor.
    ///
    /// # Panics
    /// If the elements are not floats, or the shapes do not broadcast.
    #[track_caller]
    pub fn dist(&self, other: &Self, p: f64) -> Self {
        (self - other).norm_dims(p, [], false)
    }

    /// The `p`-norms of the differences of each row of `self`, `[…, n, m]`, to each of `other`, `[…, k, m]`:
    /// `[…, n, k]`. The gradient of a distance of 0 is 0.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let a = Tensor::<Cpu>::new([[0.0, 0.0], [3.0, 0.0]], &CpuDevice);
    /// let b = Tensor::<Cpu>::new([[3.0, 4.0]], &CpuDevice);
    /// assert_eq!(a.cdist(&b, 2.0).to_vec::<f64>(), [5.0, 4.0]);
    /// ```
    ///
    /// # Panics
    /// If these are no lists of rows of one length, or the leading dims do not broadcast.
    #[track_caller]
    pub fn cdist(&self, other: &Self, p: f64) -> Self {
        self.floats("cdist");
        if self.rank() < 2 || other.rank() < 2 || self.size(-1) != other.size(-1) {
            raise(Error::Shape {
                op: "cdist",
                shapes: vec![self.shape().clone(), other.shape().clone()],
                why: "[…, n, m] and […, k, m] are wanted".into(),
            });
        }
        let norms = (self.unsqueeze(-2) - other.unsqueeze(-3)).norm_dims(p, [-1], false);
        norms.named("cdist", &[self, other])
    }

    /// Divided by the `p`-norms along `dim`, or by `eps` where these are smaller:
    /// `torch.nn.functional.normalize`, whose defaults are 2, 1 and 1e-12.
    ///
    /// # Panics
    /// If the elements are not floats, or the dimension is out of range.
    #[track_caller]
    pub fn normalize(&self, p: f64, dim: isize, eps: f64) -> Self {
        self.floats("normalize");
        (self / self.norm_dims(p, [dim], true).clamp_min(eps)).named("normalize", &[self])
    }

    /// The slices along `dim` whose `p`-norm is above `maxnorm` brought down to it.
    ///
    /// # Panics
    /// If the elements are not floats, or the dimension is out of range.
    #[track_caller]
    pub fn renorm(&self, p: f64, dim: isize, maxnorm: f64) -> Self {
        static FACTOR: FusedWith<1, 1> = FusedWith::new("renorm", |[norm], [max]| {
            norm.gt(max).select(max / (norm + 1e-7), norm.lit(1.0))
        });
        self.floats("renorm");
        let at = self.dim("renorm", dim);
        let others: Vec<isize> =
            (0..self.rank()).filter(|&d| d != at).map(|d| d as isize).collect();
        let norm = if others.is_empty() { self.abs() } else { self.norm_dims(p, others, true) };
        (self * FACTOR.call([&norm], [maxnorm])).named("renorm", &[self])
    }

    /// The product of the last dims, summed over these: `out[…, …] = Σ self[…, k] · other[…, k]`; with a number,
    /// the plain product.
    ///
    /// # Panics
    /// If the last sizes, dtypes or devices differ.
    #[track_caller]
    pub fn inner(&self, other: &Self) -> Self {
        if self.rank() == 0 || other.rank() == 0 {
            return self * other;
        }
        self.tensordot(other, [&[-1], &[-1]])
    }

    /// Kronecker's product: each element of `self` times the whole of `other`, in its place.
    #[track_caller]
    pub fn kron(&self, other: &Self) -> Self {
        let rank = self.rank().max(other.rank());
        let sizes = |x: &Self| -> Vec<usize> {
            std::iter::repeat_n(1, rank - x.rank()).chain(x.dims().iter().copied()).collect()
        };
        let (a, b) = (sizes(self), sizes(other));
        let first: Shape = a.iter().flat_map(|&n| [n, 1]).collect();
        let second: Shape = b.iter().flat_map(|&n| [1, n]).collect();
        let joined: Shape = a.iter().zip(&b).map(|(a, b)| a * b).collect();
        (self.reshape_to(&first) * other.reshape_to(&second)).reshape_to(&joined)
    }

    /// The cross product of vectors of three along `dim` (`torch.linalg.cross`, whose default is −1). The other
    /// dims broadcast.
    ///
    /// # Panics
    /// If the dimension has not size 3 in both, or the shapes do not broadcast.
    #[track_caller]
    pub fn cross(&self, other: &Self, dim: isize) -> Self {
        let dims = [self.dim("cross", dim), other.dim("cross", dim)];
        if self.dims()[dims[0]] != 3 || other.dims()[dims[1]] != 3 || self.rank() != other.rank() {
            raise(Error::Shape {
                op: "cross",
                shapes: vec![self.shape().clone(), other.shape().clone()],
                why: format!("as many dims, and a size of 3 of dim {dim} in both, are wanted"),
            });
        }
        let next = |x: &Self, by: isize| x.roll([-by], [dim]);
        next(self, 1) * next(other, 2) - next(self, 2) * next(other, 1)
    }

    /// `beta · self + alpha · matrix × vector`; `self` broadcasts.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn addmv(&self, matrix: &Self, vector: &Self, beta: f64, alpha: f64) -> Self {
        let product = matrix.mv(vector) * alpha;
        if beta == 0.0 { product } else { product + self * beta }
    }

    /// [`Tensor::addmv`], in place.
    ///
    /// # Panics
    /// As that does; also if the result is larger than `self`, or elements of this view share memory.
    #[track_caller]
    pub fn addmv_(&self, matrix: &Self, vector: &Self, beta: f64, alpha: f64) -> Self {
        self.copy_(&self.addmv(matrix, vector, beta, alpha))
    }

    /// `beta · self + alpha · a ⊗ b` for vectors `a` and `b`; `self` broadcasts.
    ///
    /// # Panics
    /// If sizes or devices do not fit.
    #[track_caller]
    pub fn addr(&self, a: &Self, b: &Self, beta: f64, alpha: f64) -> Self {
        let product = a.outer(b) * alpha;
        if beta == 0.0 { product } else { product + self * beta }
    }

    /// [`Tensor::addr`], in place.
    ///
    /// # Panics
    /// As that does; also if the result is larger than `self`, or elements of this view share memory.
    #[track_caller]
    pub fn addr_(&self, a: &Self, b: &Self, beta: f64, alpha: f64) -> Self {
        self.copy_(&self.addr(a, b, beta, alpha))
    }
}

/// The elements with 0 for NaN.
fn known<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    static KNOWN: Fused<1> = Fused::new("nansum", |[x]| x.is_nan().select(x.lit(0.0), x));
    if x.dtype().is_float() { KNOWN.call([x]) } else { x.clone() }
}
