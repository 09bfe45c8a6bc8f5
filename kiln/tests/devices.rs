//! Devices by name: what is read, what is written, and what is said of those that are not here.

use kiln::Error;
use kiln::prelude::*;

#[track_caller]
fn refused(text: &str) -> String {
    let error = text.parse::<Device>().unwrap_err();
    assert!(matches!(&error, Error::NoDevice { device, .. } if device == text), "{error:?}");
    error.to_string()
}

#[test]
fn names_are_read_as_they_are_written() {
    for device in Device::available() {
        assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        assert!(device.is_available());
        assert!(!device.name().unwrap().is_empty());
    }
    assert_eq!(Device::available()[0], Device::cpu());
    assert!(Device::available().contains(&Device::best()));
}

/// The counters are the process's, and tests share it: what is there at least is known.
#[test]
fn memory_in_use_is_told() {
    let device = Device::cpu();
    let x = Tensor::zeros([256, 1024], &device);
    assert!(device.memory_allocated() >= 1 << 20, "{}", device.memory_allocated());
    assert!(device.memory_reserved() >= device.memory_allocated().min(1 << 20));
    assert!(device.memory_peak() >= 1 << 20);
    drop(x);
}

#[test]
fn names_of_nothing() {
    assert_eq!(
        refused("tpu:0"),
        "tpu:0 cannot be used: nothing is called so; there are the backends cpu, opencl, cuda"
    );
    assert_eq!(refused("cpu:1"), "cpu:1 cannot be used: it is not here; there is: cpu");
    for wrong in ["", "cpu:", "cpu:x", "CPU", "cpu:0:0", " cpu"] {
        refused(wrong);
    }
}

#[test]
#[cfg(not(any(feature = "opencl", feature = "cuda")))]
fn names_of_a_feature_that_is_off() {
    for (text, feature) in [("opencl", "opencl"), ("opencl:1", "opencl"), ("cuda:0", "cuda")] {
        assert_eq!(
            refused(text),
            format!(
                "{text} cannot be used: this program was built without the feature `{feature}` of the \
                 crate kiln"
            )
        );
    }
}

#[test]
#[cfg(feature = "opencl")]
fn devices_that_are_not_here() {
    let said = refused("opencl:99");
    let any = kiln::opencl::is_available();
    let why = if any { "it is not here; there is: opencl:0" } else { "none is found here" };
    assert!(said.contains(why), "{said}");
    assert!(!Device::opencl(99).is_available());
    assert_eq!(Device::opencl(99).name(), None);
    assert_eq!(Device::opencl(99).to_string(), "opencl:99");
}

/// What a program does on a machine without loader and driver, which this test pretends to be in a process of
/// its own: with nothing in the folder where drivers are listed, then with a loader that cannot be loaded.
#[test]
#[cfg(all(target_os = "linux", feature = "opencl"))]
fn without_a_loader_or_drivers() {
    const CHILD: &str = "KILN_TEST_WITHOUT_DRIVERS";
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(Device::available(), [Device::cpu()]);
        assert_eq!(Device::best(), Device::cpu());
        assert!(!kiln::opencl::is_available());
        let said = refused("opencl:0");
        assert!(said.contains("ocl-icd-libopencl1") && said.contains("pocl-opencl-icd"), "{said}");
        let error = kiln::catch(|| Tensor::ones([2], &Device::opencl(0))).unwrap_err();
        assert!(matches!(error, Error::NoDevice { .. }), "{error:?}");
        let x = Tensor::ones([2], &Device::best()).requires_grad_(true);
        (&x * 3.0).sum().backward();
        assert_eq!(x.grad().unwrap().to_vec::<f32>(), [3.0, 3.0]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("vendors");
    std::fs::create_dir(&empty).unwrap();
    for library in ["libOpenCL.so.1", "libcuda.so.1"] {
        std::fs::write(folder.path().join(library), "not a library").unwrap();
    }
    for (variable, value) in [("OCL_ICD_VENDORS", &*empty), ("LD_LIBRARY_PATH", folder.path())] {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "without_a_loader_or_drivers", "--nocapture"]);
        child.env(CHILD, "1").env(variable, value).env("CUDA_VISIBLE_DEVICES", "");
        let child = child.output().unwrap();
        let text = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && text.contains("1 passed"), "{variable}: {child:?}");
    }
}
