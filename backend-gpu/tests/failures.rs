//! What goes wrong on a device: each time a typed error, and the process and the other devices go on.

mod fake;

use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread;

use kiln_backend_gpu::Arg;
use kiln_tensor_core::{Backend, DType, Error, catch};

use fake::{FakeDevice, FakeGpu, MEMORY, Tensor, Verb};

fn ones(device: FakeDevice) -> Tensor {
    Tensor::from_slice(&[1.0f32, 1.0], [2], &device)
}

/// Uploads, runs a kernel, reads.
fn work(device: FakeDevice) -> kiln_tensor_core::Result<Vec<f32>> {
    catch(|| (ones(device) + 1.0).to_vec::<f32>())
}

/// Requires that another device does its work.
fn others_go_on() {
    work(FakeDevice(999)).unwrap();
}

#[test]
fn memory_that_is_short_for_a_moment_is_asked_for_again() {
    let device = FakeDevice(0);
    let mut first = true;
    device.inject(Verb::Allocate, move |bytes| {
        std::mem::take(&mut first).then(|| device.out_of_memory(bytes))
    });
    work(device).unwrap();
}

#[test]
fn no_memory_is_an_error_with_the_sizes() {
    let device = FakeDevice(1);
    device.inject(Verb::Allocate, move |bytes| Some(device.out_of_memory(bytes)));
    let error = work(device).unwrap_err();
    let Error::OutOfMemory { device: name, asked, free } = &error else { panic!("{error}") };
    assert_eq!((&name[..], *asked), ("fake:1", 8));
    assert!(free.is_some_and(|free| free <= MEMORY));
    others_go_on();
    device.mend(Verb::Allocate);
    work(device).unwrap();
    assert_eq!(FakeGpu::memory(&device).allocated, 0);
}

#[test]
fn a_launch_that_lacks_memory_gets_what_is_idle() {
    let device = FakeDevice(2);
    drop(Tensor::from_slice(&[0u8; 1 << 20], [1 << 20], &device));
    let x = Tensor::from_slice(&vec![0f32; 3 << 20], [3 << 20], &device);
    let held = move || device.machine().held.load(Ordering::Relaxed);
    let before = held();
    device.inject(Verb::Launch, move |_| (held() >= before).then(|| device.out_of_memory(0)));
    x.neg_();
    assert!(held() < before);
    device.inject(Verb::Launch, move |_| Some(device.out_of_memory(0)));
    assert!(matches!(catch(|| x.neg_()), Err(Error::OutOfMemory { .. })));
    others_go_on();
}

#[test]
fn a_lost_device_stays_lost_and_names_the_kernel() {
    for (number, verb) in [(3, Verb::Launch), (4, Verb::Read), (5, Verb::Sync), (6, Verb::Write)] {
        let device = FakeDevice(number);
        let x = ones(device);
        device.inject(verb, move |_| Some(device.is_lost()));
        let error = catch(|| {
            let y = &x + 1.0;
            FakeGpu::sync(&device);
            Tensor::from_slice(&y.to_vec::<f32>(), [2], &device)
        })
        .unwrap_err();
        let Error::DeviceLost { device: name, why } = &error else { panic!("{verb:?}: {error}") };
        assert_eq!(name, &device.to_string());
        assert!(verb == Verb::Write || why.contains("`map`"), "{why}");
        // The driver is not asked any more.
        device.mend(verb);
        let launched = device.machine().launched.load(Ordering::Relaxed);
        assert!(matches!(work(device), Err(Error::DeviceLost { .. })), "{verb:?}");
        assert!(matches!(catch(|| &x * 2.0), Err(Error::DeviceLost { .. })), "{verb:?}");
        assert_eq!(device.machine().launched.load(Ordering::Relaxed), launched);
        drop(x);
        others_go_on();
    }
}

#[test]
fn a_kernel_that_does_not_compile_is_named_with_the_log() {
    let device = FakeDevice(7);
    device.inject(Verb::Compile, move |_| {
        let (kernel, log) = ("map".into(), "line 3: no such thing".into());
        Some(Error::KernelBuild { device: device.to_string(), kernel, log })
    });
    for _ in 0..2 {
        let text = work(device).unwrap_err().to_string();
        assert_eq!(text, "fake:7: kernel `map` does not compile: line 3: no such thing");
    }
    others_go_on();
    device.mend(Verb::Compile);
    work(device).unwrap();
}

#[test]
fn a_kernel_that_cannot_be_queued_is_named() {
    let device = FakeDevice(8);
    device.inject(Verb::Launch, move |_| Some(device.broken("too many arguments")));
    let error = work(device).unwrap_err();
    assert!(matches!(&error, Error::KernelFailed { kernel, .. } if kernel == "map"), "{error}");
    assert_eq!(error.to_string(), "fake:8: kernel `map` failed: too many arguments");
    others_go_on();
    device.mend(Verb::Launch);
    work(device).unwrap();
}

