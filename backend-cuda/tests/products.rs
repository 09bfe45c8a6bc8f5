//! Products by cuBLASLt against a stand-in that is strict and computes on the host: each test in a process of its own.
//! Where the stand-in does not do a product, a kernel would; the stand-in of the driver has none, and says so.
#![cfg(target_os = "linux")]

mod stand_ins;

use kiln_autograd::{Autograd, Backward, BackwardOptions};
use kiln_backend_cuda::Cuda;
use kiln_tensor_core::graph::capture;
use kiln_tensor_core::{
    Activation, Backend, DType, Error, MatmulPrecision, catch, set_float32_matmul_precision,
};
use stand_ins::{DEVICE, Tensor, asked, by_kernel, memory, numbers, with};

/// `a · b + bias` from the definition.
fn expected(a: &Tensor, b: &Tensor, bias: Option<&Tensor>) -> Vec<f64> {
    let (left, right) = (memory(a), memory(b));
    let rank = a.rank();
    let (m, k, n) = (a.size(-2), a.size(-1), b.size(-1));
    let at = |x: &Tensor, matrix: usize, row: usize, column: usize| {
        let (mut rest, mut place) = (matrix, x.layout().offset() as isize);
        for d in (0..rank - 2).rev() {
            place += (rest % x.dims()[d]) as isize * x.strides()[d];
            rest /= x.dims()[d];
        }
        let strides = &x.strides()[rank - 2..];
        (place + row as isize * strides[0] + column as isize * strides[1]) as usize
    };
    let bias = bias.map_or(vec![0.0; n], |bias| memory(bias)[bias.layout().offset()..].to_vec());
    let mut out = Vec::new();
    for matrix in 0..a.dims()[..rank - 2].iter().product() {
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let term = |p| left[at(a, matrix, i, p)] * right[at(b, matrix, p, j)];
            out.push((0..k).map(term).sum::<f64>() + bias[j]);
        }
    }
    out
}

/// Requires a product to be what the definition says, and gives what the library was asked for.
fn multiplied(a: &Tensor, b: &Tensor) -> Vec<String> {
    asked("run");
    let out = Cuda::matmul(a, b);
    assert_eq!(memory(&out), expected(a, b, None), "{:?} × {:?}", a.layout(), b.layout());
    asked("run")
}

#[test]
fn transposed_matrices_are_not_copied() {
    if !with("transposed_matrices_are_not_copied", &[]) {
        return;
    }
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let (a, b) = (numbers(&[5, 3], 0, dtype), numbers(&[3, 7], 1, dtype));
        let (at, bt) = (numbers(&[3, 5], 2, dtype).t(), numbers(&[7, 3], 3, dtype).t());
        for (a, b) in [(&a, &b), (&at, &b), (&a, &bt), (&at, &bt)] {
            assert_eq!(multiplied(a, b), ["7x5x3 epilogue 1"]);
        }
    }
}

#[test]
fn sizes_of_one_and_offsets_are_described() {
    if !with("sizes_of_one_and_offsets_are_described", &[]) {
        return;
    }
    let x = numbers(&[7, 11], 0, DType::F32);
    let part = |rows: (usize, usize), columns: (usize, usize)| {
        x.narrow(0, rows.0, rows.1).narrow(1, columns.0, columns.1)
    };
    // Leading dims that are longer than rows; rows, columns and single elements of something larger.
    for (a, b) in [
        (part((1, 5), (2, 3)), part((3, 3), (1, 10))),
        (part((2, 1), (3, 4)), part((0, 4), (4, 1))),
        (part((0, 6), (5, 1)), part((6, 1), (0, 9))),
        (part((0, 6), (5, 1)).t(), part((1, 6), (3, 1))),
        (part((3, 1), (3, 1)), part((4, 1), (10, 1))),
        (part((1, 4), (2, 1)).t(), part((2, 4), (1, 5))),
        (part((0, 3), (1, 4)), part((2, 1), (1, 4)).t()),
    ] {
        assert_eq!(multiplied(&a, &b).len(), 1);
    }
}

