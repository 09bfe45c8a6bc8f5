//! Products of matrices against the definition.

mod common;

use common::{LIES, Lie, Numbers, any_threads, close, pair, same};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::Reference;
use kiln_tensor_core::{Backend, DType, Error, Shape, Tensor, catch};

/// What rounding in another order may change, relative to the largest result.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-14,
        DType::F32 => 2e-6,
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        _ => 0.0,
    }
}

const DTYPES: [DType; 9] = [
    DType::F64,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U8,
];

#[test]
fn every_dtype_and_layout_agrees_with_the_definition() {
    let mut numbers = Numbers::new(1);
    for dtype in DTYPES {
        for left in LIES {
            for right in LIES {
                let a = pair(&numbers.values(2 * 5 * 3), [2, 5, 3], dtype, left);
                let b = pair(&numbers.values(2 * 3 * 7), [2, 3, 7], dtype, right);
                same(&Cpu::matmul(&a.0, &b.0), &Reference::matmul(&a.1, &b.1));
            }
        }
    }
}

#[test]
fn every_size_agrees_with_the_definition() {
    let mut numbers = Numbers::new(2);
    let sizes = [1, 2, 3, 7, 12, 13, 16, 17, 31, 33, 49, 65];
    for dtype in [DType::F32, DType::F64] {
        for case in 0..40 {
            let [m, k, n] = [(); 3].map(|()| sizes[numbers.below(sizes.len())]);
            let (left, right) = (LIES[numbers.below(6)], LIES[numbers.below(6)]);
            let a = pair(&numbers.floats(m * k), [m, k], dtype, left);
            let b = pair(&numbers.floats(k * n), [k, n], dtype, right);
            eprintln!("{case}: {dtype} {m}×{k}×{n} {left:?} {right:?}");
            close(&Cpu::matmul(&a.0, &b.0), &Reference::matmul(&a.1, &b.1), tolerance(dtype));
        }
    }
}

#[test]
fn large_products_agree_with_the_definition() {
    let mut numbers = Numbers::new(3);
    let sizes = [
        (150, 530, 70),
        (1, 1100, 70),
        (70, 1100, 1),
        (5, 530, 100),
        (11, 99, 103),
        (190, 40, 190),
    ];
    for (m, k, n) in sizes {
        for (left, right) in [
            (Lie::Plain, Lie::Plain),
            (Lie::Transposed, Lie::Transposed),
            (Lie::Plain, Lie::Transposed),
        ] {
            for dtype in [DType::F32, DType::F64] {
                let a = pair(&numbers.floats(m * k), [m, k], dtype, left);
                let b = pair(&numbers.floats(k * n), [k, n], dtype, right);
                let wide = |x: &Tensor<Cpu>| x.to_dtype(DType::F64);
                let (x, y) = (wide(&a.0), wide(&b.0));
                // The reference is too slow here: the definition, over slices.
                let (x, y) = (x.to_vec::<f64>(), y.to_vec::<f64>());
                let mut expected = vec![0.0; m * n];
                for i in 0..m {
                    for p in 0..k {
                        for j in 0..n {
                            expected[i * n + j] += x[i * k + p] * y[p * n + j];
                        }
                    }
                }
                let expected = pair(&expected, [m, n], dtype, Lie::Plain).1;
                close(&Cpu::matmul(&a.0, &b.0), &expected, tolerance(dtype));
            }
        }
    }
}

#[test]
fn no_terms_give_zeros_and_nan_spreads() {
    for dtype in DTYPES {
        let a = pair(&[], [2, 3, 0], dtype, Lie::Plain);
        let b = pair(&[], [2, 0, 5], dtype, Lie::Plain);
        same(&Cpu::matmul(&a.0, &b.0), &Reference::matmul(&a.1, &b.1));
        assert_eq!(Cpu::matmul(&b.0, &a.0.narrow(1, 0, 0)).dims(), [2, 0, 0]);
    }
    let a = Tensor::<Cpu>::from_slice(&[0.0f32, f32::NAN], [1, 2], &CpuDevice);
    let b = Tensor::<Cpu>::from_slice(&[f32::INFINITY, 1.0, 0.0, 0.0], [2, 2], &CpuDevice);
    assert!(Cpu::matmul(&a, &b).to_vec::<f32>().iter().all(|x| x.is_nan()));
}

#[test]
fn linear_agrees_with_the_definition() {
    let mut numbers = Numbers::new(5);
    for dtype in DTYPES {
        for lie in LIES {
            for lead in [&[5usize][..], &[2, 3], &[1], &[]] {
                let shape = |last: usize| Shape::from([lead, &[last]].concat());
                let x = pair(&numbers.values(shape(7).numel()), shape(7), dtype, lie);
                let w = pair(&numbers.values(4 * 7), [4, 7], dtype, lie);
                let b = pair(&numbers.values(4), [4], dtype, lie);
                let with = (
                    Cpu::linear(&x.0, &w.0, Some(&b.0)),
                    Reference::linear(&x.1, &w.1, Some(&b.1)),
                );
                // The definition rounds a narrow product before it adds the bias.
                close(&with.0, &with.1, tolerance(dtype));
                same(&Cpu::linear(&x.0, &w.0, None), &Reference::linear(&x.1, &w.1, None));
            }
        }
    }
}

#[test]
fn bools_are_refused() {
    let x = pair(&[1.0; 4], [2, 2], DType::Bool, Lie::Plain).0;
    assert!(matches!(catch(|| Cpu::matmul(&x, &x)), Err(Error::DType { op: "matmul", .. })));
}

#[test]
fn threads_change_nothing() {
    let mut numbers = Numbers::new(4);
    for (m, k, n) in [(201, 257, 133), (1, 1100, 300), (300, 1100, 1), (3, 500, 300), (64, 64, 64)]
    {
        for dtype in [DType::F32, DType::F64, DType::I32] {
            for lie in [Lie::Plain, Lie::Transposed] {
                let a = pair(&numbers.floats(m * k), [m, k], dtype, lie).0;
                let b = pair(&numbers.floats(k * n), [k, n], dtype, lie).0;
                any_threads(|| vec![Cpu::download(&Cpu::matmul(&a, &b))]);
            }
        }
    }
    let a = pair(&numbers.floats(9 * 700), [9, 700], DType::F32, Lie::Plain).0;
    let b = pair(&numbers.floats(700 * 301), [700, 301], DType::F32, Lie::Transposed).0;
    any_threads(|| vec![Cpu::download(&Cpu::matmul(&a, &b))]);
    let a = pair(&numbers.floats(20 * 50 * 60), [20, 50, 60], DType::F32, Lie::Plain).0;
    any_threads(|| vec![Cpu::download(&Cpu::matmul(&a, &a.transpose(1, 2)))]);
}
