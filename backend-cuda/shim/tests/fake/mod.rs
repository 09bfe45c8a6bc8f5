//! Libraries that stand in for NVIDIA's, and running a test in a process that finds them.
#![allow(dead_code, reason = "each test uses a part")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

/// The driver's stand-in: memory is the host's, and `copy_arguments` is the only kernel.
pub const DRIVER: (&str, &str) = ("libcuda.so.1", include_str!("libcuda.rs"));
/// The compiler's stand-in: machine code is the source.
pub const COMPILER: (&str, &str) = ("libnvrtc.so.13", include_str!("libnvrtc.rs"));
/// Products on the host.
pub const CUBLAS_LT: (&str, &str) = ("libcublasLt.so.13", include_str!("libcublasLt.rs"));
/// Convolutions on the host.
pub const CUDNN: (&str, &str) = ("libcudnn.so.9", include_str!("libcudnn.rs"));
/// Sums over devices that are the host.
pub const NCCL: (&str, &str) = ("libnccl.so.2", include_str!("libnccl.rs"));

/// A folder that holds stand-ins, built by the compiler that builds the tests.
pub fn built(libraries: &[(&str, &str)]) -> PathBuf {
    let tests = env::current_exe().expect("a path");
    // Changed sources go to another folder.
    let bytes = libraries.iter().flat_map(|(_, source)| source.bytes());
    let hash = bytes.fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
    let folder = tests.parent().expect("a folder").join(format!("fake-{hash:x}/lib"));
    // Tests of one process are threads.
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    fs::create_dir_all(&folder).expect("a folder beside the tests");
    for (name, source) in libraries.iter().filter(|(name, _)| !folder.join(name).exists()) {
        let own = folder.join(format!("{}.rs", std::process::id()));
        fs::write(&own, source).expect("the source is written");
        let library = own.with_extension("so");
        let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let arguments =
            ["--edition=2024", "--crate-type=cdylib", "-Cpanic=abort", "--cap-lints=allow"];
        let status =
            Command::new(compiler).args(arguments).arg("-o").args([&library, &own]).status();
        assert!(status.expect("a compiler").success(), "{name} does not compile");
        // Another process may have done the same.
        fs::rename(&library, folder.join(name)).expect("the library is put in its place");
    }
    folder
}

/// Runs the body of the test `name` in a process of its own, with these folders on the library path and these
/// variables set; the test passes if that process does. `true` in that process: go on with the body.
pub fn in_child(name: &str, folders: &[&Path], variables: &[(&str, &str)]) -> bool {
    if env::var_os("KILN_TEST_CHILD").is_some() {
        return true;
    }
    let mut child = Command::new(env::current_exe().expect("a path"));
    child.args([name, "--exact", "--nocapture", "--include-ignored"]);
    child.env("KILN_TEST_CHILD", "1").envs(variables.iter().copied());
    child.env("LD_LIBRARY_PATH", env::join_paths(folders).expect("folders without `:`"));
    let out = child.output().expect("the tests run again");
    let text = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && text.contains("1 passed"), "in a process of its own:\n{text}");
    false
}
