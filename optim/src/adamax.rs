//! Adamax.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, lerp, options};

/// Adam with the infinity norm (Kingma, Ba 2015, section 7): `torch.optim.Adamax`.
///
/// With gradient g at step t: `m ← β₁m + (1 − β₁)g`, `u ← max(β₂u, |g| + eps)`, and `p ← p − lr / (1 − β₁ᵗ) · m / u`.
pub type Adamax<B> = crate::Optimizer<B, AdamaxOptions>;

options! {
    /// Options of [`Adamax`].
    AdamaxOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 2e-3, lr >= 0.0;
        /// How much of the running mean of the gradient, and of its largest magnitude, stays at each step.
        betas(beta1: f64, beta2: f64): (f64, f64) = (0.9, 0.999),
            (0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2);
        /// Added to magnitudes of the gradient.
        eps(eps: f64): f64 = 1e-8, eps >= 0.0;
        /// The L2 penalty, added to the gradient.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for AdamaxOptions {
    const NAME: &'static str = "Adamax";
    type Flags = [bool; 3];

    fn flags(&self) -> [bool; 3] {
        [self.maximize, self.weight_decay != 0.0, 1.0 - self.betas.0 >= 0.5]
    }

    fn slots(_: [bool; 3]) -> &'static [&'static str] {
        &["exp_avg", "exp_inf"]
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, Some(&mut self.betas.0))
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Elementwise for AdamaxOptions {
    fn numbers(&self, past: &mut Past<'_>) -> Numbers {
        let (beta1, beta2) = self.betas;
        let step_size = self.lr / (1.0 - beta1.powf(past.step as f64));
        smallvec![self.weight_decay, 1.0 - beta1, beta2, step_size, self.eps]
    }

    fn update<'b>([maximize, decays, near_end]: [bool; 3], x: &Element<'b>) -> Updated<'b> {
        let [decay, weight1, beta2, step_size, eps] = x.numbers();
        let grad = x.gradient(maximize, decays.then_some(decay));
        let mean = lerp(x.slots[0], grad, weight1, near_end);
        let largest = (x.slots[1] * beta2).max(grad.abs() + eps);
        smallvec![x.param - step_size * mean / largest, mean, largest]
    }
}
