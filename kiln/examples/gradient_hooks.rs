//! Hooks on gradients: the size of each layer's gradient, step by step, as a picture; a warning when one
//! explodes; and one tensor whose gradient is clipped on its way.
//!
//! A recurrent network reads images row by row. Its recurrent weight stretches the state at each step, so what flows
//! back is stretched too: without the clipping hook (`--no-clip`) it does not survive the first steps.
//!
//! `cargo run --release -p kiln --example gradient_hooks`

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::Parser;
use kiln::data::metrics::accuracy;
use kiln::data::plot::{Figure, LinePlot};
use kiln::data::{Progress, digits};
use kiln::prelude::*;

/// Watches and clips gradients while a network learns.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// How much the recurrent weight stretches the state at each step.
    #[arg(long, default_value_t = 3.0)]
    gain: f64,
    /// Do not clip: see what becomes of the training.
    #[arg(long)]
    no_clip: bool,
    /// Where the picture goes.
    #[arg(long, default_value = "gradient_norms.png")]
    plot: PathBuf,
}

/// The sizes of one tensor's gradient, one for each backward.
type Norms = Arc<Mutex<Vec<f64>>>;

/// Writes down the size of a parameter's gradient, and says when it is ten times the mean so far.
fn watch(name: &str, param: &Param) -> Norms {
    let norms = Norms::default();
    let (name, seen) = (name.to_owned(), norms.clone());
    param.tensor().register_hook(move |grad| {
        let norm = grad.norm().item();
        let mut seen = seen.lock().unwrap();
        let mean = seen.iter().sum::<f64>() / seen.len() as f64;
        if !norm.is_finite() || norm > 10.0 * mean {
            println!(
                "step {}: the gradient of {name} explodes: {norm:.3} after {mean:.3}",
                seen.len()
            );
        }
        seen.push(norm);
        None // The gradient stays as it is.
    });
    norms
}

/// No gradient of this tensor gets longer than `limit`.
fn clip(param: &Param, limit: f64) -> kiln::autograd::HookHandle {
    param.tensor().register_hook(move |grad| {
        let norm = grad.norm();
        Some(grad * (limit / (norm + 1e-6)).clamp_max(1.0))
    })
}

#[derive(Module)]
struct Rows {
    rnn: RNN,
    out: Linear,
}

impl Forward for Rows {
    /// `[n, 1, 8, 8] → [n, 10]`: what the network knows after the last row.
    fn forward(&self, x: &Tensor) -> Tensor {
        let (states, _) = self.rnn.forward(&x.squeeze(1), None);
        self.out.call(&states.select(1, -1))
    }
}

fn main() -> kiln::Result<()> {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = args.device;

    let digits = digits();
    let [train, test] = TensorDataset::new(digits.tensors(&device)).stratified_split(
        digits.labels(),
        [0.8, 0.2],
        args.seed,
    );
    let loader = DataLoader::new(train).batch_size(64).shuffle(args.seed);
    let net = Rows {
        rnn: RNN::new(8, 64, &device).nonlinearity(RnnNonlinearity::Relu).batch_first(true),
        out: Linear::new(64, 10, &device),
    };
    let recurrent = net.get_parameter("rnn.weight_hh_l0");
    init::orthogonal_(&recurrent, args.gain);

    // Hooks run in the order in which they were registered: what is watched has been clipped.
    let clipping = (!args.no_clip).then(|| clip(&recurrent, 1.0));
    let weights = net.named_parameters().into_iter().filter(|(name, _)| name.contains("weight"));
    let watched: Vec<_> = weights.map(|(name, p)| (watch(&name, &p), name)).collect();

    let mut sgd = SGD::new(net.parameters()).lr(0.01);
    let progress = Progress::new(args.epochs);
    for epoch in 1..=args.epochs {
        let mut bar = progress.epoch(epoch, loader.len());
        for (x, y) in loader.epoch() {
            let loss = cross_entropy(&net.call(&x), &y);
            sgd.zero_grad();
            loss.backward();
            sgd.step();
            bar.step(x.dims()[0], &[("loss", loss.item())]);
        }
        bar.finish(&[]);
    }
    if let Some(handle) = clipping {
        handle.remove();
    }

    let mut plot = LinePlot::new("Size of the gradients").labels("step", "log10 of the norm");
    for (norms, name) in &watched {
        let norms = norms.lock().unwrap();
        plot = plot.line(name, (0..).map(f64::from).zip(norms.iter().map(|norm| norm.log10())));
        println!(
            "{name}: the longest gradient was {:.3}",
            norms.iter().copied().fold(0.0, f64::max)
        );
    }
    plot.save(&args.plot)?;
    println!("wrote {}", args.plot.display());

    let (x, y) = test.all()?;
    println!("test accuracy: {:.1} %", 100.0 * no_grad(|| accuracy(&net.call(&x), &y)));
    Ok(())
}
