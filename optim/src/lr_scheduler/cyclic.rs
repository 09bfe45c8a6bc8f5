//! Learning rates that rise and fall between bounds (Smith 2017).

use std::fmt;
use std::sync::Arc;

use kiln_tensor_core::{Error, raise};

use super::{Now, PerGroup, Rule, Setting, require};

/// How the height of cycles changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CyclicMode {
    /// Not at all.
    Triangular,
    /// Half as high each time.
    Triangular2,
    /// Times `gamma` in each step.
    ExpRange,
}

/// What a scaling function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleMode {
    /// The number of the cycle, from 1.
    Cycle,
    /// The number of the step, from 0.
    Iterations,
}

/// Up from `base_lr` to `max_lr` and down again, in straight lines; the momentum goes the other way.
#[derive(Clone)]
pub struct CyclicLR {
    base_lr: PerGroup,
    max_lr: PerGroup,
    step_size_up: u64,
    step_size_down: Option<u64>,
    mode: CyclicMode,
    gamma: f64,
    scale_fn: Option<Arc<dyn Fn(f64) -> f64 + Send + Sync>>,
    scale_mode: ScaleMode,
    cycle_momentum: bool,
    base_momentum: PerGroup,
    max_momentum: PerGroup,
}

impl fmt::Debug for CyclicLR {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CyclicLR")
            .field("base_lr", &self.base_lr)
            .field("max_lr", &self.max_lr)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

impl CyclicLR {
    /// Between these bounds, for all groups or each: 2000 steps up and as many down, triangular, with
    /// the momentum between 0.8 and 0.9.
    pub fn new(base_lr: impl Into<PerGroup>, max_lr: impl Into<PerGroup>) -> Self {
        CyclicLR {
            base_lr: base_lr.into(),
            max_lr: max_lr.into(),
            step_size_up: 2000,
            step_size_down: None,
            mode: CyclicMode::Triangular,
            gamma: 1.0,
            scale_fn: None,
            scale_mode: ScaleMode::Cycle,
            cycle_momentum: true,
            base_momentum: 0.8.into(),
            max_momentum: 0.9.into(),
        }
    }

    /// The number of steps up, and down unless set.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn step_size_up(self, step_size_up: u64) -> Self {
        require("CyclicLR", step_size_up > 0, "step_size_up > 0");
        CyclicLR { step_size_up, ..self }
    }

    /// The number of steps down.
    #[must_use]
    pub fn step_size_down(self, step_size_down: u64) -> Self {
        CyclicLR { step_size_down: Some(step_size_down), ..self }
    }

    /// How the height of cycles changes.
    #[must_use]
    pub fn mode(self, mode: CyclicMode) -> Self {
        CyclicLR { mode, ..self }
    }

    /// The factor of [`CyclicMode::ExpRange`].
    #[must_use]
    pub fn gamma(self, gamma: f64) -> Self {
        CyclicLR { gamma, ..self }
    }

    /// The height of cycles as a function of what `scale_mode` says, instead of a mode.
    #[must_use]
    pub fn scale_fn(
        self,
        scale_fn: impl Fn(f64) -> f64 + Send + Sync + 'static,
        scale_mode: ScaleMode,
    ) -> Self {
        CyclicLR { scale_fn: Some(Arc::new(scale_fn)), scale_mode, ..self }
    }

    /// Whether the momentum (or first beta) changes too.
    #[must_use]
    pub fn cycle_momentum(self, cycle_momentum: bool) -> Self {
        CyclicLR { cycle_momentum, ..self }
    }

    /// The momentum at the highest learning rate.
    #[must_use]
    pub fn base_momentum(self, base_momentum: impl Into<PerGroup>) -> Self {
        CyclicLR { base_momentum: base_momentum.into(), ..self }
    }

    /// The momentum at the lowest learning rate.
    #[must_use]
    pub fn max_momentum(self, max_momentum: impl Into<PerGroup>) -> Self {
        CyclicLR { max_momentum: max_momentum.into(), ..self }
    }

    /// How far between the bounds a step is.
    fn height(&self, epoch: u64) -> f64 {
        let up = self.step_size_up as f64;
        let total = up + self.step_size_down.map_or(up, |down| down as f64);
        let ratio = up / total;
        let cycle = (1.0 + epoch as f64 / total).floor();
        let x = 1.0 + epoch as f64 / total - cycle;
        let height = if x <= ratio { x / ratio } else { (x - 1.0) / (ratio - 1.0) };
        let scale = match (&self.scale_fn, self.mode) {
            (Some(f), _) if self.scale_mode == ScaleMode::Cycle => f(cycle),
            (Some(f), _) => f(epoch as f64),
            (None, CyclicMode::Triangular) => 1.0,
            (None, CyclicMode::Triangular2) => 1.0 / 2f64.powf(cycle - 1.0),
            (None, CyclicMode::ExpRange) => self.gamma.powf(epoch as f64),
        };
        height * scale
    }
}

impl Rule for CyclicLR {
    #[track_caller]
    fn begin(&mut self, groups: &mut [Setting<'_>]) {
        self.base_lr.check("CyclicLR", "base_lr", groups.len());
        self.max_lr.check("CyclicLR", "max_lr", groups.len());
        for (i, group) in groups.iter_mut().enumerate() {
            *group.lr = self.base_lr.get(i);
        }
        if self.cycle_momentum {
            begin_momentum("CyclicLR", &self.base_momentum, &self.max_momentum, groups);
        }
    }

    fn lr(&self, now: &Now) -> f64 {
        let base = self.base_lr.get(now.group);
        base + (self.max_lr.get(now.group) - base) * self.height(now.epoch)
    }

    fn momentum(&self, now: &Now) -> Option<f64> {
        let (base, max) = (self.base_momentum.get(now.group), self.max_momentum.get(now.group));
        self.cycle_momentum.then(|| max - (max - base) * self.height(now.epoch))
    }
}

/// Starts to cycle the momentum from its largest value.
#[track_caller]
pub(super) fn begin_momentum(
    op: &'static str,
    base: &PerGroup,
    max: &PerGroup,
    groups: &mut [Setting<'_>],
) {
    base.check(op, "base_momentum", groups.len());
    max.check(op, "max_momentum", groups.len());
    for (i, group) in groups.iter_mut().enumerate() {
        match &mut group.momentum {
            Some(momentum) => **momentum = max.get(i),
            None => raise(Error::Argument {
                op,
                why: "the optimizer has no momentum to cycle; set cycle_momentum(false)".into(),
            }),
        }
    }
}
