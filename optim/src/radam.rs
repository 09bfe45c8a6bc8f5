//! RAdam.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, decay, options};

/// Rectified Adam (Liu et al. 2020): `torch.optim.RAdam`.
///
/// [`Adam`](crate::Adam) whose step is scaled by how well the variance is known, `√((ρₜ − 4)(ρₜ − 2)ρ∞ / ((ρ∞ − 4)(ρ∞ − 2)ρₜ))`
/// with `ρ∞ = 2 / (1 − β₂) − 1` and `ρₜ = ρ∞ − 2tβ₂ᵗ / (1 − β₂ᵗ)`; while `ρₜ ≤ 5` the step is the mean of the gradient alone.
pub type RAdam<B> = crate::Optimizer<B, RAdamOptions>;

options! {
    /// Options of [`RAdam`].
    RAdamOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 1e-3, lr >= 0.0;
        /// How much of the running means of the gradient and of its square stays at each step.
        betas(beta1: f64, beta2: f64): (f64, f64) = (0.9, 0.999),
            (0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2);
        /// Added to the denominator.
        eps(eps: f64): f64 = 1e-8, eps >= 0.0;
        /// The L2 penalty, added to the gradient; or, decoupled, taken off the parameter.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// Whether weight decay bypasses the moments, as in [`AdamW`](crate::AdamW).
        decoupled_weight_decay(decoupled_weight_decay: bool): bool = false, true;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for RAdamOptions {
    const NAME: &'static str = "RAdam";
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

impl Elementwise for RAdamOptions {
    fn numbers(&self, past: &mut Past<'_>) -> Numbers {
        let ((beta1, beta2), step) = (self.betas, past.step as f64);
        let correction2 = 1.0 - beta2.powf(step);
        let full = 2.0 / (1.0 - beta2) - 1.0;
        let now = full - 2.0 * step * beta2.powf(step) / correction2;
        // 0 says that the variance is not known well enough to divide by.
        let rectified = if now > 5.0 {
            ((now - 4.0) * (now - 2.0) * full / ((full - 4.0) * (full - 2.0) * now)).sqrt()
        } else {
            0.0
        };
        smallvec![
            decay(self.lr, self.weight_decay, self.decoupled_weight_decay),
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            self.lr / (1.0 - beta1.powf(step)),
            rectified * correction2.sqrt(),
            self.eps,
        ]
    }

    fn update<'b>(
        [maximize, decays, decoupled, near_end]: [bool; 4],
        x: &Element<'b>,
    ) -> Updated<'b> {
        let [decay, weight1, beta2, weight2, step_size, rectified, eps] = x.numbers();
        let (param, grad) = x.decayed(maximize, decoupled, decays.then_some(decay));
        let (mean, square) = x.moments(grad, [weight1, beta2, weight2], near_end);
        let adapted = rectified / (square.sqrt() + eps);
        let factor = rectified.eq(0.0).select(rectified.lit(1.0), adapted);
        smallvec![param - step_size * mean * factor, mean, square]
    }
}
