//! From a run-time dtype to a Rust type.

/// Runs `$body` with `$T` an unsigned integer of the dtype's size: for kernels that only move elements.
macro_rules! by_size {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $T = u8;
                $body
            }
            2 => {
                type $T = u16;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u64;
                $body
            }
        }
    };
}

/// Runs `$body` with `$T` the type that elements are computed in memory as; narrow floats have been
/// widened before, and bools are a case of their own.
macro_rules! by_number {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            kiln_tensor_core::DType::F64 => {
                type $T = f64;
                $body
            }
            kiln_tensor_core::DType::F32 => {
                type $T = f32;
                $body
            }
            kiln_tensor_core::DType::I64 => {
                type $T = i64;
                $body
            }
            kiln_tensor_core::DType::I32 => {
                type $T = i32;
                $body
            }
            kiln_tensor_core::DType::I16 => {
                type $T = i16;
                $body
            }
            kiln_tensor_core::DType::I8 => {
                type $T = i8;
                $body
            }
            kiln_tensor_core::DType::U8 => {
                type $T = u8;
                $body
            }
            other => crate::kernels::dispatch::wrong_dtype($op, other),
        }
    };
}

/// Runs `$body` with `$T` either `f64` or `f32`; narrow floats have been widened before.
macro_rules! by_float {
    ($op:expr, $dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            kiln_tensor_core::DType::F64 => {
                type $T = f64;
                $body
            }
            kiln_tensor_core::DType::F32 => {
                type $T = f32;
                $body
            }
            other => crate::kernels::dispatch::wrong_dtype($op, other),
        }
    };
}

pub(crate) use {by_float, by_number, by_size};

use kiln_tensor_core::{DType, Error, Tensor, raise};

use crate::Cpu;

/// Says that `op` does not compute with `dtype`.
#[cold]
#[track_caller]
pub(crate) fn wrong_dtype(op: &'static str, dtype: DType) -> ! {
    raise(Error::DType {
        op,
        dtypes: vec![dtype],
        why: "it does not compute with this dtype; convert with `to_dtype`".into(),
    })
}

/// Whether kernels compute with this dtype in `f32` and round once at the end.
pub(crate) fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// `x` in the dtype that kernels compute in: narrow floats become `f32`, the rest stays as it is.
pub(crate) fn widen(x: &Tensor<Cpu>) -> Tensor<Cpu> {
    if is_narrow(x.dtype()) { x.to_dtype(DType::F32) } else { x.clone() }
}