#[test]
fn vectors_are_told_as_they_lie() {
    if !with("vectors_are_told_as_they_lie", &[]) {
        return;
    }
    let f32 = DType::F32;
    let (matrix, vector) = (numbers(&[8, 12], 0, f32), numbers(&[12, 1], 1, f32));
    let plan = |a: &Tensor, b: &Tensor, plan: &str| {
        asked("plan");
        assert_eq!(memory(&Cuda::matmul(a, b)), expected(a, b, None));
        assert_eq!(asked("plan"), [format!("{plan} aligned 256 256 256")]);
    };
    // Side by side: not one after the other with steps of 1.
    plan(&matrix, &vector, "1x8x12 TN ld 12 12 1");
    plan(&vector.t(), &matrix.t(), "8x1x12 TN ld 12 12 8");
    plan(&numbers(&[1, 8], 2, f32), &matrix, "12x1x8 NN ld 12 8 12");
    // A column of a matrix, with its steps.
    plan(&matrix.t(), &matrix.narrow(1, 0, 1), "1x12x8 NT ld 12 12 1");
}

#[test]
fn batches_are_one_call_where_they_lie_evenly() {
    if !with("batches_are_one_call_where_they_lie_evenly", &[]) {
        return;
    }
    let f32 = DType::F32;
    let (a, b) = (numbers(&[2, 4, 5, 3], 0, f32), numbers(&[2, 4, 3, 7], 1, f32));
    assert_eq!(multiplied(&a, &b), ["8 times 7x5x3 epilogue 1"]);
    // Heads of attention: two steps; the larger count is passed whole.
    let heads = numbers(&[2, 5, 4, 3], 2, f32).transpose(1, 2);
    assert_eq!(multiplied(&heads, &b), ["4 times 7x5x3 epilogue 1"; 2]);
    let keys = numbers(&[2, 7, 4, 3], 3, f32).permute([0, 2, 3, 1]);
    assert_eq!(multiplied(&heads, &keys), ["4 times 7x5x3 epilogue 1"; 2]);
    // One matrix for all.
    let one = numbers(&[3, 7], 4, f32).expand([2, 4, 3, 7]);
    assert_eq!(multiplied(&a, &one), ["7x40x3 epilogue 1"]);
    let left = numbers(&[5, 3], 5, f32).expand([2, 4, 5, 3]);
    assert_eq!(multiplied(&left, &b), ["8 times 7x5x3 epilogue 1"]);
    assert_eq!(multiplied(&heads, &one), ["4 times 7x5x3 epilogue 1"; 2]);
    let rows = numbers(&[6, 1, 3], 6, f32);
    assert_eq!(
        multiplied(
            &rows,
            &one.narrow(0, 0, 1).narrow(1, 0, 1).reshape([1, 3, 7]).expand([6, 3, 7])
        ),
        ["7x6x3 epilogue 1"]
    );
    // A step of a batch that is shorter than a matrix: windows that overlap.
    let windows = numbers(&[12], 7, f32).unfold(0, 6, 2).unflatten(1, [2, 3]);
    assert_eq!(multiplied(&windows, &numbers(&[4, 3, 7], 8, f32)), ["4 times 7x2x3 epilogue 1"]);
}

