//! The results of a comparison as a table, as Markdown and as JSON.

use std::fmt::Write;

use serde::Serialize;

use super::workloads::{Goal, Workload};

/// One workload's result.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    pub name: &'static str,
    pub threads: usize,
    pub kiln_ms: f64,
    pub torch_ms: f64,
    /// `torch_ms / kiln_ms`: above 1 is faster than torch.
    pub ratio: f64,
    #[serde(skip)]
    pub workload: &'static Workload,
}

impl Entry {
    /// The medians of both sides' rounds.
    pub fn new(workload: &'static Workload, threads: usize, kiln: &[f64], torch: &[f64]) -> Self {
        let (kiln_ms, torch_ms) = (median(kiln), median(torch));
        let ratio = torch_ms / kiln_ms;
        Entry { name: workload.name, threads, kiln_ms, torch_ms, ratio, workload }
    }

    /// Whether the goal is reached; nothing if there is none.
    pub fn reached(&self) -> Option<bool> {
        match self.workload.goal {
            Goal::Ratio(least) => Some(self.ratio >= least),
            Goal::Nanoseconds(most) => Some(self.kiln_ms * 1e6 < most),
            Goal::Watched => None,
        }
    }
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Milliseconds with a fitting unit and three digits.
pub fn time(ms: f64) -> String {
    let (value, unit) = match ms {
        ms if ms >= 1.0 => (ms, "ms"),
        ms if ms >= 1e-3 => (ms * 1e3, "µs"),
        ms => (ms * 1e6, "ns"),
    };
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

/// The table that goes into README.md.
pub fn markdown(entries: &[Entry], heading: &str) -> String {
    let mut out = format!("{heading}\n\n");
    out.push_str("| name | workload | threads | Kiln | PyTorch | ratio | goal |\n");
    out.push_str("|---|---|--:|--:|--:|--:|---|\n");
    for entry in entries {
        let goal = match (entry.workload.goal, entry.reached()) {
            (Goal::Watched, _) => String::new(),
            (goal, Some(true)) => format!("{goal}: reached"),
            (goal, _) => format!("{goal}: missed"),
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {:.2} | {goal} |",
            entry.name,
            entry.workload.does,
            entry.threads,
            time(entry.kiln_ms),
            time(entry.torch_ms),
            entry.ratio,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::workloads::WORKLOADS;
    use super::*;

    #[test]
    fn medians_shrug_off_an_outlier() {
        assert_eq!(median(&[3.0, 1.0, 900.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 900.0]), 3.0);
    }

    #[test]
    fn times_have_three_digits() {
        assert_eq!(time(87.44), "87.4 ms");
        assert_eq!(time(0.0123), "12.3 µs");
        assert_eq!(time(0.000_134), "134 ns");
        assert_eq!(time(1.0), "1.00 ms");
    }

    #[test]
    fn json_has_the_five_agreed_fields() {
        let entry = Entry::new(&WORKLOADS[0], 2, &[2.0], &[3.0]);
        let json = serde_json::to_string(&[entry]).unwrap();
        let expected =
            r#"[{"name":"gemm_512","threads":2,"kiln_ms":2.0,"torch_ms":3.0,"ratio":1.5}]"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn goals_are_judged() {
        let gemm = Entry::new(&WORKLOADS[0], 2, &[2.0], &[2.0]);
        assert_eq!(gemm.reached(), Some(false));
        let tiny = WORKLOADS.iter().find(|workload| workload.name == "tiny_op").unwrap();
        assert_eq!(Entry::new(tiny, 2, &[0.000_1], &[1.0]).reached(), Some(true));
        let table = markdown(&[gemm], "one");
        assert!(table.contains("| 1.00 | 1.05 ×: missed |"), "{table}");
    }
}
