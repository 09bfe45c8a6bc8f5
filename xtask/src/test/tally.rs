//! Counting tests from what their runners print.

use std::fmt;
use std::ops::AddAssign;

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Tally {
    /// One check that passed or failed.
    pub fn check(ok: bool) -> Self {
        Tally { passed: usize::from(ok), failed: usize::from(!ok), skipped: 0 }
    }

    /// Adds up the summaries of nextest or of `cargo test`. What nextest quotes of a failed test is
    /// indented and not counted again. A runner that failed without a failed
    /// test (it did not compile, it crashed) counts as one failure, and so does one that succeeded
    /// without a summary.
    pub fn parse(output: &str, ok: bool) -> Self {
        let mut total = Tally::default();
        let mut summaries = 0;
        for line in output.lines() {
            let (quoted, line) = (line.starts_with("    test "), line.trim());
            let counts = match line.strip_prefix("test result: ") {
                Some(_) if quoted => continue,
                Some(rest) => rest,
                None if line.starts_with("Summary [") && line.contains("tests run:") => line,
                None if line.starts_with("Summary [") && line.contains("test run:") => line,
                None => continue,
            };
            summaries += 1;
            total.passed += before(counts, "passed");
            total.failed += before(counts, "failed") + before(counts, "timed out");
            total.skipped += before(counts, "skipped") + before(counts, "ignored");
        }
        if total.failed == 0 && (!ok || summaries == 0) {
            total.failed = 1;
        }
        total
    }
}

/// The number that stands right before a word.
fn before(text: &str, word: &str) -> usize {
    text.find(word)
        .and_then(|at| text[..at].split_whitespace().next_back()?.parse().ok())
        .unwrap_or(0)
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nextest_quotes_is_not_counted_again() {
        let output = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured\n\
                      \u{20}    Summary [   1.2s] 3 tests run: 2 passed, 1 failed, 0 skipped\n";
        assert_eq!(Tally::parse(output, false), Tally { passed: 2, failed: 1, skipped: 0 });
    }

    #[test]
    fn reads_cargo_test() {
        let text = "\
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.1s
noise 7 passed
test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s";
        assert_eq!(Tally::parse(text, false), Tally { passed: 15, failed: 2, skipped: 1 });
    }

    #[test]
    fn reads_nextest() {
        let text = "     Summary [   1.2s] 45 tests run: 43 passed (1 slow), 2 failed, 5 skipped";
        assert_eq!(Tally::parse(text, false), Tally { passed: 43, failed: 2, skipped: 5 });
        let text = "     Summary [   0.0s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(Tally::parse(text, true), Tally { passed: 1, failed: 0, skipped: 0 });
        let text =
            "     Summary [   1.2s] 45/60 tests run: 43 passed, 1 failed, 1 timed out, 15 skipped";
        assert_eq!(Tally::parse(text, false), Tally { passed: 43, failed: 2, skipped: 15 });
    }

    #[test]
    fn a_crash_or_a_silence_is_a_failure() {
        assert_eq!(Tally::parse("error: could not compile", false).failed, 1);
        assert_eq!(Tally::parse("", true).failed, 1);
        let text = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(Tally::parse(text, false), Tally { passed: 2, failed: 1, skipped: 0 });
    }

    #[test]
    fn prints_the_closing_line() {
        let mut total = Tally::check(true);
        total += Tally { passed: 40, failed: 2, skipped: 3 };
        assert_eq!(total.to_string(), "41 passed, 2 failed, 3 skipped");
    }
}
