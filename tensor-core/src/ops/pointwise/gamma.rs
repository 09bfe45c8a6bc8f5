//! Functions of the family of Γ that have a number for their order.

use crate::{Backend, Error, FusedWith, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// The `n`-th derivative of digamma (`torch.polygamma(n, x)`); `polygamma(0)` is digamma itself. For `n` of 1
    /// and more it is (−1)ⁿ⁺¹ n! ζ(n + 1, x), infinite at 0, −1, −2, ….
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let x = Tensor::<Cpu>::new([1.0], &CpuDevice);
    /// assert!((x.polygamma(1).item() - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-14);
    /// ```
    #[must_use]
    pub fn polygamma(&self, n: usize) -> Self {
        static ZETA: FusedWith<1, 2> = FusedWith::new("polygamma", |[x], [s, factor]| {
            (x.zeta(s) * factor).cast(x.dtype().float())
        });
        if n == 0 {
            return self.digamma();
        }
        let factorial: f64 = (1..=n).map(|i| i as f64).product();
        let factor = if n % 2 == 1 { factorial } else { -factorial };
        ZETA.call([self], [n as f64 + 1.0, factor])
    }

    /// The logarithm of the multivariate gamma function of dimension `p`: `torch.mvlgamma`,
    /// p(p − 1)/4 · ln π + Σ ln Γ(x − i/2) over i below `p`.
    ///
    /// # Panics
    /// If `p` is 0.
    #[must_use]
    #[track_caller]
    pub fn mvlgamma(&self, p: usize) -> Self {
        if p == 0 {
            raise(Error::Argument {
                op: "mvlgamma",
                why: "a dimension of at least 1 is wanted".into(),
            });
        }
        let constant = (p * (p - 1)) as f64 / 4.0 * std::f64::consts::PI.ln();
        (1..p).fold(self.lgamma(), |sum, i| sum + (self - i as f64 / 2.0).lgamma()) + constant
    }
}
