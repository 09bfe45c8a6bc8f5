//! The driver against libraries that stand in for NVIDIA's, each test in a process of its own; and without any.
#![cfg(target_os = "linux")]

#[path = "../shim/tests/fake/mod.rs"]
mod fake;

use fake::{COMPILER, DRIVER, built, in_child};
use kiln_backend_cuda::{Cuda, CudaDevice, Driver, compiler, devices, is_available};
use kiln_backend_gpu::{Arg, Launch, Runtime, Work};
use kiln_tensor_core::{Error, Tensor, catch};

const SOURCE: &str = "void copy_arguments()";
const FIRST: CudaDevice = CudaDevice(0);
const SECOND: CudaDevice = CudaDevice(1);

/// Whether to go on: in a process with a driver and a compiler, where a function may fail.
fn with_devices(test: &str, fail: &str) -> bool {
    with(test, ("FAKE_FAIL", fail))
}

fn with(test: &str, variable: (&str, &str)) -> bool {
    let libraries = built(&[DRIVER, COMPILER]);
    let toolkit = libraries.parent().unwrap().to_str().unwrap();
    let variables = [("CUDA_HOME", toolkit), variable, ("KILN_CACHE", "0"), ("CUDA_PATH", "")];
    in_child(test, &[&libraries], &variables)
}

fn launched(device: &CudaDevice) -> Result<Vec<u32>, Error> {
    let (kernel, _) = Driver::compile(device, SOURCE, "copy_arguments")?;
    let out = Driver::allocate(device, 60)?;
    let (a, b, c) = (5i64.to_ne_bytes(), 6i32.to_ne_bytes(), [7i64, 8, 9].map(i64::to_ne_bytes));
    let args = [Arg::Buffer(&out), Arg::Bytes(&a), Arg::Bytes(&b), Arg::Bytes(c.as_flattened())];
    Driver::launch(device, &kernel, &Launch { groups: 70_000, group: 128, args: &args })?;
    let mut bytes = [0; 60];
    Driver::read(device, &out, 0, &mut bytes)?;
    Ok(bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect())
}

#[test]
fn without_a_driver_there_are_no_devices() {
    let nowhere = std::env::temp_dir().join("nothing is here");
    if !in_child("without_a_driver_there_are_no_devices", &[&nowhere], &[]) || is_available() {
        return;
    }
    assert_eq!(devices(), []);
    let error = Driver::allocate(&FIRST, 8).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::NoDevice { .. }), "{text}");
    assert!(
        text.starts_with("cuda:0 cannot be used: there is no NVIDIA driver (libcuda.so.1"),
        "{text}"
    );
    let error = catch(|| Tensor::<Cuda>::from_slice(&[1.0f32], [1], &FIRST)).unwrap_err();
    assert!(matches!(error, Error::NoDevice { .. }));
}

#[test]
fn devices_have_names_and_traits() {
    if !with_devices("devices_have_names_and_traits", "") {
        return;
    }
    assert!(is_available());
    assert_eq!(devices(), [(FIRST, "Fake 0"), (SECOND, "Fake 1")]);
    let traits = Driver::opened(&SECOND).unwrap().traits();
    assert_eq!(traits.driver, "CUDA 13.0 sm_90");
    assert_eq!((traits.units, traits.largest_group, traits.sub_group), (4, 1024, Some(32)));
    assert_eq!(traits.memory_bytes, 128 << 20);
    let text = Driver::opened(&CudaDevice(2)).unwrap_err().to_string();
    assert_eq!(text, "cuda:2 cannot be used: there are 2 CUDA devices on this machine");
    let (version, file) = compiler::version().unwrap();
    assert_eq!(version, (13, 9));
    assert!(file.ends_with("lib/libnvrtc.so.13"));
}

