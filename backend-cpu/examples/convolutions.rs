//! Speed of convolutions: `cargo run --release -p kiln-backend-cpu --example convolutions [threads]`.
//!
//! Prints the best of several rounds in milliseconds. For comparisons with PyTorch use
//! `cargo xtask bench`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use kiln_backend_cpu::{Cpu, CpuDevice, set_num_threads};
use kiln_tensor_core::{Backend, ConvSpec, PoolSpec, Shape, Tensor};

fn main() {
    if let Some(threads) = std::env::args().nth(1) {
        set_num_threads(threads.parse().expect("a number of threads"));
    }
    println!("{:>36} {:>8} {:>8} {:>8}", "input, weight", "forward", "input", "weight");
    for (input, weight, padding, stride, groups) in [
        ([32, 64, 56, 56], [64, 64, 3, 3], 1, 1, 1),
        ([64, 1, 28, 28], [6, 1, 5, 5], 2, 1, 1),
        ([64, 6, 14, 14], [16, 6, 5, 5], 0, 1, 1),
        ([32, 64, 56, 56], [64, 1, 3, 3], 1, 1, 64),
        ([16, 64, 32, 32], [128, 64, 3, 3], 1, 2, 1),
        ([16, 256, 8, 8], [256, 256, 3, 3], 1, 1, 1),
        ([16, 512, 4, 4], [512, 512, 3, 3], 1, 1, 1),
        ([32, 256, 14, 14], [64, 256, 1, 1], 0, 1, 1),
    ] {
        let mut spec = ConvSpec::new(2);
        spec.padding.fill(padding);
        spec.stride.fill(stride);
        spec.groups = groups;
        let (x, w) = (random(&input), random(&weight));
        let y = Cpu::conv(&x, &w, &spec);
        let times = [
            best(|| drop(black_box(Cpu::conv(&x, &w, &spec)))),
            best(|| drop(black_box(Cpu::conv_grad_input(&y, &w, x.shape(), &spec)))),
            best(|| drop(black_box(Cpu::conv_grad_weight(&y, &x, w.shape(), &spec)))),
        ];
        let [forward, by_input, by_weight] = times.map(|t| t.as_secs_f64() * 1e3);
        let name = format!("{:?} {:?}/{stride}", x.shape(), w.shape());
        println!("{name:>36} {forward:8.3} {by_input:8.3} {by_weight:8.3}");
    }
    let x = random(&[64, 6, 28, 28]);
    let spec = PoolSpec::new(&[2, 2]);
    let (y, at) = Cpu::max_pool(&x, &spec);
    let forward = best(|| drop(black_box(Cpu::max_pool(&x, &spec)))).as_secs_f64() * 1e3;
    let back = best(|| drop(black_box(Cpu::max_pool_grad(&y, &at, x.shape())))).as_secs_f64() * 1e3;
    println!("{:>36} {forward:8.3} {back:8.3}", "max_pool 2 of [64, 6, 28, 28]");
}

fn random(shape: &[usize; 4]) -> Tensor<Cpu> {
    let shape = Shape::from(shape);
    let values: Vec<f32> =
        (0..shape.numel()).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    Tensor::from_slice(&values, shape, &CpuDevice)
}

/// The fastest call in 0.4 s, of three at least.
fn best(mut f: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    for round in 0.. {
        if round > 2 && start.elapsed() > Duration::from_millis(400) {
            break;
        }
        let call = Instant::now();
        f();
        best = best.min(call.elapsed());
    }
    best
}
