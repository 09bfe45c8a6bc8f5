//! What goes wrong, typed: mistakes of the program panic at the caller's line with an [`Error`],
//! mistakes of the world come back as a [`Result`].

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe, Location};
use std::path::PathBuf;

use crate::{DType, Shape};

/// `Result` with Kiln's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that Kiln reports, with the op's name, its operands and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit together, or a shape that does not fit the op.
    #[error("{op}: {why} (shapes: {})", list(.shapes))]
    Shape {
        /// The op's name.
        op: &'static str,
        /// The operands' shapes.
        shapes: Vec<Shape>,
        /// What does not fit and what would.
        why: String,
    },
    /// A dtype that the op does not take.
    #[error("{op}: {why} (dtypes: {})", list(.dtypes))]
    DType {
        /// The op's name.
        op: &'static str,
        /// The operands' dtypes.
        dtypes: Vec<DType>,
        /// What does not fit and what would.
        why: String,
    },
    /// Operands that live on different devices.
    #[error(
        "{op}: operands are on different devices, {left} and {right}; move one first: `x.to(&device)`"
    )]
    Device {
        /// The op's name.
        op: &'static str,
        /// Where the first operand is.
        left: String,
        /// Where the other one is.
        right: String,
    },
    /// An index or a dimension outside its range.
    #[error("{op}: {what} {index} is out of range for size {size} (shape {shape}){}", place(*.called))]
    Index {
        /// The op's name.
        op: &'static str,
        /// What kind of index: `dim`, `index`, `class`, …
        what: &'static str,
        /// The offending value.
        index: i64,
        /// How many there are.
        size: usize,
        /// The shape that is indexed.
        shape: Shape,
        /// Where the op was called, if the error comes up later: at the next value that is read, from a
        /// device that nothing waits for before.
        called: Option<&'static Location<'static>>,
    },
    /// A misuse of differentiation: backward twice, of a non-scalar, a write to a saved tensor, …
    #[error("{op}: {why}")]
    Autograd {
        /// The op's name.
        op: String,
        /// What happened and what to do instead.
        why: String,
    },
    /// A misuse of captured steps: what cannot be replayed.
    #[error("{op}: {why}")]
    Capture {
        /// The op's name.
        op: &'static str,
        /// What happened and what to do instead.
        why: String,
    },
    /// A matrix that has no inverse where one is needed.
    #[error("{op}: {}the matrix is singular: element {pivot} on the diagonal of u is 0", element(*.batch))]
    Singular {
        /// The op's name.
        op: &'static str,
        /// Which matrix of the batch, in row-major order of the leading dims.
        batch: Option<usize>,
        /// The first zero on the diagonal.
        pivot: usize,
    },
    /// A matrix that is not positive definite where one is needed.
    #[error(
        "{op}: {}the matrix is not positive definite: the leading minor of order {minor} is not positive", element(*.batch)
    )]
    NotPositiveDefinite {
        /// The op's name.
        op: &'static str,
        /// Which matrix of the batch, in row-major order of the leading dims.
        batch: Option<usize>,
        /// The order of the first leading minor that is not positive.
        minor: usize,
    },
    /// A matrix whose eigenvalues or singular values were not found.
    #[error(
        "{op}: {}the values are not finite: the matrix holds infinities or NaN, or the search did not converge", element(*.batch)
    )]
    NotConverged {
        /// The op's name.
        op: &'static str,
        /// Which matrix of the batch, in row-major order of the leading dims.
        batch: Option<usize>,
    },
    /// An argument outside its domain.
    #[error("{op}: {why}")]
    Argument {
        /// The op's name.
        op: &'static str,
        /// What is wrong with it and what is allowed.
        why: String,
    },
    /// Something that this backend does not offer.
    #[error("{op} is not supported on {backend}: {why}")]
    Unsupported {
        /// The op's name.
        op: &'static str,
        /// The backend or device.
        backend: String,
        /// What to do instead.
        why: String,
    },
    /// A device that is not there or cannot be opened.
    #[error("{device} cannot be used: {why}")]
    NoDevice {
        /// The device.
        device: String,
        /// What is missing, and how to get it.
        why: String,
    },
    /// A device has no block of memory left that is large enough, even with the allocator's cache given back.
    #[error("{device}: {}", out_of_memory(*.asked, *.free))]
    OutOfMemory {
        /// The device.
        device: String,
        /// So many bytes were wanted.
        asked: usize,
        /// So many are free, where the device tells.
        free: Option<usize>,
    },
    /// Nothing works on a device any more: it was removed or reset, or a kernel broke it. Others go on.
    #[error("{device} is lost: {why}; what it held is gone, other devices go on")]
    DeviceLost {
        /// The device.
        device: String,
        /// What it reported, and in which kernel.
        why: String,
    },
    /// A kernel that does not compile.
    #[error("{device}: kernel `{kernel}` does not compile: {log}")]
    KernelBuild {
        /// The device.
        device: String,
        /// The kernel's name.
        kernel: String,
        /// What the compiler wrote.
        log: String,
    },
    /// A kernel that could not be queued, or failed.
    #[error("{device}: kernel `{kernel}` failed: {why}")]
    KernelFailed {
        /// The device.
        device: String,
        /// The kernel's name.
        kernel: String,
        /// What the device reported.
        why: String,
    },
    /// A device or its driver failed.
    #[error("{device}: {why}")]
    Backend {
        /// The device.
        device: String,
        /// What it reported.
        why: String,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Data from outside that is not what it claims to be.
    #[error("{what}: {why}")]
    Format {
        /// The file or stream.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A state dict that belongs to another model.
    #[error("load_state_dict: {why}")]
    StateDict {
        /// The missing, unexpected and differently shaped entries.
        why: String,
    },
}

fn out_of_memory(asked: usize, free: Option<usize>) -> String {
    let mib = |bytes: usize| format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64);
    let free = free.map_or(String::new(), |free| format!(" ({} free)", mib(free)));
    format!(
        "out of memory: {} asked for{free}; drop tensors or work in smaller batches",
        mib(asked)
    )
}

