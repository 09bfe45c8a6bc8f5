//! Learning rates that begin or end with a part of the full one.

use super::{Now, Rule, require};

/// The learning rate times `factor` for the first `total_iters` epochs, then the full one.
#[derive(Clone, Debug, PartialEq)]
pub struct ConstantLR {
    factor: f64,
    total_iters: u64,
}

impl Default for ConstantLR {
    fn default() -> Self {
        ConstantLR { factor: 1.0 / 3.0, total_iters: 5 }
    }
}

impl ConstantLR {
    /// With `factor` ⅓ and `total_iters` 5.
    pub fn new() -> Self {
        Self::default()
    }

    /// The factor.
    ///
    /// # Panics
    /// If it is outside `[0, 1]`.
    #[must_use]
    #[track_caller]
    pub fn factor(self, factor: f64) -> Self {
        require("ConstantLR", (0.0..=1.0).contains(&factor), "0 <= factor <= 1");
        ConstantLR { factor, ..self }
    }

    /// How long the factor applies.
    #[must_use]
    pub fn total_iters(self, total_iters: u64) -> Self {
        ConstantLR { total_iters, ..self }
    }
}

impl Rule for ConstantLR {
    fn lr(&self, now: &Now) -> f64 {
        if now.epoch == 0 {
            now.lr * self.factor
        } else if now.epoch == self.total_iters {
            now.lr * (1.0 / self.factor)
        } else {
            now.lr
        }
    }

    fn closed_form(&self, now: &Now) -> Option<f64> {
        let past = if now.epoch >= self.total_iters { 1.0 } else { 0.0 };
        Some(now.base_lr * (self.factor + past * (1.0 - self.factor)))
    }
}

/// A factor that goes from `start_factor` to `end_factor` in equal steps, in `total_iters` epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearLR {
    start_factor: f64,
    end_factor: f64,
    total_iters: u64,
}

impl Default for LinearLR {
    fn default() -> Self {
        LinearLR { start_factor: 1.0 / 3.0, end_factor: 1.0, total_iters: 5 }
    }
}

impl LinearLR {
    /// With factors from ⅓ to 1 in 5 epochs.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first factor.
    ///
    /// # Panics
    /// If it is outside `(0, 1]`.
    #[must_use]
    #[track_caller]
    pub fn start_factor(self, start_factor: f64) -> Self {
        let holds = start_factor > 0.0 && start_factor <= 1.0;
        require("LinearLR", holds, "0 < start_factor <= 1");
        LinearLR { start_factor, ..self }
    }

    /// The last factor.
    ///
    /// # Panics
    /// If it is outside `[0, 1]`.
    #[must_use]
    #[track_caller]
    pub fn end_factor(self, end_factor: f64) -> Self {
        require("LinearLR", (0.0..=1.0).contains(&end_factor), "0 <= end_factor <= 1");
        LinearLR { end_factor, ..self }
    }

    /// How long it takes.
    #[must_use]
    pub fn total_iters(self, total_iters: u64) -> Self {
        LinearLR { total_iters, ..self }
    }
}

impl Rule for LinearLR {
    fn lr(&self, now: &Now) -> f64 {
        if now.epoch == 0 {
            return now.lr * self.start_factor;
        }
        if now.epoch > self.total_iters {
            return now.lr;
        }
        let rise = self.end_factor - self.start_factor;
        let before = self.total_iters as f64 * self.start_factor + (now.epoch - 1) as f64 * rise;
        now.lr * (1.0 + rise / before)
    }

    fn closed_form(&self, now: &Now) -> Option<f64> {
        let rise = self.end_factor - self.start_factor;
        let done = now.epoch.min(self.total_iters) as f64 / self.total_iters as f64;
        Some(now.base_lr * (self.start_factor + rise * done))
    }
}

/// The learning rate times `(1 − epoch / total_iters)` to the power of `power`, until it is 0.
#[derive(Clone, Debug, PartialEq)]
pub struct PolynomialLR {
    total_iters: u64,
    power: f64,
}

impl Default for PolynomialLR {
    fn default() -> Self {
        PolynomialLR { total_iters: 5, power: 1.0 }
    }
}

impl PolynomialLR {
    /// With `total_iters` 5 and `power` 1.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long it takes.
    #[must_use]
    pub fn total_iters(self, total_iters: u64) -> Self {
        PolynomialLR { total_iters, ..self }
    }

    /// The power.
    #[must_use]
    pub fn power(self, power: f64) -> Self {
        PolynomialLR { power, ..self }
    }

    /// What is left at an epoch.
    fn left(&self, epoch: u64) -> f64 {
        1.0 - epoch.min(self.total_iters) as f64 / self.total_iters as f64
    }
}

impl Rule for PolynomialLR {
    fn lr(&self, now: &Now) -> f64 {
        if now.start || now.epoch > self.total_iters {
            return now.lr;
        }
        now.lr * (self.left(now.epoch) / self.left(now.epoch - 1)).powf(self.power)
    }

    fn closed_form(&self, now: &Now) -> Option<f64> {
        Some(now.base_lr * self.left(now.epoch).powf(self.power))
    }
}
