//! `cargo xtask docs`: the documentation of all crates, and the pages of docs/.

use std::process::Command;

use anyhow::Result;

use crate::shell;

/// Builds the documentation of all crates into target/doc.
#[derive(clap::Args)]
pub struct Args {
    /// Open it in the browser.
    #[arg(long)]
    open: bool,
    /// Document the dependencies as well.
    #[arg(long)]
    deps: bool,
}

pub fn run(args: &Args) -> Result<()> {
    let mut command = command();
    if !args.deps {
        command.arg("--no-deps");
    }
    if args.open {
        command.arg("--open");
    }
    shell::run(&mut command)?;
    println!("start at {}", shell::root().join("target/doc/kiln/index.html").display());
    Ok(())
}

/// Builds the documentation, the pages of `docs/` too.
pub fn command() -> Command {
    let mut command = shell::cargo(["doc", "--workspace"]);
    command.env("RUSTDOCFLAGS", "--cfg kiln_guide -D warnings");
    command
}
