//! Schedules made of schedules.

use kiln_tensor_core::Result;
use serde_json::{Value, json};

use super::{Clock, Move, Rule, Schedulable, Schedule, clock, require, set, start, wrong};

/// One schedule after the other, each from epoch 0 when its turn comes.
#[derive(Debug)]
pub struct SequentialLR {
    parts: Vec<(Clock, Box<dyn Rule>)>,
    /// The epochs at which the parts after the first begin.
    milestones: Vec<u64>,
}

impl SequentialLR {
    /// Begins with this schedule.
    pub fn new(first: impl Rule + 'static) -> Self {
        SequentialLR { parts: vec![(Clock::default(), Box::new(first))], milestones: Vec::new() }
    }

    /// Goes on with this schedule from epoch `milestone` on.
    ///
    /// # Panics
    /// If the milestone is not after the one before.
    #[must_use]
    #[track_caller]
    pub fn then(mut self, milestone: u64, next: impl Rule + 'static) -> Self {
        let last = self.milestones.last().copied().unwrap_or(0);
        require("SequentialLR", milestone > last, "each milestone is after the one before");
        self.parts.push((Clock::default(), Box::new(next)));
        self.milestones.push(milestone);
        self
    }
}

impl Schedule for SequentialLR {
    #[track_caller]
    fn start(&mut self, clock: &mut Clock, optimizer: &mut dyn Schedulable) {
        // Every part starts, in order, so that each sees the settings that it would see alone; then the
        // first one starts once more, from the initial learning rates.
        self.parts.iter_mut().for_each(|(clock, rule)| start(&mut **rule, clock, optimizer));
        for setting in optimizer.settings() {
            *setting.lr = setting.initial_lr.unwrap_or(*setting.lr);
        }
        let (first, rule) = &mut self.parts[0];
        set(&mut **rule, first, optimizer, Move::Start);
        clock.clone_from(first);
    }

    #[track_caller]
    fn advance(&mut self, clock: &mut Clock, optimizer: &mut dyn Schedulable) {
        clock.last_epoch = clock.last_epoch.saturating_add(1);
        let index = self.milestones.partition_point(|&milestone| milestone <= clock.last_epoch);
        let begins = index > 0 && self.milestones[index - 1] == clock.last_epoch;
        let (part, rule) = &mut self.parts[index];
        let kind = if begins { Move::Restart } else { Move::Next };
        set(&mut **rule, part, optimizer, kind);
        clock.last_lr.clone_from(&part.last_lr);
    }

    fn save(&self) -> Value {
        let parts = self.parts.iter().map(|(clock, rule)| part(clock, rule.state()));
        json!({"milestones": self.milestones, "schedules": parts.collect::<Value>()})
    }

    fn load(&mut self, state: &Value) -> Result<()> {
        if state["milestones"] != json!(self.milestones) {
            return Err(wrong(format!("its milestones are not {:?}", self.milestones)));
        }
        let states = parts(state, self.parts.len())?;
        for ((own, rule), state) in self.parts.iter_mut().zip(states) {
            let groups = own.base_lrs.len();
            rule.load_state(&state["schedule"]).map_err(|error| wrong(error.to_string()))?;
            *own = clock(&state["clock"], groups)?;
        }
        Ok(())
    }
}

/// Several schedules at once: each changes what the one before has set.
#[derive(Debug)]
pub struct ChainedScheduler {
    links: Vec<(Clock, Box<dyn Schedule>)>,
}

impl ChainedScheduler {
    /// Begins with this schedule.
    pub fn new(first: impl Schedule + 'static) -> Self {
        ChainedScheduler { links: vec![(Clock::default(), Box::new(first))] }
    }

    /// Applies this schedule after the others.
    #[must_use]
    pub fn and(mut self, next: impl Schedule + 'static) -> Self {
        self.links.push((Clock::default(), Box::new(next)));
        self
    }

    /// Runs `f` on each link; the last one tells what the learning rates are.
    fn each(&mut self, clock: &mut Clock, mut f: impl FnMut(&mut dyn Schedule, &mut Clock)) {
        self.links.iter_mut().for_each(|(clock, link)| f(&mut **link, clock));
        if let Some((last, _)) = self.links.last() {
            clock.clone_from(last);
        }
    }
}

impl Schedule for ChainedScheduler {
    #[track_caller]
    fn start(&mut self, clock: &mut Clock, optimizer: &mut dyn Schedulable) {
        self.each(clock, |link, clock| link.start(clock, optimizer));
    }

    #[track_caller]
    fn advance(&mut self, clock: &mut Clock, optimizer: &mut dyn Schedulable) {
        self.each(clock, |link, clock| link.advance(clock, optimizer));
    }

    fn save(&self) -> Value {
        let links = self.links.iter().map(|(clock, link)| part(clock, link.save()));
        json!({"schedules": links.collect::<Value>()})
    }

    fn load(&mut self, state: &Value) -> Result<()> {
        let states = parts(state, self.links.len())?;
        for ((own, link), state) in self.links.iter_mut().zip(states) {
            let groups = own.base_lrs.len();
            link.load(&state["schedule"])?;
            *own = clock(&state["clock"], groups)?;
        }
        Ok(())
    }
}

/// The state of one part.
fn part(clock: &Clock, state: Value) -> Value {
    json!({"clock": clock, "schedule": state})
}

/// The states of all parts.
fn parts(state: &Value, count: usize) -> Result<&Vec<Value>> {
    let parts = state["schedules"].as_array().filter(|parts| parts.len() == count);
    parts.ok_or_else(|| wrong(format!("it has not got the states of {count} schedules")))
}
