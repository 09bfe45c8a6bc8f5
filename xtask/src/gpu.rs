//! `cargo xtask gpu`: one bundle that tests Kiln on a machine with a GPU and without cargo.

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::Message;

use crate::shell;

/// Builds the suites of the GPU backends, the examples that train and the benchmarks, stripped, with their data and
/// a script.
///
/// Copy the bundle to a machine with a driver, unpack it and run `./run.sh`: it says what it ran, and what was
/// not run because a device is missing. CUDA kernels are compiled there, so NVIDIA's compiler (NVRTC) has to be
/// there too: with the toolkit, or from Python wheels. Speed is compared with PyTorch's where a Python has it.
#[derive(clap::Args)]
pub struct Args {
    /// Where to write it.
    #[arg(long, default_value = "target/kiln-gpu.tar.gz", value_name = "FILE")]
    out: PathBuf,
}

/// What a bundle may weigh, in bytes.
const LIMIT: u64 = 60 << 20;

/// A program of the bundle: its name there, the package and the target that it is built from.
struct Program {
    name: &'static str,
    package: &'static str,
    target: [&'static str; 2],
}

const PROGRAMS: [Program; 9] = [
    Program { name: "cuda-suite", package: "kiln-backend-cuda", target: ["--test", "suite"] },
    Program {
        name: "cuda-libraries",
        package: "kiln-backend-cuda",
        target: ["--example", "libraries"],
    },
    Program { name: "opencl-suite", package: "kiln-backend-opencl", target: ["--test", "suite"] },
    Program { name: "opencl-large", package: "kiln-backend-opencl", target: ["--test", "large"] },
    Program { name: "opencl-queue", package: "kiln-backend-opencl", target: ["--test", "queue"] },
    Program { name: "digits", package: "kiln", target: ["--example", "digits"] },
    Program { name: "fashion_mnist", package: "kiln", target: ["--example", "fashion_mnist"] },
    Program { name: "workloads", package: "kiln", target: ["--bench", "workloads"] },
    Program { name: "xtask", package: "xtask", target: ["--bin", "xtask"] },
];

/// What the benchmarks need beside their programs.
const FILES: [&str; 2] = ["xtask/src/bench/workloads.py", "data/assets/digits.csv.gz"];

/// Where Debian's dataset-fashion-mnist lies.
const FASHION: &str = "/usr/share/datasets/fashion-mnist";

pub fn run(args: &Args) -> Result<()> {
    let folder = shell::root().join("target/kiln-gpu");
    if folder.exists() {
        fs::remove_dir_all(&folder).context("the last bundle's folder")?;
    }
    fs::create_dir_all(&folder)?;
    for program in &PROGRAMS {
        let built = build(program)?;
        let to = folder.join(program.name);
        fs::copy(&built, &to).with_context(|| format!("copying {}", built.display()))?;
        println!("{:<16} {:>5.1} MiB", program.name, mib(fs::metadata(&to)?.len()));
    }
    for file in FILES.map(|file| shell::root().join(file)) {
        let to = folder.join(file.file_name().context("a file")?);
        fs::copy(&file, &to).with_context(|| format!("copying {}", file.display()))?;
    }
    let script = folder.join("run.sh");
    fs::write(&script, include_str!("gpu.sh"))?;
    executable(&script)?;
    if Path::new(FASHION).is_dir() {
        let data = folder.join("fashion-mnist");
        fs::create_dir(&data)?;
        for file in fs::read_dir(FASHION)?.filter_map(Result::ok) {
            fs::copy(file.path(), data.join(file.file_name()))?;
        }
    } else {
        println!("without Fashion-MNIST: apt-get install dataset-fashion-mnist");
    }
    let out = shell::root().join(&args.out);
    // To a file of another name first: what is there stays until the new one is whole.
    let unfinished = out.with_extension("unfinished");
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&unfinished).arg("-C").arg(shell::root().join("target")).arg("kiln-gpu");
    shell::run(&mut tar)?;
    let bytes = fs::metadata(&unfinished)?.len();
    ensure!(
        bytes <= LIMIT,
        "{:.1} MiB is more than the {} that a bundle may have",
        mib(bytes),
        LIMIT >> 20
    );
    fs::rename(&unfinished, &out)?;
    println!("{}: {:.1} MiB. There: tar -xzf it, then kiln-gpu/run.sh", out.display(), mib(bytes));
    Ok(())
}

/// Builds a program and says where it lies.
fn build(program: &Program) -> Result<PathBuf> {
    let mut command = match program.target[0] {
        "--test" => shell::cargo(["test", "--release", "--no-run"]),
        "--bench" => shell::cargo(["bench", "--no-run"]),
        _ => shell::cargo(["build", "--release"]),
    };
    if program.package == "kiln" {
        command.args(["--features", "cuda,opencl"]);
    }
    command.args(["--package", program.package]).args(program.target);
    command
        .arg("--message-format=json-render-diagnostics")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env("CARGO_PROFILE_BENCH_STRIP", "symbols");
    println!("$ {}", shell::shown(&command));
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("cargo's output")?;
    let mut found = None;
    for message in Message::parse_stream(BufReader::new(output)) {
        if let Message::CompilerArtifact(artifact) = message?
            && artifact.target.name == program.target[1]
            && let Some(file) = artifact.executable
        {
            found = Some(file.into_std_path_buf());
        }
    }
    ensure!(child.wait()?.success(), "`{}` failed", shell::shown(&command));
    match found {
        Some(file) => Ok(file),
        None => bail!("cargo built no {} of {}", program.target[1], program.package),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(unix)]
fn executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let opened = File::open(file)?;
    Ok(opened.set_permissions(fs::Permissions::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    Ok(())
}