#[test]
fn bytes_come_back_as_they_were() {
    if !with_devices("bytes_come_back_as_they_were", "") {
        return;
    }
    // The first device has no pools. Sizes around the parts that are copied at once.
    for device in [FIRST, SECOND] {
        for size in [1, 65_536, 65_537, 4 << 20, (21 << 20) + 5] {
            let bytes: Vec<u8> = (0..size).map(|i| (i * 31 + i / 1000) as u8).collect();
            let (a, b) = (Driver::allocate(&device, size + 3), Driver::allocate(&device, size));
            let (a, b) = (a.unwrap(), b.unwrap());
            Driver::write(&device, &a, 3, &bytes).unwrap();
            Driver::copy(&device, (&a, 3), (&b, 0), size).unwrap();
            let mut back = vec![0; size];
            Driver::read(&device, &b, 0, &mut back).unwrap();
            assert!(back == bytes, "{size} bytes on {device}");
            let part = Driver::slice(&device, &a, 2, 2).unwrap();
            let mut two = [0; 2];
            Driver::read(&device, &part, 0, &mut two).unwrap();
            assert_eq!(two[1], bytes[0]);
        }
        Driver::sync(&device).unwrap();
    }
    let x = Tensor::<Cuda>::from_slice(&[1i64, 2, 3, 4, 5, 6], [2, 3], &FIRST);
    assert_eq!(x.to_vec::<i64>(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn blocks_are_given_back() {
    if !with_devices("blocks_are_given_back", "") {
        return;
    }
    for device in [FIRST, SECOND] {
        let before = Driver::free_bytes(&device).unwrap();
        let block = Driver::allocate(&device, 1000).unwrap();
        let part = Driver::slice(&device, &block, 256, 16).unwrap();
        assert_eq!(Driver::free_bytes(&device), Some(before - 1000));
        drop((part, block));
        assert_eq!(Driver::free_bytes(&device), Some(before));
    }
}

#[test]
fn places_outside_of_a_buffer_are_refused() {
    if !with_devices("places_outside_of_a_buffer_are_refused", "") {
        return;
    }
    let block = Driver::allocate(&FIRST, 10).unwrap();
    let refused = [
        Driver::write(&FIRST, &block, 9, &[0; 2]),
        Driver::read(&FIRST, &block, usize::MAX, &mut [0; 2]),
        Driver::copy(&FIRST, (&block, 0), (&block, 5), 6),
        Driver::slice(&FIRST, &block, 11, 0).map(drop),
    ];
    for result in refused {
        let error = result.unwrap_err().to_string();
        assert!(error.contains("not inside of a buffer of 10"), "{error}");
    }
}

#[test]
fn kernels_get_their_arguments() {
    if !with_devices("kernels_get_their_arguments", "") {
        return;
    }
    let words = launched(&FIRST).unwrap();
    assert_eq!(words, [70_000, 1, 1, 128, 1, 1, 5, 0, 6, 7, 0, 8, 0, 9, 0]);
    // What compiling gave is loaded again.
    let (_, binary) = Driver::compile(&FIRST, SOURCE, "copy_arguments").unwrap();
    Driver::load(&FIRST, &binary.unwrap(), "copy_arguments").unwrap();
}

#[test]
fn a_kernel_that_does_not_compile_is_named() {
    if !with_devices("a_kernel_that_does_not_compile_is_named", "") {
        return;
    }
    let error = Driver::compile(&FIRST, "#error no", "bad").unwrap_err();
    assert!(matches!(&error, Error::KernelBuild { kernel, .. } if kernel == "bad"));
    assert!(error.to_string().ends_with("does not compile: kernel.cu(1): error: no"), "{error}");
    let error = Driver::compile(&FIRST, SOURCE, "another").unwrap_err().to_string();
    assert!(error.contains("the kernel `another` is not in its program"), "{error}");
    // The process lives, and the device works.
    launched(&FIRST).unwrap();
}

#[test]
fn a_driver_that_is_older_than_the_compiler_is_named() {
    let test = "a_driver_that_is_older_than_the_compiler_is_named";
    if !with_devices(test, "cuModuleLoadData=222@10") {
        return;
    }
    let error = launched(&FIRST).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::KernelBuild { .. }), "{text}");
    assert!(text.contains("NVRTC 13.9") && text.contains("driver CUDA 13.0"), "{text}");
    launched(&SECOND).unwrap();
}

#[test]
fn devices_that_are_newer_than_the_compiler_get_ptx() {
    let test = "devices_that_are_newer_than_the_compiler_get_ptx";
    if !with(test, ("FAKE_CAPABILITY", "10")) {
        return;
    }
    assert_eq!(Driver::opened(&FIRST).unwrap().traits().driver, "CUDA 13.0 sm_100");
    let (_, binary) = Driver::compile(&FIRST, SOURCE, "copy_arguments").unwrap();
    assert!(binary.unwrap().starts_with(b"// "));
    launched(&FIRST).unwrap();
}

#[test]
fn out_of_memory_says_how_much_was_asked_and_free() {
    if !with_devices("out_of_memory_says_how_much_was_asked_and_free", "") {
        return;
    }
    for device in [FIRST, SECOND] {
        let error = Driver::allocate(&device, 129 << 20).unwrap_err();
        let (asked, free) = (129 << 20, Some(128 << 20));
        assert!(
            matches!(error, Error::OutOfMemory { asked: a, free: f, .. } if (a, f) == (asked, free))
        );
        Driver::allocate(&device, 1 << 20).unwrap();
    }
}

#[test]
fn a_lost_device_says_so_and_others_go_on() {
    if !with_devices("a_lost_device_says_so_and_others_go_on", "cuStreamSynchronize=719@10") {
        return;
    }
    let error = launched(&FIRST).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::DeviceLost { .. }), "{text}");
    assert!(text.contains("CUDA_ERROR_LAUNCH_FAILED (719)"), "{text}");
    assert!(text.contains("the last kernel that was queued is `copy_arguments`"), "{text}");
    launched(&SECOND).unwrap();
}

