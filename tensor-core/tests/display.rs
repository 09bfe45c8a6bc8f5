//! Printing: the expected texts are what PyTorch prints for the same tensors.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Element, Shape, Tensor};

fn text<T: Element>(values: &[T], shape: impl Into<Shape>) -> String {
    Tensor::<Cpu>::from_slice(values, shape, &CpuDevice).to_string()
}

#[test]
fn floats() {
    assert_eq!(text(&[1.0f32, 2.0], [2]), "tensor([1., 2.])");
    assert_eq!(text(&[1.5f32, -2.0], [2]), "tensor([ 1.5000, -2.0000])");
    assert_eq!(text(&[3.25f32], ()), "tensor(3.2500)");
    assert_eq!(text(&[1.0f32, 2000.0], [2]), "tensor([1.0000e+00, 2.0000e+03])");
    assert_eq!(text(&[1e-5f32, 0.5], [2]), "tensor([1.0000e-05, 5.0000e-01])");
    assert_eq!(text(&[0.0f32, 0.0], [2]), "tensor([0., 0.])");
    assert_eq!(text(&[f32::NAN, 1.0, f32::INFINITY], [3]), "tensor([nan, 1., inf])");
    assert_eq!(text(&[f32::NAN, 1.5, f32::NEG_INFINITY], [3]), "tensor([   nan, 1.5000,   -inf])");
}

#[test]
fn other_dtypes_are_named() {
    assert_eq!(text(&[1i64, -20], [2]), "tensor([  1, -20])");
    assert_eq!(text(&[1u8, 20], [2]), "tensor([ 1, 20], dtype=u8)");
    assert_eq!(text(&[true, false], [2]), "tensor([ True, False])");
    assert_eq!(text(&[1.5f64], [1]), "tensor([1.5000], dtype=f64)");
}

#[test]
fn dimensions() {
    assert_eq!(text(&[1i64, 2, 3, 4], [2, 2]), "tensor([[1, 2],\n        [3, 4]])");
    assert_eq!(text(&[1i64, 2, 3, 4], [2, 1, 2]), "tensor([[[1, 2]],\n\n        [[3, 4]]])");
    assert_eq!(text::<f32>(&[], [0]), "tensor([])");
    assert_eq!(text::<f32>(&[], [2, 0]), "tensor([], size=(2, 0))");
    assert_eq!(text::<i64>(&[], [0]), "tensor([], dtype=i64)");
}

#[test]
fn long_ones_wrap_and_are_summarised() {
    let values: Vec<i64> = (0..30).collect();
    assert_eq!(
        text(&values, [30]),
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,\n        \
         18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])"
    );
    let values: Vec<i64> = (0..2000).collect();
    assert_eq!(text(&values, [2000]), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])");
    assert_eq!(
        text(&values, [1000, 2]),
        "tensor([[   0,    1],\n        [   2,    3],\n        [   4,    5],\n        ...,\n        \
         [1994, 1995],\n        [1996, 1997],\n        [1998, 1999]])"
    );
}
