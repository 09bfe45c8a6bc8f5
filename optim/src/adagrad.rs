//! Adagrad.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, options};

/// Adagrad (Duchi, Hazan, Singer 2011): `torch.optim.Adagrad`.
///
/// With gradient g at step t: `s ← s + g²`, then `p ← p − lr / (1 + (t − 1) · lr_decay) · g / (√s + eps)`.
pub type Adagrad<B> = crate::Optimizer<B, AdagradOptions>;

options! {
    /// Options of [`Adagrad`].
    AdagradOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 1e-2, lr >= 0.0;
        /// How fast the learning rate falls with the number of steps.
        lr_decay(lr_decay: f64): f64 = 0.0, lr_decay >= 0.0;
        /// The L2 penalty, added to the gradient.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// What the sums of squares start from.
        initial_accumulator_value(initial_accumulator_value: f64): f64 = 0.0,
            initial_accumulator_value >= 0.0;
        /// Added to the denominator.
        eps(eps: f64): f64 = 1e-10, eps >= 0.0;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for AdagradOptions {
    const NAME: &'static str = "Adagrad";
    type Flags = [bool; 2];

    fn flags(&self) -> [bool; 2] {
        [self.maximize, self.weight_decay != 0.0]
    }

    fn slots(_: [bool; 2]) -> &'static [&'static str] {
        &["sum"]
    }

    fn initial(&self, _: &str) -> f64 {
        self.initial_accumulator_value
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, None)
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Elementwise for AdagradOptions {
    fn numbers(&self, past: &mut Past<'_>) -> Numbers {
        let lr = self.lr / (1.0 + (past.step - 1) as f64 * self.lr_decay);
        smallvec![lr, self.weight_decay, self.eps]
    }

    fn update<'b>([maximize, decays]: [bool; 2], x: &Element<'b>) -> Updated<'b> {
        let [lr, decay, eps] = x.numbers();
        let grad = x.gradient(maximize, decays.then_some(decay));
        let sum = x.slots[0] + grad * grad;
        smallvec![x.param - lr * grad / (sum.sqrt() + eps), sum]
    }
}
