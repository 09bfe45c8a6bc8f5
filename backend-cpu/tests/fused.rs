//! The fused kernels against the reference, whose fused ops are composed of primitives.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_tensor_core::DType::{self, *};
use kiln_tensor_core::{AttentionSpec, Backend, Error, Shape, Tensor, catch, compose, philox};

type Pair = (Tensor<Cpu>, Tensor<Reference>);

fn pair(shape: impl Into<Shape>, dtype: DType, seed: u64) -> Pair {
    fn make<B: Backend>(shape: &Shape, dtype: DType, seed: u64, device: &B::Device) -> Tensor<B> {
        let number = |i| philox::uniform(seed, 0, i, F64) * 8.0 - 4.0;
        let values: Vec<f64> = (0..shape.numel() as u64).map(number).collect();
        Tensor::from_slice(&values, shape.clone(), device).to_dtype(dtype)
    }
    let shape = shape.into();
    (make(&shape, dtype, seed, &CpuDevice), make(&shape, dtype, seed, &ReferenceDevice))
}

#[track_caller]
fn agree(what: &str, ours: &Tensor<Cpu>, theirs: &Tensor<Reference>) {
    assert_eq!((ours.dtype(), ours.dims()), (theirs.dtype(), theirs.dims()), "{what}");
    // A few roundings of numbers below 10, relative to 1 for results that cancel.
    let bound = match ours.dtype() {
        F64 => 1e-13,
        F32 => 2e-5,
        F16 => 2e-2,
        _ => 1.5e-1,
    };
    let (a, b) = (ours.to_dtype(F64).to_vec::<f64>(), theirs.to_dtype(F64).to_vec::<f64>());
    for (i, (a, b)) in a.into_iter().zip(b).enumerate() {
        let near = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= bound * (1.0 + b.abs());
        assert!(near, "{what}, element {i}: {a} instead of {b}");
    }
}

const FLOATS: [DType; 4] = [F64, F32, F16, BF16];

#[test]
fn softmax_family() {
    for dtype in FLOATS {
        for shape in
            [vec![3, 1], vec![5, 16], vec![2, 3, 37], vec![3, 700, 2], vec![4, 3000], vec![0, 4]]
        {
            let shape = Shape::from(shape);
            for dim in 0..shape.rank() {
                let what = format!("{dtype}{shape} along {dim}");
                let ((x, rx), (g, rg)) = (pair(&shape, dtype, 1), pair(&shape, dtype, 2));
                let (y, ry) = (Cpu::softmax(&x, dim), Reference::softmax(&rx, dim));
                agree(&what, &y, &ry);
                let (ours, theirs) =
                    (Cpu::softmax_grad(&g, &y, dim), Reference::softmax_grad(&rg, &ry, dim));
                agree(&what, &ours, &theirs);
                let (y, ry) = (Cpu::log_softmax(&x, dim), Reference::log_softmax(&rx, dim));
                agree(&what, &y, &ry);
                if dtype == F64 || dtype == F32 {
                    let ours = Cpu::log_softmax_grad(&g, &y, dim);
                    agree(&what, &ours, &Reference::log_softmax_grad(&rg, &ry, dim));
                }
            }
        }
    }
}

#[test]
fn softmax_of_extremes() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    for row in [
        [-inf, -inf, -inf],
        [inf, 1.0, 2.0],
        [1.0, nan, 2.0],
        [-inf, 0.0, 3.0],
        [1e30, -1e30, 0.0],
        [-200.0, -300.0, -200.0],
    ] {
        let x = Tensor::<Cpu>::from_slice(&row, [1, 3], &CpuDevice);
        let r = Tensor::<Reference>::from_slice(&row, [1, 3], &ReferenceDevice);
        agree(&format!("softmax {row:?}"), &Cpu::softmax(&x, 1), &Reference::softmax(&r, 1));
    }
}

#[test]
fn cross_entropy_and_its_gradient() {
    for dtype in [F64, F32] {
        for (n, classes) in [(7, 5), (3, 1000), (300, 10), (0, 3)] {
            let ((x, rx), (g, rg)) = (pair([n, classes], dtype, 1), pair([n], dtype, 2));
            let targets: Vec<i64> = (0..n as i64)
                .map(|i| if i % 4 == 1 { -100 } else { i * 7 % classes as i64 })
                .collect();
            let t = Tensor::<Cpu>::from_slice(&targets, [n], &CpuDevice);
            let rt = Tensor::<Reference>::from_slice(&targets, [n], &ReferenceDevice);
            let what = format!("{dtype} [{n}, {classes}]");
            agree(
                &what,
                &Cpu::cross_entropy(&x, &t, -100),
                &Reference::cross_entropy(&rx, &rt, -100),
            );
            let ours = Cpu::cross_entropy_grad(&g, &x, &t, -100);
            agree(&what, &ours, &Reference::cross_entropy_grad(&rg, &rx, &rt, -100));
        }
    }
}

#[test]
fn a_class_out_of_range_is_named() {
    let (x, _) = pair([2, 5], F32, 1);
    for class in [5, -1] {
        let t = Tensor::<Cpu>::from_slice(&[0i64, class], [2], &CpuDevice);
        let error = catch(|| Cpu::cross_entropy(&x, &t, -100)).unwrap_err();
        assert!(matches!(error, Error::Index { index, size: 5, .. } if index == class), "{error}");
    }
}

