//! Convolutions by cuDNN against a stand-in that is strict and computes on the host: each test in a process of its own.
//! Where the stand-in does not do one, a kernel would; the stand-in of the driver has none, and says so.
#![cfg(target_os = "linux")]

mod stand_ins;

use kiln_backend_cuda::{Cuda, Driver, libraries};
use kiln_backend_gpu::Runtime;
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_tensor_core::graph::capture;
use kiln_tensor_core::{
    Backend, ConvSpec, DType, Error, MatmulPrecision, catch, set_float32_matmul_precision,
};
use stand_ins::{DEVICE, Tensor, asked, by_kernel, memory, numbers, with};

/// The tensor as the reference sees it.
fn reference(x: &Tensor) -> kiln_tensor_core::Tensor<Reference> {
    assert!(x.is_contiguous() && x.layout().offset() == 0);
    let shape = x.shape().clone();
    kiln_tensor_core::Tensor::from_slice(&memory(x), shape, &ReferenceDevice)
}

fn spec(stride: &[usize], padding: &[usize], dilation: &[usize], groups: usize) -> ConvSpec {
    ConvSpec { stride: stride.into(), padding: padding.into(), dilation: dilation.into(), groups }
}

/// Requires all three passes to be what the reference gives, and what the library was asked for.
fn convolved(x: &[usize], weight: &[usize], spec: &ConvSpec, dtype: DType, called: &str) {
    let (x, weight) = (numbers(x, 0, dtype), numbers(weight, 1, dtype));
    let (a, b) = (reference(&x), reference(&weight));
    asked("");
    let y = Cuda::conv(&x, &weight, spec);
    let expected = Reference::conv(&a, &b, spec);
    assert_eq!(y.shape(), expected.shape());
    assert_eq!(memory(&y), expected.to_vec::<f64>());
    assert_eq!(asked(""), [format!("forward {called}")]);
    let grad = numbers(y.dims(), 2, dtype);
    let g = reference(&grad);
    let input = Cuda::conv_grad_input(&grad, &weight, x.shape(), spec);
    let expected = Reference::conv_grad_input(&g, &b, x.shape(), spec);
    assert_eq!(memory(&input), expected.to_vec::<f64>());
    assert_eq!(asked(""), [format!("input {called}")]);
    let weights = Cuda::conv_grad_weight(&grad, &x, weight.shape(), spec);
    let expected = Reference::conv_grad_weight(&g, &a, weight.shape(), spec);
    assert_eq!(memory(&weights), expected.to_vec::<f64>());
    assert_eq!(asked(""), [format!("weight {called}")]);
}

#[test]
fn all_passes_agree_with_the_reference() {
    if !with("all_passes_agree_with_the_reference", &[]) {
        return;
    }
    let plain = ConvSpec::new(2);
    let called = "[2, 3, 5, 7] by [4, 3, 3, 2] groups 1";
    for dtype in [DType::F32, DType::F64] {
        convolved(&[2, 3, 5, 7], &[4, 3, 3, 2], &plain, dtype, called);
    }
    let walk = spec(&[2, 1], &[1, 0], &[1, 2], 1);
    convolved(&[2, 3, 5, 7], &[4, 3, 3, 2], &walk, DType::F32, called);
    let groups = spec(&[1, 2], &[0, 1], &[1, 1], 2);
    let called = "[2, 6, 5, 7] by [4, 3, 3, 2] groups 2";
    convolved(&[2, 6, 5, 7], &[4, 3, 3, 2], &groups, DType::F32, called);
    // One spatial dim has another beside it; three stay, also where the first is 1 long with padding.
    let line = spec(&[2], &[1], &[1], 1);
    convolved(&[2, 3, 7], &[4, 3, 2], &line, DType::F32, "[2, 3, 1, 7] by [4, 3, 1, 2] groups 1");
    let volume = spec(&[1, 2, 1], &[1, 0, 1], &[1, 1, 2], 1);
    let called = "[2, 3, 4, 5, 5] by [2, 3, 2, 3, 2] groups 1";
    convolved(&[2, 3, 4, 5, 5], &[2, 3, 2, 3, 2], &volume, DType::F32, called);
    let flat = spec(&[1, 1, 1], &[1, 0, 0], &[1, 1, 1], 1);
    let called = "[2, 3, 1, 5, 5] by [2, 3, 3, 3, 2] groups 1";
    convolved(&[2, 3, 1, 5, 5], &[2, 3, 3, 3, 2], &flat, DType::F32, called);
    let small = spec(&[2, 2], &[0, 0], &[1, 1], 1);
    convolved(
        &[1, 2, 3, 3],
        &[2, 2, 2, 2],
        &small,
        DType::BF16,
        "[1, 2, 3, 3] by [2, 2, 2, 2] groups 1",
    );
}

#[test]
fn parts_of_tensors_start_where_they_are() {
    if !with("parts_of_tensors_start_where_they_are", &[]) {
        return;
    }
    let spec = ConvSpec::new(2);
    let whole = numbers(&[4, 2, 4, 4], 0, DType::F32);
    let weight = numbers(&[6, 2, 3, 3], 1, DType::F32);
    let y = Cuda::conv(&whole.narrow(0, 1, 2), &weight.narrow(0, 2, 3), &spec);
    let expected = Reference::conv(
        &reference(&whole).narrow(0, 1, 2),
        &reference(&weight).narrow(0, 2, 3),
        &spec,
    );
    assert_eq!(memory(&y), expected.to_vec::<f64>());
}

