//! `cargo xtask test`: everything that must hold, cheapest first.

mod opencl;
mod tally;

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};
use cargo_metadata::MetadataCommand;

use crate::{cuda, shell, system, tidy};
use tally::Tally;

/// Runs everything that must hold, cheapest first: `.ci/run` calls exactly this.
///
/// Installs what it needs and may: toolchain components through rustup and, as root on Debian or
/// Ubuntu, packages. What it cannot get it names, and what does not run for that reason is reported
/// as not run, never as passed. Goes on after a failure, so that one run shows them all. The last
/// line adds up: every test that a runner ran counts one, every other check counts one.
#[derive(clap::Args)]
pub struct Args {
    /// Only these steps, in the usual order (see --list).
    steps: Vec<String>,
    /// Name the steps and what each does.
    #[arg(long)]
    list: bool,
    /// Do not install anything.
    #[arg(long)]
    no_install: bool,
}

struct Step {
    name: &'static str,
    does: &'static str,
    run: fn(&Args) -> Outcome,
}

/// What became of a step.
enum Outcome {
    /// Tests ran, or checks that count one each.
    Ran(Tally),
    /// Something is missing.
    NotRun(String),
}

#[rustfmt::skip]
const STEPS: [Step; 12] = [
    Step { name: "tidy", does: "the drawing is true: dependencies, unsafe, file sizes, paths in documents", run: tidy },
    Step { name: "format", does: "cargo fmt --check", run: format },
    Step { name: "clippy", does: "lints of all targets, warnings denied", run: clippy },
    Step { name: "build", does: "libraries, programs, tests and examples compile", run: build },
    Step { name: "tests", does: "unit, property and conformance tests (with nextest where it is installed)", run: tests },
    Step { name: "doc-tests", does: "the programs in the documentation and in README.md", run: doc_tests },
    Step { name: "simd", does: "results of the CPU backend again, with the vectors of lesser machines and with none", run: simd },
    Step { name: "blas", does: "the CPU backend again, with products by the system's OpenBLAS", run: blas },
    Step { name: "cuda", does: "every CUDA kernel compiles, for three generations of devices, with NVIDIA's compiler", run: cuda },
    Step { name: "opencl", does: "lints, the OpenCL backend's suite and the facade's tests on an OpenCL device (PoCL where there is no other)", run: opencl::run },
    Step { name: "demo", does: "the digits classifier learns, its weights load again, and a NaN loss stops it", run: demo },
    Step { name: "docs", does: "the documentation builds, warnings denied", run: docs },
];

/// Runs the steps; whether all passed.
pub fn run(args: &Args) -> Result<bool> {
    if args.list {
        STEPS.iter().for_each(|step| println!("{:<10} {}", step.name, step.does));
        return Ok(true);
    }
    for name in &args.steps {
        ensure!(STEPS.iter().any(|step| step.name == name), "no step `{name}`; see --list");
    }
    let (mut total, mut lines) = (Tally::default(), Vec::new());
    for step in &STEPS {
        if !args.steps.is_empty() && !args.steps.iter().any(|name| name == step.name) {
            continue;
        }
        println!("\n== {}: {}", step.name, step.does);
        let start = Instant::now();
        let outcome = (step.run)(args);
        let seconds = start.elapsed().as_secs_f64();
        let said = match outcome {
            Outcome::Ran(tally) => {
                total += tally;
                let word = if tally.failed > 0 { "FAILED" } else { "ok" };
                format!("{:<10} {word}: {tally} ({seconds:.0} s)", step.name)
            }
            Outcome::NotRun(why) => {
                total.skipped += 1;
                format!("{:<10} not run: {why}", step.name)
            }
        };
        lines.push(said);
    }
    println!("\n== what ran");
    lines.iter().for_each(|line| println!("{line}"));
    // Nothing is printed after this, on either stream: tools read the last line.
    println!("{total}");
    Ok(total.failed == 0)
}

fn tidy(_: &Args) -> Outcome {
    let problems = match tidy::problems() {
        Ok(problems) => problems,
        Err(error) => vec![format!("{error:#}")],
    };
    problems.iter().for_each(|problem| println!("{problem}"));
    Outcome::Ran(Tally::check(problems.is_empty()))
}

