//! `cargo xtask demo`: builds and runs the digits classifier, an example of the facade.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell;

/// Trains a classifier on real handwritten digits.
///
/// 1,797 images of 8×8 pixels ship with the project; a fifth of them is held out for the test and
/// another part watches the training. Prints the test accuracy and a confusion matrix, writes both
/// and the curves as PNG, saves the weights as safetensors, loads them again and verifies that they
/// predict the same.
#[derive(clap::Args)]
pub struct Args {
    /// A convolutional network, or a multi-layer perceptron.
    #[arg(long, value_parser = ["cnn", "mlp"], default_value = "cnn")]
    model: String,
    /// How many times to go through the training images [default: what suits the model].
    #[arg(long)]
    epochs: Option<usize>,
    /// Decides the split, the first weights and the order of the batches: same seed, same result.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The highest learning rate; it rises and falls over the training [default: 5e-3].
    #[arg(long)]
    lr: Option<f64>,
    /// Where to compute: `cpu`, `opencl`, `cuda:1`, …; builds with the backend that it names.
    #[arg(long)]
    device: Option<String>,
    /// Where to write the weights and the pictures.
    #[arg(long, default_value = "out", value_name = "DIR")]
    out: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    let base = ["run", "--release", "--quiet", "--package", "kiln", "--example", "digits"];
    let mut command = shell::cargo(base);
    if let Some(feature) = args.device.as_deref().and_then(feature) {
        command.args(["--features", feature]);
    }
    command.arg("--");
    if let Some(device) = &args.device {
        command.args(["--device", device]);
    }
    command.args(["--model", &args.model, "--seed", &args.seed.to_string()]);
    command.arg("--out").arg(&args.out);
    if let Some(epochs) = args.epochs {
        command.args(["--epochs", &epochs.to_string()]);
    }
    if let Some(lr) = args.lr {
        command.args(["--lr", &lr.to_string()]);
    }
    shell::run(&mut command)
}

/// The feature of kiln that a device needs; nothing for the host, and for names of nothing, which the demo
/// will refuse.
fn feature(device: &str) -> Option<&'static str> {
    let backend = device.split(':').next();
    ["opencl", "cuda"].into_iter().find(|feature| Some(*feature) == backend)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_names_its_feature() {
        assert_eq!(feature("opencl:1"), Some("opencl"));
        assert_eq!(feature("opencl"), Some("opencl"));
        assert_eq!(feature("cpu"), None);
        assert_eq!(feature("opencl1"), None);
    }
}
