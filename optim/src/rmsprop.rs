//! RMSprop.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, lerp, options};

/// RMSprop (Hinton's lecture 6e, 2012), optionally centered (Graves 2013): `torch.optim.RMSprop`.
///
/// With gradient g: `v ← αv + (1 − α)g²`, then `p ← p − lr · g / (√v + eps)`. Centered, v is lowered by
/// the square of the running mean of g; with momentum μ the quotient first enters `buf ← μ · buf + …`.
pub type RMSprop<B> = crate::Optimizer<B, RMSpropOptions>;

options! {
    /// Options of [`RMSprop`].
    RMSpropOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 1e-2, lr >= 0.0;
        /// How much of the running mean of squares stays at each step.
        alpha(alpha: f64): f64 = 0.99, alpha >= 0.0;
        /// Added to the denominator.
        eps(eps: f64): f64 = 1e-8, eps >= 0.0;
        /// The L2 penalty, added to the gradient.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// How much of the last update stays in the next one.
        momentum(momentum: f64): f64 = 0.0, momentum >= 0.0;
        /// Whether the gradient is normalized by an estimate of its variance.
        centered(centered: bool): bool = false, true;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for RMSpropOptions {
    const NAME: &'static str = "RMSprop";
    type Flags = [bool; 5];

    fn flags(&self) -> [bool; 5] {
        let near_end = 1.0 - self.alpha >= 0.5;
        let (decays, momentum) = (self.weight_decay != 0.0, self.momentum > 0.0);
        [self.maximize, decays, momentum, self.centered, near_end]
    }

    fn slots([_, _, momentum, centered, _]: [bool; 5]) -> &'static [&'static str] {
        match (momentum, centered) {
            (false, false) => &["square_avg"],
            (true, false) => &["square_avg", "momentum_buffer"],
            (false, true) => &["square_avg", "grad_avg"],
            (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
        }
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, Some(&mut self.momentum))
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Elementwise for RMSpropOptions {
    fn numbers(&self, _: &mut Past<'_>) -> Numbers {
        smallvec![self.lr, self.alpha, 1.0 - self.alpha, self.eps, self.weight_decay, self.momentum]
    }

    fn update<'b>(
        [maximize, decays, momentum, centered, near_end]: [bool; 5],
        x: &Element<'b>,
    ) -> Updated<'b> {
        let [lr, alpha, weight, eps, decay, mu] = x.numbers();
        let grad = x.gradient(maximize, decays.then_some(decay));
        let square = x.slots[0] * alpha + weight * grad * grad;
        let mut state: Updated<'b> = smallvec![square];
        let variance = if centered {
            let mean = lerp(x.slots[1], grad, weight, near_end);
            state.push(mean);
            square - mean * mean
        } else {
            square
        };
        let denominator = variance.sqrt() + eps;
        let param = if momentum {
            let buf = x.slots[state.len()] * mu + grad / denominator;
            state.push(buf);
            x.param - buf * lr
        } else {
            x.param - lr * grad / denominator
        };
        state.insert(0, param);
        state
    }
}
