//! A compiler of 2022, whose machine code is the source, and whose PTX is the source behind a comment. `#error` in it
//! is an error.
#![allow(non_snake_case)]

use std::ffi::{CStr, CString, c_char, c_int};

struct Program {
    source: CString,
    log: CString,
    cubin: bool,
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
        *program = Box::into_raw(Box::new(Program { source, log: CString::default(), cubin: false }));
        0
    }
    fn nvrtcCompileProgram(program: *mut Program, count: c_int, options: *const *const c_char) {
        let program = &mut *program;
        let mut ptx = false;
        for i in 0..count {
            let option = CStr::from_ptr(*options.add(i as usize));
            program.cubin |= option == c"--gpu-architecture=sm_90";
            ptx |= option == c"--gpu-architecture=compute_90";
        }
        assert!(program.cubin != ptx);
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
    fn nvrtcGetNumSupportedArchs(count: *mut c_int) { *count = 2; 0 }
    fn nvrtcGetSupportedArchs(archs: *mut c_int) { *archs = 80; *archs.add(1) = 90; 0 }
    fn nvrtcGetPTXSize(program: *mut Program, size: *mut usize) {
        *size = (*program).source.as_bytes_with_nul().len() + 3;
        0
    }
    fn nvrtcGetPTX(program: *mut Program, ptx: *mut u8) {
        let bytes = (*program).source.as_bytes_with_nul();
        ptx.copy_from(b"// ".as_ptr(), 3);
        ptx.add(3).copy_from(bytes.as_ptr(), bytes.len());
        0
    }
    fn nvrtcGetCUBINSize(program: *mut Program, size: *mut usize) {
        assert!((*program).cubin);
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