#[test]
fn what_the_library_cannot_walk_over_is_left_to_kernels() {
    if !with("what_the_library_cannot_walk_over_is_left_to_kernels", &[]) {
        return;
    }
    let b = numbers(&[3, 7], 0, DType::F32);
    // Every other element, rows that overlap, one row for all, backwards, too many parts; and whole numbers.
    let every_other = numbers(&[5, 6], 1, DType::F32).slice(1, 0, 6, 2);
    let windows = numbers(&[7], 2, DType::F32).unfold(0, 3, 1);
    let one_row = numbers(&[1, 3], 3, DType::F32).expand([5, 3]);
    let backwards = numbers(&[5, 3], 4, DType::F32).flip([0]);
    for a in [every_other, windows, one_row, backwards] {
        by_kernel(|| Cuda::matmul(&a, &b));
    }
    let many = numbers(&[65, 2, 66, 3], 5, DType::F32).transpose(1, 2);
    by_kernel(|| Cuda::matmul(&many, &b.expand([65, 66, 3, 7])));
    by_kernel(|| Cuda::matmul(&numbers(&[2, 3], 6, DType::I32), &numbers(&[3, 2], 7, DType::I32)));
}

#[test]
fn a_bias_is_added_on_the_way() {
    if !with("a_bias_is_added_on_the_way", &[]) {
        return;
    }
    let weight = numbers(&[7, 3], 0, DType::BF16);
    let bias = numbers(&[9], 1, DType::BF16).narrow(0, 2, 7);
    let check = |x: &Tensor, called: &[&str]| {
        asked("run");
        let out = Cuda::linear(x, &weight, Some(&bias));
        let rows = if x.rank() == 1 { x.unsqueeze(0) } else { x.clone() };
        let shape = rows.shape().with(rows.rank() - 2, 3).with(rows.rank() - 1, 7);
        assert_eq!(memory(&out), expected(&rows, &weight.t().expand(shape), Some(&bias)));
        assert_eq!(*out.shape(), x.shape().with(x.rank() - 1, 7));
        assert_eq!(asked("run"), called);
    };
    check(&numbers(&[5, 3], 2, DType::BF16), &["7x5x3 epilogue 4"]);
    check(&numbers(&[2, 5, 3], 3, DType::BF16), &["7x10x3 epilogue 4"]);
    check(&numbers(&[3], 4, DType::BF16), &["7x1x3 epilogue 4"]);
    // Rows that lie apart.
    check(&numbers(&[5, 2, 3], 5, DType::BF16).transpose(0, 1), &["2 times 7x5x3 epilogue 4"]);
    // Without one, and with one that does not lie side by side.
    let x = numbers(&[5, 3], 6, DType::BF16);
    let out = Cuda::linear(&x, &weight, None);
    assert_eq!(memory(&out), expected(&x, &weight.t(), None));
    assert_eq!(asked("run"), ["7x5x3 epilogue 1"]);
    let apart = numbers(&[7, 2], 7, DType::BF16).select(1, 0);
    let error = catch(|| Cuda::linear(&x, &weight, Some(&apart))).unwrap_err();
    assert!(error.to_string().contains("is not in its program"), "{error}");
    assert_eq!(asked("run"), ["7x5x3 epilogue 1"]);
}

