//! Devices by name: what is read, what is written, and what is said of those that are not here.

use kiln::{Device, Error};

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
    let why = if any {
        "it is not here; there is: opencl:0"
    } else {
        "this machine has no opencl device"
    };
    assert!(said.contains(why), "{said}");
    assert!(!Device::opencl(99).is_available());
    assert_eq!(Device::opencl(99).name(), None);
    assert_eq!(Device::opencl(99).to_string(), "opencl:99");
}
