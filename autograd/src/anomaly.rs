//! Finding where a NaN in backward comes from: `torch.autograd.detect_anomaly`.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::path::{Component, Path};

use kiln_tensor_core::{Backend, Error, Tensor, raise};

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
}

/// Runs `f` and looks at every gradient that a backward inside of it makes: the first one with a NaN is an error that
/// names the operation and where in forward it was called. Forward belongs inside too. Slow: for finding mistakes.
///
/// Function names are in every build, files and lines where there is debug information, as in `dev` builds.
///
/// ```should_panic
/// use kiln_autograd::{Autograd, Backward, detect_anomaly};
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_tensor_core::Tensor;
///
/// let x = Tensor::<Autograd<Cpu>>::from_slice(&[0.0], [1], &CpuDevice).requires_grad_(true);
/// detect_anomaly(|| {
///     let y = x.sqrt() * 0.0; // the slope of the root is infinite here
///     y.backward();
/// });
/// ```
///
/// # Panics
/// With [`Error::Autograd`] at the first NaN; with what `f` raises.
pub fn detect_anomaly<T>(f: impl FnOnce() -> T) -> T {
    let _mode = set_detect_anomaly(true);
    f()
}

/// Switches the search on or off on this thread until the guard is dropped; see [`detect_anomaly`].
pub fn set_detect_anomaly(on: bool) -> AnomalyMode {
    AnomalyMode { previous: ON.replace(on) }
}

/// Whether this thread looks for NaN in gradients.
pub fn is_anomaly_enabled() -> bool {
    ON.get()
}

/// Puts the search back as it was when dropped.
#[derive(Debug)]
#[must_use = "the search goes back to what it was when this is dropped"]
pub struct AnomalyMode {
    previous: bool,
}

impl Drop for AnomalyMode {
    fn drop(&mut self) {
        ON.set(self.previous);
    }
}

/// Where an operation is called, while somebody looks.
#[inline]
pub(crate) fn called() -> Option<Box<Backtrace>> {
    if ON.get() { Some(Box::new(Backtrace::force_capture())) } else { None }
}

/// Looks at the gradients that an operation has given.
pub(crate) fn check<T: Backend>(
    name: impl FnOnce() -> String,
    called: Option<&Backtrace>,
    grads: &[Option<Tensor<T>>],
) {
    if !ON.get() {
        return;
    }
    let nan =
        |grad: &Tensor<T>| grad.dtype().is_float() && grad.detach().isnan().any().item() != 0.0;
    for (i, grad) in grads.iter().enumerate() {
        if grad.as_ref().is_some_and(nan) {
            let place = match called {
                Some(called) => format!("it was called here:\n{}", places(&format!("{called:#}"))),
                None => "run its forward inside of `detect_anomaly` too, to see where".into(),
            };
            raise(Error::Autograd {
                op: name(),
                why: format!("its gradient of input {i} has a NaN; {place}"),
            });
        }
    }
}

/// The callers outside of this library, a few of them, from a backtrace in its long form.
fn places(backtrace: &str) -> String {
    // The crates of this library lie side by side.
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"));
    // A frame is its number, address and function, then a line with its place where that is known.
    let mut frames: Vec<(&str, Option<&str>)> = Vec::new();
    for line in backtrace.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            frames.iter_mut().rev().take(1).for_each(|(_, at)| *at = Some(place));
        } else if let Some((_, function)) = line.split_once(" - ") {
            frames.push((function, None));
        }
    }
    let outside = |(function, place): &&(&str, Option<&str>)| {
        // `<core::…`, and `<core[1a2b]::…` where the compiler tells crates of one name apart.
        let name = function.trim_start_matches('<');
        let of_crate = name.split([':', '[']).next().unwrap_or_default();
        let of_rust = ["std", "core", "alloc"].contains(&of_crate) || name.starts_with("__rust");
        let of_library = |place: &str| {
            Path::new(place).strip_prefix(library).is_ok_and(|inside| {
                inside.components().nth(1) == Some(Component::Normal("src".as_ref()))
            })
        };
        // What was inlined has lost its crate's name, and what was not may have no place.
        let ours = place.map_or_else(|| of_crate.starts_with("kiln_"), of_library);
        !ours && !of_rust && !place.is_some_and(|place| place.starts_with("/rustc/"))
    };
    let lines = frames.iter().filter(outside).take(4).map(|(function, place)| match place {
        Some(place) => format!("  {place} in {function}"),
        None => format!("  in {function}"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::places;

    #[test]
    fn frames_of_the_library_are_left_out() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../").replace("/autograd/../", "/");
        let text = format!(
            "   0:     0x5f - std::backtrace::Backtrace::create
                               at /rustc/x/backtrace.rs:1:2
   1:     0x60 - map<kiln_backend_cpu::Cpu>
                               at {root}autograd/src/backend.rs:1:2
   2:     0x61 - kiln_tensor_core::ops::sqrt
   3:     0x62 - step<kiln_backend_cpu::Cpu>
                               at /of/user/train/src/main.rs:12:9
   4:     0x63 - train::main
   5:     0x64 - core::ops::function::FnOnce::call_once
   6:     0x65 - <alloc[1a2b]::boxed::Box<F> as core::ops::function::FnOnce>::call_once"
        );
        let want =
            "  /of/user/train/src/main.rs:12:9 in step<kiln_backend_cpu::Cpu>\n  in train::main";
        assert_eq!(places(&text), want);
    }
}
