//! `cargo xtask bench`: our own benchmarks, or ours and PyTorch's side by side.

mod report;
pub mod torch;
mod worker;
mod workloads;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Message;

use crate::shell;
use report::Entry;
use worker::Worker;
use workloads::{ON_GPU, WORKLOADS, Workload};

/// How long each side works in one round.
const ROUND_MS: f64 = 150.0;

/// A pause before the other side begins, so that this side's threads are asleep by then.
const PAUSE: Duration = Duration::from_millis(30);

/// Measures speed.
///
/// Without options: criterion times single ops and training steps, then every row of the op table
/// (briefly, as `FAMILY/NAME`), and compares with its last run; give a filter to run some of them. With `--vs torch`: the same workloads in Kiln and in PyTorch, in turns
/// within one run (both programs stay alive, the idle one sleeps), medians of several rounds, with the
/// same number of threads, as a table of ratios. A ratio above 1 means that Kiln is faster. Where no
/// PyTorch is found, a virtual environment is made in `.venv`; `KILN_TORCH_PYTHON` names another
/// interpreter.
#[derive(clap::Args)]
pub struct Args {
    /// Only benchmarks whose name contains this (without --vs).
    filter: Option<String>,
    /// Compare with this library.
    #[arg(long, value_parser = ["torch"])]
    vs: Option<String>,
    /// Only these workloads (with --vs; may be repeated).
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Where both sides compute: `cpu`, or `cuda:0` with a PyTorch that has CUDA.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Use the programs of this folder, which `cargo xtask gpu` has made, and build nothing.
    #[arg(long, value_name = "FOLDER")]
    bundle: Option<PathBuf>,
    /// Threads for both sides [default: all cores].
    #[arg(long)]
    threads: Option<usize>,
    /// Rounds of each workload.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Also write the results as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where to write the table as Markdown.
    #[arg(long, value_name = "FILE", default_value = "target/bench.md")]
    markdown: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    if args.vs.is_none() {
        ensure!(
            args.only.is_empty() && args.json.is_none() && args.device == "cpu",
            "--only, --json and --device go with --vs torch"
        );
        return criterion(args.filter.as_deref());
    }
    ensure!(args.filter.is_none(), "with --vs, pick workloads by --only NAME");
    ensure!(args.rounds > 0, "--rounds is at least 1");
    let table: &[Workload] = if args.device == "cpu" { &WORKLOADS } else { &ON_GPU };
    let chosen = chosen(table, &args.only)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(cores);
    ensure!((1..=1024).contains(&threads), "--threads is between 1 and 1024");
    let entries = compare(&chosen, threads, args)?;
    let heading = format!(
        "{}, f32, medians of {} interleaved rounds, threads: {threads}",
        args.device, args.rounds
    );
    write(&args.markdown, &report::markdown(&entries, &heading))?;
    if let Some(file) = &args.json {
        write(file, &serde_json::to_string_pretty(&entries)?)?;
    }
    Ok(())
}

