//! Rprop.

use smallvec::smallvec;

use crate::algorithm::{Algorithm, Element, Elementwise, Numbers, Past, Updated, options};

/// Resilient propagation (Riedmiller, Braun 1993), for gradients of whole data sets: `torch.optim.Rprop`.
///
/// Each element has a step size, which begins at `lr`, grows by η₊ where the gradient keeps its sign and shrinks by η₋
/// where that turns; the element moves by it against the gradient's sign, and not at all where the sign has just turned.
pub type Rprop<B> = crate::Optimizer<B, RpropOptions>;

options! {
    /// Options of [`Rprop`].
    RpropOptions {
        /// The step size to begin with; a change later on has no effect.
        lr(lr: f64): f64 = 1e-2, lr >= 0.0;
        /// The factors η₋ and η₊.
        etas(minus: f64, plus: f64): (f64, f64) = (0.5, 1.2), 0.0 < minus && minus < 1.0 && 1.0 < plus;
        /// The smallest and the largest step size.
        step_sizes(min: f64, max: f64): (f64, f64) = (1e-6, 50.0), 0.0 < min && min <= max;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for RpropOptions {
    const NAME: &'static str = "Rprop";
    type Flags = bool;

    fn flags(&self) -> bool {
        self.maximize
    }

    fn slots(_: bool) -> &'static [&'static str] {
        &["prev", "step_size"]
    }

    fn initial(&self, slot: &str) -> f64 {
        if slot == "step_size" { self.lr } else { 0.0 }
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, None)
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Elementwise for RpropOptions {
    fn numbers(&self, _: &mut Past<'_>) -> Numbers {
        smallvec![self.etas.0, self.etas.1, self.step_sizes.0, self.step_sizes.1]
    }

    fn update<'b>(maximize: bool, x: &Element<'b>) -> Updated<'b> {
        let [minus, plus, min, max] = x.numbers();
        let grad = x.gradient(maximize, None);
        let agreement = grad * x.slots[0];
        let (turned, kept) = (agreement.lt(0.0), agreement.gt(0.0));
        let factor = turned.select(minus, kept.select(plus, grad.lit(1.0)));
        let step = (x.slots[1] * factor).clamp_min(min).clamp_max(max);
        let grad = turned.select(grad.lit(0.0), grad);
        smallvec![x.param - grad.sign() * step, grad, step]
    }
}
