//! Random numbers. Every call takes one draw of the device's generator, so that a seed and the order of
//! the calls give the same numbers on every backend and for any number of threads.

use std::sync::OnceLock;

use super::pointwise::{PerDType, writable};
use crate::draws::repeatable;
use crate::expr::Builder;
use crate::graph::Live;
use crate::{
    Backend, DType, Device, Error, Expr, Kernel, Options, RngState, Scalar, Shape, Tensor, Val,
    next_draw, raise,
};

/// A distribution with two numbers: what it makes of two uniform random numbers.
pub(super) struct Distribution {
    name: &'static str,
    f: for<'b> fn([Val<'b>; 2], [Val<'b>; 2]) -> Val<'b>,
    // With as few bits as a narrow dtype has, so that no number is rounded up to 1 when stored.
    coarse: bool,
    programs: [OnceLock<Expr>; 10],
}

impl Distribution {
    pub(super) const fn new(
        name: &'static str,
        f: for<'b> fn([Val<'b>; 2], [Val<'b>; 2]) -> Val<'b>,
    ) -> Self {
        Distribution { name, f, coarse: false, programs: [const { OnceLock::new() }; 10] }
    }

    const fn coarse(mut self) -> Self {
        self.coarse = true;
        self
    }

    /// The program for one dtype. Narrow dtypes are computed in `f32`.
    fn program(&self, dtype: DType) -> &Expr {
        self.programs[dtype as usize].get_or_init(|| {
            let builder = Builder::new(&[]);
            let held = dtype.float().compute();
            let drawn = if self.coarse { dtype.float() } else { held };
            let seed = builder.param(DType::I64);
            let streams = [builder.param(DType::I64), builder.param(DType::I64)];
            let numbers = [builder.param(held), builder.param(held)];
            let uniform = streams.map(|stream| builder.uniform(seed, stream, drawn).cast(held));
            let out = (self.f)(uniform, numbers).cast(dtype).id();
            builder.finish(self.name, &[(out, dtype)])
        })
    }

    fn params<D: Device>(device: &D, a: f64, b: f64) -> ([Scalar; 5], Option<Live>) {
        drawn(device, move |draw| {
            // The second stream lies beside the first: the highest bit tells them apart.
            let second = draw.stream ^ (1 << 63);
            let bits = [draw.seed, draw.stream, second].map(|bits| Scalar::I64(bits as i64));
            [bits[0], bits[1], bits[2], Scalar::F64(a), Scalar::F64(b)]
        })
    }

    fn make<B: Backend>(
        &self,
        shape: &Shape,
        options: Options<'_, B>,
        a: f64,
        b: f64,
    ) -> Tensor<B> {
        let expr = self.program(options.dtype.unwrap_or(DType::F32));
        let (params, live) = Self::params(options.device, a, b);
        B::map(Kernel::with(expr, &params).live(live.as_ref()), &[], shape, options.device)
    }

    #[track_caller]
    pub(super) fn fill<B: Backend>(&self, x: &Tensor<B>, a: f64, b: f64) -> Tensor<B> {
        writable(self.name, x, DType::Bool);
        let (params, live) = Self::params(x.device(), a, b);
        let kernel = Kernel::with(self.program(x.dtype()), &params).live(live.as_ref());
        B::map_into(kernel, &[], &[x]);
        x.clone()
    }
}

/// Parameters made of the next draw of the device's generator; in each replay of a captured step, of another one.
pub(super) fn drawn<D: Device, const N: usize>(
    device: &D,
    params: impl Fn(RngState) -> [Scalar; N] + Copy + Send + Sync + 'static,
) -> ([Scalar; N], Option<Live>) {
    let (state, live) = repeatable(|| {
        let live = Live::captured(|| {
            let device = device.clone();
            move || Ok(params(next_draw(&device)).into_iter().collect())
        });
        (next_draw(device), live)
    });
    (params(state), live)
}

static UNIFORM: Distribution =
    Distribution::new("uniform", |[u, _], [low, high]| low + u * (high - low)).coarse();

