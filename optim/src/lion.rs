//! Lion.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, options};

/// Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms"), which PyTorch has not got.
///
/// With gradient g: `c = β₁m + (1 − β₁)g`, `p ← p − lr · (sign(c) + weight_decay · p)`, and `m ← β₂m + (1 − β₂)g`. Steps
/// are larger than Adam's: the paper takes a 3 to 10 times smaller learning rate, and as much more weight decay.
pub type Lion<B> = crate::Optimizer<B, LionOptions>;

options! {
    /// Options of [`Lion`].
    LionOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 1e-4, lr >= 0.0;
        /// How much of the running mean of the gradient counts in the step, and how much of it stays.
        betas(beta1: f64, beta2: f64): (f64, f64) = (0.9, 0.99),
            (0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2);
        /// Taken off the parameter, times the learning rate.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for LionOptions {
    const NAME: &'static str = "Lion";
    type Flags = bool;

    fn flags(&self) -> bool {
        self.maximize
    }

    fn slots(_: bool) -> &'static [&'static str] {
        &["exp_avg"]
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, Some(&mut self.betas.0))
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Elementwise for LionOptions {
    fn numbers(&self, _: &mut Past<'_>) -> Numbers {
        let (beta1, beta2) = self.betas;
        smallvec![self.lr, beta1, 1.0 - beta1, beta2, 1.0 - beta2, self.weight_decay]
    }

    fn update<'b>(maximize: bool, x: &Element<'b>) -> Updated<'b> {
        let [lr, beta1, weight1, beta2, weight2, decay] = x.numbers();
        let (grad, mean) = (x.gradient(maximize, None), x.slots[0]);
        let way = (mean * beta1 + grad * weight1).sign();
        smallvec![x.param - (way + x.param * decay) * lr, mean * beta2 + grad * weight2]
    }
}
