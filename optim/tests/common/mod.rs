//! What the tests share: the tables of PyTorch's values, and their start values and gradients.
#![allow(dead_code, reason = "each test uses a part")]

use std::io::Read;

use kiln_autograd::Autograd;
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::Tensor;
use serde_json::Value;

pub type B = Autograd<Cpu>;

/// One of the tables that `make.py` has written.
pub fn table(name: &str) -> Vec<Value> {
    let path = format!("{}/tests/reference/{name}.json.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

pub fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(number).collect()
}

pub fn params() -> Vec<Tensor<B>> {
    params_of(&[vec![2, 3], vec![4], vec![5]])
}

pub fn params_of(shapes: &[Vec<usize>]) -> Vec<Tensor<B>> {
    let start = |k: usize, i: usize| (((5 * i + 3 * k) % 13) as f64 - 6.0) / 4.0;
    (shapes.iter().enumerate())
        .map(|(k, shape)| {
            let data: Vec<f64> = (0..shape.iter().product()).map(|i| start(k, i)).collect();
            Tensor::from_slice(&data, shape.clone(), &CpuDevice).requires_grad_(true)
        })
        .collect()
}

/// The gradients of step `t`; the second parameter has none in every third step.
pub fn set_grads(params: &[Tensor<B>], t: usize) {
    for (k, param) in params.iter().enumerate() {
        let values = param.to_vec::<f64>();
        let data: Vec<f64> = (values.iter().enumerate())
            .map(|(i, value)| (((7 * i + 3 * t + k) % 11) as f64 - 5.0) / 8.0 + value / 4.0)
            .collect();
        let grad = Tensor::from_slice(&data, param.dims(), &CpuDevice);
        param.set_grad((k != 1 || t % 3 != 2).then_some(grad));
    }
}

/// Equal to 1e-12, relative above 1.
#[track_caller]
pub fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_within(1e-12, ours, theirs, what);
}

/// Equal to `tolerance`, relative above 1.
#[track_caller]
pub fn assert_within(tolerance: f64, ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (a, b) in ours.iter().zip(theirs) {
        let near = (a - b).abs() <= tolerance * b.abs().max(1.0);
        assert!(near, "{what}: {a:e}, PyTorch has {b:e}");
    }
}
