//! Reductions and scans against the reference, along every set of dims, for any number of threads.

use kiln_backend_cpu::{Cpu, CpuDevice, set_num_threads};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_tensor_core::DType::{self, *};
use kiln_tensor_core::{
    AttentionSpec, Backend, Expr, Fused, Kernel, ReduceOp, ScanOp, Shape, Tensor, philox,
};

const OPS: [ReduceOp; 8] = [
    ReduceOp::Sum,
    ReduceOp::Prod,
    ReduceOp::Max,
    ReduceOp::Min,
    ReduceOp::ArgMax,
    ReduceOp::ArgMin,
    ReduceOp::Any,
    ReduceOp::All,
];

/// Small numbers with repeats, so that ties happen.
fn numbers<B: Backend>(shape: &Shape, dtype: DType, device: &B::Device) -> Tensor<B> {
    let n = shape.numel();
    let values: Vec<f64> = (0..n as u64)
        .map(|i| {
            let u = philox::uniform(5, 0, i, F64);
            if dtype.is_float() { 0.9 + u * 0.2 } else { (u * 5.0).floor() }
        })
        .collect();
    Tensor::from_slice(&values, [n], device).to_dtype(dtype).reshape_to(shape)
}

fn identity(dtype: DType) -> Expr {
    Expr::new("identity", [dtype], |[x]| x)
}

#[track_caller]
fn agree(what: &str, ours: &Tensor<Cpu>, theirs: &Tensor<Reference>, bound: f64) {
    assert_eq!((ours.dtype(), ours.dims()), (theirs.dtype(), theirs.dims()), "{what}");
    let (a, b) = (ours.to_dtype(F64).to_vec::<f64>(), theirs.to_dtype(F64).to_vec::<f64>());
    for (i, (a, b)) in a.into_iter().zip(b).enumerate() {
        let near = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= bound * b.abs();
        assert!(near, "{what}, element {i}: {a} instead of {b}");
    }
}

fn bound(dtype: DType) -> f64 {
    match dtype {
        F64 => 1e-12,
        F32 => 1e-5,
        F16 => 2e-3,
        BF16 => 1.6e-2,
        _ => 0.0,
    }
}

/// Every subset of the dims of `rank`.
fn subsets(rank: usize) -> Vec<Vec<usize>> {
    (0..1u32 << rank).map(|bits| (0..rank).filter(|d| bits >> d & 1 == 1).collect()).collect()
}

fn takes(op: ReduceOp, dtype: DType, dims: &[usize]) -> bool {
    match op {
        ReduceOp::ArgMax | ReduceOp::ArgMin => dims.len() == 1,
        ReduceOp::Any | ReduceOp::All => dtype == Bool,
        ReduceOp::Sum | ReduceOp::Prod => dtype.is_float() || dtype == I64,
        ReduceOp::Max | ReduceOp::Min => true,
    }
}

#[test]
fn every_set_of_dims() {
    for shape in [vec![3, 1, 7, 5], vec![2, 3, 300], vec![70, 3], vec![4, 600, 3], vec![]] {
        let shape = Shape::from(shape);
        for dtype in DType::ALL {
            let (x, r) =
                (numbers(&shape, dtype, &CpuDevice), numbers(&shape, dtype, &ReferenceDevice));
            let expr = identity(dtype);
            for dims in subsets(shape.rank()) {
                for op in OPS.into_iter().filter(|&op| takes(op, dtype, &dims)) {
                    let what = format!("{op:?} of {dtype}{shape} along {dims:?}");
                    let kernel = Kernel::new(&expr);
                    let ours = Cpu::reduce(op, kernel, &[&x], &shape, &dims);
                    let theirs = Reference::reduce(op, kernel, &[&r], &shape, &dims);
                    agree(&what, &ours, &theirs, bound(dtype));
                }
            }
        }
    }
}

#[test]
fn strided_and_broadcast_inputs_of_a_program() {
    let f = Fused::new("f", |[x, y]| (x - y) * x);
    for dtype in [F64, F32, F16, I64, U8] {
        let shape = Shape::from([6, 40, 11]);
        let (x, r) = (numbers(&shape, dtype, &CpuDevice), numbers(&shape, dtype, &ReferenceDevice));
        let (x, r) = (x.permute([2, 0, 1]), r.permute([2, 0, 1]));
        let (y, ry) = (x.narrow(1, 2, 1), r.narrow(1, 2, 1));
        for dims in subsets(3) {
            for op in [ReduceOp::Max, ReduceOp::Min] {
                let what = format!("{op:?} of {dtype} along {dims:?}");
                let (ours, theirs) =
                    (f.reduce(op, [&x, &y], &dims), f.reduce(op, [&r, &ry], &dims));
                // Differences of close numbers lose digits.
                agree(&what, &ours, &theirs, 100.0 * bound(dtype));
            }
        }
    }
}

