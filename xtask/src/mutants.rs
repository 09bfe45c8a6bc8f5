//! `cargo xtask mutants`: whether the tests notice when a derivative is wrong.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// Changes the derivative rules and the derivatives of programs, one place at a time, and runs the tests that guard them:
/// at least 95 % of the changes must make one fail. The others are listed, with a reason each, in
/// autograd/mutants.txt. Installs cargo-mutants where it is missing.
///
/// All of them take hours; `--shard 0/8` to `--shard 7/8` are eight parts of about the same length.
#[derive(clap::Args)]
pub struct Args {
    /// Only this part, as in 2/8.
    #[arg(long)]
    shard: Option<String>,
    /// Only in files whose path contains this.
    #[arg(long)]
    file: Option<String>,
    /// Name the changes and make none.
    #[arg(long)]
    list: bool,
}

/// What is changed.
const FILES: [&str; 2] = ["autograd/src/rules/*.rs", "tensor-core/src/expr/grad.rs"];
/// Whose tests must notice: the table of ops on the reference backend, and the engine's own.
const GUARDS: &str = "kiln-conformance,kiln-autograd";
/// What the tests let through, and why.
const SURVIVORS: &str = "autograd/mutants.txt";
/// The share that must be noticed.
const WANTED: f64 = 0.95;

pub fn run(args: &Args) -> Result<()> {
    if shell::output(&mut shell::cargo(["mutants", "--version"])).is_none() {
        shell::run(&mut shell::cargo(["install", "--locked", "cargo-mutants"]))?;
    }
    let root = shell::root();
    let out = root.join("target/mutants");
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let mut command = shell::cargo(["mutants", "--colors=never", "--no-shuffle"]);
    match &args.file {
        Some(part) => command.arg(format!("--file=**/*{}*", part.trim_start_matches('/'))),
        None => command.args(FILES.map(|file| format!("--file={file}"))),
    };
    if let Some(shard) = &args.shard {
        command.arg(format!("--shard={shard}"));
    }
    if args.list {
        return shell::run(command.arg("--list"));
    }
    command.arg(format!("--test-package={GUARDS}")).arg(format!("--output={}", out.display()));
    // What runs into the time limit counts as noticed: a busy machine must not.
    command.arg("--minimum-test-timeout=1200");
    // Forward results say nothing of derivatives, and are most of the time. nextest stops at the first test that fails.
    if shell::output(&mut shell::cargo(["nextest", "--version"])).is_some() {
        command.args([
            "--test-tool=nextest",
            "--",
            "--lib",
            "--tests",
            "-E",
            "not test(::forward)",
        ]);
    } else {
        command.args(["--", "--lib", "--tests", "--", "--skip", "::forward"]);
    }
    let text = shell::shown(&command);
    println!("$ {text}");
    let status = command.status().with_context(|| format!("cannot start `{text}`"))?;
    // 2: some were missed, 3: some ran into the time limit. Others are failures of the command itself.
    ensure!(matches!(status.code(), Some(0 | 2 | 3)), "`{text}` failed ({status})");
    let said = |name: &str| read(&out.join("mutants.out").join(name));
    let (caught, missed, slow) = (said("caught.txt")?, said("missed.txt")?, said("timeout.txt")?);
    let known = std::fs::read_to_string(root.join(SURVIVORS)).context(SURVIVORS)?;
    let whole = args.shard.is_none() && args.file.is_none();
    judge(caught.len() + slow.len(), &missed, &known, whole)
}

fn read(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// A change without its line and column, which move: `path: what`.
fn change(line: &str) -> String {
    let mut parts = line.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(path), Some(_), Some(_), Some(what)) => format!("{path}: {}", what.trim()),
        _ => line.to_owned(),
    }
}

/// The changes of a list, whose reasons stand in indented lines behind them.
fn listed(known: &str) -> Result<BTreeSet<&str>> {
    let mut changes = BTreeSet::new();
    let mut lines =
        known.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        ensure!(!line.starts_with(' '), "{SURVIVORS}: a reason without a change: {line}");
        let mut reason = false;
        while lines.next_if(|next| next.starts_with(' ')).is_some() {
            reason = true;
        }
        ensure!(reason, "{SURVIVORS}: no reason for `{line}`");
        changes.insert(line);
    }
    Ok(changes)
}

fn judge(killed: usize, missed: &[String], known: &str, whole: bool) -> Result<()> {
    let known = listed(known)?;
    let missed: BTreeSet<String> = missed.iter().map(|line| change(line)).collect();
    let total = killed + missed.len();
    let share = if total == 0 { 1.0 } else { killed as f64 / total as f64 };
    println!("{killed} of {total} changes are noticed: {:.1} %", share * 100.0);
    let new: Vec<_> = missed.iter().filter(|m| !known.contains(m.as_str())).collect();
    new.iter().for_each(|m| println!("not noticed, and not in {SURVIVORS}: {m}"));
    let gone: Vec<_> = known.iter().filter(|k| whole && !missed.contains(**k)).collect();
    gone.iter().for_each(|k| println!("in {SURVIVORS}, but noticed or gone: {k}"));
    if share < WANTED {
        bail!("at least {:.0} % must be noticed", WANTED * 100.0);
    }
    ensure!(new.is_empty() && gone.is_empty(), "{SURVIVORS} is not what was found");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &str = "# why\na.rs: replace + with -\n  both are right\n";

    #[test]
    fn a_list_needs_reasons() {
        assert_eq!(listed(KNOWN).unwrap().len(), 1);
        assert!(listed("a.rs: replace + with -\n").is_err());
    }

    #[test]
    fn too_many_survivors_and_unknown_ones_fail() {
        let missed = ["a.rs:3:14: replace + with -".to_owned()];
        assert!(judge(19, &missed, KNOWN, true).is_ok());
        assert!(judge(18, &missed, KNOWN, true).is_err());
        assert!(judge(19, &missed, "", true).is_err());
        assert!(judge(19, &[], KNOWN, true).is_err());
        assert!(judge(19, &[], KNOWN, false).is_ok());
    }
}
