//! Transfer: a convolutional network learns five of the ten digits; then its features are frozen and a new last layer
//! learns the other five from a few images. Last, everything is fine-tuned.
//!
//! `cargo run --release -p kiln --example transfer`

use clap::Parser;
use kiln::data::metrics::accuracy;
use kiln::data::{Dataset, Progress, digits};
use kiln::prelude::*;

/// Learns five digits, and then the others with the same features.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 15)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many images of each new digit it may learn from.
    #[arg(long, default_value_t = 10)]
    shots: usize,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
}

#[derive(Module)]
struct Net {
    features: Sequential,
    head: Linear,
}

impl Net {
    fn new(device: &Device) -> Self {
        let features = Sequential::new((
            Conv2d::new(1, 16, 3, device).padding(1),
            BatchNorm2d::new(16, device),
            ReLU::new(),
            MaxPool2d::new(2),
            Conv2d::new(16, 32, 3, device).padding(1),
            BatchNorm2d::new(32, device),
            ReLU::new(),
            MaxPool2d::new(2),
            Flatten::new(),
        ));
        Net { features, head: Linear::new(32 * 2 * 2, 5, device) }
    }

    /// The parameters that an optimizer may change.
    fn trainable(&self) -> Vec<Param> {
        self.parameters().into_iter().filter(Param::requires_grad).collect()
    }
}

impl Forward for Net {
    /// `[n, 1, 8, 8] → [n, 5]`
    fn forward(&self, x: &Tensor) -> Tensor {
        self.head.call(&self.features.call(x))
    }
}

/// Images and labels 0–4, to learn from and to test on.
struct Task {
    train: (Tensor, Tensor),
    test: (Tensor, Tensor),
}

impl Task {
    /// The digits from `first` on, of which `shots` each are to learn from, or four fifths.
    fn new(first: i64, shots: Option<usize>, device: &Device) -> kiln::Result<Self> {
        let digits = digits();
        let all = TensorDataset::new(digits.tensors(device));
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for digit in first..first + 5 {
            let ours: Vec<usize> =
                (0..digits.len()).filter(|&i| digits.labels()[i] == digit).collect();
            let (learn, judge) = ours.split_at(shots.unwrap_or(ours.len() * 4 / 5));
            train.extend_from_slice(learn);
            test.extend_from_slice(judge);
        }
        let part = |indices: Vec<usize>| {
            let (x, y) = all.clone().subset(indices).all()?;
            Ok::<_, kiln::Error>((x, y - first))
        };
        Ok(Task { train: part(train)?, test: part(test)? })
    }

    fn learn(&self, net: &Net, epochs: usize, lr: f64, seed: u64) -> f64 {
        let loader = DataLoader::new(TensorDataset::new(self.train.clone()));
        let loader = loader.batch_size(32).shuffle(seed);
        let mut adam = Adam::new(net.trainable()).lr(lr);
        let progress = Progress::new(epochs);
        for epoch in 1..=epochs {
            net.train();
            if !net.features.get_parameter("0.weight").requires_grad() {
                net.features.eval(); // Frozen features keep the statistics of their norms, too.
            }
            let mut bar = progress.epoch(epoch, loader.len());
            for (x, y) in loader.epoch() {
                let loss = cross_entropy(&net.call(&x), &y);
                adam.zero_grad();
                loss.backward();
                adam.step();
                bar.step(x.dims()[0], &[("loss", loss.item())]);
            }
            bar.finish(&[]);
        }
        net.eval();
        no_grad(|| accuracy(&net.call(&self.test.0), &self.test.1))
    }
}

fn main() -> kiln::Result<()> {
    let Args { epochs, seed, shots, device } = Args::parse();
    manual_seed(seed);

    let old = Task::new(0, None, &device)?;
    let new = Task::new(5, Some(shots), &device)?;
    let net = Net::new(&device);
    println!("digits 0–4, all images: {:.1} %", 100.0 * old.learn(&net, epochs, 3e-3, seed));

    // Frozen parameters record nothing and get no gradient; a fresh head replaces the old one.
    net.features.requires_grad_(false);
    let before = net.features.get_parameter("0.weight").tensor().copy();
    let net = Net { head: Linear::new(32 * 2 * 2, 5, &device), ..net };
    println!("{} parameters learn digits 5–9 from {shots} images each", net.numel());
    let frozen = new.learn(&net, 4 * epochs, 3e-3, seed);
    assert!(net.features.get_parameter("0.weight").tensor().equal(&before), "it was frozen");

    // Thawed, all of it learns on, in smaller steps.
    net.features.requires_grad_(true);
    let tuned = new.learn(&net, 4 * epochs, 1e-3, seed);

    // The same head on features that have learnt nothing.
    let random = Net::new(&device);
    random.features.requires_grad_(false);
    let random = new.learn(&random, 4 * epochs, 3e-3, seed);

    println!("on features at random: {:.1} %", 100.0 * random);
    println!("on features of digits 0–4, frozen: {:.1} %", 100.0 * frozen);
    println!("and fine-tuned: {:.1} %", 100.0 * tuned);
    Ok(())
}
