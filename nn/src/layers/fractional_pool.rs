//! Pooling whose windows lie at random, so that the size may shrink by any ratio.

use kiln_tensor_core::{Backend, DType, Error, FusedWith, Shape, Tensor, raise};

use super::Sizes;
use super::sizes::named;
use crate::{Forward, Hooks, Module};

/// Fractional maxima of `[n, c, height, width]` (or without `n`).
pub type FractionalMaxPool2d<B> = FractionalMaxPool<B, 2>;
/// Fractional maxima of `[n, c, depth, height, width]` (or without `n`).
pub type FractionalMaxPool3d<B> = FractionalMaxPool<B, 3>;

/// The maxima of windows of one size at pseudo-random places, which are drawn for each sample and channel (Graham 2014):
/// [`FractionalMaxPool2d`], [`FractionalMaxPool3d`]. Random in evaluation too, as in PyTorch.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Forward, FractionalMaxPool2d};
/// use kiln_tensor_core::Tensor;
///
/// let pool = FractionalMaxPool2d::<Cpu>::new(3).output_ratio([0.5, 0.7]);
/// assert_eq!(*pool.call(&Tensor::randn([2, 4, 20, 20], &CpuDevice)).shape(), [2, 4, 10, 14]);
/// ```
#[derive(Debug, Module)]
#[module(type_name = Self::name)]
pub struct FractionalMaxPool<B: Backend, const N: usize> {
    #[module(skip)]
    kernel_size: Sizes<N>,
    #[module(skip)]
    output: Output<N>,
    hooks: Hooks<B>,
}

/// How large the result is.
#[derive(Clone, Copy, Debug)]
enum Output<const N: usize> {
    Unknown,
    Size(Sizes<N>),
    Ratio([f64; N]),
}

impl<B: Backend, const N: usize> FractionalMaxPool<B, N> {
    /// Windows of this size. It needs an `output_size` or an `output_ratio`.
    pub fn new(kernel_size: impl Into<Sizes<N>>) -> Self {
        let kernel_size = kernel_size.into();
        FractionalMaxPool { kernel_size, output: Output::Unknown, hooks: Hooks::new() }
    }

    /// The size of the result.
    #[must_use]
    pub fn output_size(mut self, size: impl Into<Sizes<N>>) -> Self {
        self.output = Output::Size(size.into());
        self
    }

    /// The size of the result as parts of the input's, rounded down.
    ///
    /// # Panics
    /// If one is not between 0 and 1.
    #[must_use]
    #[track_caller]
    pub fn output_ratio(mut self, ratio: [f64; N]) -> Self {
        if !ratio.iter().all(|&ratio| 0.0 < ratio && ratio < 1.0) {
            let why = format!("output_ratio {ratio:?} does not lie between 0 and 1");
            raise(Error::Argument { op: "fractional_max_pool", why });
        }
        self.output = Output::Ratio(ratio);
        self
    }

    /// The maxima, and where they were: row-major positions in the spatial dims.
    ///
    /// # Panics
    /// If the sizes do not fit together.
    #[track_caller]
    pub fn forward_with_indices(&self, x: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        if x.rank() == N + 1 {
            let (y, at) = self.forward_with_indices(&x.unsqueeze(0));
            return (y.squeeze(0), at.squeeze(0));
        }
        let lead = &x.dims()[..x.rank().min(2)];
        let shape: Shape = lead.iter().copied().chain([N]).collect();
        let samples = Tensor::rand(shape, (x.device(), x.dtype()));
        self.at(x, &samples)
    }

