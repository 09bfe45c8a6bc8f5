//! NVIDIA's libraries, found and not found, against stand-ins: each test in a process of its own.
#![cfg(target_os = "linux")]

#[path = "../shim/tests/fake/mod.rs"]
mod fake;

use std::path::{Path, PathBuf};

use fake::{CUBLAS_LT, CUDNN, NCCL, built, in_child};
use kiln_backend_cuda::libraries;

/// Variables that turn the search away from what this machine may have.
const NOWHERE: [(&str, &str); 5] = [
    ("CUDA_HOME", "/nowhere"),
    ("CUDA_PATH", ""),
    ("PYTHONPATH", ""),
    ("HOME", "/nowhere"),
    ("VIRTUAL_ENV", "/nowhere"),
];

/// A folder of packages in which each library has the place that its wheel gives it.
fn site(libraries: &[(&str, (&str, &str))]) -> PathBuf {
    let folders: Vec<&str> = libraries.iter().map(|(folder, _)| *folder).collect();
    let name = format!("site-{}-{}", std::process::id(), folders.join("-").replace('/', "."));
    let site = std::env::temp_dir().join(name);
    for (folder, library) in libraries {
        let folder = site.join("nvidia").join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::copy(built(&[*library]).join(library.0), folder.join(library.0)).unwrap();
    }
    site
}

fn with_packages(test: &str, site: &Path, more: &[(&str, &str)]) -> bool {
    let mut variables = NOWHERE.to_vec();
    variables.retain(|(name, _)| *name != "PYTHONPATH");
    variables.push(("PYTHONPATH", site.to_str().unwrap()));
    variables.extend(more);
    let again = in_child(test, &[], &variables);
    if !again {
        std::fs::remove_dir_all(site).unwrap();
    }
    again
}

/// What was found of a library, with its folder; or why it was not.
fn found(name: &str) -> Result<String, &'static str> {
    let all = libraries::all();
    let library = all.iter().find(|library| library.name == name).unwrap();
    library.found.map(|(version, file)| {
        let site = Path::new(&std::env::var_os("PYTHONPATH").unwrap()).to_owned();
        let file = file.strip_prefix(&site).unwrap_or(file);
        format!("{version} {}", file.display())
    })
}

#[test]
fn wheels_of_cuda_13_are_found() {
    let wheels = [("cu13/lib", CUBLAS_LT), ("cudnn/lib", CUDNN), ("nccl/lib", NCCL)];
    if !with_packages("wheels_of_cuda_13_are_found", &site(&wheels), &[]) {
        return;
    }
    assert_eq!(found("cuBLASLt").unwrap(), "13.1.2 nvidia/cu13/lib/libcublasLt.so.13");
    assert_eq!(found("cuDNN").unwrap(), "9.28.0 nvidia/cudnn/lib/libcudnn.so.9");
    assert_eq!(found("NCCL").unwrap(), "2.32.3 nvidia/nccl/lib/libnccl.so.2");
}

#[test]
fn wheels_of_cuda_12_are_found() {
    let old = ("libcublasLt.so.12", CUBLAS_LT.1);
    let version = ("FAKE_CUBLASLT_VERSION", "120804");
    let site = site(&[("cublas/lib", old)]);
    if !with_packages("wheels_of_cuda_12_are_found", &site, &[version]) {
        return;
    }
    assert_eq!(found("cuBLASLt").unwrap(), "12.8.4 nvidia/cublas/lib/libcublasLt.so.12");
}

#[test]
fn the_system_is_asked_last() {
    let folder = built(&[CUBLAS_LT, CUDNN, NCCL]);
    if !in_child("the_system_is_asked_last", &[&folder], &NOWHERE) {
        return;
    }
    assert_eq!(found("cuBLASLt").unwrap(), "13.1.2 libcublasLt.so.13");
    assert_eq!(found("NCCL").unwrap(), "2.32.3 libnccl.so.2");
}

#[test]
fn what_is_missing_is_told_with_the_way_out() {
    if !in_child("what_is_missing_is_told_with_the_way_out", &[], &NOWHERE) {
        return;
    }
    for (library, package) in [
        ("NVRTC", "nvidia-cuda-nvrtc"),
        ("cuBLASLt", "nvidia-cublas"),
        ("cuDNN", "nvidia-cudnn-cu13"),
        ("NCCL", "nvidia-nccl-cu13"),
    ] {
        // A machine may have the library in its system.
        let Err(why) = found(library) else { continue };
        assert!(why.contains(&format!("`pip install {package}`")), "{why}");
    }
}

#[test]
fn versions_that_nobody_knows_are_told() {
    let version = ("FAKE_CUBLASLT_VERSION", "140000");
    let site = site(&[("cu13/lib", ("libcublasLt.so.14", CUBLAS_LT.1))]);
    if !with_packages("versions_that_nobody_knows_are_told", &site, &[version]) {
        return;
    }
    let why = found("cuBLASLt").unwrap_err();
    let expected = "libcublasLt.so.14: version 14.0.0, and Kiln knows 13 and 12";
    assert!(why.ends_with(expected), "{why}");
}

#[test]
fn a_library_without_a_function_is_told_and_the_next_one_taken() {
    let (empty, broken) = (("libnccl.so.2", ""), ("libcublasLt.so.13", ""));
    let old = ("libcublasLt.so.12", CUBLAS_LT.1);
    let site = site(&[("nccl/lib", empty), ("cu13/lib", broken), ("cublas/lib", old)]);
    let test = "a_library_without_a_function_is_told_and_the_next_one_taken";
    if !with_packages(test, &site, &[("FAKE_CUBLASLT_VERSION", "120000")]) {
        return;
    }
    let why = found("NCCL").unwrap_err();
    assert!(why.ends_with("nvidia/nccl/lib/libnccl.so.2: it has no ncclGetVersion"), "{why}");
    assert_eq!(found("cuBLASLt").unwrap(), "12.0.0 nvidia/cublas/lib/libcublasLt.so.12");
}