fn chosen(table: &'static [Workload], only: &[String]) -> Result<Vec<&'static Workload>> {
    if only.is_empty() {
        return Ok(table.iter().collect());
    }
    let known = || table.iter().map(|workload| workload.name).collect::<Vec<_>>().join(", ");
    only.iter()
        .map(|name| {
            let found = table.iter().find(|workload| workload.name == name);
            found.with_context(|| format!("no workload `{name}`; there are: {}", known()))
        })
        .collect()
}

fn compare(chosen: &[&'static Workload], threads: usize, args: &Args) -> Result<Vec<Entry>> {
    let (python, program, scripts, digits) = match &args.bundle {
        Some(folder) => {
            let python = torch::find().with_context(|| torch::advice("no Python has PyTorch"))?;
            let file = |name| folder.join(name);
            (python, file("workloads"), file("workloads.py"), file("digits.csv.gz"))
        }
        None => {
            let python = torch::find_or_install()?;
            let file = |name| shell::root().join(name);
            let script = file("xtask/src/bench/workloads.py");
            (python, build(&args.device)?, script, file("data/assets/digits.csv.gz"))
        }
    };
    let (count, device) = (threads.to_string(), &args.device);
    let mut kiln = Worker::start("kiln", Command::new(program).args(["serve", &count, device]))?;
    let mut command = Command::new(python);
    let mut torch =
        Worker::start("torch", command.arg(scripts).arg(&count).arg(digits).arg(device))?;
    println!(
        "Kiln {} and PyTorch {} on {device}, {threads} threads each\n",
        kiln.version, torch.version
    );
    println!("{:<22} {:>12} {:>12} {:>7}  spread of the ratio", "", "Kiln", "PyTorch", "ratio");
    let mut entries = Vec::new();
    for &workload in chosen {
        let name = workload.name;
        let ours = kiln.calibrate(name, ROUND_MS)?;
        std::thread::sleep(PAUSE);
        let theirs = torch.calibrate(name, ROUND_MS)?;
        let (mut kiln_ms, mut torch_ms) = (Vec::new(), Vec::new());
        for _ in 0..args.rounds {
            std::thread::sleep(PAUSE);
            kiln_ms.push(kiln.run(name, ours)?);
            std::thread::sleep(PAUSE);
            torch_ms.push(torch.run(name, theirs)?);
        }
        kiln.drop_workload()?;
        torch.drop_workload()?;
        let entry = Entry::new(workload, threads, &kiln_ms, &torch_ms);
        let mut ratios: Vec<f64> = torch_ms.iter().zip(&kiln_ms).map(|(t, k)| t / k).collect();
        ratios.sort_by(f64::total_cmp);
        let verdict = match entry.reached() {
            Some(true) => format!("goal {} reached", workload.goal),
            Some(false) => format!("goal {} MISSED", workload.goal),
            None => String::new(),
        };
        println!(
            "{name:<22} {:>12} {:>12} {:>7.2}  {:.2}–{:.2}  {verdict}",
            report::time(entry.kiln_ms),
            report::time(entry.torch_ms),
            entry.ratio,
            ratios[0],
            ratios[ratios.len() - 1],
        );
        entries.push(entry);
    }
    Ok(entries)
}

/// Builds our side for a device and returns the program.
fn build(device: &str) -> Result<PathBuf> {
    println!("building Kiln's side");
    let mut command = shell::cargo(["bench", "--package", "kiln", "--bench", "workloads"]);
    let backend = device.split(':').next().unwrap_or_default();
    if backend != "cpu" {
        command.args(["--features", backend]);
    }
    command.args(["--no-run", "--message-format", "json-render-diagnostics"]);
    let out = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(out.status.success(), "Kiln's side does not build");
    let built = Message::parse_stream(out.stdout.as_slice()).find_map(|message| match message {
        Ok(Message::CompilerArtifact(artifact)) if artifact.target.name == "workloads" => {
            artifact.executable
        }
        _ => None,
    });
    match built {
        Some(path) => Ok(path.into_std_path_buf()),
        None => bail!("cargo built no program named workloads"),
    }
}

fn criterion(filter: Option<&str>) -> Result<()> {
    for (package, bench) in [("kiln", "workloads"), ("kiln-backend-cpu", "ops")] {
        let mut command = shell::cargo(["bench", "--package", package, "--bench", bench, "--"]);
        shell::run(command.args(filter))?;
    }
    println!("criterion keeps the numbers in target/criterion and compares with them next time");
    Ok(())
}

/// Writes a file; a relative path begins in the project's root, from wherever the command was called.
fn write(path: &Path, text: &str) -> Result<()> {
    let path = &shell::root().join(path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_know_every_workload() {
        let python = include_str!("workloads.py");
        let kiln = concat!(
            include_str!("../../../kiln/benches/workloads/ops.rs"),
            include_str!("../../../kiln/benches/workloads/training.rs")
        );
        for workload in WORKLOADS.iter().chain(&ON_GPU) {
            let name = workload.name;
            assert!(python.contains(&format!("\"{name}\":")), "{name} in Python");
            assert!(kiln.contains(&format!("name: \"{name}\"")), "{name} in Rust");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = chosen(&WORKLOADS, &["gem".to_owned()]).unwrap_err().to_string();
        assert!(message.contains("gemm_512"), "{message}");
        assert_eq!(chosen(&WORKLOADS, &["tiny_op".to_owned()]).unwrap()[0].name, "tiny_op");
    }
}
