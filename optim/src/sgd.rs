//! Stochastic gradient descent, with momentum.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, options};

/// Stochastic gradient descent, optionally with (Nesterov's) momentum: `torch.optim.SGD`.
///
/// With momentum μ, dampening τ and gradient g: `buf ← μ · buf + (1 − τ) · g` (at first `buf ← g`), and
/// `p ← p − lr · buf`, or `p − lr · (g + μ · buf)` in Nesterov's form (Sutskever et al. 2013).
pub type SGD<B> = crate::Optimizer<B, SGDOptions>;

options! {
    /// Options of [`SGD`].
    SGDOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 1e-3, lr >= 0.0;
        /// How much of the last update stays in the next one.
        momentum(momentum: f64): f64 = 0.0, momentum >= 0.0;
        /// How much of the gradient is kept out of the momentum.
        dampening(dampening: f64): f64 = 0.0, true;
        /// The L2 penalty, added to the gradient.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// Nesterov's form; it needs momentum and no dampening.
        nesterov(nesterov: bool): bool = false, true;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for SGDOptions {
    const NAME: &'static str = "SGD";
    type Flags = [bool; 4];

    fn flags(&self) -> [bool; 4] {
        [self.maximize, self.weight_decay != 0.0, self.momentum != 0.0, self.nesterov]
    }

    fn slots([_, _, momentum, _]: [bool; 4]) -> &'static [&'static str] {
        if momentum { &["momentum_buffer"] } else { &[] }
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, Some(&mut self.momentum))
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }

    fn conflict(&self) -> Option<String> {
        let wrong = self.nesterov && (self.momentum <= 0.0 || self.dampening != 0.0);
        wrong.then(|| "nesterov needs a momentum and no dampening".into())
    }
}

impl Elementwise for SGDOptions {
    fn numbers(&self, past: &mut Past<'_>) -> Numbers {
        // A new buffer (of zeros) becomes the gradient, without dampening.
        let (keep, take) =
            if past.fresh { (0.0, 1.0) } else { (self.momentum, 1.0 - self.dampening) };
        smallvec![self.lr, self.weight_decay, self.momentum, keep, take]
    }

    fn update<'b>(
        [maximize, decays, momentum, nesterov]: [bool; 4],
        x: &Element<'b>,
    ) -> Updated<'b> {
        let [lr, decay, mu, keep, take] = x.numbers();
        let grad = x.gradient(maximize, decays.then_some(decay));
        if !momentum {
            return smallvec![x.param - grad * lr];
        }
        let buf = x.slots[0] * keep + grad * take;
        let step = if nesterov { grad + buf * mu } else { buf };
        smallvec![x.param - step * lr, buf]
    }
}
