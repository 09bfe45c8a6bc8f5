//! Learning-rate schedulers: `torch.optim.lr_scheduler`, with the same recurrences.
//!
//! A schedule is described first and then attached to an optimizer, whose learning rates it sets at
//! once. Its `step` comes after the optimizer's:
//!
//! ```no_run
//! # use kiln_tensor_core::{Backend, Tensor};
//! use kiln_optim::{SGD, lr_scheduler::{CosineAnnealingLR, LinearLR, Schedule, SequentialLR}};
//! # fn f<B: Backend>(parameters: Vec<Tensor<B>>, train: impl Fn(&mut SGD<B>)) {
//! let mut sgd = SGD::new(parameters).lr(0.1);
//! let mut scheduler = SequentialLR::new(LinearLR::new().start_factor(0.1).total_iters(5))
//!     .then(5, CosineAnnealingLR::new(95))
//!     .attach(&mut sgd);
//! for epoch in 0..100 {
//!     train(&mut sgd);
//!     scheduler.step(&mut sgd);
//! }
//! # }
//! ```
//!
//! Each schedule but the composed ones is a [`Rule`]: the next learning rate of one group, from the
//! present one. Rates follow PyTorch's chainable form, so several schedulers may act on one optimizer.

mod compose;
mod cosine;
mod cyclic;
mod decay;
mod factor;
mod lambda;
mod one_cycle;
mod plateau;
mod swa;

use std::fmt::Debug;

use kiln_tensor_core::{Backend, Error, Result, raise};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use compose::{ChainedScheduler, SequentialLR};
pub use cosine::{CosineAnnealingLR, CosineAnnealingWarmRestarts};
pub use cyclic::{CyclicLR, CyclicMode, ScaleMode};
pub use decay::{ExponentialLR, MultiStepLR, StepLR};
pub use factor::{ConstantLR, LinearLR, PolynomialLR};
pub use lambda::{LambdaLR, MultiplicativeLR};
pub use one_cycle::{AnnealStrategy, OneCycleLR};
pub use plateau::{Mode, ReduceLROnPlateau, ThresholdMode};
pub use swa::SWALR;

use crate::{Algorithm, Optimizer};

/// What schedulers change of a group.
#[derive(Debug)]
pub struct Setting<'a> {
    /// The learning rate.
    pub lr: &'a mut f64,
    /// The momentum, or the first beta, if the optimizer has one.
    pub momentum: Option<&'a mut f64>,
    /// The learning rate that schedulers start from, once one has been attached.
    pub initial_lr: &'a mut Option<f64>,
}

/// An optimizer as schedulers see it.
pub trait Schedulable {
    /// The settings of all groups. Whoever changes one calls `settled` then.
    fn settings(&mut self) -> Vec<Setting<'_>>;

    /// Lets steps that were captured see what has been changed.
    fn settled(&mut self) {}
}

impl<B: Backend, A: Algorithm> Schedulable for Optimizer<B, A> {
    fn settings(&mut self) -> Vec<Setting<'_>> {
        let settings = self.groups.iter_mut().map(|group| {
            let (lr, momentum) = group.options.now().tuned();
            Setting { lr, momentum, initial_lr: &mut group.initial_lr }
        });
        settings.collect()
    }

    fn settled(&mut self) {
        self.groups.iter().for_each(|group| group.options.tell());
    }
}

/// How far a scheduler is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    /// The number of steps since the start.
    pub last_epoch: u64,
    /// The learning rates that the schedule starts from.
    pub base_lrs: Vec<f64>,
    /// The learning rates that were set last.
    pub last_lr: Vec<f64>,
}

/// Which kind of step it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// The one that attaches the schedule.
    Start,
    /// To the next epoch.
    Next,
    /// Back to epoch 0, where a sequence switches to this schedule.
    Restart,
}

/// What the learning rate of one group depends on.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The number of steps since the start, this one included.
    pub epoch: u64,
    /// Whether this is the step that attaches the schedule.
    pub start: bool,
    /// The group's number.
    pub group: usize,
    /// The learning rate that the schedule started from.
    pub base_lr: f64,
    /// The present learning rate.
    pub lr: f64,
}

