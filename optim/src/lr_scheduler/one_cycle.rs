//! One rise and one fall over the whole training (Smith, Topin 2018).

use std::f64::consts::PI;

use super::cyclic::begin_momentum;
use super::{Now, PerGroup, Rule, Setting, require};
use kiln_tensor_core::{Error, raise};

/// The shape of the way between two learning rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnnealStrategy {
    /// Half a cosine.
    Cos,
    /// A straight line.
    Linear,
}

/// Up from `max_lr / div_factor` to `max_lr`, then down to `1 / final_div_factor` of where it began; the
/// momentum goes the other way. It counts batches, not epochs.
#[derive(Clone, Debug, PartialEq)]
pub struct OneCycleLR {
    max_lr: PerGroup,
    total_steps: u64,
    pct_start: f64,
    anneal_strategy: AnnealStrategy,
    cycle_momentum: bool,
    base_momentum: PerGroup,
    max_momentum: PerGroup,
    div_factor: f64,
    final_div_factor: f64,
    three_phase: bool,
}

/// The ends of a phase, as numbers of the learning rates (first, largest, last) and of the momenta
/// (largest, smallest).
struct Phase {
    end: f64,
    lrs: [usize; 2],
    momenta: [usize; 2],
}

impl OneCycleLR {
    /// Up to this learning rate, for all groups or each, in `total_steps` steps; 30 % of them up, along
    /// cosines, with `div_factor` 25 and `final_div_factor` 10⁴ and the momentum between 0.85 and 0.95.
    ///
    /// # Panics
    /// If `total_steps` is 0.
    #[track_caller]
    pub fn new(max_lr: impl Into<PerGroup>, total_steps: u64) -> Self {
        require("OneCycleLR", total_steps > 0, "total_steps > 0");
        OneCycleLR {
            max_lr: max_lr.into(),
            total_steps,
            pct_start: 0.3,
            anneal_strategy: AnnealStrategy::Cos,
            cycle_momentum: true,
            base_momentum: 0.85.into(),
            max_momentum: 0.95.into(),
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phase: false,
        }
    }

    /// The part of the steps that go up.
    ///
    /// # Panics
    /// If it is outside `[0, 1]`.
    #[must_use]
    #[track_caller]
    pub fn pct_start(self, pct_start: f64) -> Self {
        require("OneCycleLR", (0.0..=1.0).contains(&pct_start), "0 <= pct_start <= 1");
        OneCycleLR { pct_start, ..self }
    }

    /// The shape of the way.
    #[must_use]
    pub fn anneal_strategy(self, anneal_strategy: AnnealStrategy) -> Self {
        OneCycleLR { anneal_strategy, ..self }
    }

    /// Whether the momentum (or first beta) changes too.
    #[must_use]
    pub fn cycle_momentum(self, cycle_momentum: bool) -> Self {
        OneCycleLR { cycle_momentum, ..self }
    }

    /// The momentum at the highest learning rate.
    #[must_use]
    pub fn base_momentum(self, base_momentum: impl Into<PerGroup>) -> Self {
        OneCycleLR { base_momentum: base_momentum.into(), ..self }
    }

    /// The momentum at the beginning and the end.
    #[must_use]
    pub fn max_momentum(self, max_momentum: impl Into<PerGroup>) -> Self {
        OneCycleLR { max_momentum: max_momentum.into(), ..self }
    }

    /// How many times smaller than the largest learning rate the first one is.
    #[must_use]
    pub fn div_factor(self, div_factor: f64) -> Self {
        OneCycleLR { div_factor, ..self }
    }

    /// How many times smaller than the first learning rate the last one is.
    #[must_use]
    pub fn final_div_factor(self, final_div_factor: f64) -> Self {
        OneCycleLR { final_div_factor, ..self }
    }

    /// Whether the fall is as long as the rise and a third phase goes on from there.
    #[must_use]
    pub fn three_phase(self, three_phase: bool) -> Self {
        OneCycleLR { three_phase, ..self }
    }

    fn phases(&self) -> Vec<Phase> {
        let rise = self.pct_start * self.total_steps as f64;
        let last = self.total_steps as f64 - 1.0;
        let mut phases = vec![Phase { end: rise - 1.0, lrs: [0, 1], momenta: [0, 1] }];
        if self.three_phase {
            phases.push(Phase { end: 2.0 * rise - 2.0, lrs: [1, 0], momenta: [1, 0] });
            phases.push(Phase { end: last, lrs: [0, 2], momenta: [0, 0] });
        } else {
            phases.push(Phase { end: last, lrs: [1, 2], momenta: [1, 0] });
        }
        phases
    }

    /// The phase of a step, and how much of it has passed.
    fn phase(&self, epoch: u64) -> (Phase, f64) {
        let (step, mut start) = (epoch as f64, 0.0);
        let mut phases = self.phases();
        let last = phases.pop().expect("there are two or three");
        for phase in phases {
            if step <= phase.end {
                let passed = (step - start) / (phase.end - start);
                return (phase, passed);
            }
            start = phase.end;
        }
        let passed = (step - start) / (last.end - start);
        (last, passed)
    }

    fn between(&self, from: f64, to: f64, passed: f64) -> f64 {
        match self.anneal_strategy {
            AnnealStrategy::Cos => to + (from - to) / 2.0 * ((PI * passed).cos() + 1.0),
            AnnealStrategy::Linear => (to - from) * passed + from,
        }
    }
}

impl Rule for OneCycleLR {
    #[track_caller]
    fn begin(&mut self, groups: &mut [Setting<'_>]) {
        self.max_lr.check("OneCycleLR", "max_lr", groups.len());
        for (i, group) in groups.iter_mut().enumerate() {
            *group.initial_lr = Some(self.max_lr.get(i) / self.div_factor);
        }
        if self.cycle_momentum {
            begin_momentum("OneCycleLR", &self.base_momentum, &self.max_momentum, groups);
        }
    }

    #[track_caller]
    fn lr(&self, now: &Now) -> f64 {
        if now.epoch > self.total_steps {
            let why = format!("the cycle has {} steps, and this is one more", self.total_steps);
            raise(Error::Argument { op: "OneCycleLR", why });
        }
        let max = self.max_lr.get(now.group);
        let first = max / self.div_factor;
        let lrs = [first, max, first / self.final_div_factor];
        let (phase, passed) = self.phase(now.epoch);
        self.between(lrs[phase.lrs[0]], lrs[phase.lrs[1]], passed)
    }

    fn momentum(&self, now: &Now) -> Option<f64> {
        let momenta = [self.max_momentum.get(now.group), self.base_momentum.get(now.group)];
        let (phase, passed) = self.phase(now.epoch);
        let [from, to] = phase.momenta.map(|i| momenta[i]);
        self.cycle_momentum.then(|| self.between(from, to, passed))
    }
}
