//! `cargo xtask …`: the project's commands. There are no other scripts.
#![forbid(unsafe_code)]

mod bench;
mod cuda;
mod demo;
mod docs;
mod doctor;
mod fuzz;
mod gpu;
mod mutants;
mod opencl;
mod sanitize;
mod shell;
mod system;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Kiln's commands.
///
/// New here? Begin with `cargo xtask demo`: it trains a network on real handwritten digits in a few
/// seconds. `cargo xtask doctor` shows what this machine offers, `cargo xtask test` runs all that must
/// hold, and `cargo xtask bench --vs torch` compares speed with PyTorch.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Demo(demo::Args),
    Test(test::Args),
    /// Checks dependencies between crates, where unsafe stands, sizes of files, paths in documents.
    Tidy,
    Bench(bench::Args),
    /// Shows what this machine has and, for what is missing, what to install.
    Doctor,
    Docs(docs::Args),
    Cuda(cuda::Args),
    Gpu(gpu::Args),
    Fuzz(fuzz::Args),
    Mutants(mutants::Args),
    Sanitize(sanitize::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => match test::run(&args) {
            Ok(true) => Ok(()),
            Ok(false) => return ExitCode::FAILURE,
            Err(error) => Err(error),
        },
        Command::Tidy => tidy::run(),
        Command::Bench(args) => bench::run(&args),
        Command::Doctor => doctor::run(),
        Command::Docs(args) => docs::run(&args),
        Command::Cuda(args) => cuda::run(&args),
        Command::Gpu(args) => gpu::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Sanitize(args) => sanitize::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