#[test]
fn an_activation_follows_on_the_way() {
    if !with("an_activation_follows_on_the_way", &[]) {
        return;
    }
    let f32 = DType::F32;
    let (weight, bias) = (numbers(&[16, 3], 0, f32), numbers(&[16], 1, f32));
    let x = numbers(&[2, 5, 3], 2, f32);
    let columns = weight.t().expand([2, 3, 16]);
    let gelu =
        |x: f64| x / 2.0 * (1.0 + (0.797_884_560_802_865_4 * (x + 0.044715 * x.powi(3))).tanh());
    for (bias, activation, keep, called) in [
        (Some(&bias), Activation::Relu, false, "16x10x3 epilogue 6"),
        (None, Activation::Relu, false, "16x10x3 epilogue 2"),
        (Some(&bias), Activation::GeluTanh, false, "16x10x3 epilogue 36"),
        (None, Activation::GeluTanh, false, "16x10x3 epilogue 32"),
        (Some(&bias), Activation::GeluTanh, true, "16x10x3 epilogue 164"),
        (None, Activation::GeluTanh, true, "16x10x3 epilogue 160"),
    ] {
        asked("run");
        let (y, before) = Cuda::linear_act(&x, &weight, bias, activation, keep);
        let sums = expected(&x, &columns, bias);
        let apply = |&sum: &f64| match activation {
            Activation::Relu => sum.max(0.0),
            Activation::GeluTanh => f64::from(gelu(sum) as f32),
        };
        assert_eq!(memory(&y), sums.iter().map(apply).collect::<Vec<f64>>());
        assert_eq!(before.map(|before| memory(&before)), keep.then_some(sums));
        assert_eq!(asked("run"), [called]);
    }
    // Matrices that lie apart, each with its place in what is kept.
    let apart = numbers(&[5, 2, 3], 3, f32).transpose(0, 1);
    let (_, before) = Cuda::linear_act(&apart, &weight, Some(&bias), Activation::GeluTanh, true);
    assert_eq!(memory(&before.unwrap()), expected(&apart, &columns, Some(&bias)));
    assert_eq!(asked("run"), ["2 times 16x5x3 epilogue 164"]);
    // In two parts.
    let heads = numbers(&[2, 5, 4, 3], 4, f32).transpose(1, 2);
    let (_, before) = Cuda::linear_act(&heads, &weight, Some(&bias), Activation::GeluTanh, true);
    let columns = weight.t().expand([2, 4, 3, 16]);
    assert_eq!(memory(&before.unwrap()), expected(&heads, &columns, Some(&bias)));
    assert_eq!(asked("run"), ["4 times 16x5x3 epilogue 164"; 2]);
    // What the library cannot keep: bits for relu, rows that are not a multiple of 8 long. A kernel does the second
    // half.
    let short = weight.narrow(0, 0, 15);
    for (weight, activation) in [(&weight, Activation::Relu), (&short, Activation::GeluTanh)] {
        let error = catch(|| Cuda::linear_act(&x, weight, None, activation, true)).unwrap_err();
        assert!(error.to_string().contains("is not in its program"), "{error}");
        assert_eq!(asked("run"), [format!("{}x10x3 epilogue 1", weight.size(0))]);
    }
}

#[test]
fn a_bias_and_its_weight_get_their_gradients_together() {
    if !with("a_bias_and_its_weight_get_their_gradients_together", &[]) {
        return;
    }
    let (grad, x) = (numbers(&[2, 5, 7], 0, DType::F32), numbers(&[2, 5, 3], 1, DType::F32));
    let [weight, bias] = Cuda::linear_grad_weight(&grad, &x);
    let (grad, x) = (grad.reshape([10, 7]), x.reshape([10, 3]));
    assert_eq!(memory(&weight), expected(&grad.t(), &x, None));
    let sums = |column: usize| (0..10).map(|row| memory(&grad)[row * 7 + column]).sum::<f64>();
    assert_eq!(memory(&bias), (0..7).map(sums).collect::<Vec<f64>>());
    assert_eq!(asked("run"), ["3x7x10 epilogue 512"]);
    // In a training step, the backward pass asks for it.
    type Recorded = kiln_tensor_core::Tensor<Autograd<Cuda>>;
    let leaf = |dims: &[usize], seed| {
        let values = memory(&numbers(dims, seed, DType::F32));
        let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
        Recorded::from_slice(&values, dims.to_vec(), &DEVICE).requires_grad_(true)
    };
    let (x, weight, bias) = (leaf(&[6, 3], 3), leaf(&[8, 3], 4), leaf(&[8], 5));
    let ones = Recorded::from_slice(&[1f32; 48], [6, 8], &DEVICE);
    let y = x.linear(&weight, Some(&bias));
    asked("run");
    y.backward_with(BackwardOptions::new().gradient(ones));
    assert_eq!(bias.grad().unwrap().to_vec::<f32>(), [6.0; 8]);
    assert_eq!(asked("run"), ["3x6x8 epilogue 1", "3x8x6 epilogue 512"]);
}

