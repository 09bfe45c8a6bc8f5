//! Stand-ins of NVIDIA's libraries that are strict and compute on the host, and what tests on them share.
#![allow(dead_code, reason = "each test uses a part")]

#[path = "../../shim/tests/fake/mod.rs"]
mod fake;

use std::path::PathBuf;

use fake::{COMPILER, CUBLAS_LT, CUDNN, DRIVER, NCCL, built, in_child};
use kiln_backend_cuda::{Cuda, CudaDevice};
use kiln_tensor_core::{Backend, DType, Error, Layout, Scalar, Shape, catch};

pub type Tensor = kiln_tensor_core::Tensor<Cuda>;

pub const DEVICE: CudaDevice = CudaDevice(0);

/// The file where the stand-in tells what it is asked for.
fn log(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kiln-libraries-{}-{test}", std::process::id()))
}

/// Whether to go on: in a process with stand-ins of the driver, the compiler and the libraries.
pub fn with(test: &str, more: &[(&str, &str)]) -> bool {
    let libraries = built(&[DRIVER, COMPILER, CUBLAS_LT, CUDNN, NCCL]);
    let (toolkit, log) = (libraries.parent().unwrap().to_str().unwrap(), log(test));
    let mut variables = vec![
        ("CUDA_HOME", toolkit),
        ("CUDA_PATH", ""),
        ("KILN_CACHE", "0"),
        ("FAKE_LOG", log.to_str().unwrap()),
    ];
    variables.extend(more);
    let again = in_child(test, &[&libraries], &variables);
    if !again {
        let _ = std::fs::remove_file(log);
    }
    again
}

/// The lines of this kind that the stand-in wrote since the last call.
pub fn asked(kind: &str) -> Vec<String> {
    let file = std::env::var_os("FAKE_LOG").unwrap();
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.strip_prefix(kind));
    let lines = lines.map(|line| line.trim().to_owned()).collect();
    let _ = std::fs::write(file, "");
    lines
}

/// Small numbers, so that sums are exact in every float dtype.
pub fn numbers(dims: &[usize], seed: usize, dtype: DType) -> Tensor {
    let shape = Shape::from(dims);
    let mut bytes = vec![0; shape.numel() * dtype.size()];
    for (i, bytes) in bytes.chunks_exact_mut(dtype.size()).enumerate() {
        dtype.encode(Scalar::F64(((i * 7 + i / 5 + seed * 3) % 5) as f64 - 2.0), bytes);
    }
    Cuda::upload(&bytes, &shape, dtype, &DEVICE)
}

/// All elements of a tensor's memory up to its last.
pub fn memory(x: &Tensor) -> Vec<f64> {
    let last: isize = x.dims().iter().zip(x.strides()).map(|(&n, &s)| (n as isize - 1) * s).sum();
    let count = x.layout().offset() + last as usize + 1;
    let whole = x.with_layout(Layout::contiguous(Shape::from([count])));
    let number = |scalar| {
        let mut bytes = [0; 8];
        DType::F64.encode(scalar, &mut bytes);
        f64::from_ne_bytes(bytes)
    };
    whole.to_scalars().into_iter().map(number).collect()
}

/// Requires that a kernel would do it: the stand-in of the driver has none of that name.
pub fn by_kernel(f: impl FnOnce() -> Tensor) {
    asked("run");
    let error = catch(f).unwrap_err();
    assert!(matches!(error, Error::Backend { .. }), "{error}");
    assert!(error.to_string().contains("is not in its program"), "{error}");
    assert_eq!(asked("run"), [""; 0]);
}
