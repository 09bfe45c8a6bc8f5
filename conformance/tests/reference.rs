//! The reference backend against answers worked out by hand: it is what the others are compared with.

use kiln_conformance::{Reference, ReferenceDevice as Dev};
use kiln_tensor_core::{
    Backend, ConvSpec, DType, Element, Error, Expr, Kernel, PoolSpec, ReduceOp, ScanOp, ScatterOp,
    Shape, Tensor, ViewOp, catch,
};

type Ref = Tensor<Reference>;
type B = Reference;

fn tensor<T: Element, const N: usize>(data: &[T], shape: [usize; N]) -> Ref {
    Tensor::from_slice(data, shape, &Dev)
}

fn floats<const N: usize>(data: impl IntoIterator<Item = i32>, shape: [usize; N]) -> Ref {
    let data: Vec<f64> = data.into_iter().map(f64::from).collect();
    tensor(&data, shape)
}

fn reduce(op: ReduceOp, x: &Ref, dims: &[usize]) -> Ref {
    let identity = Expr::new("identity", [x.dtype()], |[x]| x);
    B::reduce(op, Kernel::new(&identity), &[x], x.shape(), dims)
}

#[test]
fn values_round_to_their_dtype_when_stored() {
    let third = tensor(&[1.0f64, 2.0], [2]) / 3.0;
    assert_eq!(third.to_dtype(DType::F32).to_vec::<f32>(), [1.0 / 3.0, 2.0 / 3.0]);
    assert_eq!(third.to_dtype(DType::BF16).to_dtype(DType::F64).to_vec::<f64>()[0], 0.333_984_375);
    let large = tensor(&[300i64, -1], [2]);
    assert_eq!(large.to_dtype(DType::U8).to_vec::<u8>(), [44, 255]);
    assert_eq!(large.to_dtype(DType::Bool).to_vec::<bool>(), [true, true]);
}

#[test]
fn programs_broadcast_and_write_through_views() {
    let a = floats(0..6, [2, 3]);
    let b = floats([10, 20], [2, 1]);
    assert_eq!((&a + &b).to_vec::<f64>(), [10., 11., 12., 23., 24., 25.]);
    let version = B::version(&a);
    a.t().narrow(0, 1, 2).add_(100.0);
    assert_eq!(a.to_vec::<f64>(), [0., 101., 102., 3., 104., 105.]);
    assert_eq!(B::version(&a), version + 1);
}

#[test]
fn reductions() {
    let x = floats([3, -1, 2, 2, 5, -1], [2, 3]);
    assert_eq!(reduce(ReduceOp::Sum, &x, &[0]).to_vec::<f64>(), [5., 4., 1.]);
    assert_eq!(reduce(ReduceOp::Prod, &x, &[1]).to_vec::<f64>(), [-6., -10.]);
    assert_eq!(reduce(ReduceOp::Max, &x, &[0, 1]).to_vec::<f64>(), [5.]);
    assert_eq!(reduce(ReduceOp::Min, &x, &[1]).shape(), &Shape::from([2, 1]));
    assert_eq!(reduce(ReduceOp::ArgMin, &x, &[0]).to_vec::<i64>(), [1, 0, 1]);
    let ties = tensor(&[2.0f32, f32::NAN, f32::NAN, 2.0], [4]);
    assert_eq!(reduce(ReduceOp::ArgMax, &ties, &[0]).to_vec::<i64>(), [1]);
    assert_eq!(reduce(ReduceOp::ArgMin, &ties, &[0]).to_vec::<i64>(), [1]);
    assert!(reduce(ReduceOp::Min, &ties, &[0]).item().is_nan());
    let empty = tensor::<f32, 2>(&[], [2, 0]);
    assert_eq!(reduce(ReduceOp::Sum, &empty, &[1]).to_vec::<f32>(), [0.0; 2]);
    assert_eq!(reduce(ReduceOp::Prod, &empty, &[1]).to_vec::<f32>(), [1.0; 2]);
    let truth = tensor(&[true, false, true, true], [2, 2]);
    assert_eq!(reduce(ReduceOp::Any, &truth, &[1]).to_vec::<bool>(), [true, true]);
    assert_eq!(reduce(ReduceOp::All, &truth, &[0]).to_vec::<bool>(), [true, false]);
}