fn format(args: &Args) -> Outcome {
    component(args, "fmt", "rustfmt", || check(&mut shell::cargo(["fmt", "--all", "--check"])))
}

fn clippy(args: &Args) -> Outcome {
    component(args, "clippy", "clippy", || {
        check(&mut shell::cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    })
}

fn build(_: &Args) -> Outcome {
    // Benches have passed the lints: as machine code they are as much as all tests of a backend.
    let targets = ["--lib", "--bins", "--tests", "--examples"];
    check(shell::cargo(["build", "--workspace"]).args(targets))
}

fn tests(_: &Args) -> Outcome {
    if shell::output(&mut shell::cargo(["nextest", "--version"])).is_some() {
        return suite([
            "nextest",
            "run",
            "--workspace",
            "--no-fail-fast",
            "--status-level",
            "fail",
        ]);
    }
    // Named targets, because without them doc-tests run too: those are a step of their own.
    suite(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--quiet"])
}

fn doc_tests(_: &Args) -> Outcome {
    suite(["test", "--workspace", "--doc", "--no-fail-fast", "--quiet"])
}

/// The forward rows of the op table at each SIMD level below this machine's own.
fn simd(_: &Args) -> Outcome {
    let levels = lesser_levels();
    if levels.is_empty() {
        return Outcome::NotRun("this machine has one level".into());
    }
    let mut tally = Tally::default();
    for level in levels {
        println!("KILN_SIMD={level}");
        // Of the whole workspace: one package alone has other features, and is compiled again.
        let mut command = shell::cargo(["test", "--workspace", "--test", "conformance"]);
        command.args(["--quiet", "--", "forward"]);
        match shell::tee(command.env("KILN_SIMD", level)) {
            Ok((ok, text)) => tally += Tally::parse(&text, ok),
            Err(error) => return failed(&error),
        }
    }
    Outcome::Ran(tally)
}

/// What `KILN_SIMD` may be set to here, without the level that is used anyway.
fn lesser_levels() -> Vec<&'static str> {
    let mut levels = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma") && has!("f16c");
        if avx2 {
            levels.push("scalar");
        }
        if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            levels.push("avx2");
        }
    }
    levels
}

fn blas(args: &Args) -> Outcome {
    match has_blas() {
        Ok(true) => {}
        Ok(false) => return Outcome::NotRun("kiln-backend-cpu has no feature `blas`".into()),
        Err(error) => return failed(&error),
    }
    if system::openblas().is_none() {
        for package in ["pkg-config", "libopenblas-dev"] {
            if let Err(why) = installed(args, package) {
                return Outcome::NotRun(why);
            }
        }
    }
    // Of the whole workspace: see `simd`. What has a product in it; the rest has run.
    suite([
        "test",
        "--workspace",
        "--features=kiln-backend-cpu/blas",
        "--test=matmul",
        "--test=fused",
        "--test=conv",
        "--test=conformance",
        "--no-fail-fast",
        "--quiet",
    ])
}

