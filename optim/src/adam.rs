//! Adam and AdamW.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, decay, options};

/// Adam (Kingma, Ba 2015), optionally as AMSGrad (Reddi et al. 2018): `torch.optim.Adam`.
///
/// With gradient g at step t: `m ← β₁m + (1 − β₁)g`, `v ← β₂v + (1 − β₂)g²`, and
/// `p ← p − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + eps)`.
pub type Adam<B> = crate::Optimizer<B, AdamOptions<false>>;

/// Adam with weight decay that bypasses the moments (Loshchilov, Hutter 2019): `torch.optim.AdamW`.
/// Each step begins with `p ← p · (1 − lr · weight_decay)`; the default decay is 0.01.
pub type AdamW<B> = crate::Optimizer<B, AdamOptions<true>>;

options! {
    /// Options of [`Adam`], and of [`AdamW`] where `DECOUPLED`.
    AdamOptions[const DECOUPLED] {
        /// The learning rate.
        lr(lr: f64): f64 = 1e-3, lr >= 0.0;
        /// How much of the running means of the gradient and of its square stays at each step.
        betas(beta1: f64, beta2: f64): (f64, f64) = (0.9, 0.999),
            (0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2);
        /// Added to the denominator.
        eps(eps: f64): f64 = 1e-8, eps >= 0.0;
        /// The L2 penalty, added to the gradient (Adam) or taken off the parameter (AdamW).
        weight_decay(weight_decay: f64): f64 = if DECOUPLED { 1e-2 } else { 0.0 },
            weight_decay >= 0.0;
        /// Whether the denominator uses the largest mean square so far.
        amsgrad(amsgrad: bool): bool = false, true;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl<const DECOUPLED: bool> Algorithm for AdamOptions<DECOUPLED> {
    const NAME: &'static str = if DECOUPLED { "AdamW" } else { "Adam" };
    type Flags = [bool; 4];

    fn flags(&self) -> [bool; 4] {
        [self.maximize, self.weight_decay != 0.0, self.amsgrad, 1.0 - self.betas.0 >= 0.5]
    }

    fn slots([_, _, amsgrad, _]: [bool; 4]) -> &'static [&'static str] {
        const ALL: &[&str] = &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"];
        if amsgrad { ALL } else { &ALL[..2] }
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, Some(&mut self.betas.0))
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl<const DECOUPLED: bool> Elementwise for AdamOptions<DECOUPLED> {
    fn numbers(&self, past: &mut Past<'_>) -> Numbers {
        let (beta1, beta2) = self.betas;
        let correction = |beta: f64| 1.0 - beta.powf(past.step as f64);
        smallvec![
            decay(self.lr, self.weight_decay, DECOUPLED),
            1.0 - beta1,
            beta2,
            1.0 - beta2,
            self.lr / correction(beta1),
            correction(beta2).sqrt(),
            self.eps,
        ]
    }

    fn update<'b>(
        [maximize, decays, amsgrad, near_end]: [bool; 4],
        x: &Element<'b>,
    ) -> Updated<'b> {
        let [decay, weight1, beta2, weight2, step_size, root_correction, eps] = x.numbers();
        let (param, grad) = x.decayed(maximize, DECOUPLED, decays.then_some(decay));
        let (mean, square) = x.moments(grad, [weight1, beta2, weight2], near_end);
        let largest = if amsgrad { x.slots[2].max(square) } else { square };
        let denominator = largest.sqrt() / root_correction + eps;
        let param = param - step_size * mean / denominator;
        let mut updated: Updated<'b> = smallvec![param, mean, square];
        updated.extend(amsgrad.then_some(largest));
        updated
    }
}