#[test]
fn a_driver_of_the_wrong_version_opens_nothing() {
    let device = FakeDevice(9);
    device.inject(Verb::Open, move |_| {
        let why = "its driver is 1.0, 2.0 is wanted".into();
        Some(Error::NoDevice { device: device.to_string(), why })
    });
    for _ in 0..2 {
        let text = work(device).unwrap_err().to_string();
        assert_eq!(text, "fake:9 cannot be used: its driver is 1.0, 2.0 is wanted");
    }
    assert!(matches!(catch(|| FakeGpu::memory(&device)), Err(Error::NoDevice { .. })));
    others_go_on();
}

#[test]
fn a_read_that_fails_names_the_kernel_before_it() {
    let device = FakeDevice(10);
    device.inject(Verb::Read, move |_| Some(device.broken("bus error")));
    let error = work(device).unwrap_err();
    assert!(matches!(error, Error::Backend { .. }));
    let text = "fake:10: bus error (the kernel queued last was `map`)";
    assert_eq!(error.to_string(), text);
    others_go_on();
    device.mend(Verb::Read);
    work(device).unwrap();
}

/// A device whose kernels report the index 7, if they watch an index.
fn faulty(number: usize) -> FakeDevice {
    let device = FakeDevice(number);
    device.act(|kernel, args| {
        let [.., Arg::Buffer(faults), Arg::Bytes(call)] = args else { return };
        if kernel == "gather" || kernel == "scatter" {
            let call = i64::from_ne_bytes((*call).try_into().unwrap()) as usize;
            faults.with(24 * call, 24, |place| {
                place[0] = 1;
                place[8..16].copy_from_slice(&7i64.to_ne_bytes());
            });
        }
    });
    device
}

#[test]
fn an_index_out_of_range_is_told_at_the_next_read() {
    let device = faulty(11);
    let x = Tensor::from_slice(&[0f32; 6], [2, 3], &device);
    let index = Tensor::from_slice(&[7i64, 0], [2], &device);
    let y = x.index_select(1, &index);
    let line = line!() - 1;
    let _ = x.gather(0, &index.view([1, 2]));
    // Nothing waits, so nobody knows yet; then the first of them is told.
    let error = catch(|| (y + 1.0).to_vec::<f32>()).unwrap_err();
    let Error::Index { op, index: at, size, shape, called: Some(called), .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((*op, *at, *size, &shape[..]), ("index_select", 7, 3, &[2, 3][..]));
    assert_eq!((called.file(), called.line()), (file!(), line));
    let text = error.to_string();
    let told = "index_select: index 7 is out of range for size 3 (shape [2, 3]); called at ";
    assert!(text.starts_with(told), "{text}");
    // It is told once, and what comes after it is looked at anew.
    x.to_vec::<f32>();
    device.act(|_, _| {});
    x.index_select(1, &index).to_vec::<f32>();
    let device = faulty(11);
    let _ = x.scatter_add(0, &index.view([1, 2]), &Tensor::from_slice(&[0f32; 2], [1, 2], &device));
    let error = catch(|| FakeGpu::sync(&device)).unwrap_err();
    assert!(matches!(error, Error::Index { op: "scatter", .. }), "{error}");
    FakeGpu::sync(&device);
    others_go_on();
}

#[test]
fn a_thread_is_told_of_its_own_calls() {
    let device = faulty(13);
    let x = Tensor::from_slice(&[0f32; 6], [6], &device);
    let index = Tensor::from_slice(&[7i64], [1], &device);
    let (called, read) = (Barrier::new(2), Barrier::new(2));
    thread::scope(|scope| {
        scope.spawn(|| {
            x.gather(0, &index);
            called.wait();
            read.wait();
            let error = catch(|| FakeGpu::sync(&device)).unwrap_err();
            assert!(matches!(error, Error::Index { op: "gather", .. }), "{error}");
        });
        called.wait();
        let other = catch(|| x.to_vec::<f32>());
        read.wait();
        other.unwrap();
    });
    // A thread that ended cannot be told.
    thread::scope(|scope| {
        scope.spawn(|| drop(x.gather(0, &index))).join().unwrap();
    });
    assert!(matches!(catch(|| x.to_vec::<f32>()), Err(Error::Index { op: "gather", .. })));
    x.to_vec::<f32>();
}

#[test]
fn calls_that_nobody_waits_for_do_not_pile_up() {
    let device = FakeDevice(12);
    let x = Tensor::from_slice(&[0f32; 6], [6], &device);
    let index = Tensor::from_slice(&[1i64], [1], &device);
    let reads = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = reads.clone();
    device.inject(Verb::Read, move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        None
    });
    for _ in 0..2500 {
        x.gather(0, &index);
    }
    assert_eq!(reads.load(Ordering::Relaxed), 2);
    x.to_vec::<f32>();
    assert_eq!(reads.load(Ordering::Relaxed), 4);
    x.to_vec::<f32>();
    assert_eq!(reads.load(Ordering::Relaxed), 5, "no index was watched, so nobody looks");
}

#[test]
fn no_double_precision_is_an_error_that_says_so() {
    let device = FakeDevice(fake::WITHOUT_F64);
    let error = catch(|| Tensor::ones([2], (&device, DType::F64))).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    work(device).unwrap();
}
