//! Random numbers of further distributions, and choices at random. Each call takes one draw of the device's
//! generator.

use super::random::{Distribution, drawn};
use crate::{Backend, DType, Error, Operand, Options, Scalar, Shape, Tensor, Term, philox, raise};

// The inverse of each distribution function at a uniform number; 1 − u is never 0.
static EXPONENTIAL: Distribution =
    Distribution::new("exponential", |[u, _], [rate, _]| -(-u).log1p() / rate);

static GEOMETRIC: Distribution = Distribution::new("geometric", |[u, _], [p, _]| {
    ((-u).log1p() / (-p).log1p()).ceil().clamp_min(1.0)
});

static CAUCHY: Distribution = Distribution::new("cauchy", |[u, _], [median, sigma]| {
    median + sigma * ((u - 0.5) * std::f64::consts::PI).tan()
});

// As `normal_`, after Box and Muller.
static LOG_NORMAL: Distribution = Distribution::new("log_normal", |[u, v], [mean, std]| {
    let radius = ((u.lit(1.0) - u).log() * -2.0).sqrt();
    (mean + std * radius * (v * std::f64::consts::TAU).cos()).exp()
});

impl<B: Backend> Tensor<B> {
    /// Overwrites the elements with random numbers of the exponential distribution of this rate.
    ///
    /// # Panics
    /// If the rate is not above 0, or elements of this view share memory.
    #[track_caller]
    pub fn exponential_(&self, rate: f64) -> Self {
        positive("exponential_", rate);
        EXPONENTIAL.fill(self, rate, 0.0)
    }

    /// Overwrites the elements with random numbers of trials until the first success, of probability `p`.
    ///
    /// # Panics
    /// If `p` is not between 0 and 1, or elements of this view share memory.
    #[track_caller]
    pub fn geometric_(&self, p: f64) -> Self {
        if !(p > 0.0 && p < 1.0) {
            raise(Error::Argument {
                op: "geometric_",
                why: format!("0 < p < 1 is wanted, not {p}"),
            });
        }
        GEOMETRIC.fill(self, p, 0.0)
    }

    /// Overwrites the elements with random numbers of Cauchy's distribution.
    ///
    /// # Panics
    /// If `sigma` is not above 0, or elements of this view share memory.
    #[track_caller]
    pub fn cauchy_(&self, median: f64, sigma: f64) -> Self {
        positive("cauchy_", sigma);
        CAUCHY.fill(self, median, sigma)
    }

    /// Overwrites the elements with random numbers whose logarithms have a normal distribution of this mean and
    /// deviation.
    ///
    /// # Panics
    /// If `std` is not above 0, or elements of this view share memory.
    #[track_caller]
    pub fn log_normal_(&self, mean: f64, std: f64) -> Self {
        positive("log_normal_", std);
        LOG_NORMAL.fill(self, mean, std)
    }

    /// Overwrites the elements with random integers in `low .. high`.
    ///
    /// # Panics
    /// If `low .. high` is empty, or elements of this view share memory.
    #[track_caller]
    pub fn random_(&self, low: i64, high: i64) -> Self {
        self.copy_(&Self::randint(low, high, self.shape(), self.device()))
    }

    /// Random integers in `low .. high` in the shape, dtype and device of this tensor.
    ///
    /// # Panics
    /// If `low .. high` is empty.
    #[track_caller]
    pub fn randint_like(&self, low: i64, high: i64) -> Self {
        Self::randint(low, high, self.shape(), (self.device(), self.dtype()))
    }

    /// Random numbers of normal distributions, one for each element of this tensor, which holds the means; `std`
    /// is a tensor of deviations, or a number: `torch.normal`.
    ///
    /// # Panics
    /// If the elements are not floats, or shapes do not broadcast.
    #[track_caller]
    pub fn normal(&self, std: impl Operand<B>) -> Self {
        self.floats("normal");
        match std.term() {
            Term::Scalar(std) => self + self.randn_like() * std.to_f64(),
            Term::Tensor(std) => {
                let means = Self::broadcast_tensors(&[self, std]).swap_remove(0);
                &means + means.randn_like() * std
            }
        }
    }

