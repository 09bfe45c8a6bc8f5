//! A convolutional network in the manner of LeNet on Fashion-MNIST: 60,000 images of clothes to learn
//! from, 10,000 to be judged by.
//!
//! ```text
//! sudo apt-get install dataset-fashion-mnist      # or --data with a folder of its four IDX files
//! cargo run --release -p kiln --example fashion_mnist
//! ```

use std::path::PathBuf;

use clap::Parser;
use kiln::data::metrics::{ConfusionMatrix, accuracy};
use kiln::data::{Progress, fashion_mnist};
use kiln::optim::lr_scheduler::{OneCycleLR, Schedule};
use kiln::prelude::*;

/// Trains a convolutional network on Fashion-MNIST.
#[derive(Parser)]
struct Args {
    /// The folder of the four IDX files, plain or gzip [default: where Debian's package puts them].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// Where the weights go.
    #[arg(long, default_value = "fashion_mnist.safetensors")]
    weights: PathBuf,
}

/// LeCun et al. 1998 with ReLU and maxima instead of tanh and means, and more channels.
fn lenet(device: &Device) -> Sequential {
    Sequential::new((
        Conv2d::new(1, 16, 5, device).padding(2),
        ReLU::new(),
        MaxPool2d::new(2),
        Conv2d::new(16, 32, 5, device),
        ReLU::new(),
        MaxPool2d::new(2),
        Flatten::new(),
        Linear::new(32 * 5 * 5, 120, device),
        ReLU::new(),
        Linear::new(120, 84, device),
        ReLU::new(),
        Linear::new(84, 10, device),
    ))
}

fn main() {
    let args = Args::parse();
    if let Err(error) = run(&args) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn run(args: &Args) -> kiln::Result<()> {
    let data = fashion_mnist(args.data.as_deref())?;
    manual_seed(args.seed);
    let device = &args.device;

    // Centred and scaled by the mean and the deviation of all training pixels.
    let normalized = |(x, y): (Tensor, Tensor)| TensorDataset::new(((x - 0.2860) / 0.3530, y));
    let train = normalized(data.train.tensors(device));
    let test = DataLoader::new(normalized(data.test.tensors(device))).batch_size(1000);
    let loader = DataLoader::new(train).batch_size(64).shuffle(args.seed).drop_last(true);

    let model = lenet(device);
    println!("{model}\n{} parameters on {device}\n", model.numel());
    let mut adam = Adam::new(model.parameters());
    // The learning rate rises over the first third of the steps and falls to nothing over the rest.
    let steps = (args.epochs * loader.len()) as u64;
    let mut schedule = OneCycleLR::new(3e-3, steps).attach(&mut adam);
    let progress = Progress::new(args.epochs);
    let mut matrix = ConfusionMatrix::with_names(data.test.classes());
    for epoch in 1..=args.epochs {
        model.train();
        let mut bar = progress.epoch(epoch, loader.len());
        for (x, y) in loader.epoch() {
            let logits = model.call(&x);
            let loss = cross_entropy(&logits, &y);
            adam.zero_grad();
            loss.backward();
            adam.step();
            schedule.step(&mut adam);
            bar.step(x.dims()[0], &[("loss", loss.item()), ("accuracy", accuracy(&logits, &y))]);
        }

        model.eval();
        matrix = ConfusionMatrix::with_names(data.test.classes());
        no_grad(|| test.epoch().for_each(|(x, y)| matrix.add_scores(&model.call(&x), &y)));
        bar.finish(&[("test accuracy", matrix.accuracy())]);
        model.save(&args.weights)?;
    }
    println!("\n{}\ntest accuracy: {:.2} %", matrix.report(), 100.0 * matrix.accuracy());
    println!("weights: {}", args.weights.display());
    Ok(())
}
