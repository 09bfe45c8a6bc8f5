//! Worker threads that wait briefly in a loop before they sleep: a kernel of 50 µs cannot afford the
//! 5 to 50 µs that waking a thread takes.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Thread};

use kiln_tensor_core::{Error, catch, raise};
use parking_lot::{Condvar, Mutex};

use crate::threads::parallel_for;

/// How many times an idle thread looks for work before it sleeps: some 20 µs.
const SPINS: u32 = 1000;

/// What runs a chunk, given its number.
type Chunk<'a> = dyn Fn(usize) + Sync + 'a;

struct Job {
    f: *const Chunk<'static>,
    chunks: usize,
    /// The next chunk to be claimed.
    next: AtomicUsize,
    /// Chunks that are not finished.
    left: AtomicUsize,
    /// Workers that may still join.
    seats: AtomicIsize,
    failure: Mutex<Option<Failure>>,
    caller: Thread,
}

enum Failure {
    Typed(Error),
    Other(Box<dyn Any + Send>),
}

// SAFETY: `f` is `Sync`, and it is only called while the caller of `run` waits (see `work`).
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

struct Pool {
    posted: Mutex<Posted>,
    wake: Condvar,
    /// Changes with every job.
    epoch: AtomicU64,
    /// Whether a caller uses the workers.
    taken: AtomicBool,
}

struct Posted {
    job: Option<Arc<Job>>,
    workers: usize,
    sleeping: usize,
}

static POOL: Pool = Pool {
    posted: Mutex::new(Posted { job: None, workers: 0, sleeping: 0 }),
    wake: Condvar::new(),
    epoch: AtomicU64::new(0),
    taken: AtomicBool::new(false),
};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs all chunks on `threads` threads, the caller's included. `false`, and nothing done, if the
/// workers are busy or this is one of them.
pub(crate) fn run(chunks: usize, threads: usize, f: &(dyn Fn(usize) + Sync)) -> bool {
    if INSIDE.get() || POOL.taken.swap(true, Ordering::Acquire) {
        return false;
    }
    let job = Arc::new(Job {
        // SAFETY: only the lifetime changes. `f` is called for claimed chunks alone, all of which are
        // finished when this function returns.
        f: unsafe { std::mem::transmute::<*const Chunk<'_>, *const Chunk<'static>>(f) },
        chunks,
        next: AtomicUsize::new(0),
        left: AtomicUsize::new(chunks),
        seats: AtomicIsize::new(threads.min(chunks) as isize - 1),
        failure: Mutex::new(None),
        caller: thread::current(),
    });
    post(job.clone(), threads - 1);
    INSIDE.set(true);
    job.work();
    INSIDE.set(false);
    job.wait();
    POOL.taken.store(false, Ordering::Release);
    match job.failure.lock().take() {
        None => true,
        Some(Failure::Typed(error)) => raise(error),
        Some(Failure::Other(payload)) => resume_unwind(payload),
    }
}

fn post(job: Arc<Job>, workers: usize) {
    let mut posted = POOL.posted.lock();
    posted.job = Some(job);
    POOL.epoch.fetch_add(1, Ordering::Release);
    while posted.workers < workers {
        let name = format!("kiln-{}", posted.workers + 1);
        // A system that gives no more threads leaves the work to those that exist.
        if thread::Builder::new().name(name).spawn(worker).is_err() {
            break;
        }
        posted.workers += 1;
    }
    if posted.sleeping > 0 {
        POOL.wake.notify_all();
    }
}

fn worker() {
    INSIDE.set(true);
    let mut seen = 0;
    loop {
        let job = next_job(&mut seen);
        if let Some(job) = job.filter(|job| job.seats.fetch_sub(1, Ordering::Relaxed) > 0) {
            job.work();
        }
    }
}

/// Waits for a job other than the one of epoch `seen`.
fn next_job(seen: &mut u64) -> Option<Arc<Job>> {
    for _ in 0..SPINS {
        if POOL.epoch.load(Ordering::Acquire) != *seen {
            break;
        }
        std::hint::spin_loop();
    }
    let mut posted = POOL.posted.lock();
    while POOL.epoch.load(Ordering::Acquire) == *seen {
        posted.sleeping += 1;
        POOL.wake.wait(&mut posted);
        posted.sleeping -= 1;
    }
    *seen = POOL.epoch.load(Ordering::Acquire);
    posted.job.clone()
}

impl Job {
    /// Claims chunks and runs them until none is left.
    fn work(&self) {
        loop {
            let i = self.next.fetch_add(1, Ordering::Relaxed);
            if i >= self.chunks {
                return;
            }
            // SAFETY: chunk `i` is claimed and not finished, so `run` has not returned and what it
            // borrowed is alive.
            let f = unsafe { &*self.f };
            // A typed error must reach the caller's `catch`, which knows nothing of this thread.
            let failure = match catch_unwind(AssertUnwindSafe(|| catch(|| f(i)))) {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(Failure::Typed(error)),
                Err(payload) => Some(Failure::Other(payload)),
            };
            if failure.is_some() {
                *self.failure.lock() = failure;
            }
            if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
                self.caller.unpark();
            }
        }
    }

    /// Waits until all chunks are finished.
    fn wait(&self) {
        for _ in 0..SPINS {
            if self.left.load(Ordering::Acquire) == 0 {
                return;
            }
            std::hint::spin_loop();
        }
        while self.left.load(Ordering::Acquire) != 0 {
            thread::park();
        }
    }
}

/// Cuts `data` into pieces of `len` elements (the last may be shorter) and calls `f(i, piece)` for
/// each, as `parallel_for` does.
pub(crate) fn parallel_pieces<T: Send>(
    data: &mut [T],
    len: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let (len, total) = (len.max(1), data.len());
    let base = Shared(data.as_mut_ptr());
    parallel_for(total.div_ceil(len), |i| {
        let count = len.min(total - i * len);
        // SAFETY: the ranges lie inside the borrowed slice and do not overlap, and each `i` comes
        // once.
        f(i, unsafe { std::slice::from_raw_parts_mut(base.at(i * len), count) });
    });
}

/// A pointer that chunks of one job use, each its own elements.
pub(crate) struct Shared<T>(pub(crate) *mut T);

// SAFETY: whoever dereferences the pointer keeps the chunks apart.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    /// Where element `i` lies.
    pub(crate) fn at(&self, i: usize) -> *mut T {
        self.0.wrapping_add(i)
    }
}
