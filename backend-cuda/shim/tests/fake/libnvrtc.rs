//! A compiler whose machine code is the source. `#error` in it is an error.
#![allow(non_snake_case)]

use std::ffi::{CStr, CString, c_char, c_int};

struct Program {
    source: CString,
    log: CString,
    arch: bool,
}

macro_rules! api {
    ($(fn $name:ident($($param:ident: $ty:ty),*) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($param: $ty),*) -> c_int {
            unsafe { $body }
        }
    )*};
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvrtcGetErrorString(_code: c_int) -> *const c_char {
    c"NVRTC_ERROR_COMPILATION".as_ptr()
}

api! {
    fn nvrtcVersion(major: *mut c_int, minor: *mut c_int) { *major = 13; *minor = 9; 0 }
    fn nvrtcCreateProgram(
        program: *mut *mut Program, source: *const c_char, _name: *const c_char, headers: c_int,
        _texts: *const *const c_char, _names: *const *const c_char
    ) {
        assert!(headers == 0);
        let source = CStr::from_ptr(source).to_owned();
        *program = Box::into_raw(Box::new(Program { source, log: CString::default(), arch: false }));
        0
    }
    fn nvrtcCompileProgram(program: *mut Program, count: c_int, options: *const *const c_char) {
        let program = &mut *program;
        for i in 0..count {
            program.arch |= CStr::from_ptr(*options.add(i as usize)) == c"--gpu-architecture=sm_90";
        }
        assert!(program.arch);
        let source = program.source.to_str().unwrap();
        let Some((_, error)) = source.split_once("#error ") else { return 0 };
        program.log = CString::new(format!("kernel.cu(1): error: {error}")).unwrap();
        6
    }
    fn nvrtcGetProgramLogSize(program: *mut Program, size: *mut usize) {
        *size = (*program).log.as_bytes_with_nul().len();
        0
    }
    fn nvrtcGetProgramLog(program: *mut Program, log: *mut u8) {
        let bytes = (*program).log.as_bytes_with_nul();
        log.copy_from(bytes.as_ptr(), bytes.len());
        0
    }
    fn nvrtcGetCUBINSize(program: *mut Program, size: *mut usize) {
        *size = (*program).source.as_bytes().len();
        0
    }
    fn nvrtcGetCUBIN(program: *mut Program, cubin: *mut u8) {
        let bytes = (*program).source.as_bytes();
        cubin.copy_from(bytes.as_ptr(), bytes.len());
        0
    }
    fn nvrtcDestroyProgram(program: *mut *mut Program) {
        drop(Box::from_raw(*program));
        0
    }
}
