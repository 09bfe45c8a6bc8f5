//! `cargo xtask tidy`: checks that the drawing in ARCHITECTURE.md stays true.

mod dependencies;
mod documents;
mod forwarding;
mod sources;
mod tokens;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Runs all checks and prints what they find.
pub fn run() -> Result<()> {
    let problems = problems()?;
    problems.iter().for_each(|problem| println!("{problem}"));
    if !problems.is_empty() {
        bail!("{} untidy", problems.len());
    }
    println!("tidy");
    Ok(())
}

/// What is untidy, one line each: the file and what to do.
pub fn problems() -> Result<Vec<String>> {
    let root = shell::root();
    let files = files(&root)?;
    let mut problems = dependencies::check(&root)?;
    for path in &files {
        let extension = path.extension().unwrap_or_default();
        if !["rs", "md", "toml", "py", "c"].iter().any(|known| extension == *known) {
            continue;
        }
        let text =
            std::fs::read_to_string(root.join(path)).with_context(|| path.display().to_string())?;
        problems.extend(sources::check(path, &text));
        if extension == "md" {
            problems.extend(documents::check(&root, path, &text));
        }
    }
    problems.extend(forwarding::check(&root)?);
    Ok(problems)
}

/// Files that git knows or would add, relative to the root.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(root);
    let list = shell::output(&mut git).context("`git ls-files` failed: is this a clone?")?;
    // A file deleted but not yet committed is still listed.
    Ok(list.lines().map(PathBuf::from).filter(|path| root.join(path).is_file()).collect())
}