#[test]
fn nan_wins() {
    for n in [5usize, 400] {
        let mut values = vec![1.0f32; n];
        values[3] = f32::NAN;
        values[1] = 7.0;
        let expr = identity(F32);
        for (shape, dim) in [(Shape::from([1, n]), 1), (Shape::from([n, 1]), 0)] {
            let x = Tensor::<Cpu>::from_slice(&values, shape.clone(), &CpuDevice);
            let run = |op| Cpu::reduce(op, Kernel::new(&expr), &[&x], &shape, &[dim]);
            assert!(run(ReduceOp::Max).item().is_nan() && run(ReduceOp::Min).item().is_nan());
            assert_eq!(run(ReduceOp::ArgMax).item(), 3.0);
            assert_eq!(run(ReduceOp::ArgMin).item(), 3.0);
        }
    }
}

#[test]
fn nothing_to_reduce() {
    let x = Tensor::<Cpu>::zeros([0, 3], &CpuDevice);
    assert_eq!(x.sum_dims([0], false).to_vec::<f32>(), [0.0; 3]);
    assert_eq!(x.sum_dims([1], false).numel(), 0);
    assert_eq!(x.sum().item(), 0.0);
}

#[test]
fn long_sums_are_accurate() {
    let n = 1 << 20;
    let x = Tensor::<Cpu>::full([n], 0.1, &CpuDevice);
    let exact = f64::from(0.1f32) * n as f64;
    assert!((x.sum().item() / exact - 1.0).abs() < 1e-6);
    let columns = x.reshape_to(&Shape::from([n / 4, 4])).sum_dims([0], false);
    for value in columns.to_vec::<f32>() {
        assert!((f64::from(value) / (exact / 4.0) - 1.0).abs() < 1e-6);
    }
}

#[test]
fn scans() {
    for dtype in [F64, F32, F16, I64, I32, U8] {
        for shape in [vec![3, 700], vec![40, 3, 11], vec![5]] {
            let shape = Shape::from(shape);
            let (x, r) =
                (numbers(&shape, dtype, &CpuDevice), numbers(&shape, dtype, &ReferenceDevice));
            for op in [ScanOp::Sum, ScanOp::Prod] {
                for dim in 0..shape.rank() {
                    let what = format!("{op:?} of {dtype}{shape} along {dim}");
                    let wide = if dtype == F16 { 20.0 } else { 10.0 };
                    agree(
                        &what,
                        &Cpu::scan(op, &x, dim),
                        &Reference::scan(op, &r, dim),
                        wide * bound(dtype),
                    );
                    if shape.rank() == 3 {
                        let (x, r) = (x.transpose(0, 2), r.transpose(0, 2));
                        let (a, b) = (Cpu::scan(op, &x, dim), Reference::scan(op, &r, dim));
                        agree(&what, &a, &b, wide * bound(dtype));
                    }
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let all = || {
        let mut bits: Vec<u8> = Vec::new();
        let x = Tensor::<Cpu>::rand([700, 431], &CpuDevice);
        let mut add = |x: Tensor<Cpu>| bits.extend(Cpu::download(&x));
        add(x.exp() * &x);
        for dims in [vec![0], vec![1], vec![0, 1]] {
            add(x.sum_dims(dims, false));
        }
        for dim in 0..2 {
            add(Cpu::softmax(&x, dim));
            add(Cpu::log_softmax(&x, dim));
            add(Cpu::scan(ScanOp::Sum, &x, dim));
        }
        Cpu::layer_norm(&x, None, None, 1, 1e-5).into_iter().for_each(&mut add);
        Cpu::batch_norm(&x, None, None, 1e-5).into_iter().for_each(&mut add);
        Cpu::rms_norm(&x, None, 1, 1e-5).into_iter().for_each(&mut add);
        let (q, spec) = (x.view([7, 100, 431]), AttentionSpec { causal: true, scale: 0.2 });
        let [y, log] = Cpu::scaled_dot_product_attention(&q, &q, &q, None, &spec);
        Cpu::scaled_dot_product_attention_grad(&y, &q, &q, &q, None, &y, &log, &spec)
            .into_iter()
            .chain([y, log])
            .for_each(&mut add);
        bits
    };
    let mut known = None;
    for threads in [1, 2, 3, 7] {
        set_num_threads(threads);
        kiln_tensor_core::manual_seed(3);
        let bits = all();
        assert!(*known.get_or_insert(bits.clone()) == bits, "{threads} threads differ");
    }
}
