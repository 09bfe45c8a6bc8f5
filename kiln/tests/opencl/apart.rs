//! Operands on two devices are an error that names both and how to move one, whatever the op.

use kiln::prelude::*;
use kiln::{DefaultBackend, Error, catch};
use kiln_conformance::apart::apart;
use kiln_conformance::table::{Row, Visitor, visit};

use crate::opencl;

/// Requires that `f` is refused for its devices, with this text.
#[track_caller]
fn refused<T>(op: &str, [left, right]: [&Device; 2], f: impl FnOnce() -> T) {
    let Err(error) = catch(f) else { panic!("{op}: nothing was said") };
    assert!(matches!(error, Error::Device { .. }), "{op}: {error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "{op}: operands are on different devices, {left} and {right}; move one first: \
             `x.to(&device)`"
        )
    );
}

struct Apart {
    here: Device,
    there: Device,
    tried: usize,
    wrong: Vec<String>,
}

impl Visitor for Apart {
    fn visit<R: Row>(&mut self) {
        match apart::<R, DefaultBackend>(&self.here, &self.there) {
            Ok(tried) => self.tried += tried,
            Err(why) => self.wrong.push(why),
        }
    }
}

/// Every row of the table with each operand in turn on the other device.
fn every_row(here: Device, there: Device) {
    let mut rows = Apart { here, there, tried: 0, wrong: Vec::new() };
    visit(&mut rows);
    assert!(rows.wrong.is_empty(), "{}", rows.wrong.join("\n"));
    assert!(rows.tried > 300, "{} operands", rows.tried);
}

#[test]
fn every_op_on_the_host() {
    every_row(Device::cpu(), opencl());
}

#[test]
fn every_op_on_the_device() {
    every_row(opencl(), Device::cpu());
}

#[test]
#[ignore = "needs two OpenCL devices"]
fn every_op_on_two_devices_of_one_backend() {
    every_row(opencl(), "opencl:1".parse().unwrap());
}

#[test]
fn what_is_said() {
    let (host, device) = (Device::cpu(), opencl());
    let there = [&host, &device];
    let (a, b) = (Tensor::ones([3, 3], &host), Tensor::ones([3, 3], &device));
    refused("add", there, || &a + &b);
    refused("add", there, || a.clone() + b.clone());
    refused("add", [&device, &host], || &b + &a);
    refused("mul", there, || a.mul_(&b));
    refused("matmul", there, || a.matmul(&b));
    refused("cat", there, || Tensor::cat(&[&a, &b], 0));
    refused("stack", there, || Tensor::stack(&[&a, &b], 0));
    refused("linear", [&device, &host], || Linear::new(3, 2, &host).call(&b));
    refused("conv", [&device, &host], || Conv2d::new(1, 2, 1, &host).call(&b.view([1, 1, 3, 3])));
    refused("batch_norm", [&device, &host], || {
        BatchNorm2d::new(1, &host).call(&b.view([1, 1, 3, 3]))
    });
    let classes = Tensor::zeros([3], (&device, I64));
    refused("cross_entropy", there, || cross_entropy(&a, &classes));
    refused("mse_loss", there, || mse_loss(&a, &b));
    refused("gather", there, || a.gather(0, &Tensor::zeros([3, 3], (&device, I64))));
    refused("where", there, || Tensor::where_(&a.gt(0.0), &a, &b));
    refused("masked_fill", there, || a.masked_fill(&b.gt(0.0), 0.0));
    refused("index", there, || a.i(&classes));
    refused("equal", there, || a.equal(&b));
    // The way out.
    assert_eq!((&a + &b.to(&host)).sum().item(), 18.0);
}

#[test]
fn gradients_belong_beside_their_tensors() {
    let (host, device) = (Device::cpu(), opencl());
    let there = [&host, &device];
    let w = Tensor::ones([2], &host).requires_grad_(true);
    let elsewhere = Tensor::ones([2], &device);
    refused("set_grad", there, || w.set_grad(Some(elsewhere.clone())));
    refused("backward", there, || {
        (&w * 2.0).backward_with(BackwardOptions::new().gradient(elsewhere.clone()));
    });
    let hooked = &w * 2.0;
    let moved = elsewhere.clone();
    hooked.register_hook(move |_| Some(moved.clone()));
    refused("hook", there, || hooked.sum().backward());
}

/// An optimizer takes parameters on several devices: each is updated where it is.
#[test]
fn an_optimizer_over_two_devices() {
    let on = |device: &Device| Tensor::ones([2], device).requires_grad_(true);
    let (a, b) = (on(&Device::cpu()), on(&opencl()));
    let mut sgd = SGD::new([&a, &b]).lr(0.5);
    (a.sum() + b.sum().to(&Device::cpu())).backward();
    clip_grad_norm_([&a, &b], 1.0, 2.0);
    sgd.step();
    for x in [a, b] {
        // Four gradients of 1 have the norm 2.
        assert!((x.to_vec::<f32>()[1] - 0.75).abs() < 1e-6, "{x}");
    }
}
