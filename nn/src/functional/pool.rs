//! Pooling: windows of images, and what each of them gives. The layers call these.

use kiln_tensor_core::{Backend, Error, PoolSpec, Shape, Tensor, raise};

use crate::Sizes;

/// How windows lie, for functions and layers that pool: a size, from which it is made, and options with PyTorch's names and
/// defaults. Not every function has a use for each of them: PyTorch's signatures tell.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::functional::{Pool, avg_pool1d, max_pool2d};
/// use kiln_tensor_core::Tensor;
///
/// let image = Tensor::<Cpu>::randn([1, 3, 8, 8], &CpuDevice);
/// assert_eq!(*max_pool2d(&image, 2).shape(), [1, 3, 4, 4]);
/// assert_eq!(*max_pool2d(&image, Pool::new(3).stride(2).padding(1)).shape(), [1, 3, 4, 4]);
/// let x = Tensor::<Cpu>::from_slice(&[1.0, 2.0, 6.0], [1, 1, 3], &CpuDevice);
/// assert_eq!(avg_pool1d(&x, Pool::new(2).stride(1)).to_vec::<f64>(), [1.5, 4.0]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Pool<const N: usize> {
    pub(crate) kernel: Sizes<N>,
    pub(crate) stride: Option<Sizes<N>>,
    pub(crate) padding: Sizes<N>,
    pub(crate) dilation: Sizes<N>,
    pub(crate) ceil_mode: bool,
    pub(crate) count_include_pad: bool,
    pub(crate) divisor: Option<usize>,
}

impl<const N: usize> Pool<N> {
    /// Windows of this size, side by side.
    pub fn new(kernel_size: impl Into<Sizes<N>>) -> Self {
        Pool {
            kernel: kernel_size.into(),
            stride: None,
            padding: Sizes::All(0),
            dilation: Sizes::All(1),
            ceil_mode: false,
            count_include_pad: true,
            divisor: None,
        }
    }

    /// The distance between two windows; by default they lie side by side.
    #[must_use]
    pub fn stride(mut self, stride: impl Into<Sizes<N>>) -> Self {
        self.stride = Some(stride.into());
        self
    }

    /// What is added on both sides, at most half of a window; 0 by default.
    #[must_use]
    pub fn padding(mut self, padding: impl Into<Sizes<N>>) -> Self {
        self.padding = padding.into();
        self
    }

    /// The distance between two elements of a window, of maxima alone; 1 by default.
    #[must_use]
    pub fn dilation(mut self, dilation: impl Into<Sizes<N>>) -> Self {
        self.dilation = dilation.into();
        self
    }

    /// Whether a last window that reaches over the edge counts; `false` by default.
    #[must_use]
    pub fn ceil_mode(mut self, on: bool) -> Self {
        self.ceil_mode = on;
        self
    }

    /// Whether padding counts as elements of the mean; `true` by default.
    #[must_use]
    pub fn count_include_pad(mut self, on: bool) -> Self {
        self.count_include_pad = on;
        self
    }

    /// Divides sums by this number instead of the number of elements.
    #[must_use]
    pub fn divisor_override(mut self, divisor: usize) -> Self {
        self.divisor = Some(divisor);
        self
    }

    /// The distance between two windows.
    pub(crate) fn step(&self) -> Sizes<N> {
        self.stride.unwrap_or(self.kernel)
    }

    pub(crate) fn spec(&self) -> PoolSpec {
        PoolSpec {
            stride: self.step().each().as_slice().into(),
            padding: self.padding.each().as_slice().into(),
            dilation: self.dilation.each().as_slice().into(),
            ceil_mode: self.ceil_mode,
            count_include_pad: self.count_include_pad,
            divisor: self.divisor,
            ..PoolSpec::new(&self.kernel.each())
        }
    }
}

impl<const N: usize, T: Into<Sizes<N>>> From<T> for Pool<N> {
    fn from(kernel_size: T) -> Self {
        Pool::new(kernel_size)
    }
}

/// `(Σ xᵖ)^(1/p)` of windows, `p` being the norm's type; 0 where the sum is not positive, as in PyTorch.
#[track_caller]
pub(crate) fn lp_pool<B: Backend, const N: usize>(
    x: &Tensor<B>,
    norm_type: f64,
    pool: &Pool<N>,
) -> Tensor<B> {
    let taps: usize = pool.kernel.each().iter().product();
    let mean = x.pow(norm_type).avg_pool(&pool.spec());
    (mean.relu() * taps as f64).pow(1.0 / norm_type)
}

/// Maxima back where they were: see [`max_unpool2d`].
#[track_caller]
pub(crate) fn max_unpool<B: Backend, const N: usize>(
    x: &Tensor<B>,
    indices: &Tensor<B>,
    pool: &Pool<N>,
    output_size: Option<[usize; N]>,
) -> Tensor<B> {
    let lead = match x.rank().checked_sub(N) {
        Some(lead @ 1..=2) if x.shape() == indices.shape() => lead,
        _ => raise(Error::Shape {
            op: "max_unpool",
            shapes: vec![x.shape().clone(), indices.shape().clone()],
            why: format!("maxima and positions of one shape, with {N} dims after the channels"),
        }),
    };
    let (kernel, padding) = (pool.kernel.each(), pool.padding.each());
    let least = |i: usize| {
        let size = (x.dims()[lead + i].max(1) - 1) * pool.step().each()[i] + kernel[i];
        size.saturating_sub(2 * padding[i])
    };
    let sizes = output_size.unwrap_or_else(|| std::array::from_fn(least));
    let rows: usize = x.dims()[..lead].iter().product();
    let flat = |x: &Tensor<B>| x.reshape_to(&Shape::from([rows, x.numel() / rows.max(1)]));
    let area = sizes.iter().product::<usize>();
    let zeros = Tensor::zeros([rows, area], (x.device(), x.dtype()));
    let image = zeros.scatter(1, &flat(indices), &flat(x));
    image.reshape_to(&x.dims()[..lead].iter().chain(&sizes).copied().collect())
}

