//! Making tensors: values, dtypes and refusals.

mod common;

use common::{DEV, Ref, close, refused, t, v};
use kiln_tensor_core::{DType, Error, Tensor, manual_seed};

#[test]
fn nested_data() {
    let x = t([[1f32, 2., 3.], [4., 5., 6.]]);
    assert_eq!((x.dims(), x.dtype()), (&[2usize, 3][..], DType::F32));
    assert_eq!(x.to_vec::<f32>(), [1., 2., 3., 4., 5., 6.]);
    assert_eq!(t(vec![vec![true], vec![false]]).dims(), [2, 1]);
    assert_eq!(t(3i64).rank(), 0);
    assert_eq!(t(&[1u8, 2][..]).dtype(), DType::U8);
    assert_eq!(t(Vec::<f64>::new()).dims(), [0]);
    let given: Ref = Tensor::new([1.5, 2.5], (DEV, DType::I32));
    assert_eq!(given.to_vec::<i32>(), [1, 2]);
    assert!(matches!(refused(|| t(vec![vec![1.0], vec![1.0, 2.0]])), Error::Shape { .. }));
}

#[test]
fn ranges() {
    let a = |steps: Ref| (steps.dtype(), v(&steps));
    assert_eq!(a(Tensor::arange(4, DEV)), (DType::I64, vec![0., 1., 2., 3.]));
    assert_eq!(a(Tensor::arange(2..5, DEV)), (DType::I64, vec![2., 3., 4.]));
    assert_eq!(a(Tensor::arange((5, 0, -2), DEV)), (DType::I64, vec![5., 3., 1.]));
    assert_eq!(a(Tensor::arange((0.0, 1.0, 0.25), DEV)), (DType::F32, vec![0., 0.25, 0.5, 0.75]));
    assert_eq!(a(Tensor::arange(3, (DEV, DType::F16))), (DType::F16, vec![0., 1., 2.]));
    assert_eq!(v(&Tensor::arange(3..3, DEV)), [0.; 0]);
    assert!(matches!(refused(|| Ref::arange((0, 3, 0), DEV)), Error::Argument { .. }));
    assert!(matches!(refused(|| Ref::arange((3, 0), DEV)), Error::Argument { .. }));
    close(&Tensor::linspace(0.0, 1.0, 5, (DEV, DType::F64)), &[0., 0.25, 0.5, 0.75, 1.]);
    close(&Tensor::linspace(-3.0, 0.1, 2, (DEV, DType::F64)), &[-3., 0.1]);
    assert_eq!(v(&Tensor::linspace(7.0, 9.0, 1, DEV)), [7.]);
    assert_eq!(v(&Tensor::linspace(0.0, 0.3, 1001, (DEV, DType::F64)))[1000], 0.3);
}

