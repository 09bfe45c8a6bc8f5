//! How work is spread over threads.
//!
//! Work is cut into chunks by its shape alone, and a chunk's result does not depend on who computes
//! it, so results are the same for any number of threads.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use kiln_tensor_core::{Error, raise};

use crate::kernels::workers;
pub(crate) use crate::kernels::workers::parallel_pieces;

static THREADS: OnceLock<AtomicUsize> = OnceLock::new();

/// The number of threads that operations use, the caller's included. Before [`set_num_threads`] it
/// is that of the environment variable `KILN_NUM_THREADS`, or of the machine's cores.
///
/// # Panics
/// If `KILN_NUM_THREADS` is not a positive number.
pub fn num_threads() -> usize {
    threads().load(Relaxed)
}

/// Sets the number of threads that operations use from now on; 0 counts as 1.
pub fn set_num_threads(count: usize) {
    threads().store(count.max(1), Relaxed);
}

fn threads() -> &'static AtomicUsize {
    THREADS.get_or_init(|| {
        AtomicUsize::new(match std::env::var("KILN_NUM_THREADS") {
            Ok(text) => text.trim().parse().ok().filter(|&n| n > 0).unwrap_or_else(|| {
                raise(Error::Argument {
                    op: "KILN_NUM_THREADS",
                    why: format!("{text:?} is not a positive number"),
                })
            }),
            Err(_) => std::thread::available_parallelism().map_or(1, usize::from),
        })
    })
}

/// Calls `f(0)`, …, `f(chunks - 1)`, each once, in any order and on any thread, and waits for them.
/// A chunk is worth handing over from about 10 µs of work on. Inside another `parallel_for`, or while
/// all threads serve another caller, the chunks run on the caller's thread.
pub(crate) fn parallel_for(chunks: usize, f: impl Fn(usize) + Sync) {
    let threads = if chunks > 1 { num_threads() } else { 1 };
    if threads == 1 || !workers::run(chunks, threads, &f) {
        (0..chunks).for_each(f);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chunk_runs_once() {
        for chunks in [0, 1, 2, 7, 1000] {
            let mut counts = vec![0u8; chunks];
            parallel_pieces(&mut counts, 1, |_, piece| piece[0] += 1);
            assert!(counts.iter().all(|&c| c == 1));
        }
    }

    #[test]
    fn nested_and_concurrent_calls_finish() {
        let total = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        parallel_for(5, |_| {
                            parallel_for(3, |i| {
                                total.fetch_add(i, Relaxed);
                            });
                        });
                    }
                });
            }
        });
        assert_eq!(total.into_inner(), 4 * 50 * 5 * 3);
    }

    #[test]
    fn a_typed_error_reaches_the_caller() {
        let error = || Error::Argument { op: "test", why: "chunk 3".into() };
        let caught = kiln_tensor_core::catch(|| {
            parallel_for(64, |i| {
                if i == 3 {
                    raise(error());
                }
            });
        });
        assert_eq!(caught.unwrap_err().to_string(), error().to_string());
        every_chunk_runs_once();
    }
}
