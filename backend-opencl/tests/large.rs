//! Work that is large enough for kernels of its own (packed products, rows side by side), against the CPU
//! backend in `f64`. The table of ops is of small shapes.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_backend_opencl::{OpenCl, OpenClDevice};
use kiln_tensor_core::{
    Backend, ConvSpec, DType, Error, Expr, Kernel, Layout, Scalar, Tensor, ViewOp, catch,
    manual_seed, use_deterministic_algorithms,
};

const CPU: CpuDevice = CpuDevice;

/// Numbers near 1 that `dtype` holds, on both.
fn numbers(shape: &[usize], dtype: DType) -> (Tensor<OpenCl>, Tensor<Cpu>) {
    let x = Tensor::<Cpu>::randn(shape, &CPU).to_dtype(dtype);
    let device = OpenClDevice::default();
    let there = OpenCl::upload(&Cpu::download(&x), x.shape(), dtype, &device);
    (there, x.to_dtype(DType::F64))
}

/// Fails where `got` is further from `want` than rounding explains: `steps` roundings of what the sums of
/// absolute values are, and one of the result.
fn close(what: &str, got: &Tensor<OpenCl>, want: &Tensor<Cpu>, sums: &Tensor<Cpu>, steps: usize) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    let unit = |dtype: DType| match dtype {
        DType::F64 => f64::EPSILON,
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        _ => f64::from(f32::EPSILON),
    };
    let (inside, outside) = (unit(got.dtype().compute()), unit(got.dtype()));
    let got = got.to_dtype(DType::F64).to_vec::<f64>();
    for (i, ((got, want), sum)) in
        got.iter().zip(want.to_vec::<f64>()).zip(sums.to_vec::<f64>()).enumerate()
    {
        let allowed = inside * (steps as f64 + 2.0) * sum + outside * want.abs();
        assert!((got - want).abs() <= allowed, "{what}: {got} at {i} where {want} is right");
    }
}

#[test]
fn products() {
    manual_seed(1);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for [m, k, n] in [[37, 65, 43], [12, 64, 96], [5, 300, 33], [130, 70, 16]] {
            for forms in 0..4 {
                let (left, right) = (forms & 1 == 1, forms & 2 == 2);
                let (a, a64) = numbers(&if left { [k, m] } else { [m, k] }, dtype);
                let (b, b64) = numbers(&if right { [n, k] } else { [k, n] }, dtype);
                let turned = |x: &Tensor<OpenCl>, on: bool| if on { x.t() } else { x.clone() };
                let turned64 = |x: &Tensor<Cpu>, on: bool| if on { x.t() } else { x.clone() };
                let got = turned(&a, left).matmul(&turned(&b, right));
                let (a64, b64) = (turned64(&a64, left), turned64(&b64, right));
                let what = format!("{dtype} [{m}, {k}] x [{k}, {n}], form {forms}");
                close(&what, &got, &a64.matmul(&b64), &a64.abs().matmul(&b64.abs()), k);
            }
        }
    }
}

#[test]
fn batches_of_products() {
    manual_seed(2);
    let dtype = DType::F32;
    for [left, right] in
        [[&[3, 2, 20, 40][..], &[3, 2, 40, 50]], [&[3, 1, 20, 40], &[1, 2, 40, 50]]]
    {
        let ((a, a64), (b, b64)) = (numbers(left, dtype), numbers(right, dtype));
        let sums = a64.abs().matmul(&b64.abs());
        close(&format!("{left:?}"), &a.matmul(&b), &a64.matmul(&b64), &sums, 40);
    }
    // The same matrix for all.
    let ((a, a64), (b, b64)) = (numbers(&[6, 20, 40], dtype), numbers(&[40, 50], dtype));
    close("one", &a.matmul(&b), &a64.matmul(&b64), &a64.abs().matmul(&b64.abs()), 40);
}

