//! What the host decides anew for each replay of a captured step.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::{Result, Scalar};

/// The values of a program's parameters.
pub type Params = SmallVec<[Scalar; 8]>;

thread_local! {
    /// The number of the capture that this thread is in; 0 for none.
    static CAPTURE: Cell<u64> = const { Cell::new(0) };
    /// Those of that capture, in the order in which they were made.
    static MADE: RefCell<Vec<Live>> = const { RefCell::new(Vec::new()) };
}

/// Whether this thread captures a step.
#[inline]
pub fn is_capturing() -> bool {
    CAPTURE.get() != 0
}

/// Parameters of kernels that are worked out again for each replay of the step that they are part of: a draw of
/// random numbers, the numbers of an optimizer's update. A [`Kernel`](crate::Kernel) carries it beside the
/// values of this time, and autograd keeps it with them, so that backward sees what forward saw.
#[derive(Clone)]
pub struct Live(Arc<Source>);

struct Source {
    capture: u64,
    number: usize,
    again: Box<dyn Fn() -> Result<Params> + Send + Sync>,
    replayed: AtomicBool,
}

impl Live {
    /// If this thread captures a step: has the function that `make` gives called once in each replay, for the
    /// parameters of the kernels that carry this. All of them are called in the order in which they were made,
    /// before anything runs. Else nothing, at the cost of a look.
    #[inline]
    pub fn captured<F>(make: impl FnOnce() -> F) -> Option<Live>
    where
        F: Fn() -> Result<Params> + Send + Sync + 'static,
    {
        if is_capturing() { Some(Self::new(Box::new(make()))) } else { None }
    }

    #[cold]
    fn new(again: Box<dyn Fn() -> Result<Params> + Send + Sync>) -> Live {
        MADE.with_borrow_mut(|made| {
            let (capture, number) = (CAPTURE.get(), made.len());
            let source = Source { capture, number, again, replayed: AtomicBool::new(false) };
            made.push(Live(Arc::new(source)));
            made[number].clone()
        })
    }

    /// Its place among those of the capture that this thread is in; nothing if it is of another one.
    pub fn number(&self) -> Option<usize> {
        (self.0.capture == CAPTURE.get()).then_some(self.0.number)
    }

    /// Whether a replay has had other parameters since: whoever kept the first ones has old ones.
    pub fn is_past(&self) -> bool {
        self.0.replayed.load(Ordering::Relaxed)
    }

    /// The parameters of the next replay.
    pub(super) fn again(&self) -> Result<Params> {
        self.0.replayed.store(true, Ordering::Relaxed);
        (self.0.again)()
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({} of capture {})", self.0.number, self.0.capture)
    }
}

/// This thread captures a step until it is dropped.
pub(super) struct Capturing(());

impl Capturing {
    /// Nothing if the thread captures one already.
    pub(super) fn begin() -> Option<Self> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        if is_capturing() {
            return None;
        }
        CAPTURE.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        Some(Capturing(()))
    }

    /// What is to be worked out for each replay.
    pub(super) fn end(self) -> Vec<Live> {
        MADE.take()
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        CAPTURE.set(0);
        drop(MADE.take());
    }
}
