//! Sums over devices by NCCL, against a stand-in whose devices are one host: each test in a process of its own.
#![cfg(target_os = "linux")]

mod stand_ins;

use kiln_backend_cuda::libraries::Group;
use kiln_backend_cuda::{Buffer, CudaDevice, Driver};
use kiln_backend_gpu::Runtime;
use kiln_tensor_core::{DType, Error};
use stand_ins::with;

const DEVICES: [CudaDevice; 2] = [CudaDevice(0), CudaDevice(1)];

/// A buffer of each device.
fn buffers(numbers: [[f32; 3]; 2]) -> [Buffer; 2] {
    [0, 1].map(|i: usize| {
        let buffer = Driver::allocate(&DEVICES[i], 12).unwrap();
        let bytes = numbers[i].map(f32::to_ne_bytes);
        Driver::write(&DEVICES[i], &buffer, 0, bytes.as_flattened()).unwrap();
        buffer
    })
}

fn read(buffers: &[Buffer; 2]) -> [[f32; 3]; 2] {
    [0, 1].map(|i: usize| {
        let mut bytes = [0; 12];
        Driver::read(&DEVICES[i], &buffers[i], 0, &mut bytes).unwrap();
        [0, 1, 2].map(|j| f32::from_ne_bytes(bytes[4 * j..][..4].try_into().unwrap()))
    })
}

#[test]
fn all_devices_get_the_sums_or_what_one_has() {
    if !with("all_devices_get_the_sums_or_what_one_has", &[]) {
        return;
    }
    let group = Group::new(&DEVICES).unwrap();
    let both = buffers([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]);
    group.all_reduce(&both.each_ref(), 2, DType::F32).unwrap();
    assert_eq!(read(&both), [[11.0, 22.0, 3.0], [11.0, 22.0, 30.0]]);
    group.broadcast(1, &both.each_ref(), 3, DType::F32).unwrap();
    assert_eq!(read(&both), [[11.0, 22.0, 30.0]; 2]);
}

#[test]
fn mistakes_are_typed_errors() {
    if !with("mistakes_are_typed_errors", &[]) {
        return;
    }
    let group = Group::new(&DEVICES).unwrap();
    let both = buffers([[0.0; 3]; 2]);
    let all = both.each_ref();
    for (result, text) in [
        (
            group.all_reduce(&all, 4, DType::F32),
            "16 bytes from 0 on are not inside of a buffer of 12",
        ),
        (group.all_reduce(&all[..1], 3, DType::F32), "1 buffers for 2 devices"),
        (group.all_reduce(&[all[1], all[0]], 3, DType::F32), "for cuda:0 is another device's"),
        (group.all_reduce(&all, 3, DType::I16), "NCCL has no i16"),
        (group.broadcast(2, &all, 3, DType::F32), "no device 2 among 2"),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Backend { .. }), "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    let error = Group::new(&[CudaDevice(0), CudaDevice(7)]).unwrap_err();
    assert!(matches!(error, Error::NoDevice { .. }), "{error}");
}

#[test]
fn failures_name_the_function() {
    if !with("failures_name_the_function", &[("FAKE_FAIL", "ncclAllReduce=3")]) {
        return;
    }
    let group = Group::new(&DEVICES).unwrap();
    let both = buffers([[0.0; 3]; 2]);
    let error = group.all_reduce(&both.each_ref(), 3, DType::F32).unwrap_err();
    assert_eq!(error.to_string(), "cuda:0: ncclAllReduce: internal error (3)");
    // The group was ended: the next call is its own.
    group.broadcast(0, &both.each_ref(), 3, DType::F32).unwrap();
}