#[test]
fn a_launch_that_is_refused_names_its_kernel() {
    if !with_devices("a_launch_that_is_refused_names_its_kernel", "cuLaunchKernel=912@10") {
        return;
    }
    let error = launched(&FIRST).unwrap_err();
    let text = error.to_string();
    let expected = "cuda:0: kernel `copy_arguments` failed: code 912 of the driver";
    assert!(matches!(error, Error::KernelFailed { .. }) && text == expected, "{text}");
    launched(&SECOND).unwrap();
}

#[test]
fn a_driver_that_does_not_start_says_why() {
    if !with_devices("a_driver_that_does_not_start_says_why", "cuInit=2") {
        return;
    }
    assert!(!is_available());
    let text = Driver::opened(&FIRST).unwrap_err().to_string();
    assert!(text.contains("does not start: CUDA_ERROR_OUT_OF_MEMORY (2): out of memory"), "{text}");
}

#[test]
fn without_a_compiler_kernels_say_how_to_get_one() {
    let libraries = built(&[DRIVER]);
    // Places where this machine may have one are turned away from.
    let nowhere = [("HOME", "/nowhere"), ("VIRTUAL_ENV", "/nowhere"), ("PYTHONPATH", "/nowhere")];
    let test = "without_a_compiler_kernels_say_how_to_get_one";
    if !in_child(test, &[&libraries], &nowhere) || compiler::is_available() {
        return;
    }
    let text = Driver::compile(&FIRST, SOURCE, "copy_arguments").unwrap_err().to_string();
    assert!(text.contains("pip install nvidia-cuda-nvrtc"), "{text}");
}

fn words(device: &CudaDevice, from: &<Driver as Runtime>::Buffer) -> [u32; 15] {
    let mut bytes = [0; 60];
    Driver::read(device, from, 0, &mut bytes).unwrap();
    std::array::from_fn(|i| u32::from_ne_bytes(bytes[4 * i..][..4].try_into().unwrap()))
}

