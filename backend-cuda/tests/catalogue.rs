//! The kernels that a CUDA device may get, counted: none goes missing in silence.

mod kernels;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How many sources there are of each kernel. `tests/compile.rs` compiles every one.
const COUNTS: [(&str, usize); 32] = [
    ("attention", 36),
    ("attention_grad_key", 33),
    ("attention_grad_query", 33),
    ("avg_pool", 6),
    ("avg_pool_grad", 6),
    ("conv", 5),
    ("conv_grad_input", 2),
    ("conv_grad_weight", 2),
    ("cross_entropy", 8),
    ("cross_entropy_grad", 8),
    ("gather", 4),
    ("layer_norm", 24),
    ("layer_norm_grad", 16),
    ("log_softmax", 16),
    ("log_softmax_grad", 16),
    ("map", 365),
    ("map_each", 5),
    ("matmul", 8),
    ("max_pool", 4),
    ("merge", 22),
    ("nonzero", 1),
    ("reduce", 194),
    ("reduce_parts", 36),
    ("rms_norm", 16),
    ("rms_norm_grad", 16),
    ("scan", 22),
    ("scan_chunks", 66),
    ("scatter", 20),
    ("scatter_runs", 22),
    ("softmax", 16),
    ("softmax_grad", 16),
    ("tiled", 28),
];

/// Kernels that only the cores of a host get.
const OF_HOSTS: [&str; 3] = ["columns", "pack", "product"];

#[test]
fn every_kernel_of_backend_gpu_is_there() {
    let mut counts = BTreeMap::new();
    for (_, entry) in kernels::every() {
        *counts.entry(entry).or_insert(0) += 1;
    }
    let mut named = BTreeSet::new();
    names(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../backend-gpu/src")), &mut named);
    assert!(named.len() > 8, "{named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !counts.contains_key(*name) && !OF_HOSTS.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "no call in tests/kernels leads to {missing:?}");
    let expected = COUNTS.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counts, BTreeMap::from(expected), "changed on purpose? Then change COUNTS");
}

/// The names after `KERNEL void` in all files of a folder.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names(&path, found);
            continue;
        }
        let text = std::fs::read_to_string(path).unwrap();
        for piece in text.split("KERNEL void ").skip(1) {
            let name = piece.split_once('(').map_or("", |(name, _)| name);
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            // Others are put together from pieces.
            if !name.is_empty() && name.chars().all(plain) {
                found.insert(name.to_owned());
            }
        }
    }
}