#[test]
fn scans_wrap_in_the_dtype() {
    let x = tensor(&[100i8, 27, 1, 2], [2, 2]);
    assert_eq!(B::scan(ScanOp::Sum, &x, 1).to_vec::<i8>(), [100, 127, 1, 3]);
    assert_eq!(B::scan(ScanOp::Sum, &x, 0).to_vec::<i8>(), [100, 27, 101, 29]);
    assert_eq!(B::scan(ScanOp::Prod, &x, 1).to_vec::<i8>(), [100, (100i32 * 27) as i8, 1, 2]);
}

#[test]
fn order_is_stable_and_nan_is_largest() {
    let x = tensor(&[2.0, f64::NAN, -0.0, 0.0, 2.0, f64::NEG_INFINITY], [6]);
    assert_eq!(B::sort(&x, 0, false).1.to_vec::<i64>(), [5, 2, 3, 0, 4, 1]);
    assert_eq!(B::sort(&x, 0, true).1.to_vec::<i64>(), [1, 0, 4, 2, 3, 5]);
    assert_eq!(B::topk(&x, 2, 0, false).1.to_vec::<i64>(), [5, 2]);
    let (values, positions) = B::topk(&x, 3, 0, true);
    assert!(values.to_vec::<f64>()[0].is_nan());
    assert_eq!(positions.to_vec::<i64>(), [1, 0, 4]);
}

#[test]
fn products() {
    let (a, b) = (floats(0..12, [2, 2, 3]), floats(0..6, [3, 2]).expand([2, 3, 2]));
    let wanted = [10., 13., 28., 40., 46., 67., 64., 94.];
    assert_eq!(B::matmul(&a, &b).to_vec::<f64>(), wanted);
    let whole = B::matmul(&a.to_dtype(DType::U8), &b.to_dtype(DType::U8));
    assert_eq!(whole.to_vec::<u8>(), [10, 13, 28, 40, 46, 67, 64, 94]);
}

/// `torch.nn.functional.conv2d(arange(20).view(1, 2, 2, 5), arange(12).view(2, 1, 2, 3), stride=(1, 2),
/// padding=(0, 1), dilation=(1, 2), groups=2)` and its gradients for `arange(8).view_as(y) + 1`.
#[test]
fn convolution() {
    let x = floats(0..20, [1, 2, 2, 5]);
    let w = floats(0..12, [2, 1, 2, 3]);
    let spec = ConvSpec {
        stride: [1, 2].as_slice().into(),
        padding: [0, 1].as_slice().into(),
        dilation: [1, 2].as_slice().into(),
        groups: 2,
    };
    let y = B::conv(&x, &w, &spec);
    assert_eq!(y.shape(), &Shape::from([1, 2, 1, 2]));
    assert_eq!(y.to_vec::<f64>(), CONV);
    let g = floats(1..5, [1, 2, 1, 2]);
    assert_eq!(B::conv_grad_input(&g, &w, x.shape(), &spec).to_vec::<f64>(), CONV_INPUT);
    assert_eq!(B::conv_grad_weight(&g, &x, w.shape(), &spec).to_vec::<f64>(), CONV_WEIGHT);
}

#[test]
fn pooling() {
    let x = floats([1, 5, 2, 5, 4, 3, 9, 0, 7], [1, 1, 3, 3]);
    let mut spec = PoolSpec::new(&[2, 2]);
    spec.stride = [1, 1].as_slice().into();
    let (values, positions) = B::max_pool(&x, &spec);
    assert_eq!(values.to_vec::<f64>(), [5., 5., 9., 7.]);
    assert_eq!(positions.to_vec::<i64>(), [1, 1, 6, 8]);
    assert_eq!(B::avg_pool(&x, &spec).to_vec::<f64>(), [3.75, 3.5, 4.5, 3.5]);

    // Windows at −1 and 1, the second reaching over the edge and past the padding.
    let spec = PoolSpec {
        stride: [2].as_slice().into(),
        padding: [1].as_slice().into(),
        ceil_mode: true,
        ..PoolSpec::new(&[3])
    };
    let x = floats([2, 4], [1, 1, 2]);
    assert_eq!(B::avg_pool(&x, &spec).to_vec::<f64>(), [2.0, 2.0]);
    let inside = PoolSpec { count_include_pad: false, ..spec.clone() };
    assert_eq!(B::avg_pool(&x, &inside).to_vec::<f64>(), [3.0, 4.0]);
    let fixed = PoolSpec { divisor: Some(1), ..spec };
    assert_eq!(B::avg_pool(&x, &fixed).to_vec::<f64>(), [6.0, 4.0]);
    let grad = floats([1, 10], [1, 1, 2]);
    assert_eq!(B::avg_pool_grad(&grad, x.shape(), &fixed).to_vec::<f64>(), [1.0, 11.0]);
}