/// The functions over some number of spatial dims.
macro_rules! pools {
    ($($n:literal $shape:literal:
        $max:ident $max_at:ident $avg:ident $lp:ident $unpool:ident
        $adaptive_avg:ident $adaptive_max:ident $adaptive_max_at:ident;)*) => {$(
        #[doc = concat!("Maxima of windows of `", $shape, "`, or without `n`. Options are those of a [`Pool`].")]
        ///
        /// # Panics
        /// If the rank does not fit, no window fits, or the padding is more than half of the window.
        #[track_caller]
        pub fn $max<B: Backend>(x: &Tensor<B>, pool: impl Into<Pool<$n>>) -> Tensor<B> {
            x.max_pool(&pool.into().spec())
        }

        #[doc = concat!(
            "Maxima of windows, and where they were: row-major positions in the spatial dims, `i64`. PyTorch's `",
            stringify!($max), "` with `return_indices=True`."
        )]
        ///
        /// # Panics
        #[doc = concat!("As [`", stringify!($max), "`].")]
        #[track_caller]
        pub fn $max_at<B: Backend>(
            x: &Tensor<B>,
            pool: impl Into<Pool<$n>>,
        ) -> (Tensor<B>, Tensor<B>) {
            x.max_pool_with_indices(&pool.into().spec())
        }

        #[doc = concat!("Means of windows of `", $shape, "`, or without `n`. Options are those of a [`Pool`].")]
        ///
        /// # Panics
        /// If the rank does not fit, no window fits, the padding is more than half of the window, or the elements are not
        /// floats.
        #[track_caller]
        pub fn $avg<B: Backend>(x: &Tensor<B>, pool: impl Into<Pool<$n>>) -> Tensor<B> {
            x.avg_pool(&pool.into().spec())
        }

        #[doc = concat!(
            "`(Σ xᵖ)^(1/p)` of windows of `", $shape, "`, or without `n`, `p` being the norm's type; 0 where the sum is not \
             positive, as in PyTorch."
        )]
        ///
        /// # Panics
        #[doc = concat!("As [`", stringify!($avg), "`].")]
        #[track_caller]
        pub fn $lp<B: Backend>(
            x: &Tensor<B>,
            norm_type: f64,
            pool: impl Into<Pool<$n>>,
        ) -> Tensor<B> {
            lp_pool(x, norm_type, &pool.into())
        }

        #[doc = concat!(
            "Puts maxima back where [`", stringify!($max_at), "`] has found them, zeros elsewhere, into an image of the \
             sizes that were pooled: `output_size`, or the least that gives so many windows."
        )]
        ///
        /// # Panics
        /// If shapes do not fit, or a position is outside the image.
        #[track_caller]
        pub fn $unpool<B: Backend>(
            x: &Tensor<B>,
            indices: &Tensor<B>,
            pool: impl Into<Pool<$n>>,
            output_size: Option<[usize; $n]>,
        ) -> Tensor<B> {
            max_unpool(x, indices, &pool.into(), output_size)
        }

        #[doc = concat!("Means of windows of `", $shape, "` chosen such that the output has these sizes.")]
        ///
        /// # Panics
        /// If there are not as many spatial dims, or the elements are not floats.
        #[track_caller]
        pub fn $adaptive_avg<B: Backend>(
            x: &Tensor<B>,
            output_size: impl Into<Sizes<$n>>,
        ) -> Tensor<B> {
            x.adaptive_avg_pool(&output_size.into().each())
        }

        #[doc = concat!("Maxima of windows of `", $shape, "` chosen such that the output has these sizes.")]
        ///
        /// # Panics
        /// If there are not as many spatial dims, or a window would be empty.
        #[track_caller]
        pub fn $adaptive_max<B: Backend>(
            x: &Tensor<B>,
            output_size: impl Into<Sizes<$n>>,
        ) -> Tensor<B> {
            x.adaptive_max_pool(&output_size.into().each())
        }

        #[doc = concat!("[`", stringify!($adaptive_max), "`], and where the maxima were: row-major positions.")]
        ///
        /// # Panics
        /// As that.
        #[track_caller]
        pub fn $adaptive_max_at<B: Backend>(
            x: &Tensor<B>,
            output_size: impl Into<Sizes<$n>>,
        ) -> (Tensor<B>, Tensor<B>) {
            x.adaptive_max_pool_with_indices(&output_size.into().each())
        }
    )*};
}

pools! {
    1 "[n, c, length]": max_pool1d max_pool1d_with_indices avg_pool1d lp_pool1d max_unpool1d
        adaptive_avg_pool1d adaptive_max_pool1d adaptive_max_pool1d_with_indices;
    2 "[n, c, height, width]": max_pool2d max_pool2d_with_indices avg_pool2d lp_pool2d max_unpool2d
        adaptive_avg_pool2d adaptive_max_pool2d adaptive_max_pool2d_with_indices;
    3 "[n, c, depth, height, width]": max_pool3d max_pool3d_with_indices avg_pool3d lp_pool3d max_unpool3d
        adaptive_avg_pool3d adaptive_max_pool3d adaptive_max_pool3d_with_indices;
}
