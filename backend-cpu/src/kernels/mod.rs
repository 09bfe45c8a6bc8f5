//! Loops over elements. `unsafe` lives here and in `storage`.

pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod cat;
pub(crate) mod conv;
pub(crate) mod dispatch;
pub(crate) mod expr;
pub(crate) mod gemm;
pub(crate) mod index;
pub(crate) mod layer_norm;
pub(crate) mod linalg;
pub(crate) mod map;
pub(crate) mod math;
pub(crate) mod matmul;
pub(crate) mod nonzero;

pub(crate) mod pool;
pub(crate) mod reduce;
pub(crate) mod rms_norm;
pub(crate) mod rows;
pub(crate) mod scan;
pub(crate) mod simd;
pub(crate) mod softmax;
pub(crate) mod sort;
pub(crate) mod strides;
pub(crate) mod walk;
pub(crate) mod workers;