/// How learning rates follow from each other: what a schedule is.
pub trait Rule: Debug + Send + Sync {
    /// Checks itself against the groups and sets what it starts from.
    fn begin(&mut self, groups: &mut [Setting<'_>]) {
        let _ = groups;
    }

    /// Counts a step, for rules that keep more than the epoch.
    fn tick(&mut self, kind: Move) {
        let _ = kind;
    }

    /// The next learning rate of a group.
    fn lr(&self, now: &Now) -> f64;

    /// The learning rate of a group as a function of the epoch alone, where the rule has that form.
    fn closed_form(&self, now: &Now) -> Option<f64> {
        let _ = now;
        None
    }

    /// The next momentum (or first beta) of a group, for rules that change it.
    fn momentum(&self, now: &Now) -> Option<f64> {
        let _ = now;
        None
    }

    /// What the rule keeps from step to step, as JSON; null for most.
    fn state(&self) -> Value {
        Value::Null
    }

    /// Takes over what `state` has given.
    ///
    /// # Errors
    /// If it is not the state of such a rule.
    fn load_state(&mut self, state: &Value) -> serde_json::Result<()> {
        let _ = state;
        Ok(())
    }
}

/// Something that can be attached to an optimizer: a [`Rule`] or a composition of rules.
pub trait Schedule: Debug + Send + Sync {
    /// Sets the learning rates to begin with.
    fn start(&mut self, clock: &mut Clock, optimizer: &mut dyn Schedulable);

    /// Sets the learning rates of the next step.
    fn advance(&mut self, clock: &mut Clock, optimizer: &mut dyn Schedulable);

    /// The schedule's own part of a scheduler's state.
    fn save(&self) -> Value;

    /// Takes over what `save` has given.
    ///
    /// # Errors
    /// If it is not the state of such a schedule.
    fn load(&mut self, state: &Value) -> Result<()>;

    /// Sets the optimizer's learning rates to where the schedule starts.
    ///
    /// # Panics
    /// If the schedule has options per group and their number is not that of the groups, or it changes
    /// the momentum of an optimizer that has none.
    #[track_caller]
    fn attach(mut self, optimizer: &mut dyn Schedulable) -> Scheduler<Self>
    where
        Self: Sized,
    {
        let mut clock = Clock::default();
        self.start(&mut clock, optimizer);
        optimizer.settled();
        Scheduler { clock, schedule: self }
    }
}

impl<R: Rule> Schedule for R {
    #[track_caller]
    fn start(&mut self, clock: &mut Clock, optimizer: &mut dyn Schedulable) {
        start(self, clock, optimizer);
    }

    #[track_caller]
    fn advance(&mut self, clock: &mut Clock, optimizer: &mut dyn Schedulable) {
        set(self, clock, optimizer, Move::Next);
    }

    fn save(&self) -> Value {
        self.state()
    }

    fn load(&mut self, state: &Value) -> Result<()> {
        self.load_state(state).map_err(|error| wrong(error.to_string()))
    }
}

/// Attaches a rule.
#[track_caller]
fn start(rule: &mut dyn Rule, clock: &mut Clock, optimizer: &mut dyn Schedulable) {
    let mut groups = optimizer.settings();
    rule.begin(&mut groups);
    clock.base_lrs = groups.iter_mut().map(|g| *g.initial_lr.get_or_insert(*g.lr)).collect();
    set(rule, clock, optimizer, Move::Start);
}

/// One step of a rule.
#[track_caller]
fn set(rule: &mut dyn Rule, clock: &mut Clock, optimizer: &mut dyn Schedulable, kind: Move) {
    clock.last_epoch = if kind == Move::Next { clock.last_epoch.saturating_add(1) } else { 0 };
    rule.tick(kind);
    let mut groups = optimizer.settings();
    if groups.len() != clock.base_lrs.len() {
        let (now, then) = (groups.len(), clock.base_lrs.len());
        let why = format!("the optimizer has {now} groups; it had {then} when this was attached");
        raise(Error::Argument { op: "Scheduler::step", why });
    }
    for (group, (setting, &base_lr)) in groups.iter_mut().zip(&clock.base_lrs).enumerate() {
        let start = kind == Move::Start;
        let now = Now { epoch: clock.last_epoch, start, group, base_lr, lr: *setting.lr };
        let closed = if kind == Move::Restart { rule.closed_form(&now) } else { None };
        *setting.lr = closed.unwrap_or_else(|| rule.lr(&now));
        if let (Some(to), Some(momentum)) = (rule.momentum(&now), &mut setting.momentum) {
            **momentum = to;
        }
    }
    clock.last_lr = groups.iter().map(|setting| *setting.lr).collect();
}

/// A schedule that is attached to an optimizer; made by [`Schedule::attach`].
#[derive(Clone, Debug)]
pub struct Scheduler<S> {
    clock: Clock,
    schedule: S,
}

impl<S: Schedule> Scheduler<S> {
    /// Sets the learning rates for the next epoch (or batch: whatever the schedule counts).
    ///
    /// # Panics
    /// If the optimizer has got another number of groups, or a schedule of limited length is at its end.
    #[track_caller]
    pub fn step(&mut self, optimizer: &mut dyn Schedulable) {
        self.schedule.advance(&mut self.clock, optimizer);
        optimizer.settled();
    }

