//! Opening NVIDIA's libraries: each is a table of functions, found and opened in one way.

use std::ffi::{CStr, c_char, c_int};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use kiln_cuda_shim as cu;
use kiln_tensor_core::Error;
use libloading::Library;

use crate::find;

/// A library's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Functions keep their meaning while it stays.
    pub major: i32,
    /// Counts up within `major`.
    pub minor: i32,
    /// Counts up within `minor`.
    pub patch: i32,
}

impl Version {
    /// From one number, as in 131002 for 13.10.2.
    pub(crate) fn packed(number: usize) -> Self {
        let [major, minor, patch] =
            [number / 10_000, number / 100 % 100, number % 100].map(|part| part as i32);
        Version { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// What is known of a library before it is opened.
#[derive(Debug)]
pub(crate) struct Known {
    /// As people call it.
    pub(crate) title: &'static str,
    /// As its files are called: `libcublasLt.so.13`, `cublasLt64_13.dll`.
    pub(crate) name: &'static str,
    /// The files that the system may know, the newest first.
    pub(crate) system: &'static [&'static str],
    /// The versions whose functions have the meaning that this crate relies on.
    pub(crate) majors: &'static [i32],
    /// The Python package that has it.
    pub(crate) package: &'static str,
}

/// Functions of a library, called by their address.
pub(crate) trait Table: Sized + Send + Sync + 'static {
    const KNOWN: Known;

    /// The functions, or the name of one that is not there.
    fn load(library: &Library) -> Result<Self, &'static str>;

    /// What the library says that it is.
    fn version(&self) -> Option<Version>;

    /// The version of CUDA that it is made for, if that tells which drivers it works with.
    fn cuda(&self, _version: Version) -> Option<i32> {
        None
    }

    /// Libraries of the same folder that it needs and does not find by itself.
    fn before(_folder: &Path) -> Vec<Library> {
        Vec::new()
    }

    /// Where the library is kept once it is open.
    fn slot() -> &'static OnceLock<Slot<Self>>;
}

/// A library, or why there is none.
pub(crate) type Slot<T> = Result<Opened<T>, String>;

/// A library that is open. It stays open to the end of the process.
pub(crate) struct Opened<T> {
    pub(crate) functions: T,
    pub(crate) version: Version,
    /// The file, or the name that the system knows it by.
    pub(crate) file: PathBuf,
    _libraries: Vec<Library>,
}

impl<T> fmt::Debug for Opened<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.version, self.file.display())
    }
}

/// The library, opened by the first call.
///
/// # Errors
/// Where it was looked for, what was found there and does not fit, and how to get it.
pub(crate) fn open<T: Table>() -> Result<&'static Opened<T>, &'static str> {
    T::slot().get_or_init(search).as_ref().map_err(String::as_str)
}

fn search<T: Table>() -> Slot<T> {
    let mut tried = String::new();
    let folders = find::folders();
    for folder in &folders {
        for file in find::library(folder, T::KNOWN.name) {
            match at(&file, Some(folder)) {
                Ok(opened) => return Ok(opened),
                Err(why) => tried += &format!("; {why}"),
            }
        }
    }
    for name in T::KNOWN.system {
        match at(Path::new(name), None) {
            Ok(opened) => return Ok(opened),
            // That the system has no such file says nothing.
            Err(Unfit::NotOpened(_)) => {}
            Err(why) => tried += &format!("; {why}"),
        }
    }
    let Known { title, package, .. } = T::KNOWN;
    Err(format!(
        "{title} was not found in CUDA_HOME, Python packages or the system; get it with \
         `pip install {package}`, or set CUDA_HOME to a toolkit{tried}"
    ))
}

/// Why a file is not the library that is wanted.
enum Unfit {
    NotOpened(String),
    Other(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::NotOpened(why) | Unfit::Other(why) => f.write_str(why),
        }
    }
}