#[test]
fn a_captured_step_is_a_chain_of_nodes() {
    if !with_devices("a_captured_step_is_a_chain_of_nodes", "") {
        return;
    }
    for device in [FIRST, SECOND] {
        let (kernel, _) = Driver::compile(&device, SOURCE, "copy_arguments").unwrap();
        let [out, copied] = [(); 2].map(|()| Driver::allocate(&device, 60).unwrap());
        Driver::write(&device, &copied, 0, &[9; 60]).unwrap();
        let bytes =
            |number: i64| (number.to_ne_bytes(), 6i32.to_ne_bytes(), [[7; 8], [8; 8], [9; 8]]);
        let [one, two, three] = [1, 2, 3].map(bytes);
        let args = [&one, &two, &three].map(|(a, b, c)| {
            [Arg::Buffer(&out), Arg::Bytes(a), Arg::Bytes(b), Arg::Bytes(c.as_flattened())]
        });
        let launch = |which: usize, groups| {
            Work::Launch(&kernel, Launch { groups, group: 32, args: &args[which] })
        };
        let copy = Work::Copy { from: (&out, 4), to: &copied, bytes: 56 };
        let work = [launch(0, 3), copy, launch(1, 4)];
        let mut graph = Driver::prepare(&device, &work).unwrap().expect("a graph");
        assert_eq!(words(&device, &copied), [0x0909_0909; 15], "nothing has run");
        graph.run(&device, &[]).unwrap();
        let seven = [0x0707_0707, 0x0707_0707, 0x0808_0808, 0x0808_0808, 0x0909_0909, 0x0909_0909];
        let after = |groups, number| {
            let mut words = [groups, 1, 1, 32, 1, 1, number, 0, 6, 0, 0, 0, 0, 0, 0];
            words[9..].copy_from_slice(&seven);
            words
        };
        let first = |device, number| {
            let mut copy = [0x0909_0909; 15];
            copy[..14].copy_from_slice(&after(3, number)[1..]);
            assert_eq!(words(device, &copied), copy);
        };
        first(&device, 1);
        assert_eq!(words(&device, &out), after(4, 2));
        // Other numbers stay until the next ones.
        graph.run(&device, &[(0, launch(2, 3))]).unwrap();
        first(&device, 3);
        graph.run(&device, &[(2, launch(0, 4))]).unwrap();
        first(&device, 3);
        assert_eq!(words(&device, &out), after(4, 1));
    }
    let nothing = Driver::prepare(&FIRST, &[]).unwrap().expect("a graph");
    drop(nothing);
}

#[test]
fn a_graph_that_fails_is_a_typed_error() {
    let test = "a_graph_that_fails_is_a_typed_error";
    if !with_devices(test, "cuGraphLaunch=719@10") {
        return;
    }
    let mut graph = Driver::prepare(&FIRST, &[]).unwrap().expect("a graph");
    let error = graph.run(&FIRST, &[]).unwrap_err();
    assert!(matches!(error, Error::DeviceLost { .. }), "{error}");
    let mut graph = Driver::prepare(&SECOND, &[]).unwrap().expect("a graph");
    graph.run(&SECOND, &[]).unwrap();
}

#[test]
fn a_graph_that_finds_no_memory_says_so() {
    let test = "a_graph_that_finds_no_memory_says_so";
    if !with_devices(test, "cuGraphInstantiateWithFlags=2") {
        return;
    }
    let error = Driver::prepare(&FIRST, &[]).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
}

#[test]
fn a_driver_that_is_too_old_for_graphs_does_without() {
    let test = "a_driver_that_is_too_old_for_graphs_does_without";
    if !with_devices(test, "cuGraphCreate=36") {
        return;
    }
    assert!(Driver::prepare(&FIRST, &[]).unwrap().is_none());
}
