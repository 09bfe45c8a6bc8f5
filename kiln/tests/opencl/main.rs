//! The facade on OpenCL devices: the same bits and results as on the host, moving, and what is told where
//! operands are apart. Fails without a device: `cargo xtask test opencl` runs it where there is one.

mod apart;
mod graphs;
mod moving;
mod random;
mod rows;
mod training;

use std::sync::{Mutex, MutexGuard, PoisonError};

use kiln::prelude::*;

/// Seeds the generators, which all tests share, and keeps other tests from drawing.
fn seeded(seed: u64) -> MutexGuard<'static, ()> {
    static DRAWING: Mutex<()> = Mutex::new(());
    let alone = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
    manual_seed(seed);
    alone
}

/// The first device. That it is here is what the step has seen to.
#[track_caller]
fn opencl() -> Device {
    "opencl:0".parse().expect("these tests need an OpenCL device")
}

/// A net with most of what the demo has, on a device.
fn net(device: &Device) -> Sequential {
    Sequential::new((
        Conv2d::new(1, 4, 3, device).padding(1),
        BatchNorm2d::new(4, device),
        ReLU::new(),
        MaxPool2d::new(2),
        Flatten::new(),
        Dropout::new(0.25),
        Linear::new(4 * 4 * 4, 10, device),
    ))
}

/// Some digits, `[n, 1, 8, 8]`, and what they are.
fn digits(n: usize, device: &Device) -> (Tensor, Tensor) {
    let (x, y) = kiln::data::digits().tensors(&Device::cpu());
    (x.narrow(0, 0, n).copy().to(device), y.narrow(0, 0, n).copy().to(device))
}

#[test]
fn the_host_through_a_driver_is_never_the_best() {
    use kiln::opencl::{DeviceKind, devices};
    if let Device::OpenCl(best) = Device::best() {
        let info = devices().find(|info| info.device == best).expect("the best is here");
        assert_ne!(info.kind, DeviceKind::Cpu, "{}", info.name);
    }
}