    /// Like `forward_with_indices`, for one sample each: with these random numbers `[n, c, N]` in `[0, 1)`: PyTorch's
    /// `_random_samples`. The first is for the last dim in two dims, for the first in three, as there.
    ///
    /// # Panics
    /// If the sizes do not fit together.
    #[track_caller]
    pub fn at(&self, x: &Tensor<B>, samples: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        let wrong = |why: &str| -> ! {
            let shapes = vec![x.shape().clone(), samples.shape().clone()];
            raise(Error::Shape { op: "fractional_max_pool", shapes, why: why.into() })
        };
        if x.rank() != N + 2 || samples.dims() != [x.dims()[0], x.dims()[1], N] {
            wrong("[n, c, …] and samples [n, c, spatial dims] are wanted");
        }
        let (lead, spatial) = x.dims().split_at(2);
        let (kernel, out) = (self.kernel_size.each(), self.out(spatial));
        let fits = |i: usize| out[i] > 0 && kernel[i] > 0 && out[i] + kernel[i] <= spatial[i] + 1;
        if !(0..N).all(fits) {
            wrong("each window of the output needs a place of its own in the input");
        }
        // Positions [n, c, out…, kernel…], one dim after the other.
        let mut at: Option<Tensor<B>> = None;
        for i in 0..N {
            let sample = samples.select(2, if N == 2 { 1 - i } else { i } as isize);
            let starts = starts(&sample, spatial[i], out[i], kernel[i]);
            let within = Tensor::<B>::arange(kernel[i] as i64, (x.device(), DType::I64));
            let size = |d: usize| match d {
                d if d == i => out[i],
                d if d == N + i => kernel[i],
                _ => 1,
            };
            let shape: Shape = lead.iter().copied().chain((0..2 * N).map(size)).collect();
            let places = (starts.unsqueeze(-1) + within).reshape_to(&shape);
            at = Some(match at {
                None => places,
                Some(at) => at * spatial[i] as i64 + places,
            });
        }
        let at = at.expect("there are spatial dims");
        let (windows, each) = (out.iter().product::<usize>(), kernel.iter().product::<usize>());
        let flat = Shape::from([lead[0], lead[1], windows * each]);
        let at = at.reshape_to(&flat);
        let shape = Shape::from([lead[0], lead[1], windows, each]);
        let values = x.flatten(2, -1).gather(2, &at).reshape_to(&shape);
        let (values, best) = values.max_dim(-1, true);
        let at = at.reshape_to(&shape).gather(3, &best);
        let shape: Shape = lead.iter().chain(&out).copied().collect();
        (values.reshape_to(&shape), at.reshape_to(&shape))
    }

    #[track_caller]
    fn out(&self, spatial: &[usize]) -> [usize; N] {
        match self.output {
            Output::Size(size) => size.each(),
            Output::Ratio(ratio) => {
                std::array::from_fn(|i| (spatial[i] as f64 * ratio[i]) as usize)
            }
            Output::Unknown => raise(Error::Argument {
                op: "fractional_max_pool",
                why: "an output_size or an output_ratio is wanted".into(),
            }),
        }
    }

    fn name(&self) -> &'static str {
        named(["FractionalMaxPool1d", "FractionalMaxPool2d", "FractionalMaxPool3d"], N)
    }
}

/// Where windows begin, `[n, c, out]`, for samples `[n, c]`: steps of two lengths that fill the input.
fn starts<B: Backend>(sample: &Tensor<B>, input: usize, out: usize, kernel: usize) -> Tensor<B> {
    static START: FusedWith<2, 1> = FusedWith::new("fractional_max_pool", |[u, i], [alpha]| {
        let u = u.cast(alpha.dtype());
        ((i.cast(alpha.dtype()) + u) * alpha).trunc() - (u * alpha).trunc()
    });
    let last = (input - kernel) as i64;
    let options: (&B::Device, DType) = (sample.device(), DType::I64);
    let ends = Tensor::full([sample.dims()[0], sample.dims()[1], 1], last, options);
    if out == 1 {
        return ends;
    }
    let alpha = last as f64 / (out - 1) as f64;
    let count = Tensor::<B>::arange(out as i64 - 1, options);
    let first = START.call([&sample.unsqueeze(-1), &count], [alpha]).to_dtype(DType::I64);
    Tensor::cat(&[&first, &ends], -1)
}

impl<B: Backend, const N: usize> Forward for FractionalMaxPool<B, N> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        self.forward_with_indices(x).0
    }
}
