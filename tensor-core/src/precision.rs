//! How exactly `f32` is multiplied: `torch.set_float32_matmul_precision`.

use std::sync::atomic::{AtomicU8, Ordering};

/// How exactly matrices of `f32` are multiplied. Sums are in `f32` always; what may be given up for speed is bits of
/// the numbers that are multiplied. Other dtypes do not heed it.
///
/// It is a permission: a backend that gains nothing multiplies exactly. Of Kiln's, the CUDA backend makes use of it,
/// where cuBLASLt or cuDNN does a product or a convolution; the CPU and OpenCL always compute at the highest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MatmulPrecision {
    /// All 24 bits of `f32`.
    #[default]
    Highest,
    /// At least the 11 bits of TF32: an error of about 5e-4 in each factor.
    High,
    /// At least the 8 bits of `bf16`: an error of about 4e-3 in each factor.
    Medium,
}

const ALL: [MatmulPrecision; 3] =
    [MatmulPrecision::Highest, MatmulPrecision::High, MatmulPrecision::Medium];

static PRECISION: AtomicU8 = AtomicU8::new(MatmulPrecision::Highest as u8);

/// Sets how exactly `f32` is multiplied, for the whole process; the highest if nobody sets it.
///
/// ```
/// use kiln_tensor_core::{MatmulPrecision, float32_matmul_precision, set_float32_matmul_precision};
/// assert_eq!(float32_matmul_precision(), MatmulPrecision::Highest);
/// set_float32_matmul_precision(MatmulPrecision::High);
/// assert_eq!(float32_matmul_precision(), MatmulPrecision::High);
/// ```
pub fn set_float32_matmul_precision(precision: MatmulPrecision) {
    PRECISION.store(precision as u8, Ordering::Relaxed);
}

/// How exactly `f32` is multiplied.
pub fn float32_matmul_precision() -> MatmulPrecision {
    ALL[usize::from(PRECISION.load(Ordering::Relaxed))]
}
