//! Pooling.

use crate::{Backend, DType, Error, PoolSpec, Shape, Tensor, adaptive_windows, raise};

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
        let lead = self.check_adaptive("adaptive_avg_pool", output);
        // Windows are separable, and a mean is a product with a matrix of weights.
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

    /// Maxima of windows chosen such that the trailing dims get the sizes `output`, as in
    /// [`Tensor::adaptive_avg_pool`].
    ///
    /// # Panics
    /// If there are not as many trailing dims (1 to 3), or a window would be empty.
    #[track_caller]
    pub fn adaptive_max_pool(&self, output: &[usize]) -> Self {
        self.adaptive_max_pool_with_indices(output).0
    }

    /// Maxima of the windows of adaptive pooling, and where they were: row-major positions in the
    /// pooled dims, `i64`, the first of equals.
    ///
    /// # Panics
    /// As [`Tensor::adaptive_max_pool`].
    #[track_caller]
    pub fn adaptive_max_pool_with_indices(&self, output: &[usize]) -> (Self, Self) {
        let lead = self.check_adaptive("adaptive_max_pool", output);
        let (outer, sizes) = self.dims().split_at(lead);
        let windowless = sizes.iter().zip(output).any(|(&size, &out)| size == 0 && out > 0);
        if output.len() > 3 || windowless {
            raise(Error::Shape {
                op: "adaptive_max_pool",
                shapes: vec![self.shape().clone(), output.into()],
                why: "1 to 3 output sizes, and elements in the dims to pool are wanted".into(),
            });
        }
        let shape: Shape = outer.iter().chain(output).copied().collect();
        let (rows, places) = (outer.iter().product(), sizes.iter().product());
        let flat = self.reshape_to(&[rows, places].into());
        let at = if shape.numel() == 0 {
            let count: usize = output.iter().product();
            Tensor::zeros([rows, count], (self.device(), DType::I64))
        } else {
            flat.detach().adaptive_places(sizes, output)
        };
        (B::gather(&flat, 1, &at).reshape_to(&shape), at.reshape_to(&shape))
    }

    /// Of rows that are images of `sizes`: where the maxima of the adaptive windows are.
    fn adaptive_places(&self, sizes: &[usize], output: &[usize]) -> Self {
        // Windows of one length are those of plain pooling: shorter ones repeat their last place.
        let (kernel, taps): (Vec<_>, Vec<_>) =
            sizes.iter().zip(output).map(|(&size, &out)| window_places(size, out)).unzip();
        let spread: Shape = kernel.iter().zip(output).map(|(&length, &out)| length * out).collect();
        let places = Tensor::from_slice(&row_major(sizes, &taps), [spread.numel()], self.device());
        let rows = self.dims()[0];
        let windows: Shape = [rows, 1].iter().chain(spread.iter()).copied().collect();
        let pooled = self.index_select(1, &places).reshape_to(&windows);
        let (_, at) = B::max_pool(&pooled, &PoolSpec::new(&kernel));
        places.index_select(0, &at.reshape([-1])).reshape([rows as isize, -1])
    }

    /// The number of dims that adaptive pooling leaves alone.
    #[track_caller]
    fn check_adaptive(&self, op: &'static str, output: &[usize]) -> usize {
        if self.rank() < output.len() + 1 || output.is_empty() {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone(), output.into()],
                why: "[n, c, …] or [c, …] with one trailing dim per output size is wanted".into(),
            });
        }
        self.rank() - output.len()
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
        if self.rank() != spatial + 2 || spec.out_shape(self.dims()).is_none() {
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
    for (i, window) in adaptive_windows(size, out).enumerate() {
        let weight = 1.0 / window.len() as f64;
        window.for_each(|j| weights[j * out + i] = weight);
    }
    weights
}

/// The length of the longest window of adaptive pooling, and the places of all of them at that length.
fn window_places(size: usize, out: usize) -> (usize, Vec<usize>) {
    let length = adaptive_windows(size, out).map(|window| window.len()).max().unwrap_or(0);
    let places = adaptive_windows(size, out)
        .flat_map(|window| (0..length).map(move |tap| (window.start + tap).min(window.end - 1)));
    (length, places.collect())
}

/// The row-major numbers of the product of `places`, one list for each of the dims `sizes`.
fn row_major(sizes: &[usize], places: &[Vec<usize>]) -> Vec<i64> {
    sizes.iter().zip(places).fold(vec![0], |numbers, (&size, places)| {
        let inner = |number: i64| places.iter().map(move |&at| number * size as i64 + at as i64);
        numbers.into_iter().flat_map(inner).collect()
    })
}
