//! Types of `cuda.h` that calls need as more than a pointer or a number.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;

/// A context, stream, event, module, function, graph, …: what the driver knows behind a pointer.
pub type Handle = *mut c_void;

/// An address in a device's memory.
pub type CUdeviceptr = u64;

/// What a driver function returns: a number, so that codes of newer drivers are kept as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
#[must_use]
pub struct CUresult(pub c_uint);

impl CUresult {
    /// It worked.
    pub const SUCCESS: CUresult = CUresult(0);
    /// Out of device memory.
    pub const OUT_OF_MEMORY: CUresult = CUresult(2);
    /// The driver does not know the function: `CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER`.
    pub const NEWER_DRIVER_NEEDED: CUresult = CUresult(36);
    /// There is no driver, or it finds no device.
    pub const NO_DEVICE: CUresult = CUresult(100);
    /// Not done yet: of a query.
    pub const NOT_READY: CUresult = CUresult(600);

    /// Whether the call worked.
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }
}

/// `CUDA_ERROR_OUT_OF_MEMORY (2): out of memory`, or the bare number where the driver has no name for it.
impl fmt::Display for CUresult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (crate::runtime::name(*self), self.0) {
            (Some((name, text)), code) => write!(f, "{name} ({code}): {text}"),
            (None, 36) => f.write_str("the driver is too old for this call (36)"),
            (None, 100) => f.write_str("no driver or no device (100)"),
            (None, code) => write!(f, "code {code} of the driver"),
        }
    }
}

/// What `cuLaunchKernelEx` takes: grid, block and attributes such as a cluster's size.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CUlaunchConfig {
    /// Blocks in x, y and z.
    pub grid: [c_uint; 3],
    /// Threads of a block in x, y and z.
    pub block: [c_uint; 3],
    /// Bytes of dynamic shared memory for each block.
    pub shared: c_uint,
    /// The stream.
    pub stream: Handle,
    /// Null where there are none.
    pub attributes: *const CUlaunchAttribute,
    /// How many.
    pub count: c_uint,
}

/// An attribute of a launch; its meaning follows from `id`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CUlaunchAttribute {
    /// `CUlaunchAttributeID`.
    pub id: c_uint,
    /// The value's bytes, 64 as in the header; aligned like its largest member.
    pub value: CUlaunchAttributeValue,
}

/// The value of a launch attribute, as its first members or plain bytes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct CUlaunchAttributeValue(pub [c_uint; 16]);

impl CUlaunchAttribute {
    /// Blocks that run together as a cluster (`CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION`).
    pub const fn cluster(x: c_uint, y: c_uint, z: c_uint) -> Self {
        let mut value = [0; 16];
        value[0] = x;
        value[1] = y;
        value[2] = z;
        CUlaunchAttribute { id: 4, value: CUlaunchAttributeValue(value) }
    }
}

/// What `cuGraphAddKernelNode` and `cuGraphExecKernelNodeSetParams` take (`CUDA_KERNEL_NODE_PARAMS_v2`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the header's name")]
pub struct CUDA_KERNEL_NODE_PARAMS {
    /// The kernel.
    pub function: Handle,
    /// Blocks in x, y and z.
    pub grid: [c_uint; 3],
    /// Threads of a block in x, y and z.
    pub block: [c_uint; 3],
    /// Bytes of dynamic shared memory for each block.
    pub shared: c_uint,
    /// A pointer to each argument.
    pub params: *mut *mut c_void,
    /// Null where there are `params`.
    pub extra: *mut *mut c_void,
    /// Null where there is a function.
    pub kernel: Handle,
    /// Ignored where there is a function.
    pub context: Handle,
}

/// What `cuGraphAddMemcpyNode` takes (`CUDA_MEMCPY3D_v2`): a box of bytes from one place to another.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(non_camel_case_types, reason = "the header's name")]
pub struct CUDA_MEMCPY3D {
    /// Where from.
    pub from: CUmemcpySide,
    /// Where to.
    pub to: CUmemcpySide,
    /// Bytes in x, rows in y, layers in z.
    pub size: [usize; 3],
}

/// A side of a copy.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CUmemcpySide {
    /// Where the box begins: bytes in x, rows in y, layers in z, level of detail.
    pub place: [usize; 4],
    /// `CUmemorytype`: 1 the host's, 2 a device's.
    pub kind: c_uint,
    /// The host's memory, if it is that.
    pub host: *mut c_void,
    /// The device's memory, if it is that.
    pub device: CUdeviceptr,
    /// An array, if it is that.
    pub array: Handle,
    /// Null.
    pub reserved: Handle,
    /// Bytes from row to row.
    pub pitch: usize,
    /// Rows of a layer.
    pub height: usize,
}

impl CUDA_MEMCPY3D {
    /// So many bytes side by side, in devices' memory.
    pub const fn on_device(from: CUdeviceptr, to: CUdeviceptr, bytes: usize) -> Self {
        const NONE: Handle = std::ptr::null_mut();
        const fn side(device: CUdeviceptr, pitch: usize) -> CUmemcpySide {
            let place = [0; 4];
            CUmemcpySide {
                place,
                kind: 2,
                host: NONE,
                device,
                array: NONE,
                reserved: NONE,
                pitch,
                height: 1,
            }
        }
        CUDA_MEMCPY3D { from: side(from, bytes), to: side(to, bytes), size: [bytes, 1, 1] }
    }
}

/// A description of a tensor for the copy engine, written by `cuTensorMapEncodeTiled`. Opaque.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(128))]
pub struct CUtensorMap(pub [u64; 16]);

/// Memory of another process.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CUipcMemHandle(pub [c_char; 64]);

/// An event of another process.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CUipcEventHandle(pub [c_char; 64]);

/// Where memory lies: the host, a NUMA node or a device.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CUmemLocation {
    /// `CUmemLocationType`.
    pub kind: c_uint,
    /// Which one of its kind.
    pub id: c_int,
}
