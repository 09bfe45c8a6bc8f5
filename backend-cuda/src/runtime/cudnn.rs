//! cuDNN's functions and numbers, and its descriptors, which are destroyed when dropped.
//!
//! Convolutions go through the functions with descriptors of any number of dims. cuDNN 9 has a newer interface, of
//! graphs of operations; these are deprecated, and stay as long as 9 does, which is the only version that is opened.
//! They are told which algorithm to run, so that its determinism is known.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use kiln_tensor_core::DType;

use super::library::{Known, Trouble, Version, check, functions};

/// What the library knows behind a pointer.
pub(crate) type Handle = *mut c_void;

const KNOWN: Known = Known {
    title: "cuDNN",
    name: "cudnn",
    #[cfg(windows)]
    system: &["cudnn64_9.dll"],
    #[cfg(not(windows))]
    system: &["libcudnn.so.9"],
    majors: &[9],
    package: "nvidia-cudnn-cu13",
};

functions! {
    /// Functions of `cudnn_ops.h` and `cudnn_cnn.h`.
    Cudnn { known: KNOWN, version: version, cuda: cuda }
    version = "cudnnGetVersion"() -> usize;
    runtime = "cudnnGetCudartVersion"() -> usize;
    text = "cudnnGetErrorString"(c_int) -> *const c_char;
    create = "cudnnCreate"(*mut Handle) -> c_int;
    set_stream = "cudnnSetStream"(Handle, Handle) -> c_int;
    tensor_create = "cudnnCreateTensorDescriptor"(*mut Handle) -> c_int;
    tensor_set = "cudnnSetTensorNdDescriptor"(Handle, c_int, c_int, *const c_int, *const c_int) -> c_int;
    tensor_destroy = "cudnnDestroyTensorDescriptor"(Handle) -> c_int;
    filter_create = "cudnnCreateFilterDescriptor"(*mut Handle) -> c_int;
    filter_set = "cudnnSetFilterNdDescriptor"(Handle, c_int, c_int, c_int, *const c_int) -> c_int;
    filter_destroy = "cudnnDestroyFilterDescriptor"(Handle) -> c_int;
    conv_create = "cudnnCreateConvolutionDescriptor"(*mut Handle) -> c_int;
    conv_set = "cudnnSetConvolutionNdDescriptor"(
        Handle, c_int, *const c_int, *const c_int, *const c_int, c_int, c_int,
    ) -> c_int;
    conv_set_groups = "cudnnSetConvolutionGroupCount"(Handle, c_int) -> c_int;
    conv_set_math = "cudnnSetConvolutionMathType"(Handle, c_int) -> c_int;
    conv_destroy = "cudnnDestroyConvolutionDescriptor"(Handle) -> c_int;
    forward_algorithms = "cudnnGetConvolutionForwardAlgorithm_v7"(
        Handle, Handle, Handle, Handle, Handle, c_int, *mut c_int, *mut Candidate,
    ) -> c_int;
    input_algorithms = "cudnnGetConvolutionBackwardDataAlgorithm_v7"(
        Handle, Handle, Handle, Handle, Handle, c_int, *mut c_int, *mut Candidate,
    ) -> c_int;
    weight_algorithms = "cudnnGetConvolutionBackwardFilterAlgorithm_v7"(
        Handle, Handle, Handle, Handle, Handle, c_int, *mut c_int, *mut Candidate,
    ) -> c_int;
    forward_workspace = "cudnnGetConvolutionForwardWorkspaceSize"(
        Handle, Handle, Handle, Handle, Handle, c_int, *mut usize,
    ) -> c_int;
    input_workspace = "cudnnGetConvolutionBackwardDataWorkspaceSize"(
        Handle, Handle, Handle, Handle, Handle, c_int, *mut usize,
    ) -> c_int;
    weight_workspace = "cudnnGetConvolutionBackwardFilterWorkspaceSize"(
        Handle, Handle, Handle, Handle, Handle, c_int, *mut usize,
    ) -> c_int;
    forward = "cudnnConvolutionForward"(
        Handle, *const c_void, Handle, *const c_void, Handle, *const c_void, Handle, c_int, *mut c_void,
        usize, *const c_void, Handle, *mut c_void,
    ) -> c_int;
    input = "cudnnConvolutionBackwardData"(
        Handle, *const c_void, Handle, *const c_void, Handle, *const c_void, Handle, c_int, *mut c_void,
        usize, *const c_void, Handle, *mut c_void,
    ) -> c_int;
    weight = "cudnnConvolutionBackwardFilter"(
        Handle, *const c_void, Handle, *const c_void, Handle, *const c_void, Handle, c_int, *mut c_void,
        usize, *const c_void, Handle, *mut c_void,
    ) -> c_int;
}

fn version(functions: &Cudnn) -> Option<Version> {
    // SAFETY: no arguments.
    Some(Version::packed(unsafe { (functions.version)() }))
}

/// The version of CUDA's runtime that it was built with, as in 13050.
fn cuda(functions: &Cudnn, _: Version) -> i32 {
    // SAFETY: no arguments.
    let version = unsafe { (functions.runtime)() };
    (version / 1000) as i32
}

