//! Finding devices, with and without a loader; one device from several threads.

use std::process::Command;
use std::{env, thread};

use kiln_backend_opencl::{OpenCl, OpenClDevice, devices, is_available};
use kiln_tensor_core::{Backend, DType, Error, Tensor, catch};

#[test]
fn a_device_that_is_not_there_is_an_error() {
    let beyond = OpenClDevice(devices().count());
    let error = catch(|| Tensor::<OpenCl>::ones([2], &beyond)).unwrap_err();
    assert!(matches!(error, Error::NoDevice { .. }), "{error}");
    assert!(catch(|| OpenCl::memory(&beyond)).is_err());
    assert_eq!(OpenClDevice::named("no such device"), None);
}

#[test]
fn a_device_is_found_by_kind_and_by_name() {
    for info in devices() {
        let first = OpenClDevice::of_kind(info.kind).expect("there is one");
        assert!(first.0 <= info.device.0);
        let named = OpenClDevice::named(&info.name.to_uppercase()).expect("there is one");
        assert!(named.0 <= info.device.0);
    }
}

const CHILD: &str = "KILN_TEST_CHILD";

/// What a process does that has no loader or no driver; the test below starts it.
#[test]
fn process() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    assert!(!is_available());
    assert_eq!(devices().count(), 0);
    let error = catch(|| Tensor::<OpenCl>::ones([2], &OpenClDevice(0))).unwrap_err();
    let text = "opencl:0 cannot be used: no OpenCL driver is found on this machine";
    assert_eq!(error.to_string(), text);
}

/// Whether `process` passes with these variables set.
fn passes(variables: &[(&str, &std::path::Path)]) -> bool {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "process"]).env(CHILD, "1").envs(variables.iter().copied());
    child.output().unwrap().status.success()
}

#[test]
#[cfg(target_os = "linux")]
fn without_a_loader_or_a_driver_there_are_no_devices() {
    let folder = tempfile::tempdir().unwrap();
    assert!(passes(&[("OCL_ICD_VENDORS", folder.path())]), "no driver");
    // What is found first is no library.
    std::fs::write(folder.path().join("libOpenCL.so.1"), "").unwrap();
    assert!(passes(&[("LD_LIBRARY_PATH", folder.path())]), "no loader");
}

/// With a device: kernels, memory and reads from four threads, on one queue.
#[test]
#[ignore = "needs a device: `cargo xtask test opencl` runs it"]
fn threads_share_a_device() {
    assert!(is_available(), "no OpenCL device");
    let device = OpenClDevice::default();
    thread::scope(|scope| {
        for t in 0..4i64 {
            scope.spawn(move || {
                for i in 0..200i64 {
                    let n = 1 + (i * 37 + t) % 500;
                    let x = Tensor::<OpenCl>::arange(n, (&device, DType::I64));
                    let y = &x * 2 + t;
                    let index = x.flip([0]);
                    let z = y.index_select(0, &index);
                    let want: Vec<i64> = (0..n).rev().map(|k| 2 * k + t).collect();
                    assert_eq!(z.to_vec::<i64>(), want);
                }
            });
        }
    });
    assert_eq!(OpenCl::memory(&device).allocated, 0);
}

/// With a device: a wrong index is told when a value is read, with the place of the call.
#[test]
#[ignore = "needs a device: `cargo xtask test opencl` runs it"]
fn an_index_out_of_range_is_told_at_the_next_read() {
    let device = OpenClDevice::default();
    let x = Tensor::<OpenCl>::from_slice(&[0f32; 6], [2, 3], &device);
    let index = Tensor::<OpenCl>::from_slice(&[0i64, 3], [2], &device);
    let y = x.index_select(1, &index);
    let line = line!() - 1;
    let error = catch(|| y.to_vec::<f32>()).unwrap_err();
    let Error::Index { index: 3, size: 3, called: Some(at), .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((at.file(), at.line()), (file!(), line));
    assert_eq!(x.to_vec::<f32>(), [0.0; 6]);
}

/// With a device: more than there is, then work as before.
#[test]
#[ignore = "needs a device: `cargo xtask test opencl` runs it"]
fn more_memory_than_there_is_is_an_error() {
    let device = OpenClDevice::default();
    let error = catch(|| Tensor::<OpenCl>::zeros([1 << 44], &device)).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert_eq!(Tensor::<OpenCl>::ones([2], &device).to_vec::<f32>(), [1.0, 1.0]);
}
