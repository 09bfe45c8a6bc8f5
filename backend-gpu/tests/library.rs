//! Convolutions between a library and kernels: who does them, and who is timed.

mod fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kiln_backend_gpu::library::{Task, set_benchmark};
use kiln_tensor_core::{Backend, ConvSpec};

use fake::{FakeDevice, FakeGpu, Tensor};

/// How often the library has convolved.
fn with_library(device: FakeDevice) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counts = count.clone();
    device.has_library(move |task| {
        let does = matches!(task, Task::Convolution(_));
        counts.fetch_add(usize::from(does), Ordering::Relaxed);
        does
    });
    count
}

/// How often library and kernels were called for a convolution of so many images.
fn convolved(device: FakeDevice, library: &AtomicUsize, images: usize) -> (usize, usize) {
    let launched = || device.machine().launched.load(Ordering::Relaxed);
    let x = Tensor::from_slice(&vec![1f32; images * 9], [images, 1, 3, 3], &device);
    let weight = Tensor::from_slice(&[1f32; 4], [1, 1, 2, 2], &device);
    let before = (library.load(Ordering::Relaxed), launched());
    FakeGpu::conv(&x, &weight, &ConvSpec::new(2));
    (library.load(Ordering::Relaxed) - before.0, launched() - before.1)
}

/// One test: the switch is the process's.
#[test]
fn timing_decides_where_it_is_asked_to() {
    let device = FakeDevice(300);
    assert_eq!(convolved(device, &AtomicUsize::new(0), 1), (0, 1), "nobody else does it");
    let library = with_library(device);
    let times = |milliseconds: &[u64]| {
        let times = milliseconds.iter().map(|&time| Duration::from_millis(time)).collect();
        *device.machine().times.lock() = times;
    };
    // What is not to be timed takes nothing from this list, which is empty.
    assert_eq!(convolved(device, &library, 1), (1, 0));
    set_benchmark(true);
    // Each runs once before its three times; the shortest counts.
    times(&[9, 3, 9, 5, 4, 5]);
    assert_eq!(convolved(device, &library, 1), (4, 4));
    times(&[9, 5, 9, 7, 4, 7]);
    assert_eq!(convolved(device, &library, 2), (4, 4));
    // From then on it is known, for each kind.
    assert_eq!(convolved(device, &library, 1), (1, 0));
    assert_eq!(convolved(device, &library, 2), (0, 1));
    set_benchmark(false);
    assert_eq!(convolved(device, &library, 2), (1, 0));
    // One channel in each group is for kernels, unless timing says otherwise.
    let x = Tensor::from_slice(&[1f32; 18], [1, 2, 3, 3], &device);
    let weight = Tensor::from_slice(&[1f32; 8], [2, 1, 2, 2], &device);
    let depthwise = ConvSpec { groups: 2, ..ConvSpec::new(2) };
    let before = library.load(Ordering::Relaxed);
    FakeGpu::conv(&x, &weight, &depthwise);
    assert_eq!(library.load(Ordering::Relaxed), before);
    set_benchmark(true);
    times(&[1, 1, 1, 2, 2, 2]);
    FakeGpu::conv(&x, &weight, &depthwise);
    assert_eq!(library.load(Ordering::Relaxed), before + 4);
}
