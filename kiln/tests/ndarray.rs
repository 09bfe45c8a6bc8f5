//! Arrays of the crate `ndarray` become tensors and come back, whatever their order in memory and dtype.

use kiln::autograd::Autograd;
use kiln::cpu::{Cpu, CpuDevice};
use kiln::prelude::*;
use kiln::tensor::Element;
use kiln::{Error, catch};
use ndarray::{Array, Array3, ArrayD, Axis, Ix0, Ix3, IxDyn, ShapeBuilder, s};

fn counting() -> Array3<f32> {
    Array::from_shape_fn((2, 3, 5), |(i, j, k)| (100 * i + 10 * j + k) as f32)
}

/// There and back.
#[track_caller]
fn survives(array: &ndarray::ArrayRef<f32, Ix3>) {
    let x = Tensor::from_ndarray(array, &Device::cpu());
    assert_eq!((x.dims(), x.dtype(), x.is_contiguous()), (array.shape(), F32, true));
    let back = x.to_ndarray::<f32>().into_dimensionality::<Ix3>().unwrap();
    assert_eq!(back, *array);
}

#[test]
fn arrays_of_any_layout_keep_their_elements_in_place() {
    let array = counting();
    survives(&array);
    survives(&array.view().reversed_axes());
    survives(&array.slice(s![.., 1..;2, ..;-1]));
    survives(&array.slice(s![1.., .., 2..2]));
    survives(&array.index_axis(Axis(0), 1).broadcast((4, 3, 5)).unwrap());
    let mut columns = Array3::zeros((2, 3, 5).f());
    columns.assign(&array);
    assert!(columns.as_slice().is_none());
    survives(&columns);
}

#[test]
fn tensors_of_any_layout_keep_their_elements_in_place() {
    let x = Tensor::from_ndarray(&counting(), &Device::cpu());
    let turned = x.permute([2, 0, 1]).narrow(0, 1, 3);
    let array = turned.to_ndarray::<f32>();
    assert_eq!(array.shape(), [3, 2, 3]);
    assert_eq!(array[[2, 1, 1]], 113.0);
    let spread = x.select(0, 1).expand([2, 3, 5]).to_ndarray::<f32>();
    assert_eq!((spread[[0, 2, 4]], spread[[1, 2, 4]]), (124.0, 124.0));
    assert_eq!(x.sum().to_ndarray::<f32>().into_dimensionality::<Ix0>().unwrap().ndim(), 0);
}

fn element<T: Element + PartialEq + std::fmt::Debug>(values: [T; 3]) {
    let array = ArrayD::from_shape_vec(IxDyn(&[3, 1]), values.to_vec()).unwrap();
    let x = kiln::tensor::Tensor::<Autograd<Cpu>>::from_ndarray(&array, &CpuDevice);
    assert_eq!(x.dtype(), T::DTYPE);
    assert_eq!(x.to_ndarray::<T>(), array);
}

#[test]
fn every_dtype_keeps_its_bits() {
    element([1.5f64, -0.0, f64::MAX]);
    element([1.5f32, -0.0, f32::MIN_POSITIVE]);
    element([1.5f32, 2.0, -3.0].map(half::f16::from_f32));
    element([1.5f32, 2.0, -3.0].map(half::bf16::from_f32));
    element([i64::MIN, 0, i64::MAX]);
    element([i32::MIN, 0, i32::MAX]);
    element([i16::MIN, 0, i16::MAX]);
    element([i8::MIN, 0, i8::MAX]);
    element([0u8, 1, 255]);
    element([true, false, true]);
}

#[test]
fn another_dtype_is_refused() {
    let error = catch(|| Tensor::ones([2], &Device::cpu()).to_ndarray::<i64>()).unwrap_err();
    assert!(matches!(error, Error::DType { op: "to_ndarray", .. }), "{error:?}");
}
