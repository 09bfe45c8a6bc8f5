//! Elementwise programs against the reference: every op, dtype, layout, and length of the last block.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_tensor_core::DType::{self, *};
use kiln_tensor_core::{
    BINARY, Backend, Binary, Fused, Scalar, Shape, Tensor, UNARY, ViewOp, philox,
};

/// Numbers of a dtype without a pattern that a kernel could share: signs, zeros, halves, edges.
fn numbers<B: Backend>(n: usize, dtype: DType, seed: u64, device: &B::Device) -> Tensor<B> {
    let values: Vec<f64> = (0..n as u64)
        .map(|i| {
            let u = philox::uniform(seed, 0, i, F64);
            match (i + seed) % 11 {
                0 => 0.0,
                1 => (u * 6.0).round() - 3.0,
                2 => 1.0,
                _ => (u - 0.5) * if dtype == U8 { 200.0 } else { 6.0 },
            }
        })
        .collect();
    Tensor::from_slice(&values, [n], device).to_dtype(dtype)
}

/// How far apart two results may be, relative to the larger: a few units in the last place.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        F64 => 1e-13,
        F32 => 2e-6,
        F16 => 2e-3,
        BF16 => 1.6e-2,
        _ => 0.0,
    }
}

#[track_caller]
fn agree(what: &str, ours: &Tensor<Cpu>, theirs: &Tensor<Reference>) {
    assert_eq!((ours.dtype(), ours.dims()), (theirs.dtype(), theirs.dims()), "{what}");
    let bound = tolerance(ours.dtype());
    let (a, b) = (ours.to_dtype(F64).to_vec::<f64>(), theirs.to_dtype(F64).to_vec::<f64>());
    for (i, (a, b)) in a.into_iter().zip(b).enumerate() {
        let near = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= bound * (1.0 + b.abs());
        assert!(near, "{what}, element {i}: {a} instead of {b}");
    }
}

fn both(n: usize, dtype: DType, seed: u64) -> (Tensor<Cpu>, Tensor<Reference>) {
    (numbers(n, dtype, seed, &CpuDevice), numbers(n, dtype, seed, &ReferenceDevice))
}

#[test]
fn unary_ops() {
    for dtype in DType::ALL {
        for n in [1, 37] {
            let (x, r) = both(n, dtype, 3);
            for op in UNARY.iter().filter(|op| op.takes.accepts(dtype)) {
                agree(&format!("{} {dtype}", op.name), &op.call(&x, &[]), &op.call(&r, &[]));
            }
        }
    }
}

/// 2 to the power of a large integer is infinite in `f32`, but not in the reference, which computes in `f64`.
fn overflows(op: &Binary, common: DType) -> bool {
    op.name == "ldexp" && common != F64
}

#[test]
fn binary_ops() {
    for a in DType::ALL {
        for b in DType::ALL {
            let ((x, rx), (y, ry)) = (both(301, a, 1), both(301, b, 2));
            for op in BINARY.iter().filter(|op| op.takes.accepts(a.promote(b))) {
                // The remainder of nearly equal numbers jumps with their last bit.
                let jumps = matches!(op.name, "remainder" | "fmod" | "floor_divide" | "pow");
                let narrow = |d: DType| d != F64 && d.is_float();
                if (jumps && (narrow(a) || narrow(b))) || overflows(op, a.promote(b)) {
                    continue;
                }
                if !(a == Bool && b == Bool) {
                    agree(&format!("{} {a} {b}", op.name), &op.call(&x, &y), &op.call(&rx, &ry));
                }
            }
        }
    }
}

#[test]
fn binary_ops_with_numbers() {
    for dtype in DType::ALL {
        let (x, r) = both(70, dtype, 5);
        for number in [Scalar::I64(2), Scalar::F64(2.5), Scalar::I64(-3), Scalar::Bool(true)] {
            let common = dtype.promote_scalar(number);
            for op in BINARY.iter().filter(|op| op.takes.accepts(common)) {
                let bools = dtype == Bool && matches!(number, Scalar::Bool(_));
                let jumps = matches!(op.name, "remainder" | "fmod" | "floor_divide");
                let refused = op.name == "pow" && !common.is_float() && number.to_f64() < 0.0;
                let jumps = jumps && dtype.is_float() && dtype != F64;
                if bools || refused || jumps || overflows(op, common) {
                    continue;
                }
                let what = format!("{} {dtype} {number:?}", op.name);
                agree(&what, &op.call(&x, &number), &op.call(&r, &number));
            }
        }
    }
}