fn at<T: Table>(file: &Path, folder: Option<&Path>) -> Result<Opened<T>, Unfit> {
    let unfit = |why: String| Unfit::Other(format!("{}: {why}", file.display()));
    let mut libraries = folder.map(T::before).unwrap_or_default();
    let library =
        load(file).map_err(|why| Unfit::NotOpened(format!("{}: {why}", file.display())))?;
    let functions = T::load(&library).map_err(|name| unfit(format!("it has no {name}")))?;
    let version =
        functions.version().ok_or_else(|| unfit("it does not tell its version".into()))?;
    let majors = T::KNOWN.majors;
    if !majors.contains(&version.major) {
        let known: Vec<String> = majors.iter().map(i32::to_string).collect();
        return Err(unfit(format!("version {version}, and Kiln knows {}", known.join(" and "))));
    }
    if let (Some(made_for), Some(driver)) = (functions.cuda(version), driver())
        && driver < made_for
    {
        let why = format!("it is for CUDA {made_for}, and the driver for {driver}: update one");
        return Err(unfit(why));
    }
    libraries.push(library);
    Ok(Opened { functions, version, file: file.to_owned(), _libraries: libraries })
}

/// The version of CUDA that the driver is for, where there is one.
fn driver() -> Option<i32> {
    let mut version = 0;
    // SAFETY: a pointer to an int.
    let told = unsafe { cu::cuDriverGetVersion(&mut version) };
    told.is_success().then_some(version / 1000)
}

/// A library by its file.
pub(crate) fn load(file: &Path) -> Result<Library, String> {
    // SAFETY: NVIDIA's libraries may be loaded at any time.
    unsafe { Library::new(file) }.map_err(|error| cu::reason(&error))
}

/// What went wrong on the way of a call to a library.
#[derive(Debug)]
pub(super) enum Trouble {
    /// A function of the library, and the status that it gave.
    Status(&'static str, c_int),
    /// Something of ours: memory, the driver.
    Other(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Trouble::Other(error)
    }
}

/// What a function's status says: 0 is success in all of these libraries.
pub(super) fn check(function: &'static str, status: c_int) -> Result<(), Trouble> {
    if status == 0 { Ok(()) } else { Err(Trouble::Status(function, status)) }
}

/// The library's function that has a text for each status.
pub(super) type Text = unsafe extern "C" fn(c_int) -> *const c_char;

/// `cublasLtMatmul: the requested functionality is not supported (15)`.
pub(super) fn describe(text: Text, function: &str, status: c_int) -> String {
    // SAFETY: a constant string that ends in 0, for any status.
    let text = unsafe { CStr::from_ptr(text(status)) };
    format!("{function}: {} ({status})", text.to_string_lossy())
}

/// Rows `field = "symbol"(arguments) -> result;` become a [`Table`].
macro_rules! functions {
    (
        $(#[$meta:meta])*
        $table:ident { known: $known:expr, version: $version:path $(, cuda: $cuda:path)? $(, before: $before:path)? }
        $($field:ident = $symbol:literal($($arg:ty),* $(,)?) -> $out:ty;)*
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $table {
            $(pub(crate) $field: unsafe extern "C" fn($($arg),*) -> $out,)*
        }

        impl $crate::runtime::library::Table for $table {
            const KNOWN: $crate::runtime::library::Known = $known;

            fn load(library: &libloading::Library) -> Result<Self, &'static str> {
                Ok($table {
                    // SAFETY: the library's header gives the symbol this type, and the library stays open.
                    $($field: *unsafe { library.get(concat!($symbol, "\0").as_bytes()) }
                        .map_err(|_| $symbol)?,)*
                })
            }

            fn version(&self) -> Option<$crate::runtime::library::Version> {
                $version(self)
            }

            $(fn cuda(&self, version: $crate::runtime::library::Version) -> Option<i32> {
                Some($cuda(self, version))
            })?

            $(fn before(folder: &std::path::Path) -> Vec<libloading::Library> {
                $before(folder)
            })?

            fn slot() -> &'static std::sync::OnceLock<$crate::runtime::library::Slot<Self>> {
                static SLOT: std::sync::OnceLock<$crate::runtime::library::Slot<$table>> =
                    std::sync::OnceLock::new();
                &SLOT
            }
        }
    };
}
pub(crate) use functions;