fn has_blas() -> Result<bool> {
    let manifest = shell::root().join("backend-cpu/Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec()?;
    let mut packages = metadata.packages.iter().filter(|p| p.name.as_str() == "kiln-backend-cpu");
    Ok(packages.any(|package| package.features.contains_key("blas")))
}

/// Needs no device: the compiler comes as a Python package.
fn cuda(args: &Args) -> Outcome {
    let fetch = || {
        if cuda::wheels::there().is_err() && cuda::wheels::python_with_pip().is_none() {
            installed(args, "python3-pip")?;
        }
        cuda::wheels::fetch()
    };
    let wheels = if args.no_install { cuda::wheels::there() } else { fetch() };
    let wheels = match wheels {
        Ok(wheels) => wheels,
        Err(why) => return Outcome::NotRun(why),
    };
    let table = match cuda::is_up_to_date() {
        Ok(true) => Tally::check(true),
        Ok(false) => {
            println!(
                "the driver's functions are not what the header declares: cargo xtask cuda functions"
            );
            Tally::check(false)
        }
        Err(error) => return failed(&error),
    };
    // Of the whole workspace: see `simd`.
    let mut command = shell::cargo(["test", "--workspace", "--test", "compile"]);
    command
        .args(["--no-fail-fast", "--quiet"])
        .env("PYTHONPATH", wheels)
        .env_remove("CUDA_HOME")
        .env_remove("CUDA_PATH");
    match shell::tee(&mut command) {
        Ok((ok, text)) => {
            let mut tally = Tally::parse(&text, ok);
            tally += table;
            Outcome::Ran(tally)
        }
        Err(error) => failed(&error),
    }
}

fn demo(_: &Args) -> Outcome {
    // Of the whole workspace: see `simd`.
    match shell::tee(&mut shell::cargo(["build", "--workspace", "--example=digits"])) {
        Ok((true, _)) => {}
        Ok((false, _)) => return Outcome::Ran(Tally::check(false)),
        Err(error) => return failed(&error),
    }
    let run = |options: &[&str]| shell::tee(learner()?.args(options));
    let mut tally = Tally::default();
    match run(&[]) {
        Ok((ok, text)) => tally += Tally::check(ok && learned(&text, 95.0)),
        Err(error) => return failed(&error),
    }
    // A rate at which any training blows up: it must stop and say so.
    match run(&["--lr", "1e30", "--epochs", "1"]) {
        Ok((ok, text)) => tally += Tally::check(!ok && text.contains("the loss became")),
        Err(error) => return failed(&error),
    }
    Outcome::Ran(tally)
}

/// The digits example, built before, on the perceptron: that learns in seconds even without full optimisation.
fn learner() -> Result<Command> {
    let target = shell::target()?;
    let mut command = Command::new(target.join("debug/examples/digits"));
    command.args(["--model", "mlp", "--seed", "1", "--out"]).arg(target.join("demo-check"));
    Ok(command)
}

/// Whether a demo's output reports at least this test accuracy, in per cent.
fn learned(text: &str, least: f64) -> bool {
    let accuracy = text.lines().find_map(|line| {
        line.trim().strip_prefix("test accuracy: ")?.strip_suffix(" %")?.parse::<f64>().ok()
    });
    match accuracy {
        Some(accuracy) if accuracy >= least => true,
        Some(accuracy) => {
            println!("{accuracy} % is less than the {least} % that this seed must reach");
            false
        }
        None => {
            println!("the demo printed no test accuracy");
            false
        }
    }
}

fn docs(_: &Args) -> Outcome {
    match shell::tee(crate::docs::command().arg("--no-deps")) {
        Ok((ok, _)) => Outcome::Ran(Tally::check(ok)),
        Err(error) => failed(&error),
    }
}

/// One cargo command that passes or fails as a whole.
fn check(command: &mut Command) -> Outcome {
    match shell::tee(command) {
        Ok((ok, _)) => Outcome::Ran(Tally::check(ok)),
        Err(error) => failed(&error),
    }
}

/// One cargo command that runs tests and counts them.
fn suite<const N: usize>(args: [&str; N]) -> Outcome {
    match shell::tee(&mut shell::cargo(args)) {
        Ok((ok, text)) => Outcome::Ran(Tally::parse(&text, ok)),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> Outcome {
    println!("{error:#}");
    Outcome::Ran(Tally::check(false))
}

fn component(args: &Args, subcommand: &str, name: &str, run: impl FnOnce() -> Outcome) -> Outcome {
    let there = if args.no_install {
        shell::output(&mut shell::cargo([subcommand, "--version"]))
            .map(|_| ())
            .ok_or_else(|| format!("cargo {subcommand} is missing"))
    } else {
        system::ensure_component(subcommand, name)
    };
    match there {
        Ok(()) => run(),
        Err(why) => Outcome::NotRun(why),
    }
}

fn installed(args: &Args, package: &str) -> Result<(), String> {
    if args.no_install {
        return Err(format!("{package} may be missing, and --no-install was given"));
    }
    system::install_debian(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_read_from_its_own_line() {
        assert!(learned("epoch 1\ntest accuracy: 97.8 %\nnext …", 95.0));
        assert!(!learned("test accuracy: 94.9 %", 95.0));
        assert!(!learned("the test accuracy: 99 % was", 95.0));
        assert!(!learned("test accuracy: NaN %", 95.0));
    }
}