#[test]
fn layouts() {
    fn views<B: Backend>(x: &Tensor<B>) -> Vec<Tensor<B>> {
        let x = x.reshape_to(&Shape::from([5, 4, 77]));
        vec![
            x.permute([2, 0, 1]),
            x.transpose(0, 1),
            x.narrow(2, 3, 70),
            x.narrow(0, 1, 3).transpose(1, 2),
            x.view_as_op(&ViewOp::Slice { dim: 2, start: 1, len: 25, step: 3 }),
            x.view_as_op(&ViewOp::Slice { dim: 2, start: 76, len: 77, step: -1 }),
            x.narrow(1, 2, 1),
            x.narrow(2, 7, 1),
        ]
    }
    let add = Fused::new("f", |[a, b, c]| (a * b + c).relu());
    for dtype in [F64, F32, F16, I64, U8] {
        let ((x, rx), (y, ry)) = (both(1540, dtype, 1), both(1540, dtype, 2));
        for (i, (v, rv)) in views(&x).iter().zip(views(&rx)).enumerate() {
            let (w, rw) = (views(&y).swap_remove(i), views(&ry).swap_remove(i));
            let (row, r_row) = (w.narrow(0, 1, 1), rw.narrow(0, 1, 1));
            let (column, r_column) = (w.narrow(2, 0, 1), rw.narrow(2, 0, 1));
            agree(&format!("view {i} {dtype}"), &v.copy(), &rv.copy());
            let ours = add.call([v, &row, &column]);
            agree(&format!("broadcast {i} {dtype}"), &ours, &add.call([&rv, &r_row, &r_column]));
            v.add_(column.copy());
            rv.add_(r_column.copy());
            agree(&format!("in place {i} {dtype}"), &x, &rx);
        }
    }
}

/// Two steps of arithmetic may run as one; their bits stay those of the two.
#[test]
fn joined_steps_round_twice() {
    for dtype in [F32, F64] {
        let (a, b, c) = (both(300, dtype, 1).0, both(300, dtype, 2).0, both(300, dtype, 3).0);
        macro_rules! check {
            ($($first:tt $then:tt),*) => {$(
                let left = Fused::new("f", |[a, b, c]| (a $first b) $then c).call([&a, &b, &c]);
                let right = Fused::new("f", |[a, b, c]| c $then (a $first b)).call([&a, &b, &c]);
                let first = &a $first &b;
                assert_eq!(Cpu::download(&left), Cpu::download(&(&first $then &c)));
                assert_eq!(Cpu::download(&right), Cpu::download(&(&c $then &first)));
            )*};
        }
        check!(+ +, + -, + *, - +, - -, - *, * +, * -, * *);
        // The sign of a NaN (0 / 0) is nobody's business.
        let c = c.abs() + 1.0;
        let quotient = Fused::new("f", |[a, b, c]| (a * b) / c).call([&a, &b, &c]);
        assert_eq!(Cpu::download(&quotient), Cpu::download(&(&a * &b / &c)));
        let quotient = Fused::new("f", |[a, b, c]| a / (b + c)).call([&a, &b.abs(), &c]);
        assert_eq!(Cpu::download(&quotient), Cpu::download(&(&a / (b.abs() + &c))));
    }
}

/// Operands the other way round, with more rows, columns and dims than one group of a kernel takes.
#[test]
fn transposed_operands() {
    let add = Fused::new("f", |[a, b]| a * 2.0 + b);
    let orders: [(&[usize], &[usize]); 4] = [
        (&[300, 37], &[1, 0]),
        (&[3, 70, 20], &[0, 2, 1]),
        (&[5, 6, 9, 7], &[3, 1, 0, 2]),
        (&[4, 2, 600], &[2, 1, 0]),
    ];
    for dtype in [F64, F32, F16, U8] {
        for (sizes, order) in orders {
            let count = sizes.iter().product();
            let ((x, rx), (y, ry)) = (both(count, dtype, 1), both(count, dtype, 2));
            let shape = Shape::from(sizes);
            let (v, rv) = (
                x.reshape_to(&shape).permute(order.iter().map(|&d| d as isize).collect::<Vec<_>>()),
                rx.reshape_to(&shape)
                    .permute(order.iter().map(|&d| d as isize).collect::<Vec<_>>()),
            );
            let what = format!("{shape} as {order:?} {dtype}");
            agree(&what, &v.copy(), &rv.copy());
            let (w, rw) = (y.reshape_to(v.shape()), ry.reshape_to(rv.shape()));
            agree(&what, &add.call([&v, &w]), &add.call([&rv, &rw]));
            agree(&what, &add.call([&w, &v]), &add.call([&rw, &rv]));
            w.add_(&v);
            rw.add_(&rv);
            agree(&what, &y, &ry);
        }
    }
}

