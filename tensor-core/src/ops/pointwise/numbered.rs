//! Elementwise ops of one tensor and some numbers, which are run-time parameters of the program.

use super::unary::exp_linear;
use super::{Takes, Unary};
use crate::{Backend, DType, Scalar, Tensor};

macro_rules! numbered {
    ($($name:ident $in_place:ident ($($arg:ident),*) $samples:expr, $takes:ident $doc:literal = |$x:ident| $f:expr;)*) => {
        impl<B: Backend> Tensor<B> {$(
            #[doc = $doc]
            ///
            /// # Panics
            /// If the op does not take elements of this dtype.
            #[must_use]
            #[track_caller]
            pub fn $name(&self, $($arg: impl Into<Scalar>),*) -> Self {
                rows::$name.call(self, &[$($arg.into()),*])
            }

            #[doc = concat!("`", stringify!($name), "`, in place.")]
            ///
            /// # Panics
            /// If the result does not fit into `self`: its dtype's category, or memory that several
            /// elements share.
            #[track_caller]
            pub fn $in_place(&self, $($arg: impl Into<Scalar>),*) -> Self {
                rows::$name.call_in_place(self, &[$($arg.into()),*]);
                self.clone()
            }
        )*}

        #[allow(non_upper_case_globals, reason = "a row has its method's name")]
        mod rows {
            use super::*;
            $(pub static $name: Unary = Unary::new(
                stringify!($name),
                $samples.len(),
                |$x, numbers| {
                    let &[$($arg),*] = numbers else { unreachable!("one value per number") };
                    $f
                },
            )
            .taking(Takes::$takes)
            .sampled(&$samples);)*
        }

        /// Every elementwise op of one tensor and numbers; a row's `samples` are numbers to try.
        pub static NUMBERED: &[&Unary] = &[$(&rows::$name),*];
    };
}

numbered! {
    clamp clamp_ (min, max) [-0.5, 0.75], Numbers "`min` where x is below it, `max` where x is above it, x between; `max` where the bounds cross. The derivative at a bound is 0." = |x| x.clamp_min(min).clamp_max(max);
    clamp_min clamp_min_ (min) [-0.5], Numbers "x, or `min` where x is below it. The derivative at the bound is 0." = |x| x.clamp_min(min);
    clamp_max clamp_max_ (max) [0.75], Numbers "x, or `max` where x is above it. The derivative at the bound is 0." = |x| x.clamp_max(max);
    leaky_relu leaky_relu_ (negative_slope) [0.01], Floats "x above 0, else `negative_slope` · x (Maas et al. 2013); the derivative at 0 is the slope." = |x| x.gt(0.0).select(x, x * negative_slope);
    elu elu_ (alpha) [1.5], Floats "x above 0, else α(eˣ − 1) (Clevert et al. 2016); the derivative at 0 is α." = |x| exp_linear(x, alpha);
    celu celu_ (alpha) [1.5], Floats "x above 0, else α(e^(x/α) − 1) (Barron 2017)." = |x| {
        let below = x.gt(0.0).select(x.lit(0.0), x);
        x.gt(0.0).select(x, alpha * (below / alpha).expm1())
    };
    softplus softplus_ (beta, limit) [2.0, 20.0], Floats "ln(1 + e^(βx)) / β; x itself where βx is above `limit`. PyTorch's defaults are 1 and 20." = |x| {
        let scaled = x * beta;
        let linear = scaled.gt(limit);
        linear.select(x, linear.select(x.lit(0.0), scaled).exp().log1p() / beta)
    };
    hardtanh hardtanh_ (min, max) [-1.0, 1.0], Numbers "x between `min` and `max`, which cut it off; the derivative at both is 0." = |x| x.le(min).select(min, x.ge(max).select(max, x));
    threshold threshold_ (limit, value) [0.25, -1.0], Numbers "x above `limit`, else `value`; the derivative at the limit is 0." = |x| x.le(limit).select(value, x);
    hardshrink hardshrink_ (lambda) [0.5], Floats "x where |x| is above λ, else 0." = |x| (x.ge(-lambda) & x.le(lambda)).select(x.lit(0.0), x);
    softshrink softshrink_ (lambda) [0.5], Floats "x moved towards 0 by λ, 0 within." = |x| {
        let within = (x.ge(-lambda) & x.le(lambda)).select(x.lit(0.0), x + lambda);
        x.gt(lambda).select(x - lambda, within)
    };
    logit_clamped logit_clamped_ (eps) [0.1], Floats "ln (x / (1 − x)) of x kept between `eps` and 1 − `eps`: `torch.logit` with its `eps`." = |x| {
        let high = eps.lit(1.0) - eps;
        let p = x.lt(eps).select(eps, x.gt(high).select(high, x));
        (p / (p.lit(1.0) - p)).log()
    };
    round_decimals round_decimals_ (decimals) [1.0], Floats "x rounded to so many places after the point, halves to even; negative ones are places before it." = |x| {
        let scale = decimals.lit(10.0).pow(decimals.abs());
        decimals.lt(0.0).select((x / scale).round() * scale, (x * scale).round() / scale)
    };
    replace_nonfinite replace_nonfinite_ (nan, posinf, neginf) [0.5, 2.0, -2.0], Floats "`nan` in place of NaN, `posinf` of +∞, `neginf` of −∞." = |x| {
        let infinite = x.gt(0.0).select(posinf, neginf);
        x.is_nan().select(nan, x.is_inf().select(infinite, x))
    };
}

impl<B: Backend> Tensor<B> {
    /// Numbers in place of NaN and infinities; `None` stands for the largest and smallest finite number
    /// of the dtype. Integers stay as they are.
    #[must_use]
    pub fn nan_to_num(&self, nan: f64, posinf: Option<f64>, neginf: Option<f64>) -> Self {
        let Some(largest) = largest(self.dtype()) else { return self.clone() };
        self.replace_nonfinite(nan, posinf.unwrap_or(largest), neginf.unwrap_or(-largest))
    }

    /// [`Tensor::nan_to_num`], in place.
    ///
    /// # Panics
    /// If elements of this view share memory.
    #[track_caller]
    pub fn nan_to_num_(&self, nan: f64, posinf: Option<f64>, neginf: Option<f64>) -> Self {
        let Some(largest) = largest(self.dtype()) else { return self.clone() };
        self.replace_nonfinite_(nan, posinf.unwrap_or(largest), neginf.unwrap_or(-largest))
    }
}

/// The largest finite number of a float.
fn largest(dtype: DType) -> Option<f64> {
    match dtype {
        DType::F64 => Some(f64::MAX),
        DType::F32 => Some(f64::from(f32::MAX)),
        DType::F16 => Some(half::f16::MAX.to_f64()),
        DType::BF16 => Some(half::bf16::MAX.to_f64()),
        _ => None,
    }
}
