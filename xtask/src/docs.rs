//! `cargo xtask docs`: the documentation of all crates.

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
    let mut command = shell::cargo(["doc", "--workspace"]);
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
