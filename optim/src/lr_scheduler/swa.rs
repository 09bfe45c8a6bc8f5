//! The learning rate while weights are averaged (Izmailov et al. 2018): `torch.optim.swa_utils.SWALR`.

use std::f64::consts::PI;

use super::{AnnealStrategy, Now, PerGroup, Rule, Setting};

/// From the present learning rate to `swa_lr` in `anneal_epochs` epochs, and then no further.
#[derive(Clone, Debug, PartialEq)]
pub struct SWALR {
    swa_lr: PerGroup,
    anneal_epochs: u64,
    anneal_strategy: AnnealStrategy,
}

impl SWALR {
    /// To this learning rate, for all groups or each, in 10 epochs along a cosine.
    pub fn new(swa_lr: impl Into<PerGroup>) -> Self {
        let anneal_strategy = AnnealStrategy::Cos;
        SWALR { swa_lr: swa_lr.into(), anneal_epochs: 10, anneal_strategy }
    }

    /// How many epochs it takes; 0 begins with the rate at once.
    #[must_use]
    pub fn anneal_epochs(self, anneal_epochs: u64) -> Self {
        SWALR { anneal_epochs, ..self }
    }

    /// Along half a cosine or a line.
    #[must_use]
    pub fn anneal_strategy(self, anneal_strategy: AnnealStrategy) -> Self {
        SWALR { anneal_strategy, ..self }
    }

    /// How much of the way has been gone after so many epochs.
    fn share(&self, epoch: f64) -> f64 {
        let t = (epoch / self.anneal_epochs.max(1) as f64).clamp(0.0, 1.0);
        match self.anneal_strategy {
            AnnealStrategy::Cos => (1.0 - (PI * t).cos()) / 2.0,
            AnnealStrategy::Linear => t,
        }
    }
}

impl Rule for SWALR {
    #[track_caller]
    fn begin(&mut self, groups: &mut [Setting<'_>]) {
        self.swa_lr.check("SWALR", "swa_lr", groups.len());
    }

    fn lr(&self, now: &Now) -> f64 {
        let epoch = if self.anneal_epochs == 0 { now.epoch.max(1) } else { now.epoch } as f64;
        let (to, gone) = (self.swa_lr.get(now.group), self.share(epoch - 1.0));
        // Where the way began, from where it is now.
        let from = if gone == 1.0 { to } else { (now.lr - gone * to) / (1.0 - gone) };
        let share = self.share(epoch);
        to * share + from * (1.0 - share)
    }
}
