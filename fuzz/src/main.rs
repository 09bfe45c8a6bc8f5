//! Damaged files for every reader: `cargo xtask fuzz`.
//!
//! Inputs are mutations of real files, with checksums put right so that the damage gets past them. A
//! reader answers each with a value or with `Error::Format`, soon, and in memory that the file's length
//! bounds. What it answers steers the search: an input with an answer that was not heard before is
//! mutated further. What does not hold is saved, with its name on the last line.
#![forbid(unsafe_code)]

mod mutate;
mod repair;
mod targets;

use std::cell::RefCell;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use kiln_data::Rng;
use kiln_tensor_core::{Error, catch};
use peak_alloc::PeakAlloc;

use mutate::mutate;
use targets::{TARGETS, Target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A reader may take so many bytes for each byte of a file: DEFLATE makes 1032 of one, and an image or an
/// array of them exists twice for a moment.
const PER_BYTE: usize = 3 * 1032;
/// And so many for itself: buffers and the tables of decoders.
const OWN: usize = 8 << 20;
/// Longer than this on one small file is a hang.
const MOST: Duration = Duration::from_secs(10);
/// Inputs do not grow beyond this.
const MOST_BYTES: usize = 1 << 16;

/// Throws damaged files at the readers.
#[derive(Parser)]
struct Args {
    /// How long to try each target.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed of the mutations; chosen by the clock if none is given.
    #[arg(long)]
    seed: Option<u64>,
    /// Reads this file once, instead.
    #[arg(long)]
    replay: Option<PathBuf>,
    /// Where failing inputs are saved.
    #[arg(long, default_value = "target/fuzz")]
    out: PathBuf,
    /// Which targets to try; all if none is named.
    targets: Vec<String>,
}

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> Result<()> {
    let args = Args::parse();
    for name in &args.targets {
        if !TARGETS.iter().any(|target| target.name == name) {
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            bail!("there is no target {name}; there are: {}", names.join(", "));
        }
    }
    std::panic::set_hook(Box::new(|info| PANIC.set(info.to_string())));
    let chosen = |target: &&Target| {
        args.targets.is_empty() || args.targets.iter().any(|name| name == target.name)
    };
    let seed = args
        .seed
        .unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs()));
    let mut failed = false;
    for target in TARGETS.iter().filter(chosen) {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("input");
        if let Some(path) = &args.replay {
            let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
            println!("{}: {}", target.name, attempt(target, &file, &bytes)?);
            continue;
        }
        failed |= !search(target, &file, seed, &args)?;
    }
    if failed {
        bail!("not every reader holds");
    }
    Ok(())
}

/// Mutates until the time is up; gives whether all held.
fn search(target: &Target, file: &Path, seed: u64, args: &Args) -> Result<bool> {
    let mut corpus = (target.seeds)()?;
    let mut heard = HashSet::new();
    for bytes in &corpus {
        heard.insert(attempt(target, file, bytes).with_context(|| target.name)?);
    }
    let (start, mut count, seeds) = (Instant::now(), 0u64, corpus.len());
    while start.elapsed() < Duration::from_secs(args.seconds) {
        let mut rng = Rng::new(seed, count);
        let mut bytes = mutate(&corpus, MOST_BYTES, &mut rng);
        // Now and then the checksums stay wrong.
        if rng.below(8) > 0 {
            (target.repair)(&mut bytes);
        }
        count += 1;
        match attempt(target, file, &bytes) {
            Ok(answer) => {
                if heard.insert(answer) {
                    corpus.push(bytes);
                }
            }
            Err(why) => {
                std::fs::create_dir_all(&args.out)?;
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                let path = args.out.join(format!("{}-{:016x}", target.name, hasher.finish()));
                std::fs::write(&path, &bytes)?;
                println!("{}: input {count} of seed {seed}: {why}", target.name);
                println!("cargo xtask fuzz --replay {} {}", path.display(), target.name);
                return Ok(false);
            }
        }
    }
    let answers = heard.len();
    println!(
        "{:12} {count:>8} inputs from {seeds} files, {answers} different answers, seed {seed}: holds",
        target.name
    );
    Ok(true)
}

/// Reads a file; gives the answer without its numbers, or what does not hold.
fn attempt(target: &Target, file: &Path, bytes: &[u8]) -> Result<String> {
    std::fs::write(file, bytes)?;
    MEMORY.reset_peak_usage();
    let (before, start) = (MEMORY.current_usage(), Instant::now());
    let read = catch_unwind(AssertUnwindSafe(|| catch(|| (target.read)(file))));
    let (peak, time) = (MEMORY.peak_usage().saturating_sub(before), start.elapsed());
    // First of all, for to tell where a panic was takes memory.
    let Ok(read) = read else { bail!("a panic: {}", PANIC.take()) };
    if peak > OWN + PER_BYTE * bytes.len() {
        bail!("{peak} bytes of memory for a file of {}", bytes.len());
    }
    if time > MOST {
        bail!("{time:?} for a file of {} bytes", bytes.len());
    }
    match read {
        Ok(Ok(())) => Ok("read".into()),
        Ok(Err(error @ (Error::Format { .. } | Error::StateDict { .. }))) => {
            let text = error.to_string().replace(&*file.display().to_string(), "");
            Ok(text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect())
        }
        Ok(Err(other)) => bail!("an error of another kind: {other}"),
        Err(error) => bail!("a mistake of the program was reported: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(read: fn(&Path) -> kiln_tensor_core::Result<()>) -> Result<String> {
        let target =
            Target { name: "test", read, repair: repair::nothing, seeds: || Ok(Vec::new()) };
        let folder = tempfile::tempdir().unwrap();
        attempt(&target, &folder.path().join("input"), b"bytes")
    }

    /// One test for all: memory is counted for the whole program.
    #[test]
    fn what_does_not_hold_is_noticed() {
        let wrong = |read, word: &str| {
            let why = answer(read).unwrap_err().to_string();
            assert!(why.contains(word), "{why}");
        };
        wrong(|_| panic!("at once"), "a panic");
        wrong(
            |_| {
                drop(std::hint::black_box(vec![1u8; 64 << 20]));
                Ok(())
            },
            "bytes of memory for a file of 5",
        );
        wrong(
            |path| Err(Error::Io { path: path.into(), source: std::io::ErrorKind::Other.into() }),
            "an error of another kind",
        );
        wrong(
            |_| kiln_tensor_core::raise(Error::Argument { op: "f", why: "no".into() }),
            "a mistake of the program",
        );
        assert_eq!(answer(|_| Ok(())).unwrap(), "read");
        let format = |_: &Path| Err(Error::Format { what: "x".into(), why: "at 12".into() });
        assert_eq!(answer(format).unwrap(), "x: at ");
        inputs_repeat_and_checksums_are_put_right();
    }

    fn inputs_repeat_and_checksums_are_put_right() {
        let corpus: Vec<Vec<u8>> = TARGETS.iter().flat_map(|t| (t.seeds)().unwrap()).collect();
        let inputs = |seed| -> Vec<Vec<u8>> {
            (0..50).map(|at| mutate(&corpus, MOST_BYTES, &mut Rng::new(seed, at))).collect()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        for target in &TARGETS {
            for mut bytes in (target.seeds)().unwrap() {
                let whole = bytes.clone();
                (target.repair)(&mut bytes);
                assert!(bytes == whole, "{}: what is right stays so", target.name);
            }
        }
    }
}
