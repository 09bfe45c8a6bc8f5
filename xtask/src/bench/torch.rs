//! Finding a Python that has PyTorch, or making one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{shell, system};

/// Names a Python interpreter that has PyTorch.
const VARIABLE: &str = "KILN_TORCH_PYTHON";

/// Where we make a virtual environment.
const VENV: &str = ".venv";

/// A Python interpreter with PyTorch: the one that the environment names, ours, or the system's.
pub fn find() -> Option<PathBuf> {
    let ours = shell::root().join(VENV).join("bin/python");
    [std::env::var_os(VARIABLE).map(PathBuf::from), Some(ours), Some("python3".into())]
        .into_iter()
        .flatten()
        .find(|python| version(python).is_some())
}

/// The version of PyTorch that an interpreter imports.
pub fn version(python: &Path) -> Option<String> {
    shell::output(Command::new(python).args(["-c", "import torch; print(torch.__version__)"]))
}

/// Like `find`; makes a virtual environment where there is none.
///
/// # Errors
/// If the named interpreter has no PyTorch, or it cannot be installed.
pub fn find_or_install() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        if version(&named).is_none() {
            bail!("{VARIABLE} is {}, which cannot import torch", named.display());
        }
        return Ok(named);
    }
    if let Some(python) = find() {
        return Ok(python);
    }
    let venv = shell::root().join(VENV);
    println!("installing PyTorch into {} (about 2 GB to download)", venv.display());
    let create = || {
        let mut command = Command::new("python3");
        shell::run(command.args(["-m", "venv"]).arg(&venv))
    };
    // Debian splits this module off.
    if create().is_err() {
        system::install_debian("python3-venv").map_err(anyhow::Error::msg)?;
        create()?;
    }
    let python = venv.join("bin/python");
    // numpy only silences a warning of torch.
    shell::run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "torch", "numpy"]))
        .context("pip could not install torch; set KILN_TORCH_PYTHON to a Python that has it")?;
    if version(&python).is_none() {
        bail!("torch was installed into {} but cannot be imported", venv.display());
    }
    Ok(python)
}
