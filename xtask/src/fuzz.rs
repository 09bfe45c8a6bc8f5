//! `cargo xtask fuzz`: damaged files for every reader.

use std::path::PathBuf;

use anyhow::Result;

use crate::shell;

/// Throws damaged files at every reader. What does not hold is saved under target/fuzz.
#[derive(clap::Args)]
pub struct Args {
    /// How long to try each reader.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed of the mutations; chosen by the clock if none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// Reads this file once, instead.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Which readers to try; all if none is named.
    targets: Vec<String>,
}

pub fn run(args: &Args) -> Result<()> {
    // With the checks of arithmetic that a development build has.
    let mut command = shell::cargo(["run", "--quiet", "--package", "kiln-fuzz", "--"]);
    command.arg("--seconds").arg(args.seconds.to_string());
    if let Some(seed) = args.seed {
        command.arg("--seed").arg(seed.to_string());
    }
    if let Some(path) = &args.replay {
        command.arg("--replay").arg(path);
    }
    shell::run(command.args(&args.targets))
}
