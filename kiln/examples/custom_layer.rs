//! A layer of one's own, with parameters, a buffer, options and a line in the printed model: Maxout (Goodfellow
//! et al. 2013), the largest of several linear functions for each output.
//!
//! `cargo run --release -p kiln --example custom_layer`

use clap::Parser;
use kiln::data::metrics::accuracy;
use kiln::data::{Progress, digits};
use kiln::prelude::*;

/// Trains a network with a layer that the library does not have.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 20)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
}

/// `y = max over pieces of (x · Wᵖ + bᵖ)`. Fields of type `Param` and `Buffer` and other modules are found by the
/// derive: they are listed, saved, moved and printed. Plain fields, tensors too, are not.
#[derive(Module)]
#[module(extra_repr = Self::describe)]
struct Maxout {
    /// `[pieces, inputs, outputs]`
    weight: Param,
    /// `[pieces, 1, outputs]`
    bias: Param,
    /// How often each piece was the largest: state that is saved, but that no optimizer changes.
    wins: Buffer,
    dropout: Dropout,
    hooks: Hooks,
}

impl Maxout {
    fn new(inputs: usize, outputs: usize, pieces: usize, device: &Device) -> Self {
        let weight = Param::new(Tensor::zeros([pieces, inputs, outputs], device));
        let bound = 1.0 / (inputs as f64).sqrt();
        init::uniform_(&weight, -bound, bound);
        Maxout {
            weight,
            bias: Param::new(Tensor::zeros([pieces, 1, outputs], device)),
            wins: Buffer::new(Tensor::zeros(pieces, device)),
            dropout: Dropout::new(0.0),
            hooks: Hooks::new(),
        }
    }

    /// The probability that an output is dropped in training; 0 by default.
    fn dropout(mut self, p: f64) -> Self {
        self.dropout = Dropout::new(p);
        self
    }

    /// What stands between the parentheses when the model is printed.
    fn describe(&self) -> String {
        let shape = self.weight.shape();
        let [pieces, inputs, outputs] = shape[..] else { unreachable!("made with three dims") };
        format!("in_features={inputs}, out_features={outputs}, pieces={pieces}")
    }
}

impl Forward for Maxout {
    /// `[n, inputs] → [n, outputs]`
    fn forward(&self, x: &Tensor) -> Tensor {
        let all = x.unsqueeze(0).matmul(&self.weight.tensor()) + self.bias.tensor();
        let (largest, piece) = all.max_dim(0, false);
        if self.hooks.training() {
            let pieces = self.wins.shape()[0];
            let wins = piece.flatten(0, -1).one_hot(pieces).sum_dims([0], false);
            no_grad(|| self.wins.tensor().add_(wins));
        }
        self.dropout.call(&largest)
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
    let net = Sequential::new((
        Flatten::new(),
        Maxout::new(64, 64, 3, &device).dropout(0.2),
        Linear::new(64, 10, &device),
    ));
    println!("{net}");
    for (name, param) in net.named_parameters() {
        println!("{name}: {}", param.shape());
    }

    let mut adam = Adam::new(net.parameters()).lr(2e-3);
    let progress = Progress::new(args.epochs);
    for epoch in 1..=args.epochs {
        net.train();
        let mut bar = progress.epoch(epoch, loader.len());
        for (x, y) in loader.epoch() {
            let logits = net.call(&x);
            let loss = cross_entropy(&logits, &y);
            adam.zero_grad();
            loss.backward();
            adam.step();
            bar.step(x.dims()[0], &[("loss", loss.item()), ("accuracy", accuracy(&logits, &y))]);
        }
        bar.finish(&[]);
    }

    net.eval();
    let wins = net.get_buffer("1.wins").tensor();
    println!("how often each piece was the largest:\n{}", &wins / wins.sum());
    let (x, y) = test.all()?;
    println!("test accuracy: {:.1} %", 100.0 * no_grad(|| accuracy(&net.call(&x), &y)));
    Ok(())
}
