//! What needs an OpenCL device: the backend's suite, the facade with all backends in it, and the demo with a
//! device and without one.

use std::path::Path;

use anyhow::{Result, bail};

use super::tally::Tally;
use super::{Args, Outcome, check, component, failed, installed, learned, learner};
use crate::{opencl, shell};

/// Families of the table that compile about half of all kernels.
#[rustfmt::skip]
const FIRST_SHARE: [&str; 7] =
    ["binary::", "numbers::", "operators::", "functional::", "fused::", "losses::", "reductions::"];

/// Packages with targets of the same names.
const OTHER_SUITES: [&str; 3] = ["kiln-conformance", "kiln-backend-cuda", "kiln-backend-minimal"];

/// The step.
pub(super) fn run(args: &Args) -> Outcome {
    let devices = match opencl::ensure(|package| installed(args, package)) {
        Ok(devices) => devices,
        Err(why) => return Outcome::NotRun(why),
    };
    println!("on {}", devices.join(" and "));
    // Of the whole workspace, without what has targets of the same names: one package alone has other
    // features of its dependencies, and all of them would be compiled again.
    let cargo = |subcommand: &str, targets: &[&str]| {
        let features = "--features=kiln/opencl,kiln/cuda";
        let mut command = shell::cargo([subcommand, "--workspace", features]);
        command.args(OTHER_SUITES.map(|package| format!("--exclude={package}"))).args(targets);
        // Compiled kernels stay with what else this tree has built. PoCL's own cache is enough: a binary of
        // a kernel takes it half as long again as the kernel.
        command.env("POCL_CACHE_DIR", shell::root().join("target/pocl")).env("KILN_CACHE", "0");
        command
    };
    let backend = ["--test=queue", "--test=large"];
    let facade = ["--test=opencl", "--test=devices"];
    let mut tally = Tally::default();
    let mut lints = cargo("clippy", &[&backend[..], &facade, &["--test=suite"]].concat());
    match component(args, "clippy", "clippy", || check(lints.args(["--", "-D", "warnings"]))) {
        Outcome::Ran(lints) => tally += lints,
        Outcome::NotRun(why) => {
            println!("lints: {why}");
            tally.skipped += 1;
        }
    }
    // One process a target and two threads: each process pays for the driver's start, and compiles a kernel once.
    let options = ["--no-fail-fast", "--quiet", "--", "--test-threads", "2"];
    let mut facade = cargo("test", &facade);
    facade.args(options);
    if devices.len() > 1 || devices.iter().any(|device| device.contains(opencl::POCL)) {
        // Of PoCL there may be two, for what takes two devices of one backend.
        facade.arg("--include-ignored").env("POCL_DEVICES", "pthread pthread");
    }
    // Kernels shaped for GPUs, and a guard at each access.
    let mut guarded = cargo("test", &["--test=large"]);
    guarded.args(options).env("KILN_OPENCL_AS_GPU", "1").env("KILN_GPU_CHECK", "1");
    for command in [&mut facade, &mut guarded, cargo("test", &backend).args(options)] {
        match shell::tee(command) {
            Ok((ok, text)) => tally += Tally::parse(&text, ok),
            Err(error) => return failed(&error),
        }
    }
    // PoCL compiles one kernel at a time in a process: two share the table of ops.
    let share = |first: bool| {
        let mut command = cargo("test", &["--test=suite"]);
        command.args(["--no-fail-fast", "--quiet", "--", "--test-threads", "2"]);
        // A third of the time is the compiler's optimisation; the other targets have it.
        command.env("KILN_OPENCL_OPTIONS", "-cl-opt-disable");
        for family in FIRST_SHARE {
            if !first {
                command.arg("--skip");
            }
            command.arg(family);
        }
        command
    };
    let shares = std::thread::scope(|scope| {
        let other = scope.spawn(|| shell::tee(&mut share(false)));
        [
            shell::tee(&mut share(true)),
            other.join().unwrap_or_else(|_| bail!("a share of the suite")),
        ]
    });
    for result in shares {
        match result {
            Ok((ok, text)) => tally += Tally::parse(&text, ok),
            Err(error) => return failed(&error),
        }
    }
    match shell::tee(&mut cargo("build", &["--example=digits"])) {
        Ok((true, _)) => {}
        Ok((false, _)) => {
            tally += Tally::check(false);
            return Outcome::Ran(tally);
        }
        Err(error) => return failed(&error),
    }
    match demo_with_and_without_a_driver() {
        Ok(demo) => tally += demo,
        Err(error) => return failed(&error),
    }
    Outcome::Ran(tally)
}

/// The demo's program with the backend in it, on a device and as on a machine where no driver is listed.
fn demo_with_and_without_a_driver() -> Result<Tally> {
    let target = shell::target()?;
    let nothing = target.join("no-drivers");
    std::fs::create_dir_all(&nothing)?;
    let run = |options: &[&str], variable: &str, value: &Path| {
        let mut command = learner()?;
        command.args(options).env("POCL_CACHE_DIR", target.join("pocl"));
        shell::tee(command.env("CUDA_VISIBLE_DEVICES", "").env(variable, value))
    };
    let (ok, text) = run(&["--device", "opencl"], "RUST_BACKTRACE", Path::new("1"))?;
    let mut tally = Tally::check(ok && learned(&text, 95.0) && text.contains("on opencl:0"));
    let (ok, text) = run(&["--epochs", "10"], "OCL_ICD_VENDORS", &nothing)?;
    tally += Tally::check(ok && learned(&text, 90.0) && text.contains("on cpu"));
    let (ok, text) = run(&["--device", "opencl"], "OCL_ICD_VENDORS", &nothing)?;
    tally += Tally::check(!ok && text.contains("opencl cannot be used"));
    Ok(tally)
}
