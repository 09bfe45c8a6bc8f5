//! Kernels are compiled once: by all threads of a process, and by all processes that share a folder.

mod fake;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::{env, fs, thread};

use kiln_backend_gpu::compilations;
use kiln_tensor_core::{Backend, DType, Expr, Kernel};
use parking_lot::Mutex;

use fake::{FakeDevice, FakeGpu, Tensor, WITH_BINARIES};

fn compiled(device: FakeDevice) -> usize {
    device.machine().compiled.load(Ordering::Relaxed)
}

#[test]
fn threads_compile_a_kernel_once() {
    let device = FakeDevice(200);
    // Long enough for all to come.
    device.inject(fake::Verb::Compile, |_| {
        thread::sleep(Duration::from_millis(20));
        None
    });
    let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let _ = &x + 1.0;
                }
            });
        }
    });
    assert_eq!(compiled(device), 1);
    let _ = &x * &x;
    assert_eq!(compiled(device), 2);
    let _ = &x + 5.0;
    assert_eq!(compiled(device), 2, "a number is no part of a kernel");
}

#[test]
fn devices_have_kernels_of_their_own() {
    for device in [FakeDevice(201), FakeDevice(202)] {
        let _ = Tensor::from_slice(&[1.0f32], [1], &device).exp();
        assert_eq!(compiled(device), 1);
    }
}

/// Small tensors share launches; what is large, or lies otherwise, has one of its own.
#[test]
fn small_tensors_share_a_launch() {
    let device = FakeDevice(203);
    let names = Arc::new(Mutex::new(Vec::new()));
    let noted = names.clone();
    device.act(move |entry, _| noted.lock().push(entry.to_owned()));
    let program = Expr::new("add", [DType::F32; 2], |[a, b]| a + b);
    let launches = |tensors: &[Tensor]| {
        names.lock().clear();
        let groups: Vec<_> = tensors.iter().map(|x| (vec![x, x], vec![x])).collect();
        FakeGpu::map_each_into(Kernel::new(&program), &groups);
        let mut names = names.lock().clone();
        names.sort();
        names
    };
    let some = |count: usize, of: usize| -> Vec<Tensor> {
        (0..count).map(|_| Tensor::from_slice(&vec![0f32; of], [of], &device)).collect()
    };
    assert_eq!(launches(&some(20, 30)), ["map_each"; 3]);
    assert_eq!(launches(&some(9, 30)), ["map", "map_each"]);
    assert_eq!(launches(&some(1, 30)), ["map"]);
    let mut mixed = some(3, 30);
    mixed.extend(some(1, 1 << 16));
    mixed.push(some(1, 12)[0].view([3, 4]).t());
    mixed.extend(some(1, 0));
    assert_eq!(launches(&mixed), ["map", "map", "map_each"]);
    assert!(mixed.iter().all(|x| x.numel() == 0 || FakeGpu::version(x) == 1));
}

const CHILD: &str = "KILN_TEST_CHILD";

/// What a process does that `child` starts: three kernels, then how many were compiled and loaded.
#[test]
fn process() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let device = FakeDevice(WITH_BINARIES);
    let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device);
    let _ = (&x + &x, x.exp(), x.sum());
    x.to_vec::<f32>();
    assert_eq!(compilations(), compiled(device) as u64);
    println!("counts {} {}", compilations(), device.machine().loaded.load(Ordering::Relaxed));
}

/// How many kernels a new process compiles and loads.
fn child(folder: &Path, cache: &str) -> (usize, usize) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "process", "--nocapture"])
        .env(CHILD, "1")
        .env("KILN_CACHE_DIR", folder)
        .env("KILN_CACHE", cache)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.split_once("counts ")).expect("counts");
    let (compiled, loaded) = line.1.split_once(' ').unwrap();
    (compiled.trim().parse().unwrap(), loaded.trim().parse().unwrap())
}

#[test]
fn a_second_process_compiles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(child(folder.path(), ""), (3, 0));
    assert_eq!(child(folder.path(), ""), (0, 3));
    assert_eq!(child(folder.path(), "0"), (3, 0), "the cache is off");

    // A file that is broken is compiled again, and replaced; another that is whole but no kernel is, too.
    let mut files: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert_eq!(files.len(), 3);
    fs::write(&files[0], "broken").unwrap();
    assert_eq!(child(folder.path(), ""), (1, 2));
    assert_eq!(child(folder.path(), ""), (0, 3));
    fs::copy(&files[1], &files[0]).unwrap();
    let (compiled, loaded) = child(folder.path(), "");
    assert_eq!(compiled + loaded, 3);
    assert_eq!(child(folder.path(), ""), (0, 3));
}

#[test]
fn processes_at_once_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        let children: Vec<_> = (0..4).map(|_| scope.spawn(|| child(folder.path(), ""))).collect();
        for child in children {
            let (compiled, loaded) = child.join().unwrap();
            assert_eq!(compiled + loaded, 3);
        }
    });
    assert_eq!(child(folder.path(), ""), (0, 3));
}
