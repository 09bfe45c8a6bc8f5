//! Adafactor.

use kiln_tensor_core::{Backend, DType, Fused, Shape, Tensor};

use crate::algorithm::{Algorithm, options};
use crate::step::{Pass, Step, Whole};

/// Adafactor (Shazeer, Stern 2018), whose second moments of a matrix are a row and a column: `torch.optim.Adafactor`.
///
/// With gradient g at step t and `1 − β₂ = t^beta2_decay`: of g² the means over rows and over columns (of the last two
/// dims) are kept, whose product divided by their mean estimates the variance v; of vectors v is kept itself. Then
/// `u = g / √max(v, eps₁²)`, and `p ← p − α / max(1, rms(u) / d) · u` with `α = max(eps₂, rms(p)) · min(lr, 1/√t)`.
///
/// Nothing waits for the device. A captured step cannot contain one.
pub type Adafactor<B> = crate::Optimizer<B, AdafactorOptions>;

options! {
    /// Options of [`Adafactor`].
    AdafactorOptions {
        /// The largest step, relative to the size of parameters.
        lr(lr: f64): f64 = 1e-2, lr >= 0.0;
        /// The power with which the weight of new squares falls.
        beta2_decay(beta2_decay: f64): f64 = -0.8, beta2_decay <= 0.0;
        /// The least root of variances, by default the distance from 1 to the next number of the parameter's dtype; and
        /// the least size of parameters.
        eps(eps1: Option<f64>, eps2: f64): (Option<f64>, f64) = (None, 1e-3),
            eps1.is_none_or(|eps1| eps1 >= 0.0) && eps2 >= 0.0;
        /// The size of an update from which on it is scaled down.
        d(d: f64): f64 = 1.0, d >= 1.0;
        /// Taken off the parameter, times the learning rate.
        weight_decay(weight_decay: f64): f64 = 0.0, weight_decay >= 0.0;
        /// Whether to go uphill.
        maximize(maximize: bool): bool = false, true;
    }
}

impl Algorithm for AdafactorOptions {
    const NAME: &'static str = "Adafactor";
    type Flags = ();

    fn flags(&self) {}

    fn slots((): ()) -> &'static [&'static str] {
        &["row_var", "col_var", "variance"]
    }

    fn slot_shape(slot: &str, param: &Shape) -> Option<Shape> {
        let rank = param.rank();
        match (slot, rank > 1) {
            ("row_var", true) => Some(param.with(rank - 1, 1)),
            ("col_var", true) => Some(param.with(rank - 2, 1)),
            ("variance", false) => Some(param.clone()),
            _ => None,
        }
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, None)
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }
}

impl Step for AdafactorOptions {
    #[track_caller]
    fn step<B: Backend>(pass: Pass<'_, B, Self>) {
        static UPDATE: Fused<3> = Fused::new("Adafactor", |[p, update, size]| p - update * size);
        pass.each(|x| {
            let (options, count) = (x.options, x.param.numel() as f64);
            if count == 0.0 {
                return;
            }
            let wide = x.param.dtype().compute();
            let [param, grad] = [&x.param, &x.grad].map(|t| t.to_dtype(wide));
            let rms = |t: &Tensor<B>| t.norm() / count.sqrt();
            let size =
                rms(&param).clamp_min(options.eps.1) * options.lr.min(1.0 / (x.step as f64).sqrt());
            let eps = options.eps.0.unwrap_or_else(|| epsilon(x.param.dtype()));
            let variance = x.variance(&grad, eps);
            let grad = if options.maximize { -grad } else { grad };
            let update = variance.clamp_min(eps * eps).rsqrt() * grad;
            let size = size / (rms(&update) / options.d).clamp_min(1.0);
            let kept = param * (1.0 - options.lr * options.weight_decay);
            x.param.copy_(&UPDATE.call([&kept, &update, &size]));
        });
    }
}

impl<B: Backend> Whole<'_, B, AdafactorOptions> {
    /// Lets the squares of the gradient into the state, and gives what that says of the variance.
    fn variance(&self, grad: &Tensor<B>, eps: f64) -> Tensor<B> {
        let weight = (self.step as f64).powf(self.options.beta2_decay);
        let follow = |slot: &Tensor<B>, to: &Tensor<B>| {
            let now = slot.to_dtype(to.dtype()).lerp(to, weight);
            slot.copy_(&now);
            now
        };
        let square = grad.square();
        match &self.slots[..] {
            [row, column] => {
                let row = follow(row, &square.mean_dims([-1], true));
                let column = follow(column, &square.mean_dims([-2], true));
                let mean = row.mean_dims([-2], true).clamp_min(eps);
                row * column / mean
            }
            slots => follow(&slots[0], &square),
        }
    }
}

/// The distance from 1 to the next number.
fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F16 => half::f16::EPSILON.to_f64(),
        DType::BF16 => half::bf16::EPSILON.to_f64(),
        _ => f64::from(f32::EPSILON),
    }
}
