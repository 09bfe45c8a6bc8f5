//! Fused kernels as closures: one pass over memory instead of one for each operation, on every backend, with
//! derivatives of any order for free.
//!
//! `cargo run --release -p kiln --example fused_kernels`

use std::time::Instant;

use clap::Parser;
use kiln::data::digits;
use kiln::data::metrics::accuracy;
use kiln::prelude::*;
use kiln::tensor::{FusedMany, FusedWith, ReduceOp};

/// Writes kernels as closures, checks them, and trains with them.
#[derive(Parser)]
struct Args {
    /// How many numbers to time.
    #[arg(long, default_value_t = 4_000_000)]
    size: usize,
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
}

fn main() {
    let args = Args::parse();
    manual_seed(0);
    let device = &args.device;

    // A closure over scalars. It runs once, to write down the program; the program runs on the elements.
    let gate = Fused::new("gate", |[x, g, b]| (x + b).tanh() * g.sigmoid());
    let slow = |x: &Tensor, g: &Tensor, b: &Tensor| (x + b).tanh() * g.sigmoid();
    let x = Tensor::randn([7, 5], (device, F64)).requires_grad_(true);
    let g = Tensor::randn([7, 1], (device, F64)); // Inputs broadcast, as everywhere.
    let b = Tensor::randn(5, (device, F64));
    println!(
        "largest difference: {:.1e}",
        (gate.call([&x, &g, &b]) - slow(&x, &g, &b)).abs().max().item()
    );

    // Its gradient is a kernel too, and that one's, and so on.
    let third = |y: Tensor| {
        (0..3).fold(y, |y, _| {
            GradOptions::new().create_graph(true).grad(&[&y.sum()], &[&x]).remove(0)
        })
    };
    let difference = third(gate.call([&x, &g, &b])) - third(slow(&x, &g, &b));
    println!("largest difference of third derivatives: {:.1e}", difference.abs().max().item());

    // Numbers that change from call to call do not make a new kernel.
    let leaky = FusedWith::new("leaky", |[x], [slope]| x.gt(0.0).select(x, x * slope));
    for slope in [0.1, 0.01] {
        println!(
            "leaky of −1 with slope {slope}: {:.2}",
            leaky.call([&Tensor::full(1, -1.0, device)], [slope]).item()
        );
    }

    // Several results in one pass, and a sum over what was never stored.
    let polar = FusedMany::new("polar", |[x, y]| [(x * x + y * y).sqrt(), y.atan2(x)]);
    let [r, phi] = polar.call([&Tensor::full(1, 3.0, device), &Tensor::full(1, 4.0, device)]);
    println!("3 + 4i is {} at an angle of {:.3}", r.item(), phi.item());
    let square = Fused::new("square of the difference", |[a, b]| (a - b) * (a - b));
    let [a, b] = [(); 2].map(|()| Tensor::randn([3, 4], device));
    println!(
        "distance of rows: {}",
        square.reduce(ReduceOp::Sum, [&a, &b], &[1]).sqrt().flatten(0, -1)
    );

    // What it is for: memory is read and written once.
    let [x, g, b] = [(); 3].map(|()| Tensor::randn(args.size, device));
    let time = |name: &str, f: &dyn Fn() -> Tensor| {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            drop(no_grad(f));
            device.synchronize();
            best = best.min(start.elapsed().as_secs_f64());
        }
        println!("{name}: {:.2} ms for {} numbers", 1e3 * best, args.size);
        best
    };
    let kernel = Fused::new("mul_add_relu", |[x, g, b]| (x * g + b).max(0.0));
    let apart = time("three operations", &|| (&x * &g + &b).clamp_min(0.0));
    let fused = time("one kernel      ", &|| kernel.call([&x, &g, &b]));
    println!("fused is {:.1} × as fast", apart / fused);

    // And it trains: an activation that nobody has built in, between two layers.
    let (x, y) = digits().tensors(device);
    let [first, second] = [Linear::new(64, 64, device), Linear::new(64, 10, device)];
    let bump = Fused::new("bump", |[x]| x * (-(x * x)).exp() + x * 0.5);
    let net = |x: &Tensor| second.call(&bump.call([&first.call(&x.flatten(1, -1))]));
    let params = first.parameters().into_iter().chain(second.parameters());
    let mut adam = Adam::new(params).lr(1e-2);
    let loader = DataLoader::new(TensorDataset::new((x.narrow(0, 0, 1500), y.narrow(0, 0, 1500))));
    let loader = loader.batch_size(64).shuffle(0);
    for _ in 0..args.epochs {
        for (x, y) in loader.epoch() {
            let loss = cross_entropy(&net(&x), &y);
            adam.zero_grad();
            loss.backward();
            adam.step();
        }
    }
    let scores = no_grad(|| net(&x.narrow(0, 1500, 297)));
    println!("test accuracy: {:.1} %", 100.0 * accuracy(&scores, &y.narrow(0, 1500, 297)));
}