#[test]
fn convolutions() {
    manual_seed(3);
    let cases: [(&[usize], &[usize], [usize; 4]); 6] = [
        // input, weight, [stride, padding, dilation, groups]
        (&[3, 5, 17, 19], &[7, 5, 3, 3], [1, 1, 1, 1]),
        (&[3, 5, 17, 19], &[7, 5, 3, 4], [2, 1, 1, 1]),
        (&[2, 8, 23, 21], &[12, 4, 3, 3], [1, 2, 2, 2]),
        (&[2, 8, 23, 21], &[12, 4, 5, 3], [3, 2, 1, 2]),
        (&[2, 9, 300], &[6, 9, 5], [1, 4, 2, 1]),
        (&[2, 6, 7, 9, 8], &[6, 6, 3, 2, 3], [1, 1, 1, 1]),
    ];
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        for (input, weight, [stride, padding, dilation, groups]) in cases {
            let all = |size: usize| std::iter::repeat_n(size, input.len() - 2).collect();
            let spec = ConvSpec {
                stride: all(stride),
                padding: all(padding),
                dilation: all(dilation),
                groups,
            };
            let what = format!("{dtype} {input:?} by {weight:?}, {spec:?}");
            let ((x, x64), (w, w64)) = (numbers(input, dtype), numbers(weight, dtype));
            let want = Cpu::conv(&x64, &w64, &spec);
            let sums = Cpu::conv(&x64.abs(), &w64.abs(), &spec);
            let taps = weight[1..].iter().product();
            close(&what, &OpenCl::conv(&x, &w, &spec), &want, &sums, taps);

            let (g, g64) = numbers(want.dims(), dtype);
            let got = OpenCl::conv_grad_input(&g, &w, x.shape(), &spec);
            let want = Cpu::conv_grad_input(&g64, &w64, x64.shape(), &spec);
            let sums = Cpu::conv_grad_input(&g64.abs(), &w64.abs(), x64.shape(), &spec);
            close(&format!("gradient of {what}"), &got, &want, &sums, taps * weight[0] / weight[1]);

            let got = OpenCl::conv_grad_weight(&g, &x, w.shape(), &spec);
            let want = Cpu::conv_grad_weight(&g64, &x64, w64.shape(), &spec);
            let sums = Cpu::conv_grad_weight(&g64.abs(), &x64.abs(), w64.shape(), &spec);
            let terms = g.numel() / g.dims()[1];
            close(&format!("weight's gradient of {what}"), &got, &want, &sums, terms);
        }
    }
}

#[test]
fn sums() {
    manual_seed(4);
    for dtype in [DType::F32, DType::F64, DType::F16] {
        let (x, x64) = numbers(&[33, 50, 61], dtype);
        for dims in [&[0][..], &[1], &[2], &[0, 1], &[1, 2], &[0, 2], &[0, 1, 2]] {
            let dims: Vec<isize> = dims.iter().map(|&d| d as isize).collect();
            let sum = |x: &Tensor<Cpu>| x.sum_dims(&dims[..], false);
            let terms = x.numel() / sum(&x64).numel();
            let got = x.sum_dims(&dims[..], false);
            close(&format!("{dtype} over {dims:?}"), &got, &sum(&x64), &sum(&x64.abs()), terms);
            // Transposed, so that other dims lie side by side.
            let (x, x64) = (x.transpose(0, 2), x64.transpose(0, 2));
            let sum = |x: &Tensor<Cpu>| x.sum_dims(&dims[..], false);
            let terms = x.numel() / sum(&x64).numel();
            let got = x.sum_dims(&dims[..], false);
            close(
                &format!("{dtype} turned, over {dims:?}"),
                &got,
                &sum(&x64),
                &sum(&x64.abs()),
                terms,
            );
        }
    }
}

#[test]
fn extremes_and_their_places() {
    manual_seed(5);
    let (x, x64) = numbers(&[70, 300], DType::F32);
    // Equal extremes and NaN: the first place counts.
    let (x, x64) = (x.round(), x64.round());
    for dim in [0, 1] {
        assert_eq!(x.argmax(dim, false).to_vec::<i64>(), x64.argmax(dim, false).to_vec::<i64>());
        assert_eq!(x.argmin(dim, false).to_vec::<i64>(), x64.argmin(dim, false).to_vec::<i64>());
        let (got, want) = (x.amax_dims([dim], false), x64.amax_dims([dim], false));
        assert_eq!(got.to_dtype(DType::F64).to_vec::<f64>(), want.to_vec::<f64>());
    }
}