#[test]
fn matrices_of_positions() {
    assert_eq!(v(&Tensor::eye(2, DEV)), [1., 0., 0., 1.]);
    assert_eq!(v(&Tensor::eye([2, 3], DEV)), [1., 0., 0., 0., 1., 0.]);
    assert_eq!(v(&Tensor::eye([4, 1], DEV)), [1., 0., 0., 0.]);
    let x = t([[[1, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]]);
    assert_eq!(v(&x.tril(0)), [1., 0., 0., 4., 5., 0., 7., 0., 0., 10., 11., 0.]);
    assert_eq!(v(&x.triu(1)), [0., 2., 3., 0., 0., 6., 0., 8., 9., 0., 0., 12.]);
    assert_eq!(v(&x.triu(-1)), v(&x));
    assert!(matches!(refused(|| t([1, 2]).tril(0)), Error::Shape { .. }));
    let codes = t([[2i64], [0]]).one_hot(3);
    assert_eq!((codes.dims(), v(&codes)), (&[2, 1, 3][..], vec![0., 0., 1., 1., 0., 0.]));
    assert!(matches!(refused(|| t([3i64]).one_hot(3)), Error::Index { index: 3, .. }));
    assert!(matches!(refused(|| t([1f32]).one_hot(3)), Error::DType { .. }));
}

#[test]
fn filled() {
    let x = t([[1f32, 2.], [3., 4.]]);
    assert_eq!(v(&x.full_like(7)), [7.; 4]);
    assert_eq!((x.ones_like().dtype(), v(&x.zeros_like())), (DType::F32, vec![0.; 4]));
    x.narrow(1, 1, 1).fill_(9);
    assert_eq!(v(&x), [1., 9., 3., 9.]);
    assert_eq!(v(&x.zero_()), [0.; 4]);
    assert_eq!(v(&t([1i64, 2]).fill_(2.9)), [2., 2.]);
    assert!(matches!(refused(|| t([1f32]).expand([3]).fill_(0)), Error::Shape { .. }));
    assert_eq!(Ref::full((), true, DEV).dtype(), DType::Bool);
}

#[test]
fn beside_another() {
    let x = t([[1.0f64, -2.0], [0.5, 0.0]]);
    assert_eq!((x.ndim(), x.element_size(), x.nbytes(), x.is_floating_point()), (2, 8, 32, true));
    assert_eq!((x.expand([3, 2, 2]).nbytes(), t([1i32]).is_floating_point()), (96, false));
    assert_eq!((x.new_ones([1, 3]).dims(), x.new_full((), 2.5).item()), (&[1, 3][..], 2.5));
    let wild = t([f64::NAN, f64::INFINITY, 1.0]);
    assert_eq!(v(&wild.nan_to_num_(0.5, Some(9.0), None)), [0.5, 9.0, 1.0]);
    assert_eq!(v(&wild), [0.5, 9.0, 1.0]);
    assert_eq!(t([1i64, 2]).type_as(&x).dtype(), DType::F64);
    // As `torch.diagflat([[1, -2], [0.5, 0]], -1)`.
    let below = x.diagflat(-1);
    assert_eq!((below.dims(), v(&below.diagonal(-1, 0, 1))), (&[5, 5][..], vec![1., -2., 0.5, 0.]));
    assert_eq!(below.count_nonzero().item(), 3.0);
    // As `torch.unravel_index(tensor([0, 7, 23]), (2, 3, 4))`.
    let places = t([0i64, 7, 23]).unravel_index([2, 3, 4]);
    let places: Vec<_> = places.iter().map(v).collect();
    assert_eq!(places, [[0., 0., 1.], [0., 1., 2.], [0., 3., 3.]]);
    assert!(matches!(refused(|| x.unravel_index([4])), Error::DType { .. }));
}

#[test]
fn random_numbers_follow_the_seed() {
    let draw = || {
        manual_seed(3);
        (v(&Ref::rand([50], DEV)), v(&Ref::randn([50], DEV)), v(&Ref::randperm(50, DEV)))
    };
    let (uniform, normal, mut order) = draw();
    assert_eq!((uniform.clone(), normal.clone(), order.clone()), draw());
    assert!(uniform.iter().all(|u| (0.0..1.0).contains(u)));
    assert!((uniform.iter().sum::<f64>() / 50.0 - 0.5).abs() < 0.15);
    assert!((normal.iter().map(|z| z * z).sum::<f64>() / 50.0 - 1.0).abs() < 0.6);
    order.sort_by(f64::total_cmp);
    assert!(order.iter().enumerate().all(|(i, &o)| o == i as f64));
    let dice = v(&Ref::randint(-2, 3, [300], DEV));
    assert!((-2..3).all(|face| dice.contains(&f64::from(face))));
    assert!(dice.iter().all(|d| (-2.0..3.0).contains(d)));
    assert_eq!(v(&t([0.0, 1.0, 0.0, 1.0]).bernoulli()), [0., 1., 0., 1.]);
    let x = t([[1.0, 2.0], [3.0, 4.0]]);
    assert_ne!(v(&x.rand_like()), v(&x.randn_like()));
    assert!(matches!(refused(|| Ref::randint(1, 1, [2], DEV)), Error::Argument { .. }));
    assert!(matches!(refused(|| t([1i64]).bernoulli()), Error::DType { .. }));
}
