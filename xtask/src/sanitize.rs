//! `cargo xtask sanitize`: what neither the compiler nor a passing test says of unsafe code and of threads.

use std::process::Command;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::shell;

/// Runs tests where undefined behaviour and data races are seen: under Miri, an interpreter, and with ThreadSanitizer.
///
/// Both want Rust's nightly toolchain, which is installed where rustup can. No part of `cargo xtask test`: an
/// interpreter takes some thousand times as long. It runs the plain loops, because vector instructions are chosen
/// for the machine, and Miri's has none.
#[derive(clap::Args)]
pub struct Args {
    /// Only these tools.
    tools: Vec<Tool>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// Undefined behaviour.
    Miri,
    /// Data races.
    Thread,
}

/// What Miri runs: packages, their targets, and which tests of those: what reaches each kernel with `unsafe` in it, by
/// tests that are small.
const MIRI: [(&str, &[&str], &[&str]); 3] = [
    // Without `unsafe` of its own: what it takes from other crates.
    ("kiln-tensor-core", &["--lib", "--test=display", "--test=dtype", "--test=error"], &[]),
    // Accuracy, and factors of matrices, have nothing unsafe.
    ("kiln-backend-cpu", &["--lib"], &["--skip", "kernels::math", "--skip", "kernels::linalg"]),
    ("kiln-backend-cpu", &["--test=storage", "--test=threads", "--test=few"], &[]),
];

/// What runs with ThreadSanitizer: what threads share.
const THREAD: [(&str, &[&str]); 2] = [
    ("kiln-backend-cpu", &["--test=threads", "--test=storage"]),
    ("kiln-data", &["--test=loader"]),
];

/// Floats as the hardware rounds them; workers that wait for work when the program ends are no leak.
const MIRI_FLAGS: &str = "-Zmiri-deterministic-floats -Zmiri-disable-isolation -Zmiri-ignore-leaks \
                          -Zmiri-permissive-provenance";

pub fn run(args: &Args) -> Result<()> {
    let wanted = |tool| args.tools.is_empty() || args.tools.contains(&tool);
    nightly()?;
    if wanted(Tool::Miri) {
        for (package, targets, filter) in MIRI {
            let mut command = cargo(&["miri", "test"], package, targets);
            shell::run(command.env("MIRIFLAGS", MIRI_FLAGS).arg("--").args(filter))?;
        }
    }
    if wanted(Tool::Thread) {
        let host = host()?;
        for (package, targets) in THREAD {
            let mut command = cargo(&["test"], package, targets);
            // The standard library too: what it does between threads must be seen.
            command.args(["-Zbuild-std", "--target", &host]);
            shell::run(command.env("RUSTFLAGS", "-Zsanitizer=thread"))?;
        }
    }
    Ok(())
}

/// A cargo of the nightly toolchain, with a folder of its own for what it builds.
fn cargo(subcommand: &[&str], package: &str, targets: &[&str]) -> Command {
    let mut command = shell::in_root("rustup", ["run", "nightly", "cargo"]);
    command.args(subcommand).args(["--package", package]).args(targets);
    command.env("CARGO_TARGET_DIR", shell::root().join("target/sanitize"));
    // What the cargo that runs this program has set names its own toolchain.
    for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command
}

/// Makes sure that the toolchain is there.
fn nightly() -> Result<()> {
    if shell::works("rustup", &["run", "nightly", "cargo", "miri", "--version"]) {
        return Ok(());
    }
    let mut install = Command::new("rustup");
    install.args(["toolchain", "install", "nightly", "--profile", "minimal"]);
    shell::run(install.args(["--component", "miri", "--component", "rust-src"]))
}

/// The platform that programs are built for.
fn host() -> Result<String> {
    let version = shell::output(Command::new("rustup").args(["run", "nightly", "rustc", "-vV"]));
    let version = version.unwrap_or_default();
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    ensure!(host.is_some(), "rustc of the nightly toolchain does not say what it builds for");
    Ok(host.unwrap_or_default().to_owned())
}