    /// The learning rates that were set last, one per group.
    pub fn get_last_lr(&self) -> &[f64] {
        &self.clock.last_lr
    }

    /// The number of steps since the start.
    pub fn last_epoch(&self) -> u64 {
        self.clock.last_epoch
    }

    /// How far the scheduler is, as JSON. Options are not part of it: they are the program's.
    pub fn state_dict(&self) -> Value {
        json!({"clock": self.clock, "schedule": self.schedule.save()})
    }

    /// Takes over what [`Scheduler::state_dict`] has given. The learning rates themselves are in the
    /// optimizer's state.
    ///
    /// # Errors
    /// [`Error::StateDict`] if it is not the state of such a schedule with as many groups. Nothing has
    /// been changed then, unless the schedule is a composition.
    pub fn load_state_dict(&mut self, state: &Value) -> Result<()> {
        let clock = clock(&state["clock"], self.clock.base_lrs.len())?;
        self.schedule.load(&state["schedule"])?;
        self.clock = clock;
        Ok(())
    }
}

fn clock(state: &Value, groups: usize) -> Result<Clock> {
    let clock = Clock::deserialize(state).map_err(|error| wrong(error.to_string()))?;
    if clock.base_lrs.len() != groups || clock.last_lr.len() != groups {
        let found = clock.base_lrs.len();
        return Err(wrong(format!("a scheduler of {found} groups, not of {groups}")));
    }
    Ok(clock)
}

fn wrong(why: String) -> Error {
    Error::StateDict { why: format!("scheduler: {why}") }
}

/// One number for all groups, or one for each.
#[derive(Clone, Debug, PartialEq)]
pub enum PerGroup {
    /// The same for all.
    All(f64),
    /// One for each, in their order.
    Each(Vec<f64>),
}

impl PerGroup {
    fn get(&self, group: usize) -> f64 {
        match self {
            PerGroup::All(value) => *value,
            PerGroup::Each(values) => values[group],
        }
    }

    #[track_caller]
    fn check(&self, op: &'static str, what: &str, groups: usize) {
        if let PerGroup::Each(values) = self
            && values.len() != groups
        {
            let why = format!("{} values of {what} for {groups} groups", values.len());
            raise(Error::Argument { op, why });
        }
    }
}

impl From<f64> for PerGroup {
    fn from(value: f64) -> Self {
        PerGroup::All(value)
    }
}

impl<const N: usize> From<[f64; N]> for PerGroup {
    fn from(values: [f64; N]) -> Self {
        PerGroup::Each(values.into())
    }
}

impl From<Vec<f64>> for PerGroup {
    fn from(values: Vec<f64>) -> Self {
        PerGroup::Each(values)
    }
}

/// Requires an argument to be in its domain.
#[track_caller]
fn require(op: &'static str, holds: bool, condition: &str) {
    if !holds {
        raise(Error::Argument { op, why: format!("the condition is {condition}") });
    }
}