#[test]
fn layer_norms() {
    for dtype in FLOATS {
        for (shape, dims) in
            [(vec![4, 7], 1), (vec![150, 33], 1), (vec![3, 5, 8], 2), (vec![2, 1024], 1)]
        {
            let shape = Shape::from(shape);
            let inner: Shape = shape[shape.rank() - dims..].into();
            let ((x, rx), (g, rg)) = (pair(&shape, dtype, 1), pair(&shape, dtype, 2));
            let ((w, rw), (b, rb)) = (pair(&inner, dtype, 3), pair(&inner, dtype, 4));
            for (w, b, rw, rb) in
                [(Some(&w), Some(&b), Some(&rw), Some(&rb)), (None, None, None, None)]
            {
                let ours = Cpu::layer_norm(&x, w, b, dims, 1e-5);
                let theirs = Reference::layer_norm(&rx, rw, rb, dims, 1e-5);
                for (a, b) in ours.iter().zip(&theirs) {
                    agree(&format!("layer_norm {dtype}{shape}"), a, b);
                }
                if matches!(dtype, F16 | BF16) {
                    continue;
                }
                let grads = Cpu::layer_norm_grad(&g, &x, &ours[1], &ours[2], w, dims, 1e-5);
                let exact =
                    Reference::layer_norm_grad(&rg, &rx, &theirs[1], &theirs[2], rw, dims, 1e-5);
                for (a, b) in grads.iter().zip(&exact) {
                    agree(&format!("layer_norm_grad {dtype}{shape}"), a, b);
                }
            }
        }
    }
}

/// Against the composition: sizes on both sides of the kernel's blocks, strided operands, each kind of mask.
#[test]
fn attentions() {
    let near = |what: &str, ours: &Tensor<Cpu>, exact: &Tensor<Cpu>, bound: f64| {
        assert_eq!((ours.dtype(), ours.dims()), (exact.dtype(), exact.dims()), "{what}");
        let (a, b) = (ours.to_dtype(F64).to_vec::<f64>(), exact.to_dtype(F64).to_vec::<f64>());
        for (i, (a, b)) in a.into_iter().zip(b).enumerate() {
            let near = a == b || (a - b).abs() <= bound * (1.0 + b.abs());
            assert!(near, "{what}, element {i}: {a} instead of {b}");
        }
    };
    // Scores reach 50 here, and an exponential's error is theirs.
    for (dtype, bound) in [(F64, 1e-12), (F32, 1e-4)] {
        for (lead, [l, s, e, ev]) in
            [(vec![2, 3], [5, 7, 4, 3]), (vec![2], [130, 300, 33, 20]), (vec![], [257, 129, 8, 16])]
        {
            let of = |sizes: [usize; 2]| -> Shape { lead.iter().copied().chain(sizes).collect() };
            let make = |sizes, seed| pair(of(sizes), dtype, seed).0;
            let (q, g) = (make([l, e], 1), make([l, ev], 2));
            // The last two dims lie the other way round.
            let [k, v] = [make([e, s], 3), make([ev, s], 4)].map(|x| x.transpose(-2, -1));
            let mask = pair([l, s], dtype, 5).0.expand(of([l, s]));
            // Query 0 sees nothing.
            let seen: Vec<bool> = (0..l * s).map(|i| i >= s && i % 3 != 1).collect();
            let sees = Tensor::from_slice(&seen, [l, s], &CpuDevice).expand(of([l, s]));
            for (causal, m) in
                [(false, None), (true, None), (false, Some(&mask)), (true, Some(&sees))]
            {
                let spec = AttentionSpec { causal, scale: 0.1 };
                let what =
                    format!("attention {dtype} {l}x{s} causal {causal} mask {}", m.is_some());
                let ours = Cpu::scaled_dot_product_attention(&q, &k, &v, m, &spec);
                let exact = compose::scaled_dot_product_attention(&q, &k, &v, m, &spec);
                ours.iter().zip(&exact).for_each(|(a, b)| near(&what, a, b, bound));
                let [y, log] = &ours;
                let ours = Cpu::scaled_dot_product_attention_grad(&g, &q, &k, &v, m, y, log, &spec);
                let exact = compose::scaled_dot_product_attention_grad(&g, &q, &k, &v, m, &spec);
                let what = format!("gradient of {what}");
                ours.iter().zip(&exact).for_each(|(a, b)| near(&what, a, b, bound * 10.0));
            }
        }
    }
}

#[test]
fn batch_norms() {
    for dtype in [F64, F32] {
        let shapes = [vec![4, 3], vec![150, 70], vec![6, 3, 5, 7], vec![2, 5, 100], vec![3, 2, 4]];
        for shape in shapes {
            let shape = Shape::from(shape);
            let ((x, rx), (g, rg)) = (pair(&shape, dtype, 1), pair(&shape, dtype, 2));
            let ((w, rw), (b, rb)) = (pair([shape[1]], dtype, 3), pair([shape[1]], dtype, 4));
            for (w, b, rw, rb) in
                [(Some(&w), Some(&b), Some(&rw), Some(&rb)), (None, None, None, None)]
            {
                let ours = Cpu::batch_norm(&x, w, b, 1e-5);
                let theirs = Reference::batch_norm(&rx, rw, rb, 1e-5);
                for (a, b) in ours.iter().zip(&theirs) {
                    agree(&format!("batch_norm {dtype}{shape}"), a, b);
                }
                let grads = Cpu::batch_norm_grad(&g, &x, &ours[1], &ours[2], w, 1e-5);
                let exact = Reference::batch_norm_grad(&rg, &rx, &theirs[1], &theirs[2], rw, 1e-5);
                for (a, b) in grads.iter().zip(&exact) {
                    agree(&format!("batch_norm_grad {dtype}{shape}"), a, b);
                }
            }
        }
    }
}
