//! Learning rates that fall by a factor from time to time.

use super::{Now, Rule, require};

/// The learning rate times `gamma` every `step_size` epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct StepLR {
    step_size: u64,
    gamma: f64,
}

impl StepLR {
    /// With `gamma` 0.1.
    ///
    /// # Panics
    /// If `step_size` is 0.
    #[track_caller]
    pub fn new(step_size: u64) -> Self {
        require("StepLR", step_size > 0, "step_size > 0");
        StepLR { step_size, gamma: 0.1 }
    }

    /// The factor.
    #[must_use]
    pub fn gamma(self, gamma: f64) -> Self {
        StepLR { gamma, ..self }
    }
}

impl Rule for StepLR {
    fn lr(&self, now: &Now) -> f64 {
        let due = now.epoch > 0 && now.epoch.is_multiple_of(self.step_size);
        if due { now.lr * self.gamma } else { now.lr }
    }

    fn closed_form(&self, now: &Now) -> Option<f64> {
        Some(now.base_lr * self.gamma.powf((now.epoch / self.step_size) as f64))
    }
}

/// The learning rate times `gamma` at each milestone.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStepLR {
    milestones: Vec<u64>,
    gamma: f64,
}

impl MultiStepLR {
    /// With `gamma` 0.1. A milestone that is given twice counts twice.
    pub fn new(milestones: impl IntoIterator<Item = u64>) -> Self {
        MultiStepLR { milestones: milestones.into_iter().collect(), gamma: 0.1 }
    }

    /// The factor.
    #[must_use]
    pub fn gamma(self, gamma: f64) -> Self {
        MultiStepLR { gamma, ..self }
    }

    /// `gamma` to the power of the number of milestones that `counts`.
    fn factor(&self, counts: impl Fn(u64) -> bool) -> f64 {
        self.gamma.powf(self.milestones.iter().filter(|&&m| counts(m)).count() as f64)
    }
}

impl Rule for MultiStepLR {
    fn lr(&self, now: &Now) -> f64 {
        now.lr * self.factor(|milestone| milestone == now.epoch)
    }

    fn closed_form(&self, now: &Now) -> Option<f64> {
        Some(now.base_lr * self.factor(|milestone| milestone <= now.epoch))
    }
}

/// The learning rate times `gamma` every epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct ExponentialLR {
    gamma: f64,
}

impl ExponentialLR {
    /// With this factor.
    pub fn new(gamma: f64) -> Self {
        ExponentialLR { gamma }
    }
}

impl Rule for ExponentialLR {
    fn lr(&self, now: &Now) -> f64 {
        if now.start { now.lr } else { now.lr * self.gamma }
    }

    fn closed_form(&self, now: &Now) -> Option<f64> {
        Some(now.base_lr * self.gamma.powf(now.epoch as f64))
    }
}
