//! Dtypes: PyTorch's promotion table, whole.

mod common;

use common::{DEV, Ref, t};
use kiln_tensor_core::DType::{self, BF16, Bool, F16, F32, F64, I8, I16, I32, I64, U8};
use kiln_tensor_core::Scalar;

/// `torch.promote_types`, rows and columns in the order of `DType::ALL`.
#[rustfmt::skip]
const TABLE: [[DType; 10]; 10] = [
    [F64, F64, F64, F64, F64, F64, F64, F64, F64, F64],
    [F64, F32, F32, F32, F32, F32, F32, F32, F32, F32],
    [F64, F32, F16, F32, F16, F16, F16, F16, F16, F16],
    [F64, F32, F32, BF16, BF16, BF16, BF16, BF16, BF16, BF16],
    [F64, F32, F16, BF16, I64, I64, I64, I64, I64, I64],
    [F64, F32, F16, BF16, I64, I32, I32, I32, I32, I32],
    [F64, F32, F16, BF16, I64, I32, I16, I16, I16, I16],
    [F64, F32, F16, BF16, I64, I32, I16, I8, I16, I8],
    [F64, F32, F16, BF16, I64, I32, I16, I16, U8, U8],
    [F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool],
];

/// `torch.result_type` of a tensor and a float, an integer, a bool.
#[rustfmt::skip]
const NUMBERS: [(Scalar, [DType; 10]); 3] = [
    (Scalar::F64(2.0),  [F64, F32, F16, BF16, F32, F32, F32, F32, F32, F32]),
    (Scalar::I64(2),  [F64, F32, F16, BF16, I64, I32, I16, I8, U8, I64]),
    (Scalar::Bool(true),  [F64, F32, F16, BF16, I64, I32, I16, I8, U8, Bool]),
];

#[test]
fn tensors_promote_as_in_pytorch() {
    for (row, a) in TABLE.iter().zip(DType::ALL) {
        for (&wanted, b) in row.iter().zip(DType::ALL) {
            assert_eq!(a.promote(b), wanted, "{a} and {b}");
            let sum = Ref::ones([1], (DEV, a)) + Ref::ones([1], (DEV, b));
            assert_eq!(sum.dtype(), wanted, "tensors of {a} and {b}");
        }
    }
}

#[test]
fn numbers_and_0d_tensors_change_the_category_only() {
    for (number, row) in NUMBERS {
        for (wanted, dtype) in row.into_iter().zip(DType::ALL) {
            assert_eq!(dtype.promote_scalar(number), wanted, "{dtype} and {number:?}");
            let sum = Ref::ones([1], (DEV, dtype)) + number;
            assert_eq!(sum.dtype(), wanted, "tensor of {dtype} and {number:?}");
        }
    }
    assert_eq!((t([1i32]) + t(1i64)).dtype(), I32);
    assert_eq!((t([1i32]) + t(1.0f64)).dtype(), F64);
    assert_eq!((t(1f32) + t([half::f16::ONE])).dtype(), F16);
}

#[test]
fn conversions_truncate_wrap_and_test() {
    let x = t([-1.9, 300.7, 0.0]);
    assert_eq!(x.to_dtype(I32).to_vec::<i32>(), [-1, 300, 0]);
    assert_eq!(x.to_dtype(I64).to_dtype(U8).to_vec::<u8>(), [255, 44, 0]);
    assert_eq!(x.to_dtype(Bool).to_vec::<bool>(), [true, true, false]);
    let item = |x: Ref| x.to_scalar();
    assert_eq!(item(t(3i64)), Scalar::I64(3));
    assert_eq!(item(t(true)), Scalar::Bool(true));
    assert_eq!(item(t([[2.5f32]])), Scalar::F64(2.5));
}