    /// For each element, a random number of Poisson's distribution of that rate, in this tensor's dtype. Drawn by
    /// the program, not by the device: by inversion below a rate of 10, above by the rejection PTRS of Hörmann
    /// ("The transformed rejection method for generating Poisson random variables", 1993).
    ///
    /// # Panics
    /// If the elements are not floats, or one is negative or NaN.
    #[track_caller]
    pub fn poisson(&self) -> Self {
        self.floats("poisson");
        let rates = self.detach().to_scalars();
        if let Some(rate) =
            rates.iter().map(|rate| rate.to_f64()).find(|rate| !(0.0..1e15).contains(rate))
        {
            raise(Error::Argument { op: "poisson", why: format!("no rate is {rate}") });
        }
        let ([seed, stream], _) = drawn(self.device(), |draw| {
            [draw.seed, draw.stream].map(|bits| Scalar::I64(bits as i64))
        });
        let [seed, stream] = [seed, stream].map(|bits| bits.to_i64() as u64);
        let value = |(i, rate): (usize, &Scalar)| {
            // Each element has uniform numbers of its own, as many as it takes.
            let mut drawn = 0;
            let mut uniform = || {
                drawn += 1;
                philox::uniform(seed, stream ^ (drawn << 40), i as u64, DType::F64)
            };
            if rate.to_f64() < 10.0 {
                by_inversion(rate.to_f64(), uniform())
            } else {
                by_rejection(rate.to_f64(), uniform)
            }
        };
        let values: Vec<f64> = rates.iter().enumerate().map(value).collect();
        Self::from_slice(&values, self.shape(), self.device()).to_dtype(self.dtype())
    }

    /// Positions drawn at random from the rows of weights `[n]` or `[rows, n]`, `count` from each, `i64`: with
    /// `replacement` one after the other, else distinct ones.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let weights = Tensor::<Cpu>::new([0.0, 3.0, 1.0], &CpuDevice);
    /// let both = weights.multinomial(2, false);
    /// assert_eq!(both.sum().item(), 3.0);
    /// ```
    ///
    /// # Panics
    /// If these are no such weights, one is negative or not finite, or a row has fewer that are not 0 than are
    /// to be drawn (one, with replacement).
    #[track_caller]
    pub fn multinomial(&self, count: usize, replacement: bool) -> Self {
        let op = "multinomial";
        self.floats(op);
        if !(1..=2).contains(&self.rank()) || self.size(-1) == 0 || count == 0 {
            raise(Error::Shape {
                op,
                shapes: vec![self.shape().clone()],
                why: format!("rows of weights to draw {count} from are wanted: [n] or [rows, n]"),
            });
        }
        let weights = self.detach().to_dtype(DType::F64);
        let wrong = weights.lt(0.0).logical_or(weights.isfinite().logical_not());
        let wanted = if replacement { 1 } else { count };
        let few = weights.gt(0.0).sum_dims([-1], false).lt(wanted);
        if wrong.any().item() != 0.0 || few.any().item() != 0.0 {
            let why = format!(
                "weights are finite and not negative, and at least {wanted} of each row not 0"
            );
            raise(Error::Argument { op, why });
        }
        if !replacement {
            // The first of exponential clocks that run at the weights' rates.
            let clocks = weights.zeros_like().exponential_(1.0);
            let speed = Self::where_(&weights.gt(0.0), weights / clocks, -1.0);
            return speed.topk(count, -1, true).1;
        }
        let ends = weights.cumsum(-1);
        let total = ends.narrow(-1, ends.dims()[ends.rank() - 1] - 1, 1);
        let mut shape: Shape = self.dims()[..self.rank() - 1].into();
        shape.push(count);
        let at = Self::rand(shape, (self.device(), DType::F64)) * &total;
        // Rounding must not reach the end, behind which nothing lies.
        ends.searchsorted(&at.minimum(total.nextafter(0.0)), true)
    }

    /// A tensor to be written to. It holds zeros: what memory held before is never shown.
    pub fn empty<'a>(shape: impl Into<Shape>, options: impl Into<Options<'a, B>>) -> Self {
        Self::zeros(shape, options)
    }

    /// `empty` in the shape, dtype and device of this tensor.
    #[must_use]
    pub fn empty_like(&self) -> Self {
        self.zeros_like()
    }
}

#[track_caller]
fn positive(op: &'static str, number: f64) {
    if !(number > 0.0 && number.is_finite()) {
        raise(Error::Argument { op, why: format!("a number above 0 is wanted, not {number}") });
    }
}

/// How many terms of the distribution function lie below `u`.
fn by_inversion(rate: f64, u: f64) -> f64 {
    let (mut k, mut term) = (0.0, (-rate).exp());
    let mut sum = term;
    // What is left of the tail is below the last place of 1.
    while u >= sum && term > 1e-300 {
        k += 1.0;
        term *= rate / k;
        sum += term;
    }
    k
}

fn by_rejection(rate: f64, mut uniform: impl FnMut() -> f64) -> f64 {
    let b = 0.931 + 2.53 * rate.sqrt();
    let a = -0.059 + 0.02483 * b;
    let inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    let v_r = 0.9277 - 3.6224 / (b - 2.0);
    loop {
        let (u, v) = (uniform() - 0.5, uniform());
        let us = 0.5 - u.abs();
        let k = ((2.0 * a / us + b) * u + rate + 0.43).floor();
        if us >= 0.07 && v <= v_r {
            return k;
        }
        if k < 0.0 || (us < 0.013 && v > us) {
            continue;
        }
        let left = v.ln() + inverse_alpha.ln() - (a / (us * us) + b).ln();
        if left <= -rate + k * rate.ln() - libm::lgamma(k + 1.0) {
            return k;
        }
    }
}