#[test]
fn what_the_library_does_not_support_is_done_in_two_steps() {
    if !with("what_the_library_does_not_support_is_done_in_two_steps", &[]) {
        return;
    }
    let (x, weight) = (numbers(&[5, 3], 0, DType::F64), numbers(&[7, 3], 1, DType::F64));
    let bias = numbers(&[7], 2, DType::F64);
    for _ in 0..2 {
        // The product is the library's; a kernel adds the bias.
        let error = catch(|| Cuda::linear(&x, &weight, Some(&bias))).unwrap_err();
        assert!(error.to_string().contains("is not in its program"), "{error}");
        assert_eq!(asked("run"), ["7x5x3 epilogue 1"]);
    }
}

#[test]
fn plans_are_made_once() {
    if !with("plans_are_made_once", &[]) {
        return;
    }
    let (a, b) = (numbers(&[128, 16], 0, DType::F32), numbers(&[16, 64], 1, DType::F32));
    let plan = "64x128x16 NN ld 64 16 64 aligned 256 256 256";
    asked("plan");
    for _ in 0..3 {
        let _ = Cuda::matmul(&a, &b);
    }
    let _ = Cuda::matmul(&a.clone(), &b.clone());
    assert_eq!(asked("plan"), [plan]);
    // Each thing that matters makes another: the place in memory, the leading dim, the precision.
    let _ = Cuda::matmul(&a.narrow(0, 1, 127), &b);
    assert_eq!(asked("plan"), ["64x127x16 NN ld 64 16 64 aligned 256 64 256"]);
    let _ = Cuda::matmul(&a.narrow(1, 4, 12), &b.narrow(0, 0, 12));
    assert_eq!(asked("plan"), ["64x128x12 NN ld 64 16 64 aligned 256 16 256"]);
    set_float32_matmul_precision(MatmulPrecision::High);
    let _ = Cuda::matmul(&a, &b);
    assert_eq!(asked("plan"), [plan]);
}

#[test]
fn precision_follows_the_policy() {
    if !with("precision_follows_the_policy", &[]) {
        return;
    }
    let pair = |dtype| (numbers(&[5, 3], 0, dtype), numbers(&[3, 7], 1, dtype));
    let (a, b) = pair(DType::F32);
    for (precision, name) in [
        (MatmulPrecision::High, "7x5x3 epilogue 1 tf32"),
        (MatmulPrecision::Medium, "7x5x3 epilogue 1 bf16"),
        (MatmulPrecision::Highest, "7x5x3 epilogue 1"),
    ] {
        set_float32_matmul_precision(precision);
        assert_eq!(multiplied(&a, &b), [name]);
    }
    set_float32_matmul_precision(MatmulPrecision::Medium);
    for (a, b) in [DType::F64, DType::F16, DType::BF16].map(pair) {
        assert_eq!(multiplied(&a, &b), ["7x5x3 epilogue 1"]);
    }
}

#[test]
fn memory_beside_a_product_is_nobody_elses() {
    if !with("memory_beside_a_product_is_nobody_elses", &[]) {
        return;
    }
    let (a, b) = (numbers(&[4, 100], 0, DType::F32), numbers(&[100, 6], 1, DType::F32));
    let before = Cuda::memory(&DEVICE).allocated;
    let out = Cuda::matmul(&a, &b);
    assert_eq!(memory(&out), expected(&a, &b, None));
    assert_eq!(memory(&a), memory(&numbers(&[4, 100], 0, DType::F32)));
    assert_eq!(Cuda::memory(&DEVICE).allocated, before + 4 * 6 * 4);
}

