//! The readers, and real files to begin with.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_data::tensorboard::read_events;
use kiln_data::{CsvReader, Image, read_idx};
use kiln_files::{Checkpoint, StateDict, npy, npz, pt};
use kiln_tensor_core::{RngStates, Tensor};

use crate::repair;

/// A reader.
pub struct Target {
    pub name: &'static str,
    pub read: fn(&Path) -> kiln_tensor_core::Result<()>,
    pub repair: fn(&mut [u8]),
    pub seeds: fn() -> Result<Vec<Vec<u8>>>,
}

pub const TARGETS: [Target; 10] = [
    Target {
        name: "safetensors",
        read: |path| StateDict::<Cpu>::load(path, &CpuDevice).map(drop),
        repair: repair::nothing,
        seeds: || files(&["nn/tests/reference"], "safetensors"),
    },
    Target {
        name: "checkpoint",
        read: |path| {
            let checkpoint = Checkpoint::<Cpu>::load(path, &CpuDevice)?;
            checkpoint.get::<RngStates>("rng")?;
            checkpoint.get::<Vec<f64>>("losses")?;
            checkpoint.get::<StateDict<Cpu>>("model").map(drop)
        },
        repair: repair::nothing,
        seeds: checkpoints,
    },
    Target {
        name: "pt",
        read: |path| {
            let value = pt::load::<Cpu>(path, &CpuDevice)?;
            for (_, value) in value.entries().unwrap_or_default() {
                // Views are asked for what they show, as far as that is not much.
                if let Some(x) = value.as_tensor().filter(|x| x.numel() < 1 << 16) {
                    drop(x.copy());
                }
            }
            Ok(())
        },
        repair: repair::zip,
        seeds: || files(&["files/tests/pytorch"], "pt"),
    },
    Target {
        name: "npy",
        read: |path| npy::load::<Cpu>(path, &CpuDevice).map(drop),
        repair: repair::nothing,
        seeds: || files(&["files/tests/numpy"], "npy"),
    },
    Target {
        name: "npz",
        read: |path| npz::load::<Cpu>(path, &CpuDevice).map(drop),
        repair: repair::zip,
        seeds: || files(&["files/tests/numpy"], "npz"),
    },
    Target {
        name: "idx",
        read: |path| read_idx(path).map(drop),
        repair: repair::nothing,
        seeds: || packed([&[0, 0, 0x0D, 2, 0, 0, 0, 3, 0, 0, 0, 2][..], &[7; 24]].concat()),
    },
    Target {
        name: "csv",
        read: |path| CsvReader::new().read(path).map(drop),
        repair: repair::nothing,
        seeds: || packed(b"id,size,kind\n1,0.5,cat\n-2,\"1e3\",dog\n3,nan,\"a,b\"\n".to_vec()),
    },
    Target {
        name: "png",
        read: |path| Image::open(path).map(drop),
        repair: repair::png,
        seeds: || files(&["data/tests/images"], "png"),
    },
    Target {
        name: "jpeg",
        read: |path| Image::open(path).map(drop),
        repair: repair::nothing,
        seeds: || files(&["data/tests/images"], "jpg"),
    },
    Target {
        name: "events",
        read: |path| read_events(path).map(drop),
        repair: repair::events,
        seeds: || files(&["data/tests/events"], "tfevents"),
    },
];

/// The files of this ending in folders of the repository, in the order of their names.
fn files(folders: &[&str], ending: &str) -> Result<Vec<Vec<u8>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = Vec::new();
    for folder in folders {
        let folder = root.join(folder);
        for entry in folder.read_dir().with_context(|| folder.display().to_string())? {
            paths.push(entry?.path());
        }
    }
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    paths.iter().map(|path| Ok(std::fs::read(path)?)).collect()
}

/// A file as it is, and as gzip.
fn packed(bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&bytes)?;
    Ok(vec![encoder.finish()?, bytes])
}

fn checkpoints() -> Result<Vec<Vec<u8>>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("checkpoint");
    let mut model = StateDict::<Cpu>::new();
    model.insert("weight", Tensor::from_slice(&[1.0f32, 2.0], [1, 2], &CpuDevice));
    model.insert("bias", Tensor::from_slice(&[1i64], [], &CpuDevice));
    model.metadata_mut().insert("optimizer".into(), "{}".into());
    Checkpoint::new()
        .with("model", model)
        .with("rng", kiln_tensor_core::rng_states())
        .with("losses", vec![0.5, f64::INFINITY])
        .with("epoch", 3)
        .save(&path)?;
    Ok(vec![std::fs::read(&path)?])
}