#[test]
fn precision_follows_the_policy() {
    if !with("precision_follows_the_policy", &[]) {
        return;
    }
    set_float32_matmul_precision(MatmulPrecision::High);
    let called = "[2, 3, 5, 7] by [4, 3, 3, 2] groups 1";
    let f32 = format!("{called} tf32");
    convolved(&[2, 3, 5, 7], &[4, 3, 3, 2], &ConvSpec::new(2), DType::F32, &f32);
    convolved(&[2, 3, 5, 7], &[4, 3, 3, 2], &ConvSpec::new(2), DType::F64, called);
}

#[test]
fn a_captured_step_has_the_librarys_convolutions() {
    if !with("a_captured_step_has_the_librarys_convolutions", &[]) {
        return;
    }
    let (x, weight) =
        (numbers(&[2, 3, 5, 7], 0, DType::F32), numbers(&[4, 3, 3, 2], 1, DType::F32));
    let spec = ConvSpec::new(2);
    let expected = Reference::conv(&reference(&x), &reference(&weight), &spec).to_vec::<f64>();
    // Neither is anything timed then.
    libraries::set_benchmark(true);
    let graph = capture::<Cuda, _>(&DEVICE, || Cuda::conv(&x, &weight, &spec)).unwrap();
    assert_eq!(asked("").len(), 1, "the second time it is only recorded");
    // These would take the memory of the operands, if the step did not keep it.
    drop((x, weight));
    let like = [vec![2, 3, 5, 7], vec![4, 3, 3, 2]];
    let _others: Vec<Tensor> = (2..40).map(|i| numbers(&like[i % 2], i, DType::F32)).collect();
    for _ in 0..2 {
        graph.replay();
        assert_eq!(asked("").len(), 1);
        assert_eq!(memory(graph.output()), expected);
    }
}

#[test]
fn failures_name_the_function() {
    for (test, fail, text) in [
        (
            "0",
            "cudnnConvolutionForward=5000",
            "cudnnConvolutionForward: CUDNN_STATUS_EXECUTION_FAILED (5000)",
        ),
        (
            "1",
            "cudnnCreate=1001",
            "cudnnCreate: CUDNN_STATUS_NOT_INITIALIZED (1001); with KILN_CUDA_LIBRARIES=0",
        ),
        ("2", "cudnnSetTensorNdDescriptor=2000", "cudnnSetTensorNdDescriptor: unknown (2000)"),
    ] {
        if !with("failures_name_the_function", &[("FAKE_FAIL", fail), ("CASE", test)]) {
            continue;
        }
        if std::env::var("CASE").unwrap() != test {
            continue;
        }
        let (x, weight) =
            (numbers(&[2, 3, 5, 7], 0, DType::F32), numbers(&[4, 3, 3, 2], 1, DType::F32));
        for _ in 0..2 {
            let error = catch(|| Cuda::conv(&x, &weight, &ConvSpec::new(2))).unwrap_err();
            assert!(matches!(error, Error::Backend { .. }), "{error}");
            assert!(error.to_string().contains(&format!("cuda:0: {text}")), "{error}");
        }
    }
}

#[test]
fn what_the_library_does_not_support_is_left_to_kernels() {
    let fail = ("FAKE_FAIL", "cudnnConvolutionForward=3002");
    if !with("what_the_library_does_not_support_is_left_to_kernels", &[fail]) {
        return;
    }
    let (x, weight) =
        (numbers(&[2, 3, 5, 7], 0, DType::F32), numbers(&[4, 3, 3, 2], 1, DType::F32));
    for _ in 0..2 {
        by_kernel(|| Cuda::conv(&x, &weight, &ConvSpec::new(2)));
    }
}

#[test]
fn libraries_can_be_turned_off() {
    if !with("libraries_can_be_turned_off", &[("KILN_CUDA_LIBRARIES", "0")]) {
        return;
    }
    let (x, weight) =
        (numbers(&[2, 3, 5, 7], 0, DType::F32), numbers(&[4, 3, 3, 2], 1, DType::F32));
    by_kernel(|| Cuda::conv(&x, &weight, &ConvSpec::new(2)));
}

#[test]
fn events_tell_how_long_work_takes() {
    if !with("events_tell_how_long_work_takes", &[("FAKE_MILLISECONDS", "2.5")]) {
        return;
    }
    let mut ran = 0;
    let time = Driver::time(&DEVICE, &mut || {
        ran += 1;
        Ok(())
    });
    assert_eq!((time.unwrap().as_micros(), ran), (2500, 1));
    // Timing is nobody's wish until somebody asks for it.
    assert!(!libraries::benchmark());
    let error = Driver::time(&DEVICE, &mut || {
        Err(Error::Backend { device: "cuda:0".into(), why: "no".into() })
    });
    assert_eq!(error.unwrap_err().to_string(), "cuda:0: no");
}
