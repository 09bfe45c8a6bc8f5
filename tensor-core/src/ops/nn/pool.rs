//! Pooling.

use crate::{Backend, Error, PoolSpec, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// Maxima of windows over the trailing dims of `[n, c, …]` or `[c, …]`.
    ///
    /// # Panics
    /// If the rank does not fit, no window fits, or the padding is more than half of the window.
    #[track_caller]
    pub fn max_pool(&self, spec: &PoolSpec) -> Self {
        self.max_pool_with_indices(spec).0
    }

    /// Maxima of windows, and where they were: row-major positions in the spatial dims, `i64`.
    ///
    /// # Panics
    /// As [`Tensor::max_pool`].
    #[track_caller]
    pub fn max_pool_with_indices(&self, spec: &PoolSpec) -> (Self, Self) {
        if self.rank() == spec.kernel.len() + 1 {
            let (y, at) = self.unsqueeze(0).max_pool_with_indices(spec);
            return (y.squeeze(0), at.squeeze(0));
        }
        self.check_pool("max_pool", spec);
        B::max_pool(self, spec)
    }

    /// Means of windows over the trailing dims of `[n, c, …]` or `[c, …]`.
    ///
    /// # Panics
    /// As [`Tensor::max_pool`]; also if the elements are not floats or the spec has a dilation.
    #[track_caller]
    pub fn avg_pool(&self, spec: &PoolSpec) -> Self {
        if self.rank() == spec.kernel.len() + 1 {
            return self.unsqueeze(0).avg_pool(spec).squeeze(0);
        }
        self.floats("avg_pool");
        self.check_pool("avg_pool", spec);
        if spec.dilation.iter().any(|&d| d != 1) || spec.divisor == Some(0) {
            raise(Error::Argument {
                op: "avg_pool",
                why: "no dilation and a divisor other than 0 are wanted".into(),
            });
        }
        B::avg_pool(self, spec)
    }

    /// Means of windows chosen such that the trailing dims get the sizes `output`: window `i` of a
    /// dim of size `n` reaches from `⌊i·n/out⌋` to `⌈(i + 1)·n/out⌉`.
    ///
    /// # Panics
    /// If there are not as many trailing dims, or the elements are not floats.
    #[track_caller]
    pub fn adaptive_avg_pool(&self, output: &[usize]) -> Self {
        self.floats("adaptive_avg_pool");
        let spatial = output.len();
        if self.rank() < spatial + 1 || spatial == 0 {
            raise(Error::Shape {
                op: "adaptive_avg_pool",
                shapes: vec![self.shape().clone(), output.into()],
                why: "[n, c, …] or [c, …] with one trailing dim per output size is wanted".into(),
            });
        }
        // Windows are separable, and a mean is a product with a matrix of weights.
        let lead = self.rank() - spatial;
        output.iter().enumerate().fold(self.clone(), |x, (i, &out)| {
            let dim = (lead + i) as isize;
            let size = x.dims()[lead + i];
            if size == out {
                return x;
            }
            if out == 1 {
                return x.averaged(&[lead + i], true);
            }
            let weights = Tensor::from_slice(&window_weights(size, out), [size, out], x.device());
            x.transpose(dim, -1).matmul(&weights.to_dtype(x.dtype())).transpose(dim, -1)
        })
    }

    #[track_caller]
    fn check_pool(&self, op: &'static str, spec: &PoolSpec) {
        let spatial = spec.kernel.len();
        let whole = (1..=3).contains(&spatial)
            && [&spec.stride, &spec.padding, &spec.dilation].iter().all(|d| d.len() == spatial)
            && spec.stride.iter().chain(&spec.dilation).chain(&spec.kernel).all(|&s| s > 0);
        if !whole || (0..spatial).any(|i| 2 * spec.padding[i] > spec.kernel[i]) {
            raise(Error::Argument {
                op,
                why: format!(
                    "1 to 3 dims, positive kernel, stride and dilation for each, and a padding of at \
                     most half of the kernel are wanted, not {spec:?}"
                ),
            });
        }
        let fits = |i: usize| spec.out_size(i, self.dims()[i + 2]).is_some();
        if self.rank() != spatial + 2 || !(0..spatial).all(fits) {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone(), Shape::from(&spec.kernel[..])],
                why: "[n, c, …] or [c, …] with room for the window is wanted".into(),
            });
        }
    }
}

/// The matrix `[size, out]` that takes means over the windows of adaptive pooling.
fn window_weights(size: usize, out: usize) -> Vec<f64> {
    let mut weights = vec![0.0; size * out];
    for i in 0..out {
        let (start, end) = (i * size / out, ((i + 1) * size).div_ceil(out));
        for j in start..end {
            weights[j * out + i] = 1.0 / (end - start) as f64;
        }
    }
    weights
}
