//! Adadelta.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, options};

/// Adadelta (Zeiler 2012): `torch.optim.Adadelta`.
///
/// With gradient g: `v ← ρv + (1 − ρ)g²`, `Δ = √(u + eps) / √(v + eps) · g`, `u ← ρu + (1 − ρ)Δ²`, and `p ← p − lr · Δ`.
pub type Adadelta<B> = crate::Optimizer<B, AdadeltaOptions>;

options! {
    /// Options of [`Adadelta`].
    AdadeltaOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 1.0, lr >= 0.0;
        /// How much of the running means of squares stays at each step.
        rho(rho: f64): f64 = 0.9, (0.0..=1.0).contains(&rho);
        /// Added to both means of squares.
        eps(eps: f64): f64 = 1e-6, eps >= 0.0;
        /// The L2 penalty, added to the gradient.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for AdadeltaOptions {
    const NAME: &'static str = "Adadelta";
    type Flags = [bool; 2];

    fn flags(&self) -> [bool; 2] {
        [self.maximize, self.weight_decay != 0.0]
    }

    fn slots(_: [bool; 2]) -> &'static [&'static str] {
        &["square_avg", "acc_delta"]
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, None)
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Elementwise for AdadeltaOptions {
    fn numbers(&self, _: &mut Past<'_>) -> Numbers {
        smallvec![self.lr, self.rho, 1.0 - self.rho, self.eps, self.weight_decay]
    }

    fn update<'b>([maximize, decays]: [bool; 2], x: &Element<'b>) -> Updated<'b> {
        let [lr, rho, weight, eps, decay] = x.numbers();
        let grad = x.gradient(maximize, decays.then_some(decay));
        let square = x.slots[0] * rho + grad * grad * weight;
        let delta = (x.slots[1] + eps).sqrt() / (square + eps).sqrt() * grad;
        let deltas = x.slots[1] * rho + delta * delta * weight;
        smallvec![x.param - delta * lr, square, deltas]
    }
}
