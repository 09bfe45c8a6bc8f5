//! Without a driver, with an old one, and with a stand-in: each in a process of its own.

use std::ffi::{CStr, c_void};
use std::ptr;

use super::{absence, is_present};
use crate::*;

#[path = "../../tests/fake/mod.rs"]
mod fake;

use fake::{DRIVER, built, in_child};

#[test]
fn without_a_driver_nothing_is_found_and_nothing_breaks() {
    let nowhere = std::env::temp_dir().join("nothing is here");
    if !in_child(
        "runtime::tests::without_a_driver_nothing_is_found_and_nothing_breaks",
        &[&nowhere],
        &[],
    ) {
        return;
    }
    if is_present() {
        // A machine with a driver of its own has nothing to show here.
        return;
    }
    let mut count = 7;
    // SAFETY: one pointer to an int.
    let result = unsafe { cuDeviceGetCount(&mut count) };
    assert_eq!((result, count), (CUresult::NO_DEVICE, 7));
    assert_eq!(result.to_string(), "no driver or no device (100)");
    assert!(absence().unwrap().contains("libcuda.so.1"));
    // Not only the first call.
    // SAFETY: no pointers.
    assert_eq!(unsafe { cuInit(0) }, CUresult::NO_DEVICE);
}

#[test]
fn calls_reach_the_driver_with_their_arguments() {
    if !in_child(
        "runtime::tests::calls_reach_the_driver_with_their_arguments",
        &[&built(&[DRIVER])],
        &[],
    ) {
        return;
    }
    assert!(is_present() && absence().is_none());
    let (mut count, mut device, mut name) = (0, 0, [0; 16]);
    // SAFETY: pointers to what the functions fill.
    unsafe {
        assert!(cuInit(0).is_success());
        assert!(cuDeviceGetCount(&mut count).is_success());
        assert!(cuDeviceGet(&mut device, 1).is_success());
        assert!(cuDeviceGetName(name.as_mut_ptr(), 16, device).is_success());
        assert_eq!(CStr::from_ptr(name.as_ptr()), c"Fake 1");
        let wrong = cuDeviceGet(&mut device, 2);
        assert_eq!(wrong.to_string(), "CUDA_ERROR_INVALID_DEVICE (101): invalid device ordinal");
    }
    assert_eq!(count, 2);
}

#[test]
fn plain_names_mean_the_forms_of_the_header() {
    if !in_child(
        "runtime::tests::plain_names_mean_the_forms_of_the_header",
        &[&built(&[DRIVER])],
        &[],
    ) {
        return;
    }
    let (bytes, mut back, mut address) = ([1u8, 2, 3], [0u8; 3], 0);
    // SAFETY: three bytes are allocated, copied and freed; the stand-in's stream is 0x51.
    unsafe {
        assert!(cuMemAlloc(&mut address, 3).is_success());
        let stream = 0x51 as Handle;
        assert!(cuMemcpyHtoDAsync(address, bytes.as_ptr().cast(), 3, stream).is_success());
        assert!(cuMemcpyDtoHAsync(back.as_mut_ptr().cast(), address, 3, stream).is_success());
        assert!(cuMemFree(address).is_success());
    }
    assert_eq!(back, bytes);
}

#[test]
fn codes_that_nobody_knows_are_kept() {
    let fail = [("FAKE_FAIL", "cuMemFree_v2=912")];
    let name = "runtime::tests::codes_that_nobody_knows_are_kept";
    if !in_child(name, &[&built(&[DRIVER])], &fail) {
        return;
    }
    // SAFETY: the stand-in does not look at the address.
    let result = unsafe { cuMemFree(1) };
    assert_eq!(result, CUresult(912));
    assert_eq!(result.to_string(), "code 912 of the driver");
}

#[test]
fn functions_that_a_driver_lacks_say_so() {
    if !in_child("runtime::tests::functions_that_a_driver_lacks_say_so", &[&built(&[DRIVER])], &[])
    {
        return;
    }
    // SAFETY: nothing is called: the stand-in has no such function.
    let result = unsafe { cuStreamQuery(ptr::null_mut()) };
    assert_eq!(result, CUresult::NEWER_DRIVER_NEEDED);
    assert_eq!(result.to_string(), "the driver is too old for this call (36)");
}

#[test]
fn clusters_and_tensor_maps_are_laid_out_as_in_the_header() {
    let name = "runtime::tests::clusters_and_tensor_maps_are_laid_out_as_in_the_header";
    if !in_child(name, &[&built(&[DRIVER])], &[]) {
        return;
    }
    let mut out = [0u8; 60];
    let (mut address, mut a, mut b, mut c) = (out.as_mut_ptr(), 5i64, 6i32, [7i64, 8, 9]);
    let mut params: [*mut c_void; 4] =
        [(&raw mut address).cast(), (&raw mut a).cast(), (&raw mut b).cast(), (&raw mut c).cast()];
    let attributes = [CUlaunchAttribute::cluster(2, 1, 1), CUlaunchAttribute::cluster(3, 1, 1)];
    let config = CUlaunchConfig {
        grid: [10, 20, 30],
        block: [40, 50, 60],
        shared: 70,
        stream: 0x51 as Handle,
        attributes: attributes.as_ptr(),
        count: 2,
    };
    // SAFETY: the stand-in's function 0x99 takes these four arguments and fills 60 bytes.
    let launched =
        unsafe { cuLaunchKernelEx(&config, 0x99 as Handle, params.as_mut_ptr(), ptr::null_mut()) };
    assert!(launched.is_success());
    let words: Vec<u32> =
        out.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
    assert_eq!(words, [10, 20, 30, 40, 50, 60, 5, 0, 6, 7, 0, 8, 0, 9, 0]);

    let mut map = CUtensorMap([0; 16]);
    let (sizes, strides, tile, steps) = ([64u64, 32], [128u64], [8, 4], [1, 1]);
    // SAFETY: arrays of the rank 2; the address is not used.
    let encoded = unsafe {
        let address = 0x1000 as *mut c_void;
        let (sizes, strides, tile) = (sizes.as_ptr(), strides.as_ptr(), tile.as_ptr());
        cuTensorMapEncodeTiled(
            &mut map,
            9,
            2,
            address,
            sizes,
            strides,
            tile,
            steps.as_ptr(),
            1,
            3,
            2,
            0,
        )
    };
    assert!(encoded.is_success());
    assert_eq!(map.0[..12], [9, 0x1000, 64, 32, 128, 8, 4, 1, 1, 3, 2, 0]);
}
