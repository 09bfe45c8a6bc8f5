//! A classifier built from a list of widths, on real handwritten digits: training, validation, the
//! best weights kept in a file, precision, recall and F1 on images that it never saw.
//!
//! `cargo run --release -p kiln --example mlp -- --widths 128,64`

use std::path::PathBuf;

use clap::Parser;
use kiln::data::metrics::{Average, ConfusionMatrix, accuracy};
use kiln::data::{Progress, digits};
use kiln::prelude::*;

/// Trains a multi-layer perceptron on handwritten digits.
#[derive(Parser)]
struct Args {
    /// The widths of the hidden layers.
    #[arg(long, value_delimiter = ',', default_value = "128,64")]
    widths: Vec<usize>,
    #[arg(long, default_value_t = 30)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// Where the best weights go.
    #[arg(long, default_value = "mlp.safetensors")]
    weights: PathBuf,
}

/// Linear layers of these widths with ReLU between them.
fn mlp(widths: &[usize], device: &Device) -> Sequential {
    let mut model = Sequential::empty();
    model.push(Flatten::new());
    for (at, pair) in widths.windows(2).enumerate() {
        if at > 0 {
            model.push(ReLU::new());
        }
        model.push(Linear::new(pair[0], pair[1], device));
    }
    model
}

fn main() -> kiln::Result<()> {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = args.device;

    // All images as one tensor [1797, 1, 8, 8] of values from 0 to 1, in three parts with every digit
    // in proportion.
    let digits = digits();
    let [train, validation, test] = TensorDataset::new(digits.tensors(&device)).stratified_split(
        digits.labels(),
        [0.7, 0.1, 0.2],
        args.seed,
    );
    let (validation_x, validation_y) = validation.all()?;
    let (test_x, test_y) = test.all()?;
    let loader = DataLoader::new(train).batch_size(32).shuffle(args.seed);

    let widths = [&[64], &*args.widths, &[10]].concat();
    let model = mlp(&widths, &device);
    println!("{model}\n{} parameters on {device}\n", model.numel());

    let mut adam = Adam::new(model.parameters()).lr(2e-3);
    let progress = Progress::new(args.epochs);
    let mut best = 0.0;
    for epoch in 1..=args.epochs {
        model.train();
        let mut bar = progress.epoch(epoch, loader.len());
        for (x, y) in loader.epoch() {
            let logits = model.call(&x);
            let loss = cross_entropy(&logits, &y);
            adam.zero_grad();
            loss.backward();
            adam.step();
            bar.step(x.dims()[0], &[("loss", loss.item()), ("accuracy", accuracy(&logits, &y))]);
        }
        model.eval();
        let right = no_grad(|| accuracy(&model.call(&validation_x), &validation_y));
        bar.finish(&[("val accuracy", right)]);

        // A checkpoint of the best model so far. The file is whole at any moment.
        if right > best {
            best = right;
            model.save(&args.weights)?;
        }
    }

    // The judgement: the best weights, on the part that had no say so far.
    model.load(&args.weights)?;
    let mut matrix = ConfusionMatrix::with_names(digits.classes());
    matrix.add_scores(&no_grad(|| model.call(&test_x)), &test_y);
    println!("\n{matrix}\n{}", matrix.report());
    println!("macro F1: {:.4}", matrix.f1(Average::Macro));
    println!("test accuracy: {:.1} %", 100.0 * matrix.accuracy());
    assert!(matrix.accuracy() > 0.94, "a trained network should know most digits");
    Ok(())
}
