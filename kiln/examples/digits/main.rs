//! Trains a classifier on real handwritten digits. `cargo xtask demo` runs this program.
//!
//! A random fifth of the 1,797 images is held out for the test; a tenth of the rest watches the
//! training. The weights are saved, loaded into a new network, and must predict the same.

mod model;
mod training;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use kiln::data::metrics::ConfusionMatrix;
use kiln::data::plot::{ConfusionPlot, Figure, TrainingCurves};
use kiln::data::transforms::{RandomCrop, ToTensor};
use kiln::data::{Transform, digits};
use kiln::prelude::*;

use training::{Examples, Training};

#[derive(Parser)]
struct Args {
    /// A convolutional network, or a multi-layer perceptron.
    #[arg(long, value_enum, default_value = "cnn")]
    model: Model,
    /// How many times to go through the training images.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..))]
    epochs: u64,
    /// Decides the split, the first weights and the order of the batches.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The highest learning rate; it rises and falls over the training.
    #[arg(long, default_value_t = 5e-3)]
    lr: f64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// Capture the training step and replay it, where the device has graphs: the same results, sooner.
    #[arg(long)]
    graph: bool,
    /// Where to write the weights and the pictures.
    #[arg(long, default_value = "out")]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Model {
    Cnn,
    Mlp,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    manual_seed(args.seed);
    let build = || match args.model {
        Model::Cnn => model::cnn(&args.device),
        Model::Mlp => model::mlp(&args.device),
    };

    let images = digits();
    let [test, validation, train] = images.clone().random_split([0.2, 0.08, 0.72], args.seed);
    println!(
        "{} handwritten digits: {} to learn from, {} to watch the training, {} held out for the test",
        test.len() + validation.len() + train.len(),
        train.len(),
        validation.len(),
        test.len()
    );
    // Each image is seen a little shifted each time; what judges stays as it is. Images become tensors on
    // the host, one by one, and go to the device as batches.
    let augment = RandomCrop::new(8, 8).padding(1).then(ToTensor::new(&Device::cpu()));
    let train = train.transform(augment).seed(args.seed);
    let [validation, test] = [validation, test].map(|set| Examples::all(set, &args.device));

    let net = build();
    let name = args.device.name().unwrap_or_default();
    println!("{net}\n{} parameters on {} ({name})\n", net.numel(), args.device);
    let &Args { epochs, lr, seed, ref device, graph, .. } = args;
    let training = Training { epochs, lr, seed, device, graph };
    let history = training.run(&net, train, &validation)?;

    let scores = training::scores(&net, &test.x);
    let mut matrix = ConfusionMatrix::with_names(images.classes());
    matrix.add_scores(&scores, &test.y);
    println!("\n{matrix}");

    std::fs::create_dir_all(&args.out).map_err(|why| format!("{}: {why}", args.out.display()))?;
    let [weights, curves, confusion] =
        ["digits.safetensors", "curves.png", "confusion.png"].map(|name| args.out.join(name));
    net.save(&weights)?;
    let loaded = build();
    loaded.load(&weights)?;
    if training::scores(&loaded, &test.x).to_vec::<f32>() != scores.to_vec::<f32>() {
        return Err("the loaded weights do not predict what the saved ones did".into());
    }
    TrainingCurves::new("handwritten digits", &history).save(&curves)?;
    ConfusionPlot::new("held-out digits", &matrix).save(&confusion)?;
    println!("wrote {}, {}", curves.display(), confusion.display());
    println!("wrote {}, loaded it again: the same predictions", weights.display());

    println!("test accuracy: {:.1} %", 100.0 * matrix.accuracy());
    println!("in {:.1} s; what to try next:", start.elapsed().as_secs_f64());
    println!("  cargo xtask demo --model mlp --seed 7     another network, another split");
    println!(
        "  cargo run --release -p kiln --example fashion_mnist     70,000 pictures of clothes"
    );
    println!("  kiln/examples/digits                      the program you have just run");
    Ok(())
}