#[test]
fn indexing() {
    let x = floats(0..6, [2, 3]);
    let index = tensor(&[2i64, 0, 1, 1], [2, 2]);
    assert_eq!(B::gather(&x, 1, &index).to_vec::<f64>(), [2., 0., 4., 4.]);
    let src = floats([10, 20, 30, 40], [2, 2]);
    let scatter = |op| B::scatter(op, &x, 1, &index, &src).to_vec::<f64>();
    assert_eq!(scatter(ScatterOp::Set), [20., 1., 10., 3., 40., 5.]);
    assert_eq!(scatter(ScatterOp::Add), [20., 1., 12., 3., 74., 5.]);
    assert_eq!(scatter(ScatterOp::Mul), [0., 1., 20., 3., 4800., 5.]);
    assert_eq!(scatter(ScatterOp::Max), [20., 1., 10., 3., 40., 5.]);
    assert_eq!(scatter(ScatterOp::Min), [0., 1., 2., 3., 4., 5.]);
    let rows = tensor(&[1i64, 1, 0], [3]);
    let selected = B::index_select(&x, 0, &rows);
    assert_eq!(selected.to_vec::<f64>(), [3., 4., 5., 3., 4., 5., 0., 1., 2.]);
    let added = B::index_add(&x, 0, &rows, &selected);
    assert_eq!(added.to_vec::<f64>(), [0., 2., 4., 9., 12., 15.]);
    assert_eq!(B::nonzero(&x).to_vec::<i64>(), [0, 1, 0, 2, 1, 0, 1, 1, 1, 2]);
    assert_eq!(B::nonzero(&floats([0], []).reshape(())).shape(), &Shape::from([0, 0]));
    let error = catch(|| B::gather(&x, 1, &tensor(&[3i64], [1, 1]))).unwrap_err();
    assert!(matches!(error, Error::Index { index: 3, size: 3, .. }), "{error}");
    assert!(catch(|| B::index_select(&x, 0, &tensor(&[-1i64], [1]))).is_err());
}

#[test]
fn storage_is_shared_by_views_and_counted() {
    let x = floats(0..6, [2, 3]);
    assert!(B::is_unique(&x));
    let flipped = x.view_as_op(&ViewOp::Slice { dim: 1, start: 2, len: 3, step: -1 });
    assert_eq!(flipped.to_vec::<f64>(), [2., 1., 0., 5., 4., 3.]);
    assert!(B::shares_storage(&x, &flipped) && !B::is_unique(&x));
    assert!(!B::shares_storage(&x, &x.copy()));
    assert!(B::memory(&Dev).allocated >= 48 && B::memory(&Dev).peak >= 48);
    assert!(B::empty(&[1].into(), DType::F32, &Dev).item().is_nan());
}

const CONV: [f64; 4] = [71.0, 53.0, 539.0, 481.0];
#[rustfmt::skip]
const CONV_INPUT: [f64; 20] = [
    0.0, 1.0, 0.0, 4.0, 0.0, 0.0, 10.0, 0.0, 13.0, 0.0,
    0.0, 45.0, 0.0, 52.0, 0.0, 0.0, 66.0, 0.0, 73.0, 0.0,
];
const CONV_WEIGHT: [f64; 12] =
    [2.0, 7.0, 3.0, 12.0, 22.0, 8.0, 44.0, 85.0, 39.0, 64.0, 120.0, 54.0];
