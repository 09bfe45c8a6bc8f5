//! A convolutional network of one's own on real handwritten digits, which are shifted a little each
//! time they are seen: transforms, worker threads, validation, checkpoints, F1, plots.
//!
//! `cargo run --release -p kiln --example cnn`

use std::path::PathBuf;

use clap::Parser;
use kiln::data::metrics::{Average, ConfusionMatrix, accuracy};
use kiln::data::plot::{ConfusionPlot, Figure, TrainingCurves};
use kiln::data::transforms::{RandomCrop, ToTensor, Transform};
use kiln::data::{History, Progress, digits};
use kiln::prelude::*;

/// Trains a convolutional network on handwritten digits.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 30)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// Where the weights and the pictures go.
    #[arg(long, default_value = ".")]
    out: PathBuf,
}

#[derive(Module)]
struct Net {
    conv1: Conv2d,
    conv2: Conv2d,
    pool: MaxPool2d,
    dropout: Dropout,
    fc: Linear,
    hooks: Hooks,
}

impl Net {
    fn new(device: &Device) -> Self {
        Net {
            conv1: Conv2d::new(1, 16, 3, device).padding(1),
            conv2: Conv2d::new(16, 32, 3, device).padding(1),
            pool: MaxPool2d::new(2),
            dropout: Dropout::new(0.1),
            fc: Linear::new(32 * 2 * 2, 10, device),
            hooks: Hooks::new(),
        }
    }
}

impl Forward for Net {
    /// `[n, 1, 8, 8] → [n, 10]`
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.pool.call(&self.conv1.call(x).relu());
        let x = self.pool.call(&self.conv2.call(&x).relu());
        self.fc.call(&self.dropout.call(&x.flatten(1, -1)))
    }
}

fn main() -> kiln::Result<()> {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = args.device;

    // Training images move by up to a pixel, another way in each epoch; the others stay as they are. Images
    // become tensors on the host, one by one, and go to the device as batches.
    let digits = digits();
    let parts = digits.clone().stratified_split(digits.labels(), [0.7, 0.1, 0.2], args.seed);
    let [train, validation, test] = parts;
    let shift = RandomCrop::new(8, 8).padding(1).then(ToTensor::new(&Device::cpu()));
    let loader = DataLoader::new(train.transform(shift).seed(args.seed));
    let loader = loader.batch_size(32).shuffle(args.seed).workers(1);
    let (validation_x, validation_y) = validation.transform(ToTensor::new(&device)).all()?;
    let (test_x, test_y) = test.transform(ToTensor::new(&device)).all()?;

    let model = Net::new(&device);
    println!("{model}\n{} parameters on {device}\n", model.numel());
    let mut adam = Adam::new(model.parameters()).lr(3e-3);
    let (progress, mut history) = (Progress::new(args.epochs), History::new());
    let weights = args.out.join("cnn.safetensors");
    let mut best = f64::INFINITY;
    for epoch in 1..=args.epochs {
        model.train();
        let mut bar = progress.epoch(epoch, loader.len());
        for (x, y) in loader.epoch() {
            let (x, y) = (x.to(&device), y.to(&device));
            let logits = model.call(&x);
            let loss = cross_entropy(&logits, &y);
            adam.zero_grad();
            loss.backward();
            adam.step();
            bar.step(x.dims()[0], &[("loss", loss.item()), ("accuracy", accuracy(&logits, &y))]);
        }
        model.eval();
        let logits = no_grad(|| model.call(&validation_x));
        let loss = cross_entropy(&logits, &validation_y).item();
        let right = accuracy(&logits, &validation_y);
        history.push(bar.finish(&[("val loss", loss), ("val accuracy", right)]));
        if loss < best {
            best = loss;
            model.save(&weights)?;
        }
    }

    model.load(&weights)?;
    let mut matrix = ConfusionMatrix::with_names(digits.classes());
    matrix.add_scores(&no_grad(|| model.call(&test_x)), &test_y);
    TrainingCurves::new("Handwritten digits", &history).save(args.out.join("cnn_curves.png"))?;
    let title = format!("Test accuracy {:.1} %", 100.0 * matrix.accuracy());
    ConfusionPlot::new(title, &matrix).save(args.out.join("cnn_confusion.png"))?;
    println!("\n{}\nmacro F1: {:.4}", matrix.report(), matrix.f1(Average::Macro));
    println!("test accuracy: {:.1} %", 100.0 * matrix.accuracy());
    assert!(matrix.accuracy() > 0.95, "a trained network should know nearly all digits");
    Ok(())
}
