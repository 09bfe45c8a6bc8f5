//! Running other programs, and where the project lies.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;

/// The project's root.
pub fn root() -> PathBuf {
    // Cargo says at run time where the package lies; a copied target folder would remember another place.
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// Where cargo puts what it builds.
///
/// # Errors
/// If cargo cannot say it.
pub fn target() -> Result<PathBuf> {
    let manifest = root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    Ok(metadata.target_directory.into_std_path_buf())
}

/// The cargo that runs this program, in the project's root.
pub fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    in_root(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()), args)
}

/// A program that may be or run a cargo, in the project's root.
pub fn in_root<S: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    args: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root());
    // What cargo sets for this program would make the next cargo rebuild crates that look at it.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") {
            command.env_remove(name);
        }
    }
    command.env_remove("CARGO_MANIFEST_DIR").env_remove("CARGO_MANIFEST_PATH");
    command
}

/// The command as one would type it.
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Runs a command with our own input and output.
///
/// # Errors
/// If it cannot be started or fails.
pub fn run(command: &mut Command) -> Result<()> {
    let text = shown(command);
    println!("$ {text}");
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    if !status.success() {
        bail!("`{text}` failed ({status})");
    }
    Ok(())
}

/// Runs a command, shows what it prints as it comes, and returns whether it succeeded and the text.
///
/// # Errors
/// If it cannot be started.
pub fn tee(command: &mut Command) -> Result<(bool, String)> {
    let text = shown(command);
    println!("$ {text}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{text}`"))?;
    let printed = Mutex::new(String::new());
    let follow = |stream: Box<dyn Read + Send>| {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            println!("{line}");
            let mut printed = printed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            printed.push_str(&line);
            printed.push('\n');
        }
    };
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        if let Some(out) = out {
            scope.spawn(|| follow(Box::new(out)));
        }
        if let Some(err) = err {
            scope.spawn(|| follow(Box::new(err)));
        }
    });
    let status = child.wait().with_context(|| format!("`{text}`"))?;
    let printed = printed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Ok((status.success(), printed))
}

/// What a command prints, if it can be started and succeeds.
pub fn output(command: &mut Command) -> Option<String> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Whether a command can be started and succeeds.
pub fn works(program: &str, args: &[&str]) -> bool {
    output(Command::new(program).args(args)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tee_returns_both_streams_and_the_status() {
        let script = "echo out; echo err >&2; exit 3";
        let (ok, text) = tee(Command::new("sh").args(["-c", script])).unwrap();
        assert!(!ok);
        assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
    }

    #[test]
    fn root_holds_the_workspace() {
        assert!(root().join("xtask/src/shell.rs").exists());
    }
}
