//! ASGD.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, options};

/// Averaged stochastic gradient descent (Polyak, Juditsky 1992): `torch.optim.ASGD`. The averages are the state `ax`.
///
/// With gradient g at step t: `p ← p · (1 − lambd · η) − η · g`, where `η = lr / (1 + lambd · lr · (t − 1))^alpha`, and `ax`
/// is `p` until step `t0`, and from then on the mean of all p since.
pub type ASGD<B> = crate::Optimizer<B, ASGDOptions>;

options! {
    /// Options of [`ASGD`].
    ASGDOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 1e-2, lr >= 0.0;
        /// How much parameters decay, and how fast the learning rate falls.
        lambd(lambd: f64): f64 = 1e-4, lambd.is_finite();
        /// The power with which the learning rate falls.
        alpha(alpha: f64): f64 = 0.75, alpha.is_finite();
        /// The step from which on parameters are averaged.
        t0(t0: f64): f64 = 1e6, t0.is_finite();
        /// The L2 penalty, added to the gradient.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for ASGDOptions {
    const NAME: &'static str = "ASGD";
    type Flags = [bool; 2];

    fn flags(&self) -> [bool; 2] {
        [self.maximize, self.weight_decay != 0.0]
    }

    fn slots(_: [bool; 2]) -> &'static [&'static str] {
        &["ax"]
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, None)
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Elementwise for ASGDOptions {
    fn numbers(&self, past: &mut Past<'_>) -> Numbers {
        let step = past.step as f64;
        // η of this step was made at the end of the last one, with the options of then.
        let eta = if past.step == 1 { self.lr } else { *past.kept };
        *past.kept = self.lr / (1.0 + self.lambd * self.lr * step).powf(self.alpha);
        let weight = 1.0 / (step - 1.0 - self.t0).max(1.0);
        smallvec![1.0 - self.lambd * eta, eta, weight, self.weight_decay]
    }

    fn update<'b>([maximize, decays]: [bool; 2], x: &Element<'b>) -> Updated<'b> {
        let [keep, eta, weight, decay] = x.numbers();
        let grad = x.gradient(maximize, decays.then_some(decay));
        let param = x.param * keep - grad * eta;
        let moved = x.slots[0] + (param - x.slots[0]) * weight;
        smallvec![param, weight.eq(1.0).select(param, moved)]
    }
}
