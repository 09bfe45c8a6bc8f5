//! What a source file must and must not hold.

use std::path::Path;

use super::tokens;

/// A file is one idea.
const MAX_LINES: usize = 600;

/// Files that may be longer, with the reason.
const LONG: [(&str, &str); 0] = [];

/// Words that do not merge: unfinished work, and places that only one machine has. Split in two here,
/// so that this file does not hold them.
const FORBIDDEN: [(&str, &str); 8] = [
    ("to", "do!"),
    ("unimpl", "emented!"),
    ("FIX", "ME"),
    ("TO", "DO"),
    ("XX", "X:"),
    ("db", "g!("),
    ("/wo", "rk/"),
    ("/ho", "me/"),
];

pub fn check(path: &Path, text: &str) -> Vec<String> {
    let at = |line: usize, what: String| format!("{}:{line}: {what}", path.display());
    let mut problems = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        for (head, tail) in FORBIDDEN {
            let word = format!("{head}{tail}");
            if line.contains(&word) {
                problems.push(at(number, format!("`{word}` does not merge")));
            }
        }
    }
    if path.extension().is_none_or(|extension| extension != "rs") {
        return problems;
    }
    let (lines, long) = (text.lines().count(), |(file, _): &(&str, &str)| path == Path::new(file));
    if lines > MAX_LINES && !LONG.iter().any(long) {
        problems.push(at(lines, format!("{lines} lines; a file has at most {MAX_LINES}")));
    }
    // Programs under tests/ui are meant not to compile, and show only that.
    if !text.starts_with("//!") && !path.components().any(|part| part.as_os_str() == "ui") {
        problems.push(at(1, "begin with `//!` and say what this file is".into()));
    }
    if !may_be_unsafe(path) {
        match tokens::identifiers(text) {
            Ok(words) => problems.extend(
                words
                    .into_iter()
                    .filter(|(word, _)| word == "unsafe")
                    .map(|(_, line)| at(line, "`unsafe` stands in backends' kernels only".into())),
            ),
            Err(why) => problems.push(at(1, why)),
        }
    }
    problems
}

/// Kernels, storage and runtimes of backends, and libraries in C's manner that stand in for drivers.
fn may_be_unsafe(path: &Path) -> bool {
    let path = path.to_string_lossy().replace('\\', "/");
    if path.starts_with("backend-") && path.contains("/tests/fake/") {
        return true;
    }
    let Some((room, inside)) = path.split_once("/src/") else { return false };
    room.starts_with("backend-")
        && (inside.starts_with("kernels/")
            || inside.starts_with("storage")
            || inside == "runtime.rs"
            || inside.starts_with("runtime/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        check(Path::new(path), text)
    }

    #[test]
    fn unsafe_has_its_rooms() {
        let text = "//! Docs.\nfn f() { unsafe { g() } }\n";
        assert!(found("backend-cpu/src/kernels/add.rs", text).is_empty());
        assert!(found("backend-cpu/src/storage.rs", text).is_empty());
        assert!(found("backend-opencl/src/runtime.rs", text).is_empty());
        assert!(found("backend-cuda/src/runtime/nvrtc.rs", text).is_empty());
        assert!(found("backend-cuda/shim/tests/fake/libcuda.rs", text).is_empty());
        assert_eq!(found("backend-cpu/src/lib.rs", text).len(), 1);
        assert_eq!(found("backend-cpu/tests/fakes.rs", text).len(), 1);
        assert!(found("nn/src/kernels/add.rs", text)[0].starts_with("nn/src/kernels/add.rs:2:"));
        assert!(found("nn/src/lib.rs", "//! No.\n#![forbid(unsafe_code)] // unsafe\n").is_empty());
    }

    #[test]
    fn a_file_is_one_idea_and_says_which() {
        let long = format!("//! Docs.\n{}", "\n".repeat(MAX_LINES));
        assert_eq!(found("nn/src/lib.rs", &long).len(), 1);
        assert_eq!(found("nn/src/lib.rs", "use a;\n").len(), 1);
        assert!(found("nn/tests/ui/wrong.rs", "use a;\n").is_empty());
    }

    #[test]
    fn unfinished_work_does_not_merge() {
        for (head, tail) in FORBIDDEN {
            assert_eq!(found("nn/src/lib.rs", &format!("//! {head}{tail}\n")).len(), 1, "{tail}");
        }
        assert_eq!(found("README.md", concat!("FIX", "ME later")).len(), 1);
    }
}
