//! Threads that make batches ahead of time and hand them over in order.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use kiln_tensor_core::{Error, Result, catch, raise};
use parking_lot::{Condvar, Mutex};

use crate::epoch::Batches;

/// What became of a batch.
enum Outcome<T> {
    /// It was made, or an item could not be read.
    Made(Result<T>),
    /// A mistake in the program was reported.
    Raised(Error),
    /// Something panicked.
    Panicked(Box<dyn Any + Send>),
}

struct State<T> {
    /// The batches that nobody has begun.
    todo: Range<usize>,
    /// The first batch that has not been handed over.
    first: usize,
    /// What became of batches `first ..`; never longer than the window.
    ready: VecDeque<Option<Outcome<T>>>,
    stop: bool,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// No batch further than this from the first one that is wanted is begun.
    window: usize,
    room: Condvar,
    made: Condvar,
}

pub(crate) struct Workers<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Workers<T> {
    #[track_caller]
    pub(crate) fn start(
        batches: Batches<T>,
        range: Range<usize>,
        threads: usize,
        prefetch: usize,
    ) -> Self {
        let first = range.start;
        let state = State { todo: range, first, ready: VecDeque::new(), stop: false };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            window: threads.saturating_mul(prefetch),
            room: Condvar::new(),
            made: Condvar::new(),
        });
        let mut workers = Workers { shared, threads: Vec::new() };
        for _ in 0..threads {
            let (shared, batches) = (workers.shared.clone(), batches.clone());
            let thread = Builder::new().name("kiln-data".into());
            match thread.spawn(move || shared.work(&batches)) {
                Ok(thread) => workers.threads.push(thread),
                Err(error) => raise(Error::Backend {
                    device: "data loader".into(),
                    why: format!("no worker thread could be started: {error}"),
                }),
            }
        }
        workers
    }

    /// The next batch in order, once it is made. It must not be called more often than there are batches.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Result<T> {
        let outcome = self.shared.take();
        match outcome {
            Outcome::Made(batch) => batch,
            Outcome::Raised(error) => raise(error),
            Outcome::Panicked(payload) => resume_unwind(payload),
        }
    }
}

impl<T> Shared<T> {
    fn take(&self) -> Outcome<T> {
        let mut state = self.state.lock();
        loop {
            if let Some(Some(_)) = state.ready.front() {
                state.first += 1;
                self.room.notify_all();
                if let Some(Some(outcome)) = state.ready.pop_front() {
                    return outcome;
                }
            }
            self.made.wait(&mut state);
        }
    }

    fn work(&self, batches: &Batches<T>) {
        while let Some(at) = self.claim() {
            // User code runs without the lock: its panic reaches the consumer and poisons nothing.
            let made = catch_unwind(AssertUnwindSafe(|| catch(|| batches(at))));
            let outcome = match made {
                Ok(Ok(batch)) => Outcome::Made(batch),
                Ok(Err(error)) => Outcome::Raised(error),
                Err(payload) => Outcome::Panicked(payload),
            };
            self.deliver(at, outcome);
        }
    }

    /// The next batch to make, once there is room for it; none when all are begun or nobody wants them.
    fn claim(&self) -> Option<usize> {
        let mut state = self.state.lock();
        loop {
            if state.stop || state.todo.is_empty() {
                return None;
            }
            if state.todo.start < state.first + self.window {
                return state.todo.next();
            }
            self.room.wait(&mut state);
        }
    }

    fn deliver(&self, at: usize, outcome: Outcome<T>) {
        let mut state = self.state.lock();
        let place = at - state.first;
        if state.ready.len() <= place {
            state.ready.resize_with(place + 1, || None);
        }
        state.ready[place] = Some(outcome);
        self.made.notify_one();
    }
}

/// Stops the threads and waits until each has finished the batch in its hands.
impl<T> Drop for Workers<T> {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.room.notify_all();
        for thread in self.threads.drain(..) {
            // A worker catches every panic of the code that it runs.
            let _ = thread.join();
        }
    }
}
