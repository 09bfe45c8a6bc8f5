//! Learning rates along a cosine (Loshchilov, Hutter 2017: SGDR).

use std::f64::consts::PI;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Move, Now, Rule, require};

/// Down from the learning rate to `eta_min` in `t_max` epochs along half a cosine, and up again.
#[derive(Clone, Debug, PartialEq)]
pub struct CosineAnnealingLR {
    t_max: u64,
    eta_min: f64,
}

impl CosineAnnealingLR {
    /// With `eta_min` 0.
    ///
    /// # Panics
    /// If `t_max` is 0.
    #[track_caller]
    pub fn new(t_max: u64) -> Self {
        require("CosineAnnealingLR", t_max > 0, "t_max > 0");
        CosineAnnealingLR { t_max, eta_min: 0.0 }
    }

    /// The smallest learning rate.
    #[must_use]
    pub fn eta_min(self, eta_min: f64) -> Self {
        CosineAnnealingLR { eta_min, ..self }
    }

    fn height(&self, epoch: u64) -> f64 {
        1.0 + (PI * epoch as f64 / self.t_max as f64).cos()
    }
}

impl Rule for CosineAnnealingLR {
    fn lr(&self, now: &Now) -> f64 {
        if now.start {
            return now.lr;
        }
        let last = now.epoch.saturating_sub(1);
        // At the bottom the recurrence would divide 0 by 0.
        if last % (2 * self.t_max) == self.t_max {
            let rise = (1.0 - (PI / self.t_max as f64).cos()) / 2.0;
            return now.lr + (now.base_lr - self.eta_min) * rise;
        }
        self.height(now.epoch) / self.height(last) * (now.lr - self.eta_min) + self.eta_min
    }

    fn closed_form(&self, now: &Now) -> Option<f64> {
        Some(self.eta_min + (now.base_lr - self.eta_min) * self.height(now.epoch) / 2.0)
    }
}

/// Down from the learning rate to `eta_min` along half a cosine, again and again: in `t_0` epochs at
/// first, and each time in `t_mult` times as many.
#[derive(Clone, Debug, PartialEq)]
pub struct CosineAnnealingWarmRestarts {
    t_0: u64,
    t_mult: u64,
    eta_min: f64,
    t_i: u64,
    t_cur: u64,
}

impl CosineAnnealingWarmRestarts {
    /// With `t_mult` 1 and `eta_min` 0.
    ///
    /// # Panics
    /// If `t_0` is 0.
    #[track_caller]
    pub fn new(t_0: u64) -> Self {
        require("CosineAnnealingWarmRestarts", t_0 > 0, "t_0 > 0");
        CosineAnnealingWarmRestarts { t_0, t_mult: 1, eta_min: 0.0, t_i: t_0, t_cur: 0 }
    }

    /// How much longer each period is.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn t_mult(self, t_mult: u64) -> Self {
        require("CosineAnnealingWarmRestarts", t_mult > 0, "t_mult > 0");
        CosineAnnealingWarmRestarts { t_mult, ..self }
    }

    /// The smallest learning rate.
    #[must_use]
    pub fn eta_min(self, eta_min: f64) -> Self {
        CosineAnnealingWarmRestarts { eta_min, ..self }
    }
}

impl Rule for CosineAnnealingWarmRestarts {
    fn tick(&mut self, kind: Move) {
        if kind != Move::Next {
            (self.t_i, self.t_cur) = (self.t_0, 0);
            return;
        }
        self.t_cur = self.t_cur.saturating_add(1);
        if self.t_cur >= self.t_i {
            (self.t_i, self.t_cur) = (self.t_i.saturating_mul(self.t_mult), 0);
        }
    }

    fn lr(&self, now: &Now) -> f64 {
        let height = 1.0 + (PI * self.t_cur as f64 / self.t_i as f64).cos();
        self.eta_min + (now.base_lr - self.eta_min) * height / 2.0
    }

    fn state(&self) -> Value {
        json!({"t_i": self.t_i, "t_cur": self.t_cur})
    }

    fn load_state(&mut self, state: &Value) -> serde_json::Result<()> {
        #[derive(Deserialize)]
        struct Period {
            t_i: u64,
            t_cur: u64,
        }
        let Period { t_i, t_cur } = Period::deserialize(state)?;
        (self.t_i, self.t_cur) = (t_i, t_cur);
        Ok(())
    }
}
