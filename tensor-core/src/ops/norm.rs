//! Vector norms.

use super::reduce::SAFE_SQRT;
use crate::autocast::cast;
use crate::{Backend, Fused, FusedWith, ReduceOp, Tensor};

impl<B: Backend> Tensor<B> {
    /// The Euclidean norm of all elements, √Σx². Its gradient at 0 is 0.
    ///
    /// # Panics
    /// If the elements are not floats.
    #[track_caller]
    pub fn norm(&self) -> Self {
        if let Some((_inside, [x])) = cast("norm", [self]) {
            return x.norm();
        }
        self.floats("norm");
        self.p_norm(2.0, &self.every_dim(), false).named("norm", &[self])
    }

    /// The `p`-norms along `dims`, (Σ|x|ᵖ)^(1/p); for ∞ and −∞ the largest and smallest |x|, for 0 the
    /// number of elements that are not 0 (`torch.linalg.vector_norm`).
    ///
    /// # Panics
    /// If the elements are not floats, or a dimension is out of range or named twice.
    #[track_caller]
    pub fn norm_dims(&self, p: f64, dims: impl AsRef<[isize]>, keepdim: bool) -> Self {
        if let Some((_inside, [x])) = cast("norm", [self]) {
            return x.norm_dims(p, dims, keepdim);
        }
        self.floats("norm");
        let dims = self.reduced_dims("norm", dims.as_ref());
        self.p_norm(p, &dims, keepdim).named("norm", &[self])
    }

    fn p_norm(&self, p: f64, dims: &[usize], keepdim: bool) -> Self {
        static SQUARE: Fused<1> = Fused::new("square", |[x]| x.cast(x.dtype().compute()).square());
        static ABS: Fused<1> = Fused::new("abs", |[x]| x.cast(x.dtype().compute()).abs());
        static NONZERO: Fused<1> = Fused::new("nonzero", |[x]| x.ne(0.0).cast(x.dtype().compute()));
        let sum = |f: &Fused<1>| f.reduce(ReduceOp::Sum, [self], dims);
        // Sums of narrow floats stay in f32 until the root brings them back into range.
        let norm = match p {
            2.0 => SAFE_SQRT.call([&sum(&SQUARE)]),
            1.0 => sum(&ABS),
            0.0 => sum(&NONZERO),
            f64::INFINITY => ABS.reduce(ReduceOp::Max, [self], dims),
            f64::NEG_INFINITY => ABS.reduce(ReduceOp::Min, [self], dims),
            _ => {
                let powers = POWER.reduce(ReduceOp::Sum, [self], [p], dims);
                POWER.call([&powers], [1.0 / p])
            }
        };
        let norm = norm.to_dtype(self.dtype());
        if keepdim { norm } else { norm.without(dims) }
    }
}

/// |x|ᵖ with the derivative 0 at 0.
static POWER: FusedWith<1, 1> = FusedWith::new("abs_pow", |[x], [p]| {
    let x = x.cast(x.dtype().compute());
    let zero = x.eq(0.0);
    let power = zero.select(x.lit(1.0), x.abs()).pow(p);
    // 0 to a negative power is infinite.
    zero.select(p.lt(0.0).select(x.lit(f64::INFINITY), x.lit(0.0)), power)
});
