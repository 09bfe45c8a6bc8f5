//! Short names for tests on the reference backend.
#![allow(dead_code, reason = "each test file uses its own part")]

use kiln_conformance::{Reference, ReferenceDevice};
use kiln_tensor_core::{ArrayData, Error, Tensor, catch};

pub type Ref = Tensor<Reference>;
pub const DEV: &ReferenceDevice = &ReferenceDevice;

pub fn t(data: impl ArrayData) -> Ref {
    Tensor::new(data, DEV)
}

/// The values as `f64`, whatever the dtype.
pub fn v(x: &Ref) -> Vec<f64> {
    x.to_dtype(kiln_tensor_core::DType::F64).to_vec()
}

/// Requires values within 1e-12, relative to those wanted where they are large; NaN equals NaN.
#[track_caller]
pub fn close(x: &Ref, wanted: &[f64]) {
    let got = v(x);
    let near = |a: f64, b: f64| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-12 * b.abs().max(1.0)
    };
    let alike = got.len() == wanted.len() && got.iter().zip(wanted).all(|(&a, &b)| near(a, b));
    assert!(alike, "got {got:?}, wanted {wanted:?}");
}

/// The error that `f` raises.
#[track_caller]
pub fn refused<T>(f: impl FnOnce() -> T) -> Error {
    match catch(f) {
        Ok(_) => panic!("nothing was refused"),
        Err(error) => error,
    }
}