/// Over so many elements that work is shared in pieces, and these between work-items.
#[test]
fn places_of_equals_in_many_pieces() {
    let device = OpenClDevice::default();
    let n = 400_003;
    let tensor = |x: &[f32]| Tensor::<OpenCl>::from_slice(x, [x.len()], &device);
    let mut x: Vec<f32> = (0..n).map(|i| (i % 1000) as f32).collect();
    assert_eq!(tensor(&x).argmax(0, false).item(), 999.0);
    assert_eq!(tensor(&x).argmin(0, false).item(), 0.0);
    let ones = tensor(&x).ge(0.0);
    assert_eq!([ones.all().item(), tensor(&x).lt(0.0).any().item()], [1.0, 0.0]);
    (x[399_999], x[300_000]) = (-1.0, f32::NAN);
    assert_eq!(tensor(&x).argmax(0, false).item(), 300_000.0);
    assert_eq!(tensor(&x[..300_000]).argmin(0, false).item(), 0.0);
    assert!(tensor(&x).amax_dims([0], false).item().is_nan());
    assert_eq!([tensor(&x).lt(0.0).any().item(), tensor(&x).ge(0.0).all().item()], [1.0, 0.0]);
    x[300_000] = 0.0;
    assert_eq!(tensor(&x).argmin(0, false).item(), 399_999.0);
    let long = tensor(&x).to_dtype(DType::I64);
    assert_eq!(long.sum().item(), x.iter().map(|&v| f64::from(v)).sum::<f64>());
}

#[test]
fn maps() {
    manual_seed(6);
    for dtype in [DType::F32, DType::F16] {
        let ((x, x64), (bias, bias64)) = (numbers(&[130, 200], dtype), numbers(&[200], dtype));
        let ((column, column64), (y, y64)) =
            (numbers(&[130, 1], dtype), numbers(&[200, 130], dtype));
        let one = |sum: &Tensor<Cpu>| sum.abs() + 4.0;
        for (what, got, want) in [
            ("flat", &x * &x, &x64 * &x64),
            ("scalar", &x * 3.0, &x64 * 3.0),
            ("row", &x + &bias, &x64 + &bias64),
            ("column", &x + &column, &x64 + &column64),
            ("turned", &x + y.t(), &x64 + y64.t()),
            ("part", x.narrow(1, 3, 150) * 2.0, x64.narrow(1, 3, 150) * 2.0),
        ] {
            close(&format!("{dtype} {what}"), &got, &want, &one(&want), 2);
        }
    }
}

/// Where elements lie side by side, several may be moved at once: not those that begin anywhere, nor those
/// that are left over.
#[test]
fn flat_maps() {
    manual_seed(7);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        let n = 16_387;
        let ((x, x64), (y, y64)) = (numbers(&[n + 8], dtype), numbers(&[n + 8], DType::F32));
        for (from, count) in [(0, n), (8, n), (3, n), (1, n - 3)] {
            let cut = |x: &Tensor<OpenCl>| x.narrow(0, from, count);
            let cut64 = |x: &Tensor<Cpu>| x.narrow(0, from, count);
            let (got, want) = (cut(&x) * cut(&y), cut64(&x64) * cut64(&y64));
            close(&format!("{dtype} from {from}"), &got, &want, &want.abs(), 2);
            let mask = cut(&x).gt(0.5);
            assert_eq!(mask.to_vec::<bool>(), cut64(&x64).gt(0.5).to_vec::<bool>());
            let (got, want) = (
                cut(&x).masked_fill(&mask, 2.0),
                cut64(&x64).masked_fill(&cut64(&x64).gt(0.5), 2.0),
            );
            close(&format!("{dtype} masked from {from}"), &got, &want, &want.abs(), 1);
        }
        // In place, in the middle of what is left alone.
        let whole = x.copy();
        whole.narrow(0, 8, n).mul_(2.0);
        let want: Vec<f64> = (x64.to_vec::<f64>().iter().enumerate())
            .map(|(i, v)| if (8..8 + n).contains(&i) { v * 2.0 } else { *v })
            .collect();
        assert_eq!(whole.to_dtype(DType::F64).to_vec::<f64>(), want, "{dtype}");
    }
    // Elements that depend on their number.
    let numbers = Tensor::<OpenCl>::arange(0..16_387, (&OpenClDevice::default(), DType::F32));
    let want: Vec<f32> = (0..16_387).map(|i| i as f32).collect();
    assert_eq!(numbers.to_vec::<f32>(), want);
}

