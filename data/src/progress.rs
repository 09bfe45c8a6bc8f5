//! Progress of a training run: a bar on a terminal, one plain line per epoch elsewhere.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::metrics::Mean;

/// How often the text beside a bar is written anew.
const REFRESH: Duration = Duration::from_millis(50);

/// Shows how training goes, on stderr: epoch, running means, throughput.
///
/// ```
/// use kiln_data::{History, Progress};
/// let (progress, mut history) = (Progress::new(2).quiet(true), History::new());
/// for epoch in 1..=2 {
///     let mut bar = progress.epoch(epoch, 3);
///     for _batch in 0..3 {
///         bar.step(64, &[("loss", 0.25), ("accuracy", 0.9)]);
///     }
///     history.push(bar.finish(&[("val loss", 0.5)]));
/// }
/// assert_eq!(history.values("val loss"), [0.5, 0.5]);
/// ```
#[derive(Clone, Debug)]
pub struct Progress {
    epochs: usize,
    quiet: bool,
}

impl Progress {
    /// Progress over so many epochs.
    pub fn new(epochs: usize) -> Self {
        Progress { epochs, quiet: false }
    }

    /// Whether to show nothing at all.
    pub fn quiet(mut self, yes: bool) -> Self {
        self.quiet = yes;
        self
    }

    /// Starts epoch `number`, counted from 1, of so many batches.
    pub fn epoch(&self, number: usize, batches: usize) -> EpochProgress {
        let width = self.epochs.to_string().len();
        let title = format!("epoch {number:>width$}/{}", self.epochs);
        let bar = if self.quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(batches as u64).with_style(
                ProgressStyle::with_template("{prefix} {bar:24.cyan/dim} {pos:>4}/{len}  {msg}")
                    .expect("the template is well formed")
                    .progress_chars("━╸─"),
            )
        };
        let start = Instant::now();
        EpochProgress {
            bar: bar.with_prefix(title.clone()),
            title,
            quiet: self.quiet,
            values: Vec::new(),
            items: 0,
            start,
            shown: None,
        }
    }
}

/// The epoch that runs: see [`Progress::epoch`].
#[derive(Debug)]
pub struct EpochProgress {
    title: String,
    bar: ProgressBar,
    quiet: bool,
    values: Vec<(String, Mean)>,
    items: usize,
    start: Instant,
    shown: Option<Instant>,
}

impl EpochProgress {
    /// Counts a batch of `items` items, whose means were these. A name that ends in `accuracy` is
    /// shown in percent.
    pub fn step(&mut self, items: usize, means: &[(&str, f64)]) {
        self.items += items;
        for &(name, value) in means {
            match self.values.iter_mut().find(|(known, _)| known == name) {
                Some((_, mean)) => mean.add(value, items),
                None => {
                    let mut mean = Mean::new();
                    mean.add(value, items);
                    self.values.push((name.into(), mean));
                }
            }
        }
        if !self.bar.is_hidden() && self.shown.is_none_or(|shown| shown.elapsed() > REFRESH) {
            self.shown = Some(Instant::now());
            self.bar.set_message(self.text(self.start.elapsed()));
        }
        self.bar.inc(1);
    }

    /// The mean of `name` so far; NaN if it has not been seen.
    pub fn mean(&self, name: &str) -> f64 {
        let found = self.values.iter().find(|(known, _)| known == name);
        found.map_or(f64::NAN, |(_, mean)| mean.value())
    }

    /// Ends the epoch, with values that belong to it as a whole, such as those of a validation. Leaves
    /// one line.
    pub fn finish(mut self, values: &[(&str, f64)]) -> EpochSummary {
        let took = self.start.elapsed();
        let items = self.items;
        for &(name, value) in values {
            let mut mean = Mean::new();
            mean.add(value, 1);
            self.values.push((name.into(), mean));
        }
        self.bar.finish_and_clear();
        if !self.quiet {
            eprintln!("{}  {}", self.title, self.text(took));
        }
        let values = self.values.into_iter().map(|(name, mean)| (name, mean.value())).collect();
        EpochSummary { values, items, took }
    }

    fn text(&self, took: Duration) -> String {
        let mut text = String::new();
        for (name, mean) in &self.values {
            let value = mean.value();
            let _ = if name.ends_with("accuracy") {
                write!(text, "{name} {:.2} %  ", 100.0 * value)
            } else {
                write!(text, "{name} {value:.4}  ")
            };
        }
        let rate = self.items as f64 / took.as_secs_f64().max(1e-9);
        let _ = write!(text, "{}/s  {:.1} s", thousands(rate as u64), took.as_secs_f64());
        text
    }
}

/// What an epoch came to.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochSummary {
    /// Names and values, in the order in which they came.
    pub values: Vec<(String, f64)>,
    /// How many items it had.
    pub items: usize,
    /// How long it took, validation included.
    pub took: Duration,
}

/// The values of all epochs, to plot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    epochs: Vec<EpochSummary>,
}

impl History {
    /// No epoch yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next epoch.
    pub fn push(&mut self, epoch: EpochSummary) {
        self.epochs.push(epoch);
    }

    /// The epochs, in order.
    pub fn epochs(&self) -> &[EpochSummary] {
        &self.epochs
    }

    /// Every name, in order of appearance.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.epochs.iter().flat_map(|epoch| &epoch.values) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// The values of `name`, epoch by epoch; NaN where it is missing.
    pub fn values(&self, name: &str) -> Vec<f64> {
        let value = |epoch: &EpochSummary| {
            let found = epoch.values.iter().find(|(known, _)| known == name);
            found.map_or(f64::NAN, |&(_, value)| value)
        };
        self.epochs.iter().map(value).collect()
    }
}

/// 12345 as `12,345`.
fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_means_and_throughput() {
        let mut bar = Progress::new(10).quiet(true).epoch(3, 2);
        assert_eq!(bar.title, "epoch  3/10");
        bar.step(3000, &[("loss", 1.0), ("accuracy", 0.5)]);
        bar.step(1000, &[("loss", 3.0), ("accuracy", 0.9)]);
        assert_eq!(
            bar.text(Duration::from_secs(2)),
            "loss 1.5000  accuracy 60.00 %  2,000/s  2.0 s"
        );
        assert_eq!(bar.mean("loss"), 1.5);
        let summary = bar.finish(&[("val loss", 0.5)]);
        let names: Vec<&str> = summary.values.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["loss", "accuracy", "val loss"]);
        assert_eq!((summary.values[2].1, summary.items), (0.5, 4000));
    }

    #[test]
    fn thousands_are_set_apart() {
        let texts = [0, 999, 1000, 1_234_567].map(thousands);
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