// Box and Muller, "A note on the generation of random normal deviates" (1958).
static NORMAL: Distribution = Distribution::new("normal", |[u, v], [mean, std]| {
    let radius = ((u.lit(1.0) - u).log() * -2.0).sqrt();
    mean + std * radius * (v * std::f64::consts::TAU).cos()
});

static BERNOULLI: Distribution =
    Distribution::new("bernoulli", |[u, _], [p, _]| u.lt(p).cast(u.dtype()));

impl<B: Backend> Tensor<B> {
    /// Uniform random numbers in `[0, 1)`.
    pub fn rand<'a>(shape: impl Into<Shape>, options: impl Into<Options<'a, B>>) -> Self {
        UNIFORM.make(&shape.into(), options.into(), 0.0, 1.0)
    }

    /// Random numbers of the standard normal distribution.
    pub fn randn<'a>(shape: impl Into<Shape>, options: impl Into<Options<'a, B>>) -> Self {
        NORMAL.make(&shape.into(), options.into(), 0.0, 1.0)
    }

    /// Uniform random numbers in `[0, 1)` in the shape, dtype and device of this tensor.
    pub fn rand_like(&self) -> Self {
        Self::rand(self.shape(), (self.device(), self.dtype()))
    }

    /// Standard normal random numbers in the shape, dtype and device of this tensor.
    pub fn randn_like(&self) -> Self {
        Self::randn(self.shape(), (self.device(), self.dtype()))
    }

    /// Random integers in `low .. high`, `i64` unless another dtype is given.
    ///
    /// # Panics
    /// If `low .. high` is empty.
    #[track_caller]
    pub fn randint<'a>(
        low: i64,
        high: i64,
        shape: impl Into<Shape>,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        static PROGRAMS: PerDType = PerDType::new();
        if low >= high {
            raise(Error::Argument { op: "randint", why: format!("{low} .. {high} is empty") });
        }
        let options = options.into();
        let dtype = options.dtype.unwrap_or(DType::I64);
        let expr = PROGRAMS.get(dtype, || {
            let builder = Builder::new(&[]);
            let [seed, stream, low, count] = [(); 4].map(|()| builder.param(DType::I64));
            let u = builder.uniform(seed, stream, DType::F64);
            let steps = (u * count.cast(DType::F64)).cast(DType::I64);
            let out = (low + steps.min(count - 1)).cast(dtype).id();
            builder.finish("randint", &[(out, dtype)])
        });
        let count = high.saturating_sub(low);
        let (params, live) = drawn(options.device, move |draw| {
            [draw.seed as i64, draw.stream as i64, low, count].map(Scalar::I64)
        });
        let kernel = Kernel::with(expr, &params).live(live.as_ref());
        B::map(kernel, &[], &shape.into(), options.device)
    }

    /// The integers `0 .. n` in random order, `i64`.
    pub fn randperm<'a>(n: usize, options: impl Into<Options<'a, B>>) -> Self {
        let options = options.into();
        let keys = Self::rand([n], (options.device, DType::F64));
        let (_, order) = B::sort(&keys, 0, false);
        order.to_dtype(options.dtype.unwrap_or(DType::I64))
    }

    /// For each element, 1 with the probability that the element is, else 0; in this tensor's dtype.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    pub fn bernoulli(&self) -> Self {
        static PROGRAMS: PerDType = PerDType::new();
        let dtype = self.dtype();
        if !dtype.is_float() {
            raise(Error::DType {
                op: "bernoulli",
                dtypes: vec![dtype],
                why: "probabilities are floats".into(),
            });
        }
        let expr = PROGRAMS.get(dtype, || {
            let builder = Builder::new(&[dtype]);
            let [seed, stream] = [(); 2].map(|()| builder.param(DType::I64));
            let u = builder.uniform(seed, stream, dtype.compute());
            let out = u.lt(builder.input(0).cast(dtype.compute())).cast(dtype).id();
            builder.finish("bernoulli", &[(out, dtype)])
        });
        let (params, live) = drawn(self.device(), |draw| {
            [draw.seed, draw.stream].map(|bits| Scalar::I64(bits as i64))
        });
        let kernel = Kernel::with(expr, &params).live(live.as_ref());
        B::map(kernel, &[self], self.shape(), self.device())
    }

    /// Overwrites the elements with uniform random numbers in `[low, high)`.
    ///
    /// # Panics
    /// If elements of this view share memory.
    #[track_caller]
    pub fn uniform_(&self, low: f64, high: f64) -> Self {
        UNIFORM.fill(self, low, high)
    }

    /// Overwrites the elements with random numbers of a normal distribution.
    ///
    /// # Panics
    /// If elements of this view share memory.
    #[track_caller]
    pub fn normal_(&self, mean: f64, std: f64) -> Self {
        NORMAL.fill(self, mean, std)
    }

    /// Overwrites the elements with 1 with probability `p`, else 0.
    ///
    /// # Panics
    /// If elements of this view share memory.
    #[track_caller]
    pub fn bernoulli_(&self, p: f64) -> Self {
        BERNOULLI.fill(self, p, 0.0)
    }

    /// In training, zeroes each element with probability `p` and scales the rest by 1 / (1 − p); else
    /// the same tensor (Srivastava et al. 2014). The mask is computed again in backward, not stored.
    ///
    /// # Panics
    /// If `p` lies outside `[0, 1]` or the elements are not floats.
    #[track_caller]
    pub fn dropout(&self, p: f64, training: bool) -> Self {
        static PROGRAMS: [OnceLock<Expr>; 10] = [const { OnceLock::new() }; 10];
        check_dropout("dropout", self, p);
        if !training || p == 0.0 {
            return self.clone();
        }
        let dtype = self.dtype();
        let expr = PROGRAMS[dtype as usize].get_or_init(|| {
            let builder = Builder::new(&[dtype]);
            let seed = builder.param(DType::I64);
            let stream = builder.param(DType::I64);
            let numbers = [builder.param(dtype.compute()), builder.param(dtype.compute())];
            let kept = builder.uniform(seed, stream, dtype.compute()).ge(numbers[0]);
            let x = builder.input(0).cast(dtype.compute());
            let out = kept.select(x * numbers[1], x.lit(0.0)).cast(dtype).id();
            builder.finish("dropout", &[(out, dtype)])
        });
        let scale = if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 };
        let (params, live) = drawn(self.device(), move |draw| {
            let bits = [draw.seed, draw.stream].map(|bits| Scalar::I64(bits as i64));
            [bits[0], bits[1], Scalar::F64(p), Scalar::F64(scale)]
        });
        let kernel = Kernel::with(expr, &params).live(live.as_ref());
        B::map(kernel, &[self], self.shape(), self.device())
    }

    /// `dropout` of whole channels: the first two dims of `[n, c, …]` (Tompson et al. 2015).
    ///
    /// # Panics
    /// As `dropout`; also if there are fewer than two dims.
    #[track_caller]
    pub fn dropout_channels(&self, p: f64, training: bool) -> Self {
        check_dropout("dropout_channels", self, p);
        if self.rank() < 2 {
            raise(Error::Shape {
                op: "dropout_channels",
                shapes: vec![self.shape().clone()],
                why: "[n, c, …] is wanted".into(),
            });
        }
        if !training || p == 0.0 {
            return self.clone();
        }
        let shape: Shape =
            (0..self.rank()).map(|d| if d < 2 { self.dims()[d] } else { 1 }).collect();
        let ones = Self::ones(shape, (self.device(), self.dtype()));
        (self * ones.dropout(p, true)).named("dropout_channels", &[self])
    }
}

#[track_caller]
fn check_dropout<B: Backend>(op: &'static str, x: &Tensor<B>, p: f64) {
    if !(0.0..=1.0).contains(&p) {
        raise(Error::Argument { op, why: format!("a probability lies in 0..=1, not {p}") });
    }
    if !x.dtype().is_float() {
        raise(Error::DType { op, dtypes: vec![x.dtype()], why: "floats are wanted".into() });
    }
}