/// Lines that are cut into chunks, and chunks of chunks.
#[test]
fn scans() {
    manual_seed(8);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for shape in [&[3, 5000][..], &[2, 300], &[5, 2048], &[700, 40]] {
            let (x, x64) = numbers(shape, dtype);
            for dim in [0, 1] {
                let (got, want) = (x.cumsum(dim), x64.cumsum(dim));
                let what = format!("{dtype} {shape:?} along {dim}");
                close(&what, &got, &want, &x64.abs().cumsum(dim), shape[dim as usize]);
            }
        }
    }
    // So many that what the chunks come to is cut too.
    let device = OpenClDevice::default();
    let n = 2048 * 300 + 77;
    let x: Vec<i64> = (0..n).map(|i| i % 7 - 3).collect();
    let sums: Vec<i64> = x
        .iter()
        .scan(0, |sum, v| {
            *sum += v;
            Some(*sum)
        })
        .collect();
    let there = Tensor::<OpenCl>::from_slice(&x, [x.len()], &device);
    assert_eq!(there.cumsum(0).to_vec::<i64>(), sums);
    let bytes = there.to_dtype(DType::I8).cumsum(0).to_dtype(DType::I64);
    assert_eq!(bytes.to_vec::<i64>(), sums, "sums of i8 are i64");
    let signs: Vec<f32> = x.iter().map(|&v| if v == 0 { -1.0 } else { 1.0 }).collect();
    let products: Vec<f32> = signs
        .iter()
        .scan(1.0, |p, v| {
            *p *= v;
            Some(*p)
        })
        .collect();
    let there = Tensor::<OpenCl>::from_slice(&signs, [signs.len()], &device);
    assert_eq!(there.cumprod(0).to_vec::<f32>(), products);
    let marked = there.lt(0.0).nonzero();
    let places: Vec<i64> = (0..n).filter(|&i| x[i as usize] == 0).collect();
    assert_eq!(marked.to_vec::<i64>(), places);
}

/// Many indices that name the same places.
#[test]
fn sums_by_index() {
    manual_seed(9);
    let device = OpenClDevice::default();
    let picks: Vec<i64> = (0..500).map(|i| i * i % 37).collect();
    let there = Tensor::<OpenCl>::from_slice(&picks, [500], &device);
    let here = Tensor::<Cpu>::from_slice(&picks, [500], &CPU);
    for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
        for (into, from, dim) in [
            (&[40, 33][..], &[500, 33][..], 0),
            (&[33, 40], &[33, 500], 1),
            (&[3, 40, 5], &[3, 500, 5], 1),
            (&[40], &[500], 0),
        ] {
            let ((x, x64), (y, y64)) = (numbers(into, dtype), numbers(from, dtype));
            let (got, want) = (x.index_add(dim, &there, &y), x64.index_add(dim, &here, &y64));
            let sums = x64.abs().index_add(dim, &here, &y64.abs());
            let what = format!("{dtype} into {into:?}");
            close(&what, &got, &want, &sums, 500);
            use_deterministic_algorithms(false);
            let got = x.index_add(dim, &there, &y);
            use_deterministic_algorithms(true);
            close(&format!("{what}, atomic"), &got, &want, &sums, 500);
        }
        // Slices that lie otherwise, by every second index.
        let ((x, x64), (y, y64)) = (numbers(&[33, 40], dtype), numbers(&[250, 33], dtype));
        let (got, want) = (
            x.t().index_add(0, &there.slice(0, 0, 500, 2), &y),
            x64.t().index_add(0, &here.slice(0, 0, 500, 2), &y64),
        );
        let sums = x64.t().abs().index_add(0, &here.slice(0, 0, 500, 2), &y64.abs());
        close(&format!("{dtype} turned"), &got, &want, &sums, 250);
        let (got, want) = (x.t().index_select(0, &there), x64.t().index_select(0, &here));
        assert_eq!(got.to_dtype(DType::F64).to_vec::<f64>(), want.to_vec::<f64>(), "{dtype}");
        let ((x, x64), (y, y64)) = (numbers(&[40], dtype), numbers(&[500], dtype));
        let (got, want) = (x.scatter(0, &there, &y), x64.scatter(0, &here, &y64));
        assert_eq!(
            got.to_dtype(DType::F64).to_vec::<f64>(),
            want.to_vec::<f64>(),
            "the last stays"
        );
    }
    let ones = Tensor::<OpenCl>::ones([500], (&device, DType::I8));
    let zeros = Tensor::<OpenCl>::zeros([40], (&device, DType::I8));
    let want: Vec<i64> =
        (0..40).map(|place| picks.iter().filter(|&&pick| pick == place).count() as i64).collect();
    let counts = zeros.index_add(0, &there, &ones).to_dtype(DType::I64).to_vec::<i64>();
    assert_eq!(counts, want);

    let wrong = Tensor::<OpenCl>::from_slice(&[vec![0i64; 99], vec![40]].concat(), [100], &device);
    let [x, y] = [40, 100].map(|n| Tensor::<OpenCl>::ones([n], &device));
    for on in [true, false] {
        use_deterministic_algorithms(on);
        let error = catch(|| x.index_add(0, &wrong, &y).to_vec::<f32>()).unwrap_err();
        use_deterministic_algorithms(true);
        let text = error.to_string();
        assert!(text.starts_with("index_add: index 40 is out of range"), "{text}");
    }
    let none = Tensor::<OpenCl>::zeros([0], &device);
    let error = catch(|| none.index_add(0, &there, &Tensor::ones([500], &device))).unwrap_err();
    assert!(matches!(error, Error::Index { index: 0, .. }), "{error}");
}

