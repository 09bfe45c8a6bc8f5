//! NVRTC, NVIDIA's compiler as a library: C++ to machine code, on machines without a device too.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use libloading::Library;

use super::library::{self, Known, Opened, Version, functions};
use crate::find;

type Program = *mut c_void;

const KNOWN: Known = Known {
    title: "NVIDIA's compiler (NVRTC)",
    name: "nvrtc",
    #[cfg(windows)]
    system: &["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"],
    #[cfg(not(windows))]
    system: &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"],
    majors: &[13, 12],
    package: "nvidia-cuda-nvrtc",
};

functions! {
    /// Functions of `nvrtc.h`.
    Functions { known: KNOWN, version: version, before: builtins }
    create = "nvrtcCreateProgram"(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int;
    compile = "nvrtcCompileProgram"(Program, c_int, *const *const c_char) -> c_int;
    log_size = "nvrtcGetProgramLogSize"(Program, *mut usize) -> c_int;
    log = "nvrtcGetProgramLog"(Program, *mut c_char) -> c_int;
    cubin_size = "nvrtcGetCUBINSize"(Program, *mut usize) -> c_int;
    cubin = "nvrtcGetCUBIN"(Program, *mut c_char) -> c_int;
    ptx_size = "nvrtcGetPTXSize"(Program, *mut usize) -> c_int;
    ptx = "nvrtcGetPTX"(Program, *mut c_char) -> c_int;
    destroy = "nvrtcDestroyProgram"(*mut Program) -> c_int;
    text = "nvrtcGetErrorString"(c_int) -> *const c_char;
    version = "nvrtcVersion"(*mut c_int, *mut c_int) -> c_int;
    count = "nvrtcGetNumSupportedArchs"(*mut c_int) -> c_int;
    list = "nvrtcGetSupportedArchs"(*mut c_int) -> c_int;
}

fn version(functions: &Functions) -> Option<Version> {
    let mut version = Version { major: 0, minor: 0, patch: 0 };
    // SAFETY: pointers to two ints.
    let told = unsafe { (functions.version)(&mut version.major, &mut version.minor) };
    (told == 0).then_some(version)
}

/// Wheels keep the functions that every kernel may call in a second library, which the first does not find by
/// itself.
fn builtins(folder: &Path) -> Vec<Library> {
    let files = find::library(folder, "nvrtc-builtins");
    files.iter().filter_map(|file| library::load(file).ok()).collect()
}

/// The compiler that was found.
pub(crate) struct Compiler {
    library: &'static Opened<Functions>,
    /// Architectures that it makes machine code for, as in 90.
    known: Vec<c_int>,
    headers: Vec<PathBuf>,
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NVRTC {:?}", self.library)
    }
}

/// The compiler, opened once.
///
/// # Errors
/// Where it was looked for, and how to get it.
pub(crate) fn compiler() -> Result<&'static Compiler, &'static str> {
    static OPENED: OnceLock<Result<Compiler, String>> = OnceLock::new();
    OPENED.get_or_init(open).as_ref().map_err(String::as_str)
}

fn open() -> Result<Compiler, String> {
    let library = library::open::<Functions>()?;
    let mut number = 0;
    // SAFETY: a pointer to an int.
    let counted = unsafe { (library.functions.count)(&mut number) } == 0;
    let mut known = vec![0; usize::try_from(number).unwrap_or(0)];
    // SAFETY: room for as many ints as the compiler said.
    if !counted || unsafe { (library.functions.list)(known.as_mut_ptr()) } != 0 {
        return Err(format!("{}: it does not tell its architectures", library.file.display()));
    }
    let headers = library.file.parent().map(find::headers).unwrap_or_default();
    Ok(Compiler { library, known, headers })
}

/// A program under compilation, destroyed at the end.
struct Open<'a>(Program, &'a Functions);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        // SAFETY: the program was created and is not used any more.
        unsafe { (self.1.destroy)(&mut self.0) };
    }
}

impl Compiler {
    /// Major and minor version, and the file.
    pub(crate) fn version(&self) -> ((i32, i32), &'static Path) {
        let Version { major, minor, .. } = self.library.version;
        ((major, minor), &self.library.file)
    }

    /// A source as machine code of an architecture such as `sm_90`, optimised or made fast; as PTX, which
    /// the driver translates, where the architecture is newer than the compiler.
    ///
    /// # Errors
    /// What the compiler wrote.
    pub(crate) fn binary(
        &self,
        source: &str,
        arch: &str,
        optimise: bool,
    ) -> Result<Vec<u8>, String> {
        let target = self.target(arch);
        let functions = &self.library.functions;
        let source = CString::new(source).map_err(|_| "the source holds a 0".to_owned())?;
        let mut program = ptr::null_mut();
        // SAFETY: strings that end in 0, and no headers.
        let made = unsafe {
            let (name, none) = (c"kernel.cu".as_ptr(), ptr::null());
            (functions.create)(&mut program, source.as_ptr(), name, 0, none, none)
        };
        self.check(made)?;
        let program = Open(program, functions);
        let mut options = vec![
            format!("--gpu-architecture={target}"),
            // Each multiplication rounds, as on every other backend; kernels that want `fma` call it.
            "--fmad=false".into(),
            "--std=c++17".into(),
            "--disable-warnings".into(),
        ];
        if !optimise && self.library.version.major >= 13 {
            options.push("--Ofast-compile=max".into());
        }
        options
            .extend(self.headers.iter().map(|path| format!("--include-path={}", path.display())));
        let options: Result<Vec<CString>, _> = options.into_iter().map(CString::new).collect();
        let options = options.map_err(|_| "a path holds a 0".to_owned())?;
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        // SAFETY: as many strings as said.
        let done =
            unsafe { (functions.compile)(program.0, pointers.len() as c_int, pointers.as_ptr()) };
        if let Err(why) = self.check(done) {
            let log = self.log(program.0);
            return Err(if log.is_empty() { why } else { log });
        }
        let (get_size, get) = match target.starts_with("sm_") {
            true => (functions.cubin_size, functions.cubin),
            false => (functions.ptx_size, functions.ptx),
        };
        let mut size = 0;
        // SAFETY: the program is compiled.
        self.check(unsafe { get_size(program.0, &mut size) })?;
        let mut binary = vec![0u8; size];
        // SAFETY: room for as many bytes as the compiler asked for.
        self.check(unsafe { get(program.0, binary.as_mut_ptr().cast()) })?;
        Ok(binary)
    }

    /// What to compile for an architecture: itself, or the newest that the compiler knows if that is older.
    fn target(&self, arch: &str) -> String {
        let number = arch.strip_prefix("sm_").and_then(|number| number.parse().ok());
        match (number, self.known.iter().max()) {
            (Some(number), Some(&newest)) if newest < number => format!("compute_{newest}"),
            _ => arch.to_owned(),
        }
    }

    fn log(&self, program: Program) -> String {
        let mut size = 0;
        // SAFETY: the program was created; the log is written to as many bytes as the compiler asked for.
        let text = unsafe {
            (self.library.functions.log_size)(program, &mut size);
            let mut text = vec![0u8; size];
            (self.library.functions.log)(program, text.as_mut_ptr().cast());
            text
        };
        String::from_utf8_lossy(&text).trim_matches(['\0', '\n', ' ']).to_owned()
    }

    fn check(&self, code: c_int) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: a constant string that ends in 0, for any code.
        let text = unsafe { CStr::from_ptr((self.library.functions.text)(code)) };
        Err(format!("NVRTC: {} ({code})", text.to_string_lossy()))
    }
}
