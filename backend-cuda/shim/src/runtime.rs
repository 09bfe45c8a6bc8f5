//! Opening the driver's library, and the function that each row of the table becomes.

use std::ffi::{CStr, c_char, c_uint};
use std::mem;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use libloading::Library;

use crate::CUresult;

/// Where the driver's library may be. The second is where Windows' Linux subsystem keeps it.
#[cfg(windows)]
const DRIVER: [&str; 1] = ["nvcuda.dll"];
#[cfg(not(windows))]
const DRIVER: [&str; 2] = ["libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"];

/// The driver, opened once. It stays open: its threads may run until the process ends.
fn driver() -> &'static Result<Library, String> {
    static OPENED: OnceLock<Result<Library, String>> = OnceLock::new();
    OPENED.get_or_init(|| {
        let mut why = String::new();
        for name in DRIVER {
            // SAFETY: the driver's library may be loaded and initialised at any time, by its documentation.
            match unsafe { Library::new(name) } {
                Ok(library) => return Ok(library),
                // The first reason is the one of the usual name.
                Err(error) if why.is_empty() => why = reason(&error),
                Err(_) => {}
            }
        }
        Err(why)
    })
}

/// Why a library could not be opened: the system's words, which the error itself only points to.
#[doc(hidden)]
pub fn reason(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Whether the driver's library is there.
pub fn is_present() -> bool {
    driver().is_ok()
}

/// Why there is no driver, in the system's words; `None` where there is one.
pub fn absence() -> Option<&'static str> {
    driver().as_ref().err().map(String::as_str)
}

/// The address of a function, kept in its slot.
pub(crate) fn address(slot: &AtomicPtr<()>, name: &CStr) -> Result<*mut (), CUresult> {
    let known = slot.load(Ordering::Acquire);
    if !known.is_null() {
        return Ok(known);
    }
    let Ok(library) = driver() else { return Err(CUresult::NO_DEVICE) };
    // SAFETY: the symbol is only copied, as an address, and the library stays open.
    let found = unsafe { library.get::<*mut ()>(name.to_bytes_with_nul()) };
    let address = found.map_or(ptr::null_mut(), |symbol| *symbol);
    if address.is_null() {
        return Err(CUresult::NEWER_DRIVER_NEEDED);
    }
    slot.store(address, Ordering::Release);
    Ok(address)
}

/// A result's name and meaning, where the driver knows it.
pub(crate) fn name(result: CUresult) -> Option<(String, String)> {
    type Text = unsafe extern "system" fn(c_uint, *mut *const c_char) -> CUresult;
    static NAME: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
    static TEXT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
    let ask = |slot: &AtomicPtr<()>, function: &CStr| {
        let address = address(slot, function).ok()?;
        let mut text = ptr::null();
        // SAFETY: the address is that of a function with this signature.
        let done = unsafe { mem::transmute::<*mut (), Text>(address)(result.0, &mut text) };
        let known = done.is_success() && !text.is_null();
        // SAFETY: the driver gives a constant string that ends in 0.
        known.then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    };
    Some((ask(&NAME, c"cuGetErrorName")?, ask(&TEXT, c"cuGetErrorString")?))
}

/// Rows of the table, `fn name = "symbol"(parameters);`, become functions that look for their symbol at
/// the first call.
macro_rules! functions {
    ($(fn $name:ident = $symbol:literal($($param:ident: $ty:ty),* $(,)?);)*) => {$(
        #[doc = concat!("`", stringify!($name), "` of `cuda.h`.")]
        ///
        /// # Safety
        /// The arguments are what the driver's documentation asks for.
        #[inline]
        pub unsafe fn $name($($param: $ty),*) -> CUresult {
            type Function = unsafe extern "system" fn($($ty),*) -> CUresult;
            static SLOT: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
            const SYMBOL: &CStr = match CStr::from_bytes_with_nul(concat!($symbol, "\0").as_bytes()) {
                Ok(symbol) => symbol,
                Err(_) => panic!("a symbol has no 0 inside"),
            };
            match address(&SLOT, SYMBOL) {
                // SAFETY: the header gives the symbol this signature; the arguments are the caller's care.
                Ok(address) => unsafe {
                    std::mem::transmute::<*mut (), Function>(address)($($param),*)
                },
                Err(missing) => missing,
            }
        }
    )*};
}
pub(crate) use functions;

#[cfg(all(test, target_os = "linux"))]
mod tests;
