//! Speed of products: `cargo run --release -p kiln-backend-cpu --example products [threads]`.
//!
//! Prints the best of several rounds in GFLOP/s. For comparisons with PyTorch use `cargo xtask bench`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use kiln_backend_cpu::{Cpu, CpuDevice, set_num_threads};
use kiln_tensor_core::{Backend, DType, Tensor};

fn main() {
    if let Some(threads) = std::env::args().nth(1) {
        set_num_threads(threads.parse().expect("a number of threads"));
    }
    let square = [32, 64, 128, 256, 512, 1024, 2048].map(|n| (n, n, n));
    let others = [
        (64, 784, 256),
        (64, 128, 10),
        (64, 4096, 4096),
        (4, 4096, 4096),
        (1, 4096, 4096),
        (4096, 4096, 1),
    ];
    println!("{:>18} {:>8} {:>8} {:>8}", "m × k × n", "A·B", "A·Bᵀ", "Aᵀ·B");
    for (m, k, n) in square.into_iter().chain(others) {
        let random = |rows: usize, cols: usize| {
            let values: Vec<f32> =
                (0..rows * cols).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
            Tensor::<Cpu>::from_slice(&values, [rows, cols], &CpuDevice).to_dtype(DType::F32)
        };
        let (a, b) = (random(m, k), random(k, n));
        let (at, bt) = (random(k, m).t(), random(n, k).t());
        let speed = |a: &Tensor<Cpu>, b: &Tensor<Cpu>| {
            let best = best(|| drop(black_box(Cpu::matmul(black_box(a), black_box(b)))));
            2e-9 * (m * k * n) as f64 / best.as_secs_f64()
        };
        let name = format!("{m}×{k}×{n}");
        println!("{name:>18} {:8.1} {:8.1} {:8.1}", speed(&a, &b), speed(&a, &bt), speed(&at, &b));
    }
}

/// The fastest call in half a second.
fn best(mut f: impl FnMut()) -> Duration {
    let start = Instant::now();
    let mut best = Duration::MAX;
    while start.elapsed() < Duration::from_millis(500) {
        let call = Instant::now();
        f();
        best = best.min(call.elapsed());
    }
    best
}
