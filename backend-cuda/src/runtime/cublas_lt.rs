//! cuBLASLt's functions and numbers, and its descriptions, which are destroyed when dropped.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use kiln_tensor_core::DType;

use super::library::{Known, Trouble, Version, check, functions};

/// What the library knows behind a pointer.
pub(crate) type Handle = *mut c_void;

const KNOWN: Known = Known {
    title: "cuBLASLt",
    name: "cublasLt",
    #[cfg(windows)]
    system: &["cublasLt64_13.dll", "cublasLt64_12.dll"],
    #[cfg(not(windows))]
    system: &["libcublasLt.so.13", "libcublasLt.so.12"],
    majors: &[13, 12],
    package: "nvidia-cublas",
};

functions! {
    /// Functions of `cublasLt.h`.
    CublasLt { known: KNOWN, version: version, cuda: cuda }
    version = "cublasLtGetVersion"() -> usize;
    text = "cublasLtGetStatusString"(c_int) -> *const c_char;
    create = "cublasLtCreate"(*mut Handle) -> c_int;
    layout_create = "cublasLtMatrixLayoutCreate"(*mut Handle, c_int, u64, u64, i64) -> c_int;
    layout_set = "cublasLtMatrixLayoutSetAttribute"(Handle, c_int, *const c_void, usize) -> c_int;
    layout_destroy = "cublasLtMatrixLayoutDestroy"(Handle) -> c_int;
    matmul_create = "cublasLtMatmulDescCreate"(*mut Handle, c_int, c_int) -> c_int;
    matmul_set = "cublasLtMatmulDescSetAttribute"(Handle, c_int, *const c_void, usize) -> c_int;
    matmul_destroy = "cublasLtMatmulDescDestroy"(Handle) -> c_int;
    preference_create = "cublasLtMatmulPreferenceCreate"(*mut Handle) -> c_int;
    preference_set = "cublasLtMatmulPreferenceSetAttribute"(Handle, c_int, *const c_void, usize) -> c_int;
    preference_destroy = "cublasLtMatmulPreferenceDestroy"(Handle) -> c_int;
    heuristic = "cublasLtMatmulAlgoGetHeuristic"(
        Handle, Handle, Handle, Handle, Handle, Handle, Handle, c_int, *mut Heuristic, *mut c_int,
    ) -> c_int;
    matmul = "cublasLtMatmul"(
        Handle, Handle, *const c_void, *const c_void, Handle, *const c_void, Handle, *const c_void,
        *const c_void, Handle, *mut c_void, Handle, *const Algorithm, *mut c_void, usize, Handle,
    ) -> c_int;
}

fn version(functions: &CublasLt) -> Option<Version> {
    // SAFETY: no arguments.
    Some(Version::packed(unsafe { (functions.version)() }))
}

/// The library's versions are those of CUDA.
fn cuda(_: &CublasLt, version: Version) -> i32 {
    version.major
}

/// `cublasLtMatmulAlgo_t`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Algorithm([u64; 8]);

/// `cublasLtMatmulHeuristicResult_t`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Heuristic {
    pub(super) algorithm: Algorithm,
    pub(super) workspace: usize,
    pub(super) status: c_int,
    waves: f32,
    reserved: [c_int; 4],
}

/// `CUBLAS_STATUS_NOT_SUPPORTED`.
pub(super) const NOT_SUPPORTED: c_int = 15;

// `cublasComputeType_t`.
pub(super) const COMPUTE_32F: c_int = 68;
pub(super) const COMPUTE_64F: c_int = 70;
pub(super) const COMPUTE_32F_FAST_16BF: c_int = 75;
pub(super) const COMPUTE_32F_FAST_TF32: c_int = 77;

/// `cudaDataType_t` of a float dtype.
pub(super) fn data_type(dtype: DType) -> c_int {
    match dtype {
        DType::F64 => 1,
        DType::F16 => 2,
        DType::BF16 => 14,
        _ => 0,
    }
}

/// A description that the library keeps: of a matrix, of a product, or of what is asked of an algorithm.
#[derive(Debug)]
pub(super) struct Description {
    /// A pointer, as a number: the library lets any thread use it.
    handle: usize,
    set: (&'static str, unsafe extern "C" fn(Handle, c_int, *const c_void, usize) -> c_int),
    destroy: unsafe extern "C" fn(Handle) -> c_int,
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it was created, and is not used any more; queued work has no need of it.
        let _ = unsafe { (self.destroy)(self.handle()) };
    }
}

impl Description {
    /// A matrix of so many rows and columns, column by column, `ld` elements apart.
    pub(super) fn matrix(
        lt: &CublasLt,
        dtype: DType,
        [rows, columns]: [usize; 2],
        ld: i64,
    ) -> Result<Self, Trouble> {
        let mut handle = ptr::null_mut();
        // SAFETY: a pointer to a handle.
        let made = unsafe {
            (lt.layout_create)(&mut handle, data_type(dtype), rows as u64, columns as u64, ld)
        };
        check("cublasLtMatrixLayoutCreate", made)?;
        let set = ("cublasLtMatrixLayoutSetAttribute", lt.layout_set);
        Ok(Description { handle: handle as usize, set, destroy: lt.layout_destroy })
    }

    /// Makes a matrix the first of several, so many elements apart.
    pub(super) fn repeat(&self, count: i32, step: i64) -> Result<(), Trouble> {
        const BATCH_COUNT: c_int = 5;
        const STRIDED_BATCH_OFFSET: c_int = 6;
        self.attribute(BATCH_COUNT, count)?;
        self.attribute(STRIDED_BATCH_OFFSET, step)
    }

    /// A product, computed and scaled in these types.
    pub(super) fn product(lt: &CublasLt, compute: c_int, scale: c_int) -> Result<Self, Trouble> {
        let mut handle = ptr::null_mut();
        // SAFETY: a pointer to a handle.
        let made = unsafe { (lt.matmul_create)(&mut handle, compute, scale) };
        check("cublasLtMatmulDescCreate", made)?;
        let set = ("cublasLtMatmulDescSetAttribute", lt.matmul_set);
        Ok(Description { handle: handle as usize, set, destroy: lt.matmul_destroy })
    }

    /// What is asked of an algorithm.
    pub(super) fn preference(lt: &CublasLt) -> Result<Self, Trouble> {
        let mut handle = ptr::null_mut();
        // SAFETY: a pointer to a handle.
        check("cublasLtMatmulPreferenceCreate", unsafe { (lt.preference_create)(&mut handle) })?;
        let set = ("cublasLtMatmulPreferenceSetAttribute", lt.preference_set);
        Ok(Description { handle: handle as usize, set, destroy: lt.preference_destroy })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle as Handle
    }

    /// Sets an attribute whose type in the header is as long as `T`.
    pub(super) fn attribute<T: Copy>(&self, attribute: c_int, value: T) -> Result<(), Trouble> {
        let (name, set) = self.set;
        let bytes = size_of::<T>();
        // SAFETY: the library reads so many bytes of the value.
        check(name, unsafe { set(self.handle(), attribute, (&raw const value).cast(), bytes) })
    }
}
