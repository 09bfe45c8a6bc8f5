//! `cargo xtask doctor`: what this machine has, and what to install to get the rest.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::bench::torch;
use crate::cuda::wheels;
use crate::{opencl, shell, system};

/// One line of the table.
struct Row {
    what: String,
    /// What was found; nothing if it is missing.
    found: Option<String>,
    /// What it is for, or how to get it where it is missing.
    note: &'static str,
}

fn row(what: impl Into<String>, found: Option<String>, note: &'static str) -> Row {
    Row { what: what.into(), found, note }
}

/// Shows what this machine has and, for what is missing, what to install.
pub fn run() -> Result<()> {
    println!("processor and memory");
    print(&machine());
    println!("\nneeded to build and check Kiln");
    print(&tools());
    println!("\noptional");
    print(&optional());
    println!("\nbackend cpu: always there");
    for (backend, rows) in [("opencl (feature `opencl`)", opencl_rows()), ("cuda", cuda_rows())] {
        let ready = rows.iter().all(|row| row.found.is_some());
        println!("\nbackend {backend}: {}", if ready { "can be used" } else { "cannot be used" });
        print(&rows);
    }
    Ok(())
}

fn print(rows: &[Row]) {
    for Row { what, found, note } in rows {
        match found {
            Some(found) => println!("  {what:<18} {found}"),
            None => println!("  {what:<18} missing: {note}"),
        }
    }
}

fn machine() -> Vec<Row> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let processor = read("/proc/cpuinfo").and_then(|text| field(&text, "model name"));
    let memory = read("/proc/meminfo").and_then(|text| {
        let gib = |name: &str| {
            let kib: f64 = field(&text, name)?.strip_suffix(" kB")?.trim().parse().ok()?;
            Some(kib / 1024.0 / 1024.0)
        };
        Some(format!("{:.1} GiB, {:.1} free", gib("MemTotal")?, gib("MemAvailable")?))
    });
    let pages = read("/sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen(&text));
    let cores = std::thread::available_parallelism().ok();
    vec![
        row("processor", processor, "its name is not known on this system"),
        row("cores", cores.map(|n| n.to_string()), "their number is not known on this system"),
        row("SIMD", simd(), "none that Kiln has kernels for; scalar code is used"),
        row("memory", memory, "its size is not known on this system"),
        row("huge pages", pages, "large tensors cost more page faults"),
    ]
}

/// The value of `name : value` in a file under /proc.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// The word in brackets, as in `always [madvise] never`; nothing for `never`.
fn chosen(text: &str) -> Option<String> {
    let word = text.split_once('[')?.1.split_once(']')?.0;
    (word != "never").then(|| word.to_owned())
}

#[cfg(target_arch = "x86_64")]
fn simd() -> Option<String> {
    let found = [
        ("SSE4.2", std::is_x86_feature_detected!("sse4.2")),
        ("AVX", std::is_x86_feature_detected!("avx")),
        ("AVX2", std::is_x86_feature_detected!("avx2")),
        ("FMA", std::is_x86_feature_detected!("fma")),
        ("F16C", std::is_x86_feature_detected!("f16c")),
        ("AVX-512F", std::is_x86_feature_detected!("avx512f")),
        ("AVX-512BW", std::is_x86_feature_detected!("avx512bw")),
        ("AVX-512 BF16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    let names: Vec<&str> = found.iter().filter(|(_, has)| *has).map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(not(target_arch = "x86_64"))]
fn simd() -> Option<String> {
    cfg!(target_feature = "neon").then(|| "NEON".to_owned())
}

fn tools() -> Vec<Row> {
    let version = |program: &str| {
        shell::output(Command::new(program).arg("--version"))
            .and_then(|text| text.lines().next().map(str::to_owned))
    };
    let cargo = |subcommand: &str| {
        shell::output(&mut shell::cargo([subcommand, "--version"]))
            .and_then(|text| text.lines().next().map(str::to_owned))
    };
    vec![
        row("rustc", version("rustc"), "https://rustup.rs"),
        row("linker", version("cc"), "apt-get install gcc"),
        row("rustfmt", cargo("fmt"), "rustup component add rustfmt"),
        row("clippy", cargo("clippy"), "rustup component add clippy"),
    ]
}

fn optional() -> Vec<Row> {
    let blas = system::openblas().map(|version| format!("OpenBLAS {version} (to link)")).or_else(
        // Enough to run a program that was built elsewhere.
        || system::library("libopenblas.so").map(|path| format!("{} (to run)", path.display())),
    );
    let nextest = shell::output(&mut shell::cargo(["nextest", "--version"]))
        .and_then(|text| text.lines().next().map(str::to_owned));
    let torch = torch::find().and_then(|python| torch::version(&python));
    let mnist = Path::new("/usr/share/datasets/fashion-mnist");
    let mnist = mnist.is_dir().then(|| mnist.display().to_string());
    vec![
        row("BLAS", blas, "apt-get install libopenblas-dev pkg-config (feature `blas`)"),
        row("nextest", nextest, "cargo install cargo-nextest --locked (runs tests in parallel)"),
        row("Fashion-MNIST", mnist, "apt-get install dataset-fashion-mnist (a larger example)"),
        row("PyTorch", torch, "`cargo xtask bench --vs torch` makes a virtual environment for it"),
    ]
}

fn opencl_rows() -> Vec<Row> {
    let drivers = Some(opencl::drivers().join(", ")).filter(|names| !names.is_empty());
    let loader = opencl::loader().map(|path| path.display().to_string());
    let mut rows = vec![
        row("loader", loader, "apt-get install ocl-icd-libopencl1"),
        row(
            "drivers",
            drivers,
            "apt-get install pocl-opencl-icd (computes on the host), or your GPU's",
        ),
    ];
    let devices = opencl::devices();
    if devices.is_empty() {
        rows.push(row("devices", None, "none: a driver that works and its device are needed"));
    }
    let named = devices.into_iter().enumerate();
    rows.extend(named.map(|(i, name)| row(format!("opencl:{i}"), Some(name), "")));
    rows
}

fn cuda_rows() -> Vec<Row> {
    let shown = |name: &str| system::library(name).map(|path| path.display().to_string());
    let cards = shell::output(
        Command::new("nvidia-smi")
            .args(["--query-gpu=name,driver_version", "--format=csv,noheader"]),
    );
    let home = std::env::var_os("CUDA_HOME").map(std::path::PathBuf::from);
    let home = home.or_else(|| Some("/usr/local/cuda".into())).filter(|path| path.is_dir());
    let compiler = shown("libnvrtc.so")
        .or_else(|| home.map(|path| format!("{} (CUDA_HOME)", path.display())))
        .or_else(|| Some(format!("{} (Python wheels)", wheels::there().ok()?.display())));
    vec![
        row("devices", cards, "no NVIDIA card, or no driver for it"),
        row("driver", shown("libcuda.so"), "comes with NVIDIA's driver"),
        row(
            "compiler (NVRTC)",
            compiler,
            "comes with the CUDA toolkit, or: cargo xtask cuda wheels (or pip install nvidia-cuda-nvrtc)",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_files() {
        let text = "MemTotal:       1024 kB\nMemAvailable:    512 kB\n";
        assert_eq!(field(text, "MemAvailable").as_deref(), Some("512 kB"));
        assert_eq!(field(text, "Mem"), None);
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen("always madvise [never]\n"), None);
        assert_eq!(chosen("nonsense"), None);
    }
}
