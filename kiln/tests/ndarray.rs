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

#[test]
fn an_array_is_shared_where_it_lies() {
    use kiln::tensor::SharedArray;
    let shared = SharedArray::new(counting());
    let x = Tensor::from_shared_ndarray(&shared, &Device::cpu());
    assert_eq!(x.dims(), [2, 3, 5]);
    x.select(0, 1).fill_(0.0);
    assert_eq!(shared.with(|array| array[[1, 2, 3]]), 0.0);
    shared.with_mut(|mut array| array[[0, 1, 1]] = -1.0);
    assert_eq!(x.i((0, 1, 1)).item(), -1.0);
    // Other orders are brought into rows first; a part of an array keeps its place.
    let turned = SharedArray::new(counting().reversed_axes());
    assert_eq!(Tensor::from_shared_ndarray(&turned, &Device::cpu()).i((4, 2, 1)).item(), 124.0);
    let part = SharedArray::new(counting().slice_move(s![1.., .., ..]));
    let x = Tensor::from_shared_ndarray(&part, &Device::cpu());
    x.mul_(2.0);
    assert_eq!(part.with(|array| array[[0, 0, 1]]), 202.0);
    let none = SharedArray::new(counting().slice_move(s![2.., .., ..]));
    assert_eq!(Tensor::from_shared_ndarray(&none, &Device::cpu()).numel(), 0);
}