/// Where kernels guard their accesses, one outside of a tensor is an error and the process goes on.
#[test]
fn strays_are_reported() {
    if std::env::var_os("KILN_GPU_CHECK").is_none() {
        return;
    }
    let device = OpenClDevice::default();
    let x = Tensor::<OpenCl>::ones([4], &device);
    // Rows that are not there: the caller answers for layouts.
    let rows = Layout::new([2, 4].into(), [4, 1].as_slice().into(), 0);
    let wrong = OpenCl::view(&x, &ViewOp::Expand([2, 4].into()), rows);
    let error = catch(|| (&wrong + 1.0).to_vec::<f32>()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::KernelFailed { .. }), "{text}");
    assert!(text.contains("kernel `map`") && text.contains("of 4; called at"), "{text}");
    assert_eq!((&x + 1.0).to_vec::<f32>(), [2.0; 4]);
}

/// One program over many tensors gives what it gives over each.
#[test]
fn many_tensors() {
    let device = OpenClDevice::default();
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        let program = Expr::with_params("step", [dtype; 2], [dtype.compute()], |[a, b], [p]| {
            let sum = (a + b * p).cast(dtype);
            [sum, (sum - a).cast(dtype)]
        });
        let numbers = [Scalar::F64(0.5)];
        let kernel = || Kernel::with(&program, &numbers);
        let sizes: Vec<usize> = (0..20).map(|i| 1 + i * i * 37).chain([70_000, 5]).collect();
        let make = |salt: i64| -> Vec<Tensor<OpenCl>> {
            let row = |n: usize| (Tensor::arange(n as i64 + 3, (&device, DType::I64)) * salt) % 101;
            // From the third element on.
            sizes.iter().map(|&n| row(n).to_dtype(dtype).narrow(0, 3, n)).collect()
        };
        let (a, b, ones, each) = (make(7), make(11), make(1), make(1));
        let (moved, moved_each) = (a.clone(), make(7));
        let groups: Vec<_> =
            (0..sizes.len()).map(|i| (vec![&moved[i], &b[i]], vec![&moved[i], &ones[i]])).collect();
        OpenCl::map_each_into(kernel(), &groups);
        for i in 0..sizes.len() {
            OpenCl::map_into(kernel(), &[&moved_each[i], &b[i]], &[&moved_each[i], &each[i]]);
            for (x, y) in [(&moved[i], &moved_each[i]), (&ones[i], &each[i])] {
                let [x, y] = [x, y].map(|x| x.to_dtype(DType::F64).to_vec::<f64>());
                assert_eq!(x, y, "{dtype}, tensor {i}");
            }
        }
    }
}
