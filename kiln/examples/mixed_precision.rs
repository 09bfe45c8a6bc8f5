//! Mixed precision: products in `f16` or `bf16`, everything that needs more in `f32`, and a loss that is scaled so that
//! small gradients do not vanish.
//!
//! The scale begins far too high: steps whose gradients overflow are left out, and the scale halves until they fit.
//!
//! `cargo run --release -p kiln --example mixed_precision -- --dtype f16`

use clap::{Parser, ValueEnum};
use kiln::data::digits;
use kiln::data::metrics::accuracy;
use kiln::prelude::*;

/// Trains a convolutional network in mixed precision, and again in `f32` to compare.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 10)]
    epochs: usize,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What products are computed in. `bf16` has the range of `f32`, so it needs no scaling.
    #[arg(long, value_enum, default_value = "f16")]
    dtype: Narrow,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Narrow {
    F16,
    Bf16,
}

fn network(device: &Device) -> Sequential {
    Sequential::new((
        Conv2d::new(1, 16, 3, device).padding(1),
        BatchNorm2d::new(16, device),
        ReLU::new(),
        MaxPool2d::new(2),
        Flatten::new(),
        Linear::new(16 * 4 * 4, 64, device),
        ReLU::new(),
        Linear::new(64, 10, device),
    ))
}

/// Trains with products in `dtype`, or in `f32` if it is `None`; gives the accuracy on the test images.
fn train(dtype: Option<DType>, args: &Args) -> kiln::Result<f64> {
    manual_seed(args.seed);
    let digits = digits();
    let [train, test] = TensorDataset::new(digits.tensors(&args.device)).stratified_split(
        digits.labels(),
        [0.8, 0.2],
        args.seed,
    );
    let loader = DataLoader::new(train).batch_size(64).shuffle(args.seed);
    let net = network(&args.device);
    let mut adam = Adam::new(net.parameters()).lr(2e-3);
    // Switched off, the scaler leaves losses and gradients as they are: one loop serves all.
    let mut scaler = GradScaler::new().init_scale(2f64.powi(40)).enabled(dtype == Some(F16));
    let (mut left_out, mut shown) = (0, false);
    for epoch in 1..=args.epochs {
        net.train();
        let mut last = f64::NAN;
        for (x, y) in loader.epoch() {
            let (logits, loss) = {
                let _region = set_autocast(dtype); // Until the end of the block.
                let logits = net.call(&x);
                (logits.clone(), cross_entropy(&logits, &y))
            };
            if !std::mem::replace(&mut shown, true) {
                let weight = net.get_parameter("0.weight").dtype();
                println!("weights {weight}, logits {}, loss {}", logits.dtype(), loss.dtype());
            }

            adam.zero_grad();
            scaler.scale(&loss).backward(); // In the dtypes of forward, by itself.
            scaler.unscale_(&adam); // Before clipping: the limit is that of true gradients.
            clip_grad_norm_(net.parameters(), 5.0, 2.0);
            left_out += u32::from(!scaler.step(&mut adam));
            scaler.update();
            last = loss.item();
        }
        if epoch == args.epochs {
            let scale = scaler.get_scale().log2();
            println!("last loss {last:.4}, {left_out} steps left out, scale 2^{scale}");
        }
    }
    net.eval();
    let (x, y) = test.all()?;
    Ok(100.0 * no_grad(|| accuracy(&net.call(&x), &y)))
}

fn main() -> kiln::Result<()> {
    let args = Args::parse();
    let dtype = if args.dtype == Narrow::F16 { F16 } else { BF16 };
    let mixed = train(Some(dtype), &args)?;
    let full = train(None, &args)?;
    println!("test accuracy in f32: {full:.1} %");
    println!("test accuracy in mixed precision ({dtype}): {mixed:.1} %");
    Ok(())
}
