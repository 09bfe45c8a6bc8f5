//! Whether results may differ from run to run where that is faster.

use std::sync::atomic::{AtomicBool, Ordering};

static DETERMINISTIC: AtomicBool = AtomicBool::new(true);

/// Whether ops take only algorithms that give the same bits on every run. They do, until somebody turns it off, for
/// the whole program; in PyTorch it is the other way round.
///
/// Where it is off, backends for GPUs add by atomic operations, in any order, in `index_add` and in `scatter_add` of
/// one dim, for `f32`, `i32` and narrow dtypes: the gradient of `Embedding` and of indexing. Nothing else differs.
///
/// ```
/// use kiln_tensor_core::{are_deterministic_algorithms_enabled, use_deterministic_algorithms};
/// assert!(are_deterministic_algorithms_enabled());
/// use_deterministic_algorithms(true);
/// ```
pub fn use_deterministic_algorithms(on: bool) {
    DETERMINISTIC.store(on, Ordering::Relaxed);
}

/// What [`use_deterministic_algorithms`] has been set to.
pub fn are_deterministic_algorithms_enabled() -> bool {
    DETERMINISTIC.load(Ordering::Relaxed)
}
