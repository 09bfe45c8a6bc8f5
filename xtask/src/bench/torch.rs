//! Finding a Python that has PyTorch, or making one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{shell, system};

/// Names a Python interpreter that has PyTorch.
const VARIABLE: &str = "KILN_TORCH_PYTHON";

/// Builds of PyTorch that bring no CUDA.
const CPU_WHEELS: &str = "https://download.pytorch.org/whl/cpu";

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
    let create = || {
        let mut command = Command::new("python3");
        shell::run(command.args(["-m", "venv", "--clear"]).arg(&venv))
    };
    // Debian splits this module off.
    if create().is_err() {
        system::install_debian("python3-venv").map_err(anyhow::Error::msg)?;
        create().with_context(|| advice("python3 cannot make a virtual environment"))?;
    }
    let python = venv.join("bin/python");
    install(&python)?;
    if version(&python).is_none() {
        bail!(advice(&format!(
            "torch was installed into {} but cannot be imported",
            venv.display()
        )));
    }
    Ok(python)
}

/// Installs PyTorch: the build for the CPU alone, or else the one that everybody gets from PyPI, which on
/// Linux brings CUDA's libraries with it.
fn install(python: &Path) -> Result<()> {
    let pip = |args: &[&str]| {
        let mut command = Command::new(python);
        command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        // What pip would keep in its cache is as large as what it installs.
        shell::run(command.args(["--no-cache-dir"]).args(args))
    };
    // numpy only silences a warning of torch.
    pip(&["numpy"]).with_context(|| advice("pip could not install numpy"))?;
    println!("installing PyTorch for the CPU (about 200 MB to download)");
    // Where this index cannot be reached, say so soon.
    if pip(&["--retries", "0", "--timeout", "15", "--index-url", CPU_WHEELS, "torch"]).is_ok() {
        return Ok(());
    }
    println!("{CPU_WHEELS} cannot be used; installing PyTorch from PyPI (up to 3 GB to download)");
    pip(&["torch"]).with_context(|| advice("pip could not install torch"))
}

/// What went wrong, and the way out.
pub fn advice(what: &str) -> String {
    format!(
        "{what}; install PyTorch yourself (`pip install torch`) and let {VARIABLE} name the Python \
         that has it"
    )
}
