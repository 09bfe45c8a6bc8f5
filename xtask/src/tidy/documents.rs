//! Every path and every test that a document names exists.

use std::path::Path;

/// Folders that commands make.
const MADE: [&str; 4] = ["target", ".venv", "out", "mnist"];

/// The paths named in a document that do not exist.
pub fn check(root: &Path, document: &Path, text: &str) -> Vec<String> {
    let folder = document.parent().unwrap_or(Path::new(""));
    let exists = |path: &str| root.join(path).exists() || root.join(folder).join(path).exists();
    let top = |name: &str| root.join(name).exists();
    let mut missing: Vec<_> = paths(text, top)
        .into_iter()
        .filter(|(path, _)| !exists(path))
        .map(|(path, line)| format!("{}:{line}: {path} does not exist", document.display()))
        .collect();
    for (path, name, line) in tests(text) {
        let source = std::fs::read_to_string(root.join(path)).unwrap_or_default();
        let mut words = source.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        if !words.any(|word| word == name) {
            missing.push(format!("{}:{line}: {path} has no `{name}`", document.display()));
        }
    }
    missing
}

/// The tests that a document names as `path.rs::name`, with their lines.
fn tests(text: &str) -> Vec<(&str, &str, usize)> {
    let named = |(line, number): (_, usize)| {
        let words = str::split(line, |c: char| !(c.is_ascii_alphanumeric() || "_-./:".contains(c)));
        let pairs = words.filter_map(|word| word.split_once("::"));
        let ours = pairs.filter(|(path, name)| path.ends_with(".rs") && !name.is_empty());
        ours.map(move |(path, name)| (path, name, number)).collect::<Vec<_>>()
    };
    text.lines().zip(1..).flat_map(named).collect()
}

/// What looks like a path of this project, with its line. `top` says whether the root holds an entry
/// of this name.
fn paths(text: &str, top: impl Fn(&str) -> bool) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let words = line.split(|c: char| !(c.is_alphanumeric() || "._-/:@%#…*<>{}$~".contains(c)));
        for word in words {
            let word = word.trim_end_matches(['.', ':']);
            let word = word.split('#').next().unwrap_or(word);
            let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
            if !plain || !word.contains('/') || word.starts_with('/') {
                continue;
            }
            let first = word.split('/').next().unwrap_or(word);
            let file = [".rs", ".toml", ".md", ".py", ".png"].iter().any(|end| word.ends_with(end));
            if !MADE.contains(&first) && (top(first) || file) {
                found.push((word.to_owned(), number));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_prose() {
        let text = "See `nn/src/lib.rs`, (docs/a.png) and/or https://x.org/nn/b.rs.\n\
                    MIT/Apache, target/doc/index.html, nn/src/*.rs, 3/4, src/gone.rs:\n";
        let found = paths(text, |name| name == "nn" || name == "docs");
        let expected = [("nn/src/lib.rs", 1), ("docs/a.png", 1), ("src/gone.rs", 2)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn a_missing_file_is_reported_with_its_line() {
        let root = crate::shell::root();
        let text = "xtask/src/main.rs\n\n[x](xtask/src/nowhere.rs)";
        let found = check(&root, Path::new("README.md"), text);
        assert_eq!(found, ["README.md:3: xtask/src/nowhere.rs does not exist"]);
    }

    #[test]
    fn a_missing_test_is_reported_with_its_file() {
        let root = crate::shell::root();
        let text = "| 1 | xtask/src/main.rs::main, xtask/src/main.rs::no_such_test, `std::env` |";
        let found = check(&root, Path::new("README.md"), text);
        assert_eq!(found, ["README.md:1: xtask/src/main.rs has no `no_such_test`"]);
    }
}
