//! `cargo xtask cuda`: NVIDIA's compiler and headers from Python wheels, and what is made of them.

mod functions;
pub mod wheels;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The generated table of the driver's functions.
const TABLE: &str = "backend-cuda/shim/src/functions.rs";

/// Works with NVIDIA's compiler and headers, fetched as Python wheels into target/cuda-wheels.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Fetches the wheels.
    Wheels,
    /// Writes the table of the driver's functions from the header cuda.h.
    Functions {
        /// Only say whether the table is up to date.
        #[arg(long)]
        check: bool,
    },
}

pub fn run(args: &Args) -> Result<()> {
    let folder = wheels::fetch().map_err(anyhow::Error::msg)?;
    match args.what {
        What::Wheels => println!("{}", folder.display()),
        What::Functions { check: true } => {
            if !is_up_to_date()? {
                bail!("{TABLE} differs from the header; write it with: cargo xtask cuda functions");
            }
            println!("{TABLE} is up to date");
        }
        What::Functions { check: false } => {
            let file = shell::root().join(TABLE);
            std::fs::write(&file, table()?).with_context(|| TABLE.to_owned())?;
            println!("wrote {TABLE}");
        }
    }
    Ok(())
}

/// Whether the table is what the header gives; the wheels are there.
pub fn is_up_to_date() -> Result<bool> {
    let written = std::fs::read_to_string(shell::root().join(TABLE)).context(TABLE)?;
    Ok(written == table()?)
}

fn table() -> Result<String> {
    let header = wheels::include().join("cuda.h");
    let text = std::fs::read_to_string(&header).with_context(|| header.display().to_string())?;
    functions::table(&text)
}