/// `cudnnConvolutionFwdAlgoPerf_t`, and those of the gradients: an algorithm, and what the library expects of it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Candidate {
    pub(super) algorithm: c_int,
    pub(super) status: c_int,
    time: f32,
    memory: usize,
    pub(super) deterministic: c_int,
    math: c_int,
    reserved: [c_int; 3],
}

/// Whether a status says that the library does not do it: `CUDNN_STATUS_NOT_SUPPORTED` and what refines it.
pub(super) fn is_not_supported(status: c_int) -> bool {
    (3000..4000).contains(&status)
}

// `cudnnMathType_t`.
pub(super) const DEFAULT_MATH: c_int = 0;
pub(super) const TENSOR_OP_MATH: c_int = 1;
pub(super) const FMA_MATH: c_int = 3;

/// `CUDNN_TENSOR_NCHW`.
const ROW_MAJOR: c_int = 0;
/// `CUDNN_CROSS_CORRELATION`.
const CROSS_CORRELATION: c_int = 1;

/// `cudnnDataType_t` of a float dtype.
pub(super) fn data_type(dtype: DType) -> c_int {
    match dtype {
        DType::F64 => 1,
        DType::F16 => 2,
        DType::BF16 => 9,
        _ => 0,
    }
}

/// A descriptor that the library keeps.
#[derive(Debug)]
pub(super) struct Descriptor {
    /// A pointer, as a number: one thread at a time uses it.
    handle: usize,
    destroy: unsafe extern "C" fn(Handle) -> c_int,
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: it was created, and is not used any more; queued work has no need of it.
        let _ = unsafe { (self.destroy)(self.handle()) };
    }
}

impl Descriptor {
    fn new(
        name: &'static str,
        create: unsafe extern "C" fn(*mut Handle) -> c_int,
        destroy: unsafe extern "C" fn(Handle) -> c_int,
    ) -> Result<Self, Trouble> {
        let mut handle = ptr::null_mut();
        // SAFETY: a pointer to a handle.
        check(name, unsafe { create(&mut handle) })?;
        Ok(Descriptor { handle: handle as usize, destroy })
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle as Handle
    }

    /// A contiguous tensor.
    pub(super) fn tensor(cudnn: &Cudnn, dtype: DType, dims: &[c_int]) -> Result<Self, Trouble> {
        let create = ("cudnnCreateTensorDescriptor", cudnn.tensor_create);
        let made = Self::new(create.0, create.1, cudnn.tensor_destroy)?;
        let mut strides = vec![1; dims.len()];
        for d in (1..dims.len()).rev() {
            strides[d - 1] = strides[d] * dims[d];
        }
        let (count, dims, strides) = (dims.len() as c_int, dims.as_ptr(), strides.as_ptr());
        // SAFETY: as many numbers as said.
        check("cudnnSetTensorNdDescriptor", unsafe {
            (cudnn.tensor_set)(made.handle(), data_type(dtype), count, dims, strides)
        })?;
        Ok(made)
    }

    /// The weight of a convolution.
    pub(super) fn filter(cudnn: &Cudnn, dtype: DType, dims: &[c_int]) -> Result<Self, Trouble> {
        let create = ("cudnnCreateFilterDescriptor", cudnn.filter_create);
        let made = Self::new(create.0, create.1, cudnn.filter_destroy)?;
        let (count, dims) = (dims.len() as c_int, dims.as_ptr());
        // SAFETY: as many numbers as said.
        check("cudnnSetFilterNdDescriptor", unsafe {
            (cudnn.filter_set)(made.handle(), data_type(dtype), ROW_MAJOR, count, dims)
        })?;
        Ok(made)
    }

    /// How a convolution of `dtype` walks: padding, stride and dilation of each spatial dim.
    pub(super) fn convolution(
        cudnn: &Cudnn,
        dtype: DType,
        [padding, stride, dilation]: [&[c_int]; 3],
        groups: c_int,
        math: c_int,
    ) -> Result<Self, Trouble> {
        let create = ("cudnnCreateConvolutionDescriptor", cudnn.conv_create);
        let made = Self::new(create.0, create.1, cudnn.conv_destroy)?;
        // SAFETY: three lists of as many numbers as said.
        check("cudnnSetConvolutionNdDescriptor", unsafe {
            (cudnn.conv_set)(
                made.handle(),
                padding.len() as c_int,
                padding.as_ptr(),
                stride.as_ptr(),
                dilation.as_ptr(),
                CROSS_CORRELATION,
                data_type(dtype.compute()),
            )
        })?;
        // SAFETY: the descriptor lives.
        check("cudnnSetConvolutionGroupCount", unsafe {
            (cudnn.conv_set_groups)(made.handle(), groups)
        })?;
        // SAFETY: as above.
        check("cudnnSetConvolutionMathType", unsafe {
            (cudnn.conv_set_math)(made.handle(), math)
        })?;
        Ok(made)
    }
}
