//! Run-time switches: whether operations are recorded on this thread.

use std::cell::Cell;

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
}

/// Whether operations on tensors that require gradients are recorded on this thread.
pub fn is_grad_enabled() -> bool {
    ENABLED.get()
}

/// Runs `f` without recording.
///
/// ```
/// use kiln_autograd::{is_grad_enabled, no_grad};
/// assert!(!no_grad(is_grad_enabled));
/// assert!(is_grad_enabled());
/// ```
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    let _mode = set_grad_enabled(false);
    f()
}

/// Runs `f` with recording, also inside [`no_grad`].
pub fn enable_grad<T>(f: impl FnOnce() -> T) -> T {
    let _mode = set_grad_enabled(true);
    f()
}

/// Switches recording on or off on this thread until the guard is dropped.
///
/// ```
/// use kiln_autograd::{is_grad_enabled, set_grad_enabled};
/// {
///     let _mode = set_grad_enabled(false);
///     assert!(!is_grad_enabled());
/// }
/// assert!(is_grad_enabled());
/// ```
pub fn set_grad_enabled(on: bool) -> GradMode {
    GradMode { previous: ENABLED.replace(on) }
}

/// Puts recording back as it was when dropped.
#[derive(Debug)]
#[must_use = "recording goes back to what it was when this is dropped"]
pub struct GradMode {
    previous: bool,
}

impl Drop for GradMode {
    fn drop(&mut self) {
        ENABLED.set(self.previous);
    }
}
