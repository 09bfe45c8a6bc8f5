//! Reductions and order: values against PyTorch's.

mod common;

use common::{Ref, close, refused, t, v};
use kiln_conformance::Reference;
use kiln_tensor_core::{Backend, DType, Error};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

#[test]
fn sums_products_means() {
    let x = t([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]]);
    assert_eq!(v(&x.sum()), [5.5]);
    assert_eq!(v(&x.sum_dims([0], false)), [1.5, 2., 2.]);
    assert_eq!(x.sum_dims([-1], true).dims(), [2, 1]);
    assert_eq!(v(&x.prod()), [12.]);
    assert_eq!(v(&x.prod_dims([1], false)), [-6., -2.]);
    close(&x.mean(), &[5.5 / 6.0]);
    close(&x.mean_dims([0, 1], true), &[5.5 / 6.0]);
    assert_eq!(t([true, true]).sum().dtype(), DType::I64);
    assert_eq!(v(&t([[1.0; 0]; 2]).sum_dims([1], false)), [0., 0.]);
    assert!(matches!(refused(|| t([1, 2]).mean()), Error::DType { op: "mean", .. }));
    assert!(matches!(refused(|| x.sum_dims([2], false)), Error::Index { .. }));
    assert!(matches!(refused(|| x.sum_dims([0, -2], false)), Error::Argument { .. }));
}

#[test]
fn means_of_narrow_floats_do_not_overflow() {
    let x = t([60000f32; 4]).to_dtype(DType::F16);
    assert_eq!(v(&x.mean()), [60000.]);
    assert_eq!(v(&x.var()), [0.]);
    assert_eq!(v(&x.reshape([1, 4]).layer_norm([4], None, None, 1e-5)), [0.; 4]);
    assert_eq!(v(&(&x / 240.0).norm()), [500.]);
}

/// The sum of these gradients is beyond the largest `f16`, their mean is not.
#[test]
fn norm_gradients_of_narrow_floats_do_not_overflow() {
    let row: Vec<f32> = (0..64).map(|i| (i % 2) as f32 * 2.0 - 1.0).collect();
    let x = t(row).reshape([1, 64]).to_dtype(DType::F16);
    let grad = (&x * 1500.0 + 1500.0).to_dtype(DType::F16);
    let [y, mean, rstd] = Reference::layer_norm(&x, None, None, 1, 0.0);
    assert_eq!(v(&y), v(&x));
    let [in_x, in_weight, _] = Reference::layer_norm_grad(&grad, &x, &mean, &rstd, None, 1, 0.0);
    assert_eq!(in_x.dtype(), DType::F16);
    assert_eq!(v(&in_x), [0.; 64]);
    assert_eq!(v(&in_weight), v(&(&grad * &y)));
    let channels = |x: &Ref| x.reshape([64, 1]);
    let [in_x, ..] = Reference::batch_norm_grad(
        &channels(&grad),
        &channels(&x),
        &t([0f32]).to_dtype(DType::F16),
        &t([1f32]).to_dtype(DType::F16),
        None,
        0.0,
    );
    assert_eq!(v(&in_x), [0.; 64]);
}

#[test]
fn spread() {
    let x = t([[1.0, 2.0, 4.0], [0.0, 0.0, 3.0]]);
    close(&x.var_dims([1], 1.0, false), &[7.0 / 3.0, 3.0]);
    close(&x.var_dims([1], 0.0, false), &[14.0 / 9.0, 2.0]);
    close(&x.std_dims([1], 1.0, true), &[(7f64 / 3.0).sqrt(), 3f64.sqrt()]);
    close(&x.std(), &[(8f64 / 3.0).sqrt()]);
    assert!(v(&t([1.0]).var())[0].is_nan());
    close(&(x + 1e8).var_dims([1], 1.0, false), &[7.0 / 3.0, 3.0]);
}

