//! Where the derivative of an op by rank or by index jumps, gradients go where PyTorch lets them go.

use kiln_autograd::{Autograd, Backward};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Interpolation, ScatterOp, Tensor};

type T = Tensor<Autograd<Cpu>>;

/// The gradient of the sum of what `f` gives.
#[track_caller]
fn gradient(x: &[f64], f: impl Fn(&T) -> T, want: &[f64]) {
    let x = T::from_slice(x, x.len(), &CpuDevice).requires_grad_(true);
    f(&x).sum().backward();
    assert_eq!(x.grad().expect("a gradient").to_vec::<f64>(), want);
}

fn list(values: &[i64]) -> T {
    T::from_slice(values, values.len(), &CpuDevice)
}

#[test]
fn running_extremes_give_to_the_last_of_equals() {
    gradient(&[2.0, 2.0, 1.0, 3.0], |x| x.cummax(0).0, &[1.0, 2.0, 0.0, 1.0]);
    gradient(&[2.0, 2.0, 3.0, 1.0], |x| x.cummin(0).0, &[1.0, 2.0, 0.0, 1.0]);
}

#[test]
fn ranks_give_to_the_elements_that_they_name() {
    gradient(&[3.0, 1.0, 2.0], |x| x.kthvalue(2, 0, false).0, &[0.0, 0.0, 1.0]);
    gradient(&[5.0, 1.0, 5.0, 1.0, 1.0], |x| x.mode(0, false).0, &[0.0, 0.0, 0.0, 0.0, 1.0]);
    // Between two elements both count, at one of them it alone.
    gradient(&[4.0, 0.0, 8.0], |x| x.quantile(0.75, 0, false), &[0.5, 0.0, 0.5]);
    gradient(&[4.0, 0.0, 8.0], |x| x.quantile(0.5, 0, false), &[1.0, 0.0, 0.0]);
    let higher = |x: &T| x.quantiles(&[0.6], 0, false, Interpolation::Higher);
    gradient(&[4.0, 0.0, 8.0], higher, &[0.0, 0.0, 1.0]);
    gradient(&[4.0, f64::NAN, 8.0], |x| x.nanmedian(), &[1.0, 0.0, 0.0]);
    gradient(&[4.0, f64::NAN, 8.0], |x| x.nanquantile(0.25, 0, false), &[0.75, 0.0, 0.25]);
}

#[test]
fn what_is_not_counted_gets_nothing() {
    gradient(&[1.0, f64::NAN], T::nansum, &[1.0, 0.0]);
    gradient(&[1.0, f64::NAN, 2.0], T::nanmean, &[0.5, 0.0, 0.5]);
    // With `include_self` or without.
    let src = T::from_slice(&[5.0, 7.0], 2, &CpuDevice);
    let mean = |own| move |x: &T| x.scatter_mean(0, &list(&[0, 0]), &src, own);
    gradient(&[1.0, 2.0], mean.clone()(true), &[1.0 / 3.0, 1.0]);
    gradient(&[1.0, 2.0], mean(false), &[0.0, 1.0]);
    let fresh = |x: &T| {
        let src = T::from_slice(&[1.0], 1, &CpuDevice);
        x.scatter_reduce_fresh(ScatterOp::Max, 0, &list(&[1]), &src)
    };
    gradient(&[1.0, 1.0], fresh, &[1.0, 0.0]);
}

#[test]
fn distances_of_nothing_have_no_slope() {
    let still = |x: &T| x.reshape([2, 1]).cdist(&x.detach().reshape([2, 1]), 2.0);
    gradient(&[3.0, 5.0], still, &[-1.0, 1.0]);
    gradient(&[0.0, 0.0], |x| x.normalize(2.0, 0, 1e-12), &[1e12, 1e12]);
}