fn element(batch: Option<usize>) -> String {
    batch.map_or(String::new(), |i| format!("in matrix {i} of the batch, "))
}

fn place(called: Option<&Location<'_>>) -> String {
    called.map_or(String::new(), |at| format!("; called at {at}"))
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

thread_local! {
    static CATCHING: Cell<usize> = const { Cell::new(0) };
}

/// Reports a mistake in the program: panics at the caller's line with the error's text. Inside
/// [`catch`] the typed error travels to it without a message on stderr.
#[track_caller]
#[cold]
pub fn raise(error: Error) -> ! {
    if CATCHING.get() > 0 {
        panic::resume_unwind(Box::new(Caught { error, at: Location::caller() }));
    }
    panic!("{error}");
}

struct Caught {
    error: Error,
    #[allow(dead_code, reason = "seen in a debugger")]
    at: &'static Location<'static>,
}

/// Runs `f` and turns a mistake that Kiln reports inside it into an `Err`, for servers and tools
/// that must outlive one bad request. Other panics go on unwinding.
///
/// Tensors written in place by an op that failed half-way keep what was written.
///
/// ```
/// use kiln_tensor_core::{catch, raise, Error};
/// let result = catch(|| -> u32 { raise(Error::Argument { op: "f", why: "no".into() }) });
/// assert_eq!(result.unwrap_err().to_string(), "f: no");
/// ```
///
/// # Errors
/// The error that `f` raised.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T> {
    struct Depth;
    impl Drop for Depth {
        fn drop(&mut self) {
            CATCHING.set(CATCHING.get() - 1);
        }
    }
    CATCHING.set(CATCHING.get() + 1);
    let depth = Depth;
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    drop(depth);
    result.map_err(|payload| match payload.downcast::<Caught>() {
        Ok(caught) => caught.error,
        Err(other) => panic::resume_unwind(other),
    })
}
