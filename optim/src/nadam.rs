//! NAdam.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, decay, options};

/// Adam with Nesterov's momentum (Dozat 2016): `torch.optim.NAdam`.
///
/// With gradient g at step t: m and v as in [`Adam`](crate::Adam), `μₜ = β₁ · (1 − ½ · 0.96^(t · momentum_decay))`, and
/// `p ← p − lr · ((1 − μₜ) / (1 − Π μ₁…ₜ) · g + μₜ₊₁ / (1 − Π μ₁…ₜ₊₁) · m) / (√(v / (1 − β₂ᵗ)) + eps)`.
pub type NAdam<B> = crate::Optimizer<B, NAdamOptions>;

options! {
    /// Options of [`NAdam`].
    NAdamOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 2e-3, lr >= 0.0;
        /// How much of the running means of the gradient and of its square stays at each step.
        betas(beta1: f64, beta2: f64): (f64, f64) = (0.9, 0.999),
            (0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2);
        /// Added to the denominator.
        eps(eps: f64): f64 = 1e-8, eps >= 0.0;
        /// The L2 penalty, added to the gradient; or, decoupled, taken off the parameter.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// How fast the momentum comes to β₁.
        momentum_decay(momentum_decay: f64): f64 = 4e-3, momentum_decay >= 0.0;
        /// Whether weight decay bypasses the moments, as in [`AdamW`](crate::AdamW).
        decoupled_weight_decay(decoupled_weight_decay: bool): bool = false, true;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for NAdamOptions {
    const NAME: &'static str = "NAdam";
    type Flags = [bool; 4];

    fn flags(&self) -> [bool; 4] {
        let near_end = 1.0 - self.betas.0 >= 0.5;
        [self.maximize, self.weight_decay != 0.0, self.decoupled_weight_decay, near_end]
    }

    fn slots(_: [bool; 4]) -> &'static [&'static str] {
        &["exp_avg", "exp_avg_sq"]
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, Some(&mut self.betas.0))
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Elementwise for NAdamOptions {
    fn numbers(&self, past: &mut Past<'_>) -> Numbers {
        let ((beta1, beta2), step) = (self.betas, past.step as f64);
        let mu = |step: f64| beta1 * (1.0 - 0.5 * 0.96f64.powf(step * self.momentum_decay));
        // The product of all μ so far, which options may have changed under way.
        *past.kept = if past.step == 1 { 1.0 } else { *past.kept } * mu(step);
        let next = *past.kept * mu(step + 1.0);
        smallvec![
            decay(self.lr, self.weight_decay, self.decoupled_weight_decay),
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            1.0 - beta2.powf(step),
            self.eps,
            self.lr * (1.0 - mu(step)) / (1.0 - *past.kept),
            self.lr * mu(step + 1.0) / (1.0 - next),
        ]
    }

    fn update<'b>(
        [maximize, decays, decoupled, near_end]: [bool; 4],
        x: &Element<'b>,
    ) -> Updated<'b> {
        let [decay, weight1, beta2, weight2, correction2, eps, now, before] = x.numbers();
        let (param, grad) = x.decayed(maximize, decoupled, decays.then_some(decay));
        let (mean, square) = x.moments(grad, [weight1, beta2, weight2], near_end);
        let denominator = (square / correction2).sqrt() + eps;
        smallvec![param - now * grad / denominator - before * mean / denominator, mean, square]
    }
}
