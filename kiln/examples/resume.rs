//! Checkpoint and resume: a training that is stopped at any point and started again ends with the same bits as one
//! that was not.
//!
//! ```text
//! cargo run --release -p kiln --example resume -- --stop-after 3     # as if somebody had pressed Ctrl-C
//! cargo run --release -p kiln --example resume                       # goes on with the fourth epoch
//! ```
//!
//! The program prints a fingerprint of the weights: it does not depend on where, or how often, the run was stopped.

use std::path::PathBuf;

use clap::Parser;
use kiln::data::metrics::accuracy;
use kiln::data::{Position, digits};
use kiln::optim::lr_scheduler::{CosineAnnealingLR, Schedule};
use kiln::prelude::*;
use kiln::tensor::RngStates;

/// Trains, and goes on where an earlier run stopped.
#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 10)]
    epochs: u64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Stop after this many batches, in the middle of whatever is going on.
    #[arg(long)]
    stop_after: Option<u64>,
    /// Begin anew, whatever there is.
    #[arg(long)]
    fresh: bool,
    /// Where to compute: `cpu`, `opencl:0`, … as the features of this build have it.
    #[arg(long, default_value_t = Device::best())]
    device: Device,
    /// The file that holds everything.
    #[arg(long, default_value = "run.safetensors")]
    checkpoint: PathBuf,
}

fn main() -> kiln::Result<()> {
    let args = Args::parse();
    manual_seed(args.seed);
    let device = &args.device;

    let digits = digits();
    let [train, test] = TensorDataset::new(digits.tensors(device)).stratified_split(
        digits.labels(),
        [0.8, 0.2],
        args.seed,
    );
    // Dropout and shuffling draw random numbers: those go on where they stopped, too.
    let net = Sequential::new((
        Flatten::new(),
        Linear::new(64, 64, device),
        ReLU::new(),
        Dropout::new(0.2),
        Linear::new(64, 10, device),
    ));
    let mut adam = AdamW::new(net.parameters()).lr(5e-3);
    let loader = DataLoader::new(train).batch_size(64).shuffle(args.seed).workers(1);
    let steps = args.epochs * loader.len() as u64;
    let mut schedule = CosineAnnealingLR::new(steps).attach(&mut adam);
    let mut batches = 0u64;

    if args.checkpoint.exists() && !args.fresh {
        // Onto whatever device this run computes on.
        let checkpoint = Checkpoint::load(&args.checkpoint, device)?;
        net.load_state_dict(&checkpoint.get("model")?, true)?;
        adam.load_state_dict(&checkpoint.get("optimizer")?)?;
        schedule.load_state_dict(&checkpoint.get("schedule")?)?;
        loader.resume(checkpoint.get::<Position>("loader")?);
        set_rng_states(&checkpoint.get::<RngStates>("rng")?);
        batches = checkpoint.get("batches")?;
        println!("going on after {batches} batches of {}", args.checkpoint.display());
    }

    let start = batches;
    while loader.position().epoch < args.epochs {
        net.train();
        for (x, y) in loader.epoch() {
            let loss = cross_entropy(&net.call(&x), &y);
            adam.zero_grad();
            loss.backward();
            adam.step();
            schedule.step(&mut adam);
            batches += 1;
            let stop = args.stop_after == Some(batches - start);
            if stop || batches.is_multiple_of(10) {
                // One file, whole at any moment: a run that is killed while it writes leaves the one before.
                Checkpoint::new()
                    .with("model", net.state_dict())
                    .with("optimizer", adam.state_dict())
                    .with("schedule", schedule.state_dict())
                    .with("loader", loader.position())
                    .with("rng", rng_states())
                    .with("batches", batches)
                    .save(&args.checkpoint)?;
            }
            if stop {
                println!("stopped after {batches} batches; start again to go on");
                return Ok(());
            }
        }
    }

    net.eval();
    let (x, y) = test.all()?;
    let bits = |x: &Tensor| x.to_vec::<f32>().into_iter().map(f32::to_bits).collect::<Vec<_>>();
    let all = net.parameters().iter().flat_map(|p| bits(&p.tensor())).collect::<Vec<_>>();
    let print = all.iter().fold(0u32, |sum, bits| sum.rotate_left(5) ^ bits);
    println!("fingerprint of the weights after {batches} batches: {print}");
    println!("test accuracy: {:.1} %", 100.0 * no_grad(|| accuracy(&net.call(&x), &y)));
    Ok(())
}
