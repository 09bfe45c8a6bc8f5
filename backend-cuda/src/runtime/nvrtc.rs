//! NVRTC, NVIDIA's compiler as a library: C++ to machine code, on machines without a device too.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fmt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use libloading::Library;

use crate::find;

type Program = *mut c_void;

/// Functions that are called by their address; the library stays open.
struct Functions {
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    cubin_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    cubin: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    text: unsafe extern "C" fn(c_int) -> *const c_char,
}

/// The compiler that was found.
pub(crate) struct Compiler {
    functions: Functions,
    /// Major and minor.
    pub(crate) version: (i32, i32),
    /// The file, or the name that the system knows it by.
    pub(crate) from: PathBuf,
    /// Architectures that it makes machine code for, as in 90.
    known: Vec<c_int>,
    headers: Vec<PathBuf>,
    _libraries: Vec<Library>,
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = self.version;
        write!(f, "NVRTC {major}.{minor} from {}", self.from.display())
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

#[cfg(windows)]
const SYSTEM: [&str; 2] = ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll"];
#[cfg(not(windows))]
const SYSTEM: [&str; 3] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"];

fn open() -> Result<Compiler, String> {
    let folders = find::folders();
    let mut tried = String::new();
    for folder in &folders {
        for file in find::library(folder, "nvrtc") {
            match open_at(&file, folder) {
                Ok(compiler) => return Ok(compiler),
                Err(why) => tried += &format!("; {why}"),
            }
        }
    }
    for name in SYSTEM {
        if let Ok(compiler) = open_at(Path::new(name), Path::new("")) {
            return Ok(compiler);
        }
    }
    Err(format!(
        "NVIDIA's compiler (NVRTC) was not found in CUDA_HOME, Python packages or the system; get it with \
         `pip install nvidia-cuda-nvrtc`, or set CUDA_HOME to a toolkit{tried}"
    ))
}

fn open_at(file: &Path, folder: &Path) -> Result<Compiler, String> {
    let mut libraries = Vec::new();
    // Wheels keep the functions that every kernel may call in a second library, which the first does not
    // find by itself.
    for builtins in find::library(folder, "nvrtc-builtins") {
        // SAFETY: NVIDIA's libraries may be loaded at any time.
        libraries.extend(unsafe { Library::new(builtins) });
    }
    // SAFETY: as above.
    let library = unsafe { Library::new(file) }
        .map_err(|error| format!("{}: {}", file.display(), kiln_cuda_shim::reason(&error)))?;
    macro_rules! function {
        ($name:literal) => {
            // SAFETY: the symbol has this type in nvrtc.h, and the library stays open beside it.
            *unsafe { library.get(concat!($name, "\0").as_bytes()) }
                .map_err(|_| format!("{}: no {}", file.display(), $name))?
        };
    }
    let functions = Functions {
        create: function!("nvrtcCreateProgram"),
        compile: function!("nvrtcCompileProgram"),
        log_size: function!("nvrtcGetProgramLogSize"),
        log: function!("nvrtcGetProgramLog"),
        cubin_size: function!("nvrtcGetCUBINSize"),
        cubin: function!("nvrtcGetCUBIN"),
        ptx_size: function!("nvrtcGetPTXSize"),
        ptx: function!("nvrtcGetPTX"),
        destroy: function!("nvrtcDestroyProgram"),
        text: function!("nvrtcGetErrorString"),
    };
    let version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int = function!("nvrtcVersion");
    let (mut major, mut minor) = (0, 0);
    // SAFETY: pointers to two ints.
    if unsafe { version(&mut major, &mut minor) } != 0 {
        return Err(format!("{}: it does not tell its version", file.display()));
    }
    let count: unsafe extern "C" fn(*mut c_int) -> c_int = function!("nvrtcGetNumSupportedArchs");
    let list: unsafe extern "C" fn(*mut c_int) -> c_int = function!("nvrtcGetSupportedArchs");
    let mut number = 0;
    // SAFETY: a pointer to an int.
    let counted = unsafe { count(&mut number) } == 0;
    let mut known = vec![0; usize::try_from(number).unwrap_or(0)];
    // SAFETY: room for as many ints as the compiler said.
    if !counted || unsafe { list(known.as_mut_ptr()) } != 0 {
        return Err(format!("{}: it does not tell its architectures", file.display()));
    }
    libraries.push(library);
    let headers = find::headers(folder);
    let (version, from) = ((major, minor), file.to_owned());
    Ok(Compiler { functions, version, from, known, headers, _libraries: libraries })
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
        let functions = &self.functions;
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
        if !optimise && self.version >= (13, 0) {
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
            (self.functions.log_size)(program, &mut size);
            let mut text = vec![0u8; size];
            (self.functions.log)(program, text.as_mut_ptr().cast());
            text
        };
        String::from_utf8_lossy(&text).trim_matches(['\0', '\n', ' ']).to_owned()
    }

    fn check(&self, code: c_int) -> Result<(), String> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: a constant string that ends in 0, for any code.
        let text = unsafe { CStr::from_ptr((self.functions.text)(code)) };
        Err(format!("NVRTC: {} ({code})", text.to_string_lossy()))
    }
}
