//! Clipping follows PyTorch, for every kind of norm.

mod common;

use common::{assert_close, number, numbers, params, set_grads, table};
use kiln_backend_cpu::CpuDevice;
use kiln_optim::{clip_grad_norm_, clip_grad_value_, try_clip_grad_norm_};
use kiln_tensor_core::{DType, Tensor};

#[test]
fn norms_and_gradients_are_those_of_pytorch() {
    let rows = table("clipping");
    assert_eq!(rows.len(), 14);
    for row in rows {
        let params = params();
        set_grads(&params, 2);
        let norm_type: f64 = row["norm_type"].as_str().unwrap().parse().unwrap();
        let total = clip_grad_norm_(&params, number(&row["max_norm"]), norm_type);
        assert_close(&total.to_vec(), &[number(&row["total"])], &format!("norm {norm_type}"));
        for (param, theirs) in params.iter().zip(row["grads"].as_array().unwrap()) {
            match param.grad() {
                Some(ours) => assert_close(&ours.to_vec(), &numbers(theirs), "gradient"),
                None => assert!(theirs.is_null()),
            }
        }
    }
}

#[test]
fn values_are_brought_into_bounds_and_nan_stays() {
    let param = Tensor::<common::B>::zeros([4], &CpuDevice).requires_grad_(true);
    param.set_grad(Some(Tensor::from_slice(&[-3.0f32, 0.25, f32::NAN, 2.0], [4], &CpuDevice)));
    clip_grad_value_([&param], 0.5);
    let grad = param.grad().unwrap().to_vec::<f32>();
    assert_eq!(grad[..2], [-0.5, 0.25]);
    assert!(grad[2].is_nan());
    assert_eq!(grad[3], 0.5);
}

#[test]
fn a_norm_that_is_not_finite_can_be_refused() {
    let param = Tensor::<common::B>::zeros([2], &CpuDevice).requires_grad_(true);
    param.set_grad(Some(Tensor::from_slice(&[3.0f32, f32::INFINITY], [2], &CpuDevice)));
    assert!(try_clip_grad_norm_([&param], 1.0, 2.0).is_err());
    assert_eq!(param.grad().unwrap().to_vec::<f32>(), [3.0, f32::INFINITY]);
    param.set_grad(Some(Tensor::from_slice(&[3.0f32, 4.0], [2], &CpuDevice)));
    assert_eq!(try_clip_grad_norm_([&param], 1.0, 2.0).unwrap().item(), 5.0);
}

#[test]
fn squares_of_half_precision_gradients_do_not_overflow() {
    let param = Tensor::<common::B>::zeros([2], (&CpuDevice, DType::F16)).requires_grad_(true);
    let grad = Tensor::from_slice(&[3000.0f32, 4000.0], [2], &CpuDevice).to_dtype(DType::F16);
    param.set_grad(Some(grad));
    assert_eq!(clip_grad_norm_([&param], 5.0, 2.0).item(), 5000.0);
    let clipped = param.grad().unwrap();
    assert_eq!(clipped.dtype(), DType::F16);
    assert_eq!(clipped.to_dtype(DType::F32).to_vec::<f32>(), [3.0, 4.0]);
}

#[test]
fn without_gradients_there_is_nothing_to_clip() {
    assert_eq!(clip_grad_norm_(&params(), 1.0, 2.0).item(), 0.0);
}
