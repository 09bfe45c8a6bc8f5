//! A variational autoencoder (Kingma, Welling 2014) on handwritten digits: it learns to describe an image by a few
//! numbers, and then makes up images from numbers drawn at random.
//!
//! `cargo run --release -p kiln --example vae`

use std::path::PathBuf;

use clap::Parser;
use kiln::data::plot::{Figure, ImageGrid};
use kiln::data::{Image, Progress, digits};
use kiln::prelude::*;

/// Trains a variational autoencoder on handwritten digits.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many numbers describe an image.
    #[arg(long, default_value_t = 8)]
    latent: usize,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// Where the picture goes.
    #[arg(long, default_value = "vae.png")]
    plot: PathBuf,
}

#[derive(Module)]
struct Vae {
    encoder: Sequential,
    mean: Linear,
    log_var: Linear,
    decoder: Sequential,
}

impl Vae {
    fn new(latent: usize, device: &Device) -> Self {
        Vae {
            encoder: Sequential::new((Flatten::new(), Linear::new(64, 200, device), ReLU::new())),
            mean: Linear::new(200, latent, device),
            log_var: Linear::new(200, latent, device),
            decoder: Sequential::new((
                Linear::new(latent, 200, device),
                ReLU::new(),
                Linear::new(200, 64, device),
                Unflatten::new(1, [1, 8, 8]),
            )),
        }
    }

    /// The mean and the logarithm of the variance of what could describe each image, `[n, latent]` both.
    fn encode(&self, x: &Tensor) -> (Tensor, Tensor) {
        let h = self.encoder.call(x);
        (self.mean.call(&h), self.log_var.call(&h))
    }

    /// Minus the evidence's lower bound, a mean over the images: how badly pixels are told, and how far the
    /// descriptions are from a standard normal.
    fn loss(&self, x: &Tensor) -> (Tensor, Tensor) {
        let (mean, log_var) = self.encode(x);
        // A draw, written so that gradients reach mean and variance.
        let z = &mean + (&log_var * 0.5).exp() * mean.randn_like();
        let n = x.dims()[0] as f64;
        let drawn = self.decoder.call(&z);
        let pixels = drawn.binary_cross_entropy_with_logits(x, None, None, Reduction::Sum) / n;
        let divergence = -0.5 * (1.0 + &log_var - mean.square() - log_var.exp()).sum() / n;
        (pixels, divergence)
    }
}

/// Images of values from 0 to 1.
fn images(x: &Tensor) -> Vec<Image> {
    let bytes: Vec<f32> = (x.clamp(0.0, 1.0) * 255.0).round().to_vec();
    let bytes: Vec<u8> = bytes.into_iter().map(|v| v as u8).collect();
    bytes.chunks_exact(64).map(|pixels| Image::new(8, 8, 1, pixels.to_vec())).collect()
}

fn main() -> kiln::Result<()> {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = &args.device;

    let (x, _) = digits().tensors(device);
    let (train, test) = (x.narrow(0, 0, 1500), x.narrow(0, 1500, 297));
    let loader = DataLoader::new(TensorDataset::new(train)).batch_size(64).shuffle(args.seed);
    let vae = Vae::new(args.latent, device);
    println!("{vae}\n{} parameters on {device}\n", vae.numel());

    let mut adam = Adam::new(vae.parameters()).lr(2e-3);
    let progress = Progress::new(args.epochs);
    for epoch in 1..=args.epochs {
        let mut bar = progress.epoch(epoch, loader.len());
        for x in loader.epoch() {
            let (pixels, divergence) = vae.loss(&x);
            adam.zero_grad();
            (&pixels + &divergence).backward();
            adam.step();
            bar.step(x.dims()[0], &[("pixels", pixels.item()), ("divergence", divergence.item())]);
        }
        bar.finish(&[]);
    }

    let (bound, made, again) = no_grad(|| {
        let (pixels, divergence) = vae.loss(&test);
        let made = vae.decoder.call(&Tensor::randn([32, args.latent], device)).sigmoid();
        let again = vae.decoder.call(&vae.encode(&test.narrow(0, 0, 16)).0).sigmoid();
        (pixels.item() + divergence.item(), made, again)
    });
    let mut grid = ImageGrid::new("Seen, described and drawn again; below, made up", 16).cell(48);
    for image in
        [images(&test.narrow(0, 0, 16)), images(&again), images(&made)].into_iter().flatten()
    {
        grid = grid.image(image, "");
    }
    grid.save(&args.plot)?;
    println!("wrote {}", args.plot.display());
    println!("test loss: {bound:.2} nats an image");
    Ok(())
}
