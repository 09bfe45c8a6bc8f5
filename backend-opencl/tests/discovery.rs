//! Finding devices, with and without a loader.

use std::env;
use std::process::Command;

use kiln_backend_opencl::{OpenCl, OpenClDevice, devices, is_available};
use kiln_tensor_core::{Backend, Error, Tensor, catch};

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
