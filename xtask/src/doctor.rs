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
    note: String,
}

fn row(what: impl Into<String>, found: Option<String>, note: impl Into<String>) -> Row {
    Row { what: what.into(), found, note: note.into() }
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
    let libraries = cuda_libraries();
    let cuda = cuda_rows(&libraries);
    for (backend, rows) in [("opencl (feature `opencl`)", opencl_rows()), ("cuda", cuda)] {
        let ready = rows.iter().all(|row| row.found.is_some());
        println!("\nbackend {backend}: {}", if ready { "can be used" } else { "cannot be used" });
        print(&rows);
    }
    println!("\nNVIDIA's libraries for backend cuda (optional)");
    print(libraries.iter().filter(|library| library.what != "NVRTC"));
    Ok(())
}

fn print<'a>(rows: impl IntoIterator<Item = &'a Row>) {
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

fn cuda_rows(libraries: &[Row]) -> Vec<Row> {
    let shown = |name: &str| system::library(name).map(|path| path.display().to_string());
    let cards = shell::output(
        Command::new("nvidia-smi")
            .args(["--query-gpu=name,driver_version", "--format=csv,noheader"]),
    );
    let wheels = || Some(format!("{} (Python wheels)", wheels::there().ok()?.display()));
    let compiler = libraries.iter().find(|library| library.what == "NVRTC");
    let compiler = compiler.and_then(|library| library.found.clone()).or_else(wheels);
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

/// What the backend itself finds: it is built for that, because this program depends on no crate of ours.
fn cuda_libraries() -> Vec<Row> {
    let arguments = ["run", "--quiet", "--package", "kiln-backend-cuda", "--example", "libraries"];
    let Some(found) = shell::output(&mut shell::cargo(arguments)) else {
        return vec![row("libraries", None, "kiln-backend-cuda does not build here")];
    };
    let library = |line: &str| {
        let mut parts = line.splitn(3, '\t');
        let (name, version, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let found = (version != "missing").then(|| format!("{version} ({rest})"));
        Some(row(name, found, rest))
    };
    found.lines().filter_map(library).collect()
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
