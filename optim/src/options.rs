//! The options of a group, which captured steps follow: a replay takes those of now.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use kiln_tensor_core::graph::Params;
use kiln_tensor_core::{Error, Result};
use parking_lot::Mutex;

use crate::algorithm::{Algorithm, Elementwise, Numbers, Past};

/// Options, with a copy for captured steps once there are some.
#[derive(Debug)]
pub(crate) struct Options<A> {
    now: A,
    told: Option<Arc<Mutex<Told<A>>>>,
}

/// What captured steps know of a group.
#[derive(Debug)]
pub(crate) struct Told<A> {
    options: A,
    /// The group has got other state than the step writes to.
    replaced: bool,
}

impl<A: Algorithm> Options<A> {
    pub(crate) fn new(now: A) -> Self {
        Options { now, told: None }
    }

    /// To be changed; a captured step sees it when `tell` is called.
    pub(crate) fn now(&mut self) -> &mut A {
        &mut self.now
    }

    pub(crate) fn change(&mut self, change: impl FnOnce(&mut A)) {
        change(&mut self.now);
        self.tell();
    }

    /// Lets captured steps see the options.
    pub(crate) fn tell(&self) {
        if let Some(told) = &self.told {
            told.lock().options = self.now.clone();
        }
    }

    /// The copy for captured steps.
    pub(crate) fn told(&mut self) -> Arc<Mutex<Told<A>>> {
        let new = || Arc::new(Mutex::new(Told { options: self.now.clone(), replaced: false }));
        self.told.get_or_insert_with(new).clone()
    }

    /// Takes other options; steps that were captured before cannot be replayed any more.
    pub(crate) fn replace(&mut self, now: A) {
        self.now = now;
        if let Some(told) = self.told.take() {
            told.lock().replaced = true;
        }
    }
}

impl<A> Deref for Options<A> {
    type Target = A;

    fn deref(&self) -> &A {
        &self.now
    }
}

impl<A: Elementwise> Told<A> {
    /// Counts another update of parameters that have had as many, and gives its numbers; `flags` are those that
    /// the program was written for.
    pub(crate) fn again(&self, flags: A::Flags, counts: &[Arc<Mutex<Count>>]) -> Result<Params> {
        let why = if self.replaced {
            Some("the optimizer has loaded another state".to_owned())
        } else if self.options.flags() != flags {
            Some(
                "an option was changed that shapes the update (one that was zero or off)"
                    .to_owned(),
            )
        } else {
            self.options.conflict()
        };
        if let Some(why) = why {
            let why = format!("{why} since the step was captured; capture it again");
            return Err(Error::Capture { op: A::NAME, why });
        }
        let mut numbers = Numbers::new();
        for count in counts {
            numbers = self.options.numbers(&mut count.lock().next(false));
        }
        Ok(numbers.into_iter().map(Into::into).collect())
    }
}

/// How many updates a parameter has had, and the number that its algorithm carries from one to the next.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Count {
    pub(crate) step: u64,
    pub(crate) kept: f64,
}

impl Count {
    /// Counts an update.
    pub(crate) fn next(&mut self, fresh: bool) -> Past<'_> {
        // A file may have said that it was the last that can be counted.
        self.step = self.step.saturating_add(1);
        Past { step: self.step, fresh, kept: &mut self.kept }
    }
}

/// The options of a group, to be changed; captured steps take them from when this is dropped.
#[derive(Debug)]
pub struct OptionsMut<'a, A: Algorithm>(pub(crate) &'a mut Options<A>);

impl<A: Algorithm> Deref for OptionsMut<'_, A> {
    type Target = A;

    fn deref(&self) -> &A {
        self.0
    }
}

impl<A: Algorithm> DerefMut for OptionsMut<'_, A> {
    fn deref_mut(&mut self) -> &mut A {
        self.0.now()
    }
}

impl<A: Algorithm> Drop for OptionsMut<'_, A> {
    fn drop(&mut self) {
        self.0.tell();
    }
}