#[test]
fn extrema() {
    let x = t([[3.0, 1.0, 3.0], [-1.0, NAN, 2.0]]);
    assert!(v(&x.max())[0].is_nan());
    let (values, at) = x.max_dim(1, false);
    close(&values, &[3.0, NAN]);
    assert_eq!(v(&at), [0., 1.]);
    let (values, at) = x.narrow(0, 0, 1).min_dim(1, true);
    assert_eq!((v(&values), v(&at), at.dims()), (vec![1.], vec![1.], &[1, 1][..]));
    assert_eq!(v(&t([[1, 5], [7, 2]]).amax_dims([0], false)), [7., 5.]);
    assert_eq!(v(&t([[1, 5], [7, 2]]).amin_dims([0, 1], false)), [1.]);
    assert_eq!(v(&t([[1, 5], [7, 2]]).argmax(0, true)), [1., 0.]);
    assert_eq!(v(&t([[1, 5], [7, 2]]).argmax_all()), [2.]);
    assert_eq!(v(&t([[1, 5], [7, 0]]).argmin_all()), [3.]);
    assert!(matches!(refused(|| t([1.0; 0]).max()), Error::Shape { op: "max", .. }));
    assert!(matches!(refused(|| t([[1.0; 0]; 2]).argmax(1, false)), Error::Shape { .. }));
    assert_eq!(t([[1.0; 0]; 2]).argmax(0, false).dims(), [0]);
}

#[test]
fn truth_and_counts() {
    let x = t([[0, 2, 0], [3, 4, 5]]);
    assert_eq!((v(&x.any()), v(&x.all())), (vec![1.], vec![0.]));
    assert_eq!(v(&x.any_dims([0], false)), [1., 1., 1.]);
    assert_eq!(v(&x.all_dims([1], false)), [0., 1.]);
    assert_eq!(x.all().dtype(), DType::Bool);
    assert_eq!(v(&x.count_nonzero()), [4.]);
    assert_eq!(v(&x.count_nonzero_dims([1])), [1., 3.]);
    assert_eq!(v(&x.nonzero()), [0., 1., 1., 0., 1., 1., 1., 2.]);
    assert_eq!(v(&t([0.5]).any()), [1.]);
}

#[test]
fn norms() {
    let x = t([[3.0, -4.0], [0.0, 0.0]]);
    assert_eq!(v(&x.norm()), [5.]);
    close(&x.norm_dims(2.0, [1], false), &[5.0, 0.0]);
    close(&x.norm_dims(1.0, [1], true), &[7.0, 0.0]);
    close(&x.norm_dims(0.0, [0], false), &[1.0, 1.0]);
    close(&x.norm_dims(INF, [0, 1], false), &[4.0]);
    close(&x.norm_dims(-INF, [1], false), &[3.0, 0.0]);
    close(&x.norm_dims(3.0, [1], false), &[91f64.cbrt(), 0.0]);
    close(&x.norm_dims(-1.0, [1], false), &[1.0 / (1.0 / 3.0 + 0.25), 0.0]);
}

#[test]
fn logarithm_of_sums_of_exponentials() {
    let x = t([[1000.0, 1000.0], [-INF, -INF], [INF, 0.0]]);
    close(&x.logsumexp([1], false), &[1000.0 + 2f64.ln(), -INF, INF]);
    close(&t([[0.0, 0.0], [0.0, 0.0]]).logsumexp([0, 1], true), &[4f64.ln()]);
}

#[test]
fn order() {
    let x = t([[3.0, NAN, 1.0], [2.0, 5.0, 2.0]]);
    let (values, at) = x.sort(1, false);
    close(&values, &[1.0, 3.0, NAN, 2.0, 2.0, 5.0]);
    assert_eq!(v(&at), [2., 0., 1., 0., 2., 1.]);
    assert_eq!(v(&x.argsort(1, true)), [1., 0., 2., 1., 0., 2.]);
    let (values, at) = x.topk(2, -1, false);
    close(&values, &[1.0, 3.0, 2.0, 2.0]);
    assert_eq!(v(&at), [2., 0., 0., 2.]);
    assert!(matches!(refused(|| x.topk(4, 1, true)), Error::Index { what: "k", .. }));
    let (values, at) = t([[4.0, 1.0, 3.0, 2.0], [1.0, NAN, 0.0, 2.0]]).median_dim(1, false);
    close(&values, &[2.0, NAN]);
    assert_eq!(v(&at), [3., 1.]);
    assert_eq!(v(&t([5.0, 1.0, 9.0]).median()), [5.]);
    assert_eq!(v(&t([[1, 2], [3, 4]]).cumsum(0)), [1., 2., 4., 6.]);
    assert_eq!(v(&t([[1.0, 2.0], [3.0, 4.0]]).cumprod(1)), [1., 2., 3., 12.]);
    assert_eq!(t([true, true]).cumsum(0).dtype(), DType::I64);
}
