//! Activation functions with numbers, and those of more than one tensor. The rest are rows of
//! `pointwise`.

use crate::{Backend, Error, Fused, FusedWith, Shape, Tensor, raise};

macro_rules! activations {
    ($($name:ident ($($number:ident),*) $doc:literal = |$x:ident| $f:expr;)*) => {
        impl<B: Backend> Tensor<B> {$(
            #[doc = $doc]
            ///
            /// # Panics
            /// If the elements are not floats.
            #[track_caller]
            #[must_use]
            pub fn $name(&self, $($number: f64),*) -> Self {
                static ROW: FusedWith<1, { [$(stringify!($number)),*].len() }> =
                    FusedWith::new(stringify!($name), |[$x], [$($number),*]| $f);
                self.floats(stringify!($name));
                ROW.call([self], [$($number),*])
            }
        )*}
    };
}

// The derivative at a kink is PyTorch's: that of the branch which the comparison puts it in.
activations! {
    leaky_relu(negative_slope) "`x` above 0, else `negative_slope · x` (Maas et al. 2013)." =
        |x| x.gt(0.0).select(x, x * negative_slope);
    elu(alpha) "`x` above 0, else `alpha · (eˣ − 1)` (Clevert et al. 2016)." =
        |x| x.relu() + x.clamp_max(0.0).expm1() * alpha;
    celu(alpha) "`x` above 0, else `alpha · (e^(x / alpha) − 1)` (Barron 2017)." =
        |x| x.relu() + (x.clamp_max(0.0) / alpha).expm1() * alpha;
    softplus(beta, threshold) "`ln(1 + e^(beta · x)) / beta`; `x` itself where `beta · x` is above `threshold`." =
        |x| (x * beta).gt(threshold).select(x, (x * beta).softplus() / beta);
    hardtanh(min_val, max_val) "`x` between the two numbers, the nearer of them elsewhere." =
        |x| x.le(min_val).select(min_val, x.ge(max_val).select(max_val, x));
    softshrink(lambd) "`x` moved towards 0 by `lambd`, as far as 0." =
        |x| x.gt(lambd).select(x - lambd, x.lt(-lambd).select(x + lambd, x.lit(0.0)));
    hardshrink(lambd) "`x`, or 0 from `−lambd` to `lambd`." =
        |x| x.abs().le(lambd).select(x.lit(0.0), x);
    threshold(threshold, value) "`x` above `threshold`, else `value`." =
        |x| x.gt(threshold).select(x, value);
}

macro_rules! plain {
    ($($name:ident $doc:literal = |$x:ident| $f:expr;)*) => {
        impl<B: Backend> Tensor<B> {$(
            #[doc = $doc]
            ///
            /// # Panics
            /// If the elements are not floats.
            #[track_caller]
            #[must_use]
            pub fn $name(&self) -> Self {
                static ROW: Fused<1> = Fused::new(stringify!($name), |[$x]| $f);
                self.floats(stringify!($name));
                ROW.call([self])
            }
        )*}
    };
}

// The constants of Klambauer et al., "Self-normalizing neural networks" (2017).
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

plain! {
    selu "`elu` scaled such that mean 0 and variance 1 are a fixed point (Klambauer et al. 2017)." =
        |x| (x.relu() + x.clamp_max(0.0).expm1() * SELU_ALPHA) * SELU_SCALE;
    relu6 "`x` between 0 and 6, the nearer of them elsewhere." =
        |x| x.le(0.0).select(x.lit(0.0), x.ge(6.0).select(x.lit(6.0), x));
    hardsigmoid "`x / 6 + 1/2` between −3 and 3, 0 below, 1 above." =
        |x| x.le(-3.0).select(x.lit(0.0), x.ge(3.0).select(x.lit(1.0), x / 6.0 + 0.5));
    hardswish "`x · (x + 3) / 6` between −3 and 3, 0 below, `x` above (Howard et al. 2019)." =
        |x| x.lt(-3.0).select(x.lit(0.0), x.le(3.0).select(x * (x + 3.0) / 6.0, x));
    gelu_tanh "`gelu` with Φ approximated by tanh, as GPT-2 has it (Hendrycks, Gimpel 2016)." =
        |x| {
            let inner = (x + x * x * x * 0.044_715) * (2.0 / std::f64::consts::PI).sqrt();
            x * 0.5 * (inner.tanh() + 1.0)
        };
    tanhshrink "`x − tanh x`" = |x| x - x.tanh();
}

impl<B: Backend> Tensor<B> {
    /// `x` above 0, else `weight · x`, with one weight for all or one for each channel (dim 1)
    /// (He et al. 2015).
    ///
    /// # Panics
    /// If the weight fits neither, or dtypes or devices differ.
    #[track_caller]
    pub fn prelu(&self, weight: &Self) -> Self {
        static ROW: Fused<2> = Fused::new("prelu", |[x, w]| x.gt(0.0).select(x, x * w));
        self.floats("prelu");
        self.alike("prelu", std::iter::once(weight));
        let channels = if self.rank() < 2 { 1 } else { self.dims()[1] };
        if weight.rank() > 1 || (weight.numel() != 1 && weight.numel() != channels) {
            raise(Error::Shape {
                op: "prelu",
                shapes: vec![self.shape().clone(), weight.shape().clone()],
                why: format!("a weight of 1 or {channels} elements is wanted"),
            });
        }
        let weight = match weight.numel() {
            1 => weight.reshape_to(&Shape::scalar()),
            _ => weight.per_channel(self.rank()),
        };
        ROW.call([self, &weight])
    }

    /// `a · sigmoid(b)` for the two halves of `dim` (Dauphin et al. 2017).
    ///
    /// # Panics
    /// If there is no such dimension or its size is odd.
    #[track_caller]
    pub fn glu(&self, dim: isize) -> Self {
        static ROW: Fused<2> = Fused::new("glu", |[a, b]| a * b.sigmoid());
        self.floats("glu");
        let size = self.size(dim);
        if !size.is_multiple_of(2) {
            raise(Error::Shape {
                op: "glu",
                shapes: vec![self.shape().clone()],
                why: format!("the size of dim {dim} must be even"),
            });
        }
        let half = |start| self.narrow(dim, start, size / 2);
        ROW.call([&half(0), &half(size / 2)])
    }
}