#[test]
fn in_place_outputs_do_not_disturb_inputs() {
    use kiln_tensor_core::{Expr, Kernel};
    // The first output is written before the first input is read for the last time.
    let expr = Expr::with_params("swap", [F32, F32], [], |[a, b], []| [b * 2.0, a * b, a + 1.0]);
    for n in [5, 256, 1000] {
        let ((a, ra), (b, rb)) = (both(n, F32, 1), both(n, F32, 2));
        let (c, rc) = both(n, F32, 3);
        Cpu::map_into(Kernel::new(&expr), &[&a, &b], &[&a, &b, &c]);
        Reference::map_into(Kernel::new(&expr), &[&ra, &rb], &[&ra, &rb, &rc]);
        agree("a", &a, &ra);
        agree("b", &b, &rb);
        agree("c", &c, &rc);
    }
}

#[test]
fn random_numbers_are_those_of_philox() {
    use kiln_tensor_core::{Kernel, expr::Builder};
    for dtype in [F64, F32, F16, BF16] {
        let builder = Builder::new(&[]);
        let (seed, stream) = (builder.param(I64), builder.param(I64));
        let out = builder.uniform(seed, stream, dtype).id();
        let expr = builder.finish("rand", &[(out, dtype)]);
        let params = [Scalar::I64(9), Scalar::I64(4)];
        let n = 100_003;
        let x = Cpu::map(Kernel::with(&expr, &params), &[], &[n].into(), &CpuDevice);
        let values = x.to_dtype(F64).to_vec::<f64>();
        for (i, &value) in values.iter().enumerate() {
            assert_eq!(value, philox::uniform(9, 4, i as u64, dtype), "element {i} of {dtype}");
        }
    }
}

#[test]
fn many_groups_in_one_pass() {
    use kiln_tensor_core::{Expr, Kernel};
    let expr = Expr::with_params("step", [F32, F32, F32], [F32], |[p, g, m], [lr]| {
        let m = m * 0.9 + g;
        [p - lr * m, m]
    });
    let params = [Scalar::F64(0.1)];
    let sizes = [3, 0, 100_000, 256, 1, 40_001];
    let make =
        |n: usize, seed| [both(n, F32, seed), both(n, F32, seed + 1), both(n, F32, seed + 2)];
    let all: Vec<[(Tensor<Cpu>, Tensor<Reference>); 3]> =
        sizes.iter().enumerate().map(|(i, &n)| make(n, 10 * i as u64)).collect();
    let ours: Vec<_> =
        all.iter().map(|[p, g, m]| (vec![&p.0, &g.0, &m.0], vec![&p.0, &m.0])).collect();
    Cpu::map_each_into(Kernel::with(&expr, &params), &ours);
    for [p, g, m] in &all {
        Reference::map_into(Kernel::with(&expr, &params), &[&p.1, &g.1, &m.1], &[&p.1, &m.1]);
        agree("parameter", &p.0, &p.1);
        agree("momentum", &m.0, &m.1);
    }
}

#[test]
fn few_elements_of_one_storage() {
    for n in [1, 7, 16, 255, 256, 257] {
        let all = Tensor::<Cpu>::rand([n + 3], &CpuDevice);
        let (x, y) = (all.narrow(0, 0, n), all.narrow(0, 3, n));
        let program = Fused::new("mul_add_exp", |[a, b, c]| ((a * b + c) * 0.5).exp());
        let (small, large) = (x.to_vec::<f32>(), y.to_vec::<f32>());
        let got = program.call([&x, &y, &x]).to_vec::<f32>();
        for i in 0..n {
            let want = ((small[i] * large[i] + small[i]) * 0.5).exp();
            assert!((got[i] - want).abs() <= 1e-6 * want, "{n}, {i}: {} for {want}", got[i]);
        }
        // All locks are given back: the storage can be written.
        all.fill_(1.0);
        assert_eq!((&x + &y).to_vec::<f32>(), vec![2.0; n]);
    }
}
