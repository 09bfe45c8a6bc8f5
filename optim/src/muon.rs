//! Muon.

use kiln_tensor_core::{Backend, DType, FusedWith, Shape, Tensor};
use serde::{Deserialize, Serialize};

use crate::algorithm::{Algorithm, options};
use crate::step::{Pass, Step, Whole};

/// Momentum, orthogonalized by Newton and Schulz's iteration (Jordan et al. 2024): `torch.optim.Muon`. For the matrices of
/// hidden layers; embeddings, biases and the last layer are for another optimizer, such as [`AdamW`](crate::AdamW).
///
/// With gradient g: `b ← μb + (1 − μ)g`, and with Nesterov's form `u = (1 − μ)g + μb`, else `u = b`. That is brought near
/// the closest matrix with orthonormal rows or columns, `o`, and `p ← p · (1 − lr · weight_decay) − lr · ratio · o`.
///
/// Every backend multiplies the matrices; nothing waits for the device. A captured step cannot contain one.
pub type Muon<B> = crate::Optimizer<B, MuonOptions>;

/// What [`Muon`] multiplies the learning rate by for a matrix of `[rows, columns]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdjustLr {
    /// `√max(1, rows / columns)`
    #[default]
    Original,
    /// `0.2 · √max(rows, columns)`: the size of AdamW's steps (Liu et al. 2025).
    MatchRmsAdamw,
    /// `√(rows / columns)` (Bernstein 2025).
    SpectralUnclamped,
}

impl AdjustLr {
    fn ratio(self, rows: f64, columns: f64) -> f64 {
        match self {
            AdjustLr::Original => (rows / columns).max(1.0).sqrt(),
            AdjustLr::MatchRmsAdamw => 0.2 * rows.max(columns).sqrt(),
            AdjustLr::SpectralUnclamped => (rows / columns).sqrt(),
        }
    }
}

/// What [`Muon`]'s iteration is computed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NsDtype {
    /// `bf16`, as in PyTorch: enough for a direction, and fast where there are kernels for it.
    #[default]
    BF16,
    /// The parameter's own dtype.
    Parameter,
}

options! {
    /// Options of [`Muon`].
    MuonOptions {
        /// The learning rate.
        lr(lr: f64): f64 = 1e-3, lr >= 0.0;
        /// Taken off the parameter, times the learning rate.
        weight_decay(weight_decay: f64): f64 = 0.1, weight_decay >= 0.0;
        /// How much of the running mean of the gradient stays at each step.
        momentum(momentum: f64): f64 = 0.95, momentum >= 0.0;
        /// Nesterov's form.
        nesterov(nesterov: bool): bool = true, true;
        /// The coefficients of the polynomial `ax + bx³ + cx⁵` that is iterated on singular values.
        ns_coefficients(a: f64, b: f64, c: f64): (f64, f64, f64) = (3.4445, -4.7750, 2.0315),
            a.is_finite() && b.is_finite() && c.is_finite();
        /// The least norm that is divided by.
        eps(eps: f64): f64 = 1e-7, eps >= 0.0;
        /// The number of iterations.
        ns_steps(ns_steps: usize): usize = 5, ns_steps < 100;
        /// How the learning rate depends on the matrix's shape.
        adjust_lr_fn(adjust_lr_fn: AdjustLr): AdjustLr = AdjustLr::Original, true;
        /// What the iteration is computed in. PyTorch has no choice.
        ns_dtype(ns_dtype: NsDtype): NsDtype = NsDtype::BF16, true;
    }
}

impl Algorithm for MuonOptions {
    const NAME: &'static str = "Muon";
    type Flags = ();

    fn flags(&self) {}

    fn slots((): ()) -> &'static [&'static str] {
        &["momentum_buffer"]
    }

    fn tuned(&mut self) -> (&mut f64, Option<&mut f64>) {
        (&mut self.lr, Some(&mut self.momentum))
    }

    fn invalid(&self) -> Option<String> {
        self.out_of_domain()
    }

    fn unfit(param: &Shape) -> Option<String> {
        let why = || format!("a parameter has shape {param}; only matrices are orthogonalized");
        (param.rank() != 2).then(why)
    }
}

impl Step for MuonOptions {
    #[track_caller]
    fn step<B: Backend>(pass: Pass<'_, B, Self>) {
        static UPDATE: FusedWith<2, 2> =
            FusedWith::new("Muon", |[p, o], [keep, lr]| p * keep - o * lr);
        pass.each(|Whole { options, param, grad, slots, .. }| {
            let buffer = slots[0].lerp(&grad, 1.0 - options.momentum);
            slots[0].copy_(&buffer);
            let update = match options.nesterov {
                true => grad.lerp(&buffer, options.momentum),
                false => buffer,
            };
            let [rows, columns] = [0, 1].map(|dim| param.size(dim) as f64);
            let lr = options.lr * options.adjust_lr_fn.ratio(rows, columns);
            let keep = 1.0 - options.lr * options.weight_decay;
            let way = orthogonalized(&update, options);
            param.copy_(&UPDATE.call([&param, &way], [keep, lr]));
        });
    }
}

/// The matrix with its singular values brought near 1.
fn orthogonalized<B: Backend>(x: &Tensor<B>, options: &MuonOptions) -> Tensor<B> {
    let (a, b, c) = options.ns_coefficients;
    let tall = x.size(0) > x.size(1);
    // The shorter side makes the smaller products.
    let turned = |x: Tensor<B>| if tall { x.t() } else { x };
    let x = match options.ns_dtype {
        NsDtype::BF16 => x.to_dtype(DType::BF16),
        NsDtype::Parameter => x.clone(),
    };
    // No singular value is larger than the norm of all elements.
    let norm = x.norm().clamp_min(options.eps);
    let mut x = turned(x) / norm;
    for _ in 0..options.ns_steps {
        let gram = x.matmul(&x.t());
        x = x.addmm(&gram.addmm(&gram, &gram, b, c), &x, a, 1.0);
    }
    turned(x)
}
