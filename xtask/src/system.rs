//! What the machine has, and installing what is missing where we may.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;

/// Whether we are the administrator of this machine.
pub fn is_root() -> bool {
    shell::output(Command::new("id").arg("-u")).as_deref() == Some("0")
}

/// Installs a Debian package, as root and with apt-get, else says what to type.
///
/// # Errors
/// The reason why it is not there, with the command that would install it.
pub fn install_debian(package: &str) -> Result<(), String> {
    let how = format!("install it with: sudo apt-get install {package}");
    if !shell::works("apt-get", &["--version"]) {
        return Err(format!("{package} is not installed and this is not a Debian system"));
    }
    if !is_root() {
        return Err(format!("{package} is not installed; {how}"));
    }
    println!("installing the Debian package {package}");
    let install = || {
        let mut command = Command::new("apt-get");
        command.args(["install", "-y", "-q", "--no-install-recommends", package]);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        matches!(shell::tee(&mut command), Ok((true, _)))
    };
    // The lists of packages may be missing or old.
    let refresh = || shell::tee(Command::new("apt-get").args(["update", "-q"])).is_ok();
    if install() || (refresh() && install()) {
        Ok(())
    } else {
        Err(format!("{package} could not be installed; {how}"))
    }
}

/// Adds a component of the Rust toolchain (clippy, rustfmt) where rustup can.
///
/// # Errors
/// The reason why it is not there.
pub fn ensure_component(subcommand: &str, component: &str) -> Result<(), String> {
    let there = || shell::output(&mut shell::cargo([subcommand, "--version"])).is_some();
    if there() {
        return Ok(());
    }
    println!("adding the toolchain component {component}");
    let added = shell::tee(Command::new("rustup").args(["component", "add", component]));
    if matches!(added, Ok((true, _))) && there() {
        return Ok(());
    }
    Err(format!("cargo {subcommand} is missing; add it with: rustup component add {component}"))
}

/// Where the dynamic linker would find a library whose file name starts with `name`.
pub fn library(name: &str) -> Option<PathBuf> {
    let extra = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let found = std::env::split_paths(&extra)
        .filter_map(|dir| std::fs::read_dir(dir).ok())
        .flatten()
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with(name));
    if let Some(entry) = found {
        return Some(entry.path());
    }
    ["ldconfig", "/sbin/ldconfig"].iter().find_map(|program| {
        let cache = shell::output(Command::new(program).arg("-p"))?;
        in_linker_cache(&cache, name)
    })
}

fn in_linker_cache(cache: &str, name: &str) -> Option<PathBuf> {
    let line = cache.lines().find(|line| line.trim_start().starts_with(name))?;
    let (_, path) = line.split_once(" => ")?;
    Some(Path::new(path.trim()).to_path_buf())
}

/// Whether a system OpenBLAS can be linked, and its version.
pub fn openblas() -> Option<String> {
    shell::output(Command::new("pkg-config").args(["--modversion", "openblas"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_library_in_the_linker_cache() {
        let cache = "2 libs found\n\tlibz.so.1 (libc6) => /lib/libz.so.1\n\
                     \tlibOpenCL.so.1 (libc6,x86-64) => /usr/lib/libOpenCL.so.1\n";
        let path = in_linker_cache(cache, "libOpenCL.so").unwrap();
        assert_eq!(path, Path::new("/usr/lib/libOpenCL.so.1"));
        assert_eq!(in_linker_cache(cache, "libcuda.so"), None);
    }
}
