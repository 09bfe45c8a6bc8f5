//! Learning rates that fall when a metric no longer improves.

use kiln_tensor_core::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{PerGroup, Schedulable, require, wrong};

/// Which metrics are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Smaller ones.
    Min,
    /// Larger ones.
    Max,
}

/// What the threshold is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdMode {
    /// Parts of the best metric.
    Rel,
    /// The metric's own unit.
    Abs,
}

/// The learning rate times `factor` once a metric has not improved for more than `patience` epochs.
///
/// ```no_run
/// # use kiln_tensor_core::{Backend, Tensor};
/// use kiln_optim::{Adam, lr_scheduler::ReduceLROnPlateau};
/// # fn f<B: Backend>(adam: &mut Adam<B>, validate: impl Fn() -> f64) {
/// let mut scheduler = ReduceLROnPlateau::new().patience(3).attach(adam);
/// for epoch in 0..100 {
///     scheduler.step(validate(), adam);
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceLROnPlateau {
    mode: Mode,
    factor: f64,
    patience: u64,
    threshold: f64,
    threshold_mode: ThresholdMode,
    cooldown: u64,
    min_lr: PerGroup,
    eps: f64,
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// None before the first metric.
    best: Option<f64>,
    cooldown_counter: u64,
    num_bad_epochs: u64,
    last_epoch: u64,
    last_lr: Vec<f64>,
}

impl Default for ReduceLROnPlateau {
    fn default() -> Self {
        ReduceLROnPlateau {
            mode: Mode::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0.into(),
            eps: 1e-8,
            state: State::default(),
        }
    }
}

impl ReduceLROnPlateau {
    /// For a metric that should fall: `factor` 0.1, `patience` 10, a relative `threshold` of 10⁻⁴, no
    /// cooldown, `min_lr` 0, `eps` 10⁻⁸.
    pub fn new() -> Self {
        Self::default()
    }

    /// Which metrics are better.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        ReduceLROnPlateau { mode, ..self }
    }

    /// The factor.
    ///
    /// # Panics
    /// If it is not below 1.
    #[must_use]
    #[track_caller]
    pub fn factor(self, factor: f64) -> Self {
        require("ReduceLROnPlateau", factor < 1.0, "factor < 1");
        ReduceLROnPlateau { factor, ..self }
    }

    /// How many epochs without improvement are let pass.
    #[must_use]
    pub fn patience(self, patience: u64) -> Self {
        ReduceLROnPlateau { patience, ..self }
    }

    /// By how much a metric has to be better than the best one.
    #[must_use]
    pub fn threshold(self, threshold: f64) -> Self {
        ReduceLROnPlateau { threshold, ..self }
    }

    /// What the threshold is measured in.
    #[must_use]
    pub fn threshold_mode(self, threshold_mode: ThresholdMode) -> Self {
        ReduceLROnPlateau { threshold_mode, ..self }
    }

    /// How many epochs after a reduction do not count.
    #[must_use]
    pub fn cooldown(self, cooldown: u64) -> Self {
        ReduceLROnPlateau { cooldown, ..self }
    }

    /// The smallest learning rate, of all groups or each.
    #[must_use]
    pub fn min_lr(self, min_lr: impl Into<PerGroup>) -> Self {
        ReduceLROnPlateau { min_lr: min_lr.into(), ..self }
    }

    /// The smallest change of a learning rate that is made.
    #[must_use]
    pub fn eps(self, eps: f64) -> Self {
        ReduceLROnPlateau { eps, ..self }
    }

    /// Notes the learning rates to begin with, which stay as they are.
    ///
    /// # Panics
    /// If there is a `min_lr` for each group and their number is not that of the groups.
    #[must_use]
    #[track_caller]
    pub fn attach(mut self, optimizer: &mut dyn Schedulable) -> Self {
        let settings = optimizer.settings();
        self.min_lr.check("ReduceLROnPlateau", "min_lr", settings.len());
        self.state.last_lr = settings.iter().map(|group| *group.lr).collect();
        self
    }

    /// Takes the epoch's metric and lowers the learning rates if it is time.
    ///
    /// # Panics
    /// If the optimizer has got more groups than there are `min_lr`.
    #[track_caller]
    pub fn step(&mut self, metric: f64, optimizer: &mut dyn Schedulable) {
        let improves = self.improves(metric);
        let state = &mut self.state;
        state.last_epoch = state.last_epoch.saturating_add(1);
        if improves {
            state.best = Some(metric);
            state.num_bad_epochs = 0;
        } else {
            state.num_bad_epochs = state.num_bad_epochs.saturating_add(1);
        }
        if state.cooldown_counter > 0 {
            state.cooldown_counter -= 1;
            state.num_bad_epochs = 0;
        }
        let mut settings = optimizer.settings();
        if state.num_bad_epochs > self.patience {
            self.min_lr.check("ReduceLROnPlateau", "min_lr", settings.len());
            for (i, group) in settings.iter_mut().enumerate() {
                let lower = (*group.lr * self.factor).max(self.min_lr.get(i));
                if *group.lr - lower > self.eps {
                    *group.lr = lower;
                }
            }
            state.cooldown_counter = self.cooldown;
            state.num_bad_epochs = 0;
        }
        state.last_lr = settings.iter().map(|group| *group.lr).collect();
        drop(settings);
        optimizer.settled();
    }

    fn improves(&self, metric: f64) -> bool {
        use {Mode::*, ThresholdMode::*};
        let worst = if self.mode == Min { f64::INFINITY } else { f64::NEG_INFINITY };
        let best = self.state.best.unwrap_or(worst);
        match (self.mode, self.threshold_mode) {
            (Min, Rel) => metric < best * (1.0 - self.threshold),
            (Min, Abs) => metric < best - self.threshold,
            (Max, Rel) => metric > best * (1.0 + self.threshold),
            (Max, Abs) => metric > best + self.threshold,
        }
    }

    /// The learning rates after the last step, one per group.
    pub fn get_last_lr(&self) -> &[f64] {
        &self.state.last_lr
    }

    /// How far the scheduler is, as JSON. Options are not part of it: they are the program's.
    pub fn state_dict(&self) -> Value {
        serde_json::to_value(&self.state).expect("numbers and a list of them")
    }

    /// Takes over what [`ReduceLROnPlateau::state_dict`] has given.
    ///
    /// # Errors
    /// [`Error::StateDict`](kiln_tensor_core::Error::StateDict) if it is not such a state, or one for another number of groups. Nothing has
    /// been changed then.
    pub fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        let loaded = State::deserialize(state).map_err(|error| wrong(error.to_string()))?;
        if loaded.last_lr.len() != self.state.last_lr.len() {
            return Err(wrong(format!("it is not of {} groups", self.state.last_lr.len())));
        }
        self.state = loaded;
        Ok(())
    }
}
