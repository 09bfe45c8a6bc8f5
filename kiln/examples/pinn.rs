//! A network that solves a differential equation (Raissi et al. 2019): the loss is the equation itself,
//! so training differentiates derivatives.
//!
//! A damped oscillator, `u'' + 2δ u' + ω² u = 0` with `u(0) = 1` and `u'(0) = 0`: no data, only the law.
//!
//! `cargo run --release -p kiln --example pinn`

use std::path::PathBuf;

use clap::Parser;
use kiln::data::plot::{Figure, LinePlot};
use kiln::optim::lr_scheduler::{CosineAnnealingLR, Schedule};
use kiln::prelude::*;

const DAMPING: f64 = 0.5;
const FREQUENCY: f64 = 4.0;
const END: f64 = 3.0;

/// Solves an ordinary differential equation with a network.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 6000)]
    steps: u64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// Where the picture goes.
    #[arg(long, default_value = "pinn.png")]
    plot: PathBuf,
}

/// The derivative of `u` in `t`, element by element, itself differentiable.
fn derivative(u: &Tensor, t: &Tensor) -> Tensor {
    GradOptions::new().create_graph(true).grad(&[&u.sum()], &[t]).remove(0)
}

/// The solution that textbooks give.
fn exact(t: f64) -> f64 {
    let omega = (FREQUENCY * FREQUENCY - DAMPING * DAMPING).sqrt();
    (-DAMPING * t).exp() * ((omega * t).cos() + DAMPING / omega * (omega * t).sin())
}

fn main() -> kiln::Result<()> {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = args.device;

    let net = Sequential::new((
        Linear::new(1, 32, &device),
        Tanh::new(),
        Linear::new(32, 32, &device),
        Tanh::new(),
        Linear::new(32, 1, &device),
    ));
    let t = Tensor::linspace(0.0, END, 100, &device).view([100, 1]).requires_grad_(true);
    let start = Tensor::zeros([1, 1], &device).requires_grad_(true);

    let mut adam = Adam::new(net.parameters()).lr(5e-3);
    let mut schedule = CosineAnnealingLR::new(args.steps).attach(&mut adam);
    for step in 1..=args.steps {
        // How far the network is from obeying the law.
        let u = net.call(&t);
        let du = derivative(&u, &t);
        let ddu = derivative(&du, &t);
        let law = ddu + 2.0 * DAMPING * &du + FREQUENCY * FREQUENCY * &u;

        // And from its start.
        let u0 = net.call(&start);
        let du0 = derivative(&u0, &start);
        let begin = (&u0 - 1.0).square().sum() + du0.square().sum() * 0.1;

        let loss = law.square().mean() * 0.01 + begin;
        adam.zero_grad();
        loss.backward();
        adam.step();
        schedule.step(&mut adam);
        if step % (args.steps / 10).max(1) == 0 {
            println!("step {step}: loss {:.2e}", loss.item());
        }
    }

    let numbers = |x: &Tensor| x.to_dtype(F64).to_vec::<f64>();
    let (times, found) = (numbers(&t), numbers(&no_grad(|| net.call(&t))));
    let wanted = times.iter().map(|&t| exact(t));
    let errors = found.iter().zip(wanted.clone()).map(|(found, wanted)| (found - wanted).abs());
    let worst = errors.fold(0.0, f64::max);

    LinePlot::new("A damped oscillator")
        .labels("time", "displacement")
        .line("exact", times.iter().copied().zip(wanted))
        .line("network", times.iter().copied().zip(found))
        .save(&args.plot)?;
    println!("wrote {}", args.plot.display());
    println!("largest error: {worst:.4}");
    Ok(())
}
