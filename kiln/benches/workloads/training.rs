//! Steps and epochs of training.

use kiln::data::{DataLoader, TensorDataset, digits};
use kiln::graph;
use kiln::nn::{Masks, TransformerEncoderLayer, TransformerOptions};
use kiln::prelude::*;

use crate::{Work, Workload, device};

pub const WORKLOADS: &[Workload] = &[
    Workload { name: "digits_epoch", make: digits_epoch },
    Workload { name: "mlp_64_adam", make: || one_batch(mlp(&[784, 256, 128, 10]), &[64, 784]) },
    Workload { name: "lenet_64_adam", make: || one_batch(lenet(), &[64, 1, 28, 28]) },
    Workload {
        name: "mlp_64_adam_graph",
        make: || replayed(mlp(&[784, 256, 128, 10]), &[64, 784]),
    },
    Workload { name: "lenet_64_adam_graph", make: || replayed(lenet(), &[64, 1, 28, 28]) },
    Workload { name: "transformer_adam_graph", make: transformer },
];

/// Linear layers with ReLU between them.
fn mlp(widths: &[usize]) -> Sequential {
    let mut net = Sequential::empty();
    for (i, pair) in widths.windows(2).enumerate() {
        if i > 0 {
            net.push(ReLU::new());
        }
        net.push(Linear::new(pair[0], pair[1], device()));
    }
    net
}

fn lenet() -> Sequential {
    let device = device();
    Sequential::new((
        Conv2d::new(1, 6, 5, device).padding(2),
        ReLU::new(),
        MaxPool2d::new(2),
        Conv2d::new(6, 16, 5, device),
        ReLU::new(),
        MaxPool2d::new(2),
        Flatten::new(),
        Linear::new(400, 120, device),
        ReLU::new(),
        Linear::new(120, 84, device),
        ReLU::new(),
        Linear::new(84, 10, device),
    ))
}

/// Forward, loss, backward and Adam's update.
fn training_step(net: Sequential) -> impl FnMut(&Tensor, &Tensor) {
    let mut adam = Adam::new(net.parameters()).lr(1e-3);
    move |x, y| {
        let loss = cross_entropy(&net.call(x), y);
        adam.zero_grad();
        loss.backward();
        adam.step();
    }
}

fn batch(shape: &[usize]) -> [Tensor; 2] {
    let y: Vec<i64> = (0..shape[0] as i64).map(|i| i % 10).collect();
    [Tensor::randn(shape, device()), Tensor::from_slice(&y, shape[0], device())]
}

fn one_batch(net: Sequential, shape: &[usize]) -> Work {
    let ([x, y], mut step) = (batch(shape), training_step(net));
    Box::new(move || step(&x, &y))
}

/// The same, captured once where the device has graphs.
fn replayed(net: Sequential, shape: &[usize]) -> Work {
    let ([x, y], mut step) = (batch(shape), training_step(net));
    let mut graph = graph::Step::new(device());
    Box::new(move || graph.run([&x, &y], |[x, y]| step(x, y)))
}

/// A block of width 256 with 4 heads, on 8 sequences of 128 positions.
fn transformer() -> Work {
    let with = TransformerOptions::new(256, 4).dim_feedforward(1024).batch_first(true);
    let block = TransformerEncoderLayer::new(&with, device());
    let mut adam = Adam::new(block.parameters()).lr(1e-3);
    let x = Tensor::randn([8, 128, 256], device());
    let mut graph = graph::Step::new(device());
    Box::new(move || {
        graph.run([&x], |[x]| {
            let loss = block.forward(x, Masks::new()).square().mean();
            adam.zero_grad();
            loss.backward();
            adam.step();
        });
    })
}

fn digits_epoch() -> Work {
    let (x, y) = digits().tensors(device());
    let set = TensorDataset::new((x.flatten(1, -1), y));
    let loader = DataLoader::new(set).batch_size(64).shuffle(0);
    let mut step = training_step(mlp(&[64, 128, 64, 10]));
    Box::new(move || loader.epoch().for_each(|(x, y)| step(&x, &y)))
}
