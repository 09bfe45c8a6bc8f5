//! A device's queue from several threads, what comes to light later, and kernels that another process compiled.

use std::path::Path;
use std::process::Command;
use std::{env, thread};

use kiln_backend_opencl::{OpenCl, OpenClDevice, compilations};
use kiln_tensor_core::{DType, Error, catch};

type Tensor = kiln_tensor_core::Tensor<OpenCl>;

#[test]
fn threads_share_a_device() {
    let device = OpenClDevice::default();
    thread::scope(|scope| {
        for t in 0..4i64 {
            scope.spawn(move || {
                for i in 0..200i64 {
                    let n = 1 + (i * 37 + t) % 500;
                    let x = Tensor::arange(n, (&device, DType::I64));
                    let y = &x * 2 + t;
                    let z = y.index_select(0, &x.flip([0]));
                    let want: Vec<i64> = (0..n).rev().map(|k| 2 * k + t).collect();
                    assert_eq!(z.to_vec::<i64>(), want);
                }
            });
        }
    });
}

#[test]
fn uploads_are_in_order_with_kernels() {
    let device = OpenClDevice::default();
    let values: Vec<Vec<i32>> = (0..300).map(|i| vec![i; 1 + 700 * (i as usize % 7)]).collect();
    let tensors: Vec<Tensor> =
        values.iter().map(|v| Tensor::from_slice(v, [v.len()], &device) + 1).collect();
    for (x, value) in tensors.iter().zip(&values) {
        assert!(x.to_vec::<i32>().iter().all(|&k| k == value[0] + 1));
    }
    let large: Vec<i32> = (0..1 << 20).collect();
    let x = Tensor::from_slice(&large, [large.len()], &device) * 2;
    assert!(x.to_vec::<i32>().iter().zip(&large).all(|(got, from)| *got == 2 * from));
}

#[test]
fn an_index_out_of_range_is_told_at_the_next_read() {
    let device = OpenClDevice::default();
    let x = Tensor::from_slice(&[0f32; 6], [2, 3], &device);
    let index = Tensor::from_slice(&[0i64, 3], [2], &device);
    let y = x.index_select(1, &index);
    let line = line!() - 1;
    let error = catch(|| y.to_vec::<f32>()).unwrap_err();
    let Error::Index { index: 3, size: 3, called: Some(at), .. } = &error else {
        panic!("{error}")
    };
    assert_eq!((at.file(), at.line()), (file!(), line));
    assert_eq!(x.to_vec::<f32>(), [0.0; 6]);
}

#[test]
fn more_memory_than_there_is_is_an_error() {
    let device = OpenClDevice::default();
    let error = catch(|| Tensor::zeros([1 << 44], &device)).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert_eq!(Tensor::ones([2], &device).to_vec::<f32>(), [1.0, 1.0]);
}

const CHILD: &str = "KILN_TEST_CHILD";

/// What a process does that the test below starts.
#[test]
fn process() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let x = Tensor::arange(1000, (&OpenClDevice::default(), DType::F32));
    let sum = (&x * 2.0).sum().to_vec::<f32>();
    assert_eq!(sum, [999_000.0]);
    println!("compiled {} kernels", compilations());
}

fn compiled(folder: &Path) -> usize {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "process", "--nocapture"])
        .env(CHILD, "1")
        .env("KILN_CACHE_DIR", folder)
        .env_remove("KILN_CACHE")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let count = text.split_once("compiled ").and_then(|(_, rest)| rest.split_once(' '));
    count.unwrap_or_else(|| panic!("{text}")).0.parse().unwrap()
}

#[test]
fn a_second_process_compiles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    assert!(compiled(folder.path()) > 0);
    assert_eq!(compiled(folder.path()), 0);
}