#[test]
fn failures_name_the_function() {
    for (number, (function, status, text)) in [
        ("cublasLtMatmul", "14", "cublasLtMatmul: an internal operation failed (14)"),
        ("cublasLtCreate", "1", "cublasLtCreate: the library was not initialized (1); with KILN"),
        ("cublasLtMatrixLayoutSetAttribute", "7", "cublasLtMatrixLayoutSetAttribute: unknown (7)"),
        ("cublasLtMatmulAlgoGetHeuristic", "14", "cublasLtMatmulAlgoGetHeuristic: an internal"),
    ]
    .into_iter()
    .enumerate()
    {
        let (fail, case) = (format!("{function}={status}"), number.to_string());
        if !with("failures_name_the_function", &[("FAKE_FAIL", &fail), ("CASE", &case)]) {
            continue;
        }
        if std::env::var("CASE").unwrap() != case {
            continue;
        }
        let (a, b) = (numbers(&[5, 3], 0, DType::F32), numbers(&[3, 7], 1, DType::F32));
        for _ in 0..2 {
            let error = catch(|| Cuda::matmul(&a, &b)).unwrap_err();
            let expected = format!("cuda:0: {text}");
            assert!(matches!(error, Error::Backend { .. }), "{error}");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }
}

#[test]
fn a_status_of_not_supported_leaves_the_product_to_a_kernel() {
    let fail = ("FAKE_FAIL", "cublasLtMatmul=15");
    if !with("a_status_of_not_supported_leaves_the_product_to_a_kernel", &[fail]) {
        return;
    }
    let (a, b) = (numbers(&[5, 3], 0, DType::F32), numbers(&[3, 7], 1, DType::F32));
    by_kernel(|| Cuda::matmul(&a, &b));
    asked("plan");
    by_kernel(|| Cuda::matmul(&a, &b));
    assert_eq!(asked("plan"), [""; 0]);
}

#[test]
fn libraries_can_be_turned_off() {
    if !with("libraries_can_be_turned_off", &[("KILN_CUDA_LIBRARIES", "0")]) {
        return;
    }
    by_kernel(|| Cuda::matmul(&numbers(&[5, 3], 0, DType::F32), &numbers(&[3, 7], 1, DType::F32)));
}

#[test]
fn a_library_that_is_newer_than_the_driver_is_not_used() {
    let version = ("FAKE_DRIVER_VERSION", "12080");
    if !with("a_library_that_is_newer_than_the_driver_is_not_used", &[version]) {
        return;
    }
    by_kernel(|| Cuda::matmul(&numbers(&[5, 3], 0, DType::F32), &numbers(&[3, 7], 1, DType::F32)));
    let all = kiln_backend_cuda::libraries::all();
    let why = all.iter().find(|library| library.name == "cuBLASLt").unwrap().found.unwrap_err();
    assert!(why.contains("it is for CUDA 13, and the driver for 12: update one"), "{why}");
}

#[test]
fn a_captured_step_has_the_librarys_products() {
    let test = "a_captured_step_has_the_librarys_products";
    if !with(test, &[]) {
        return;
    }
    // The second wants memory beside it, which a replay writes over.
    for k in [5, 70] {
        let (a, b) = (numbers(&[3, k], 1, DType::F32), numbers(&[k, 4], 2, DType::F32));
        let expected = expected(&a, &b, None);
        let graph = capture::<Cuda, _>(&DEVICE, || a.matmul(&b)).unwrap();
        assert_eq!(asked("run").len(), 1, "the second time it is only recorded");
        drop((a, b));
        // Some would take the memory of the operands, if a step did not keep it.
        let like = [vec![9, 9, 20], vec![3, k], vec![k, 4]];
        let other = |i: usize| numbers(&like[i % 3], i, DType::F32);
        let others: Vec<Tensor> = (0..60).map(other).collect();
        for _ in 0..3 {
            graph.replay();
            assert_eq!(asked("run").len(), 1);
            assert_eq!(memory(graph.output()), expected);
        }
        for (i, x) in others.iter().enumerate() {
            assert_eq!(memory(x), memory(&other(i)));
        }
    }
}
