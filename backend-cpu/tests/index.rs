//! Kernels that read and write by index, or put elements in order.

mod common;

use common::{LIES, Lie, Numbers, any_threads, pair, same};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::Reference;
use kiln_tensor_core::{Backend, DType, Error, ScatterOp, Tensor, catch};

const OPS: [ScatterOp; 5] =
    [ScatterOp::Set, ScatterOp::Add, ScatterOp::Mul, ScatterOp::Max, ScatterOp::Min];

#[test]
fn gather_and_scatter_agree_with_the_definition() {
    let mut numbers = Numbers::new(1);
    for dtype in DType::ALL {
        for lie in LIES {
            for dim in 0..3 {
                let x = pair(&numbers.values(105), [3, 5, 7], dtype, lie);
                // Shorter than `x` in the other dims, longer along `dim`.
                let mut shape = [2, 4, 6];
                shape[dim] = 8;
                let count = shape.iter().product();
                let index = pair(&numbers.indices(count, [3, 5, 7][dim]), shape, DType::I64, lie);
                let src = pair(&numbers.values(count), shape, dtype, lie);
                same(&Cpu::gather(&x.0, dim, &index.0), &Reference::gather(&x.1, dim, &index.1));
                for op in OPS {
                    // Products of many elements leave the exact range of narrow floats.
                    if op == ScatterOp::Mul && dtype.is_float() && dtype.size() < 8 {
                        continue;
                    }
                    same(
                        &Cpu::scatter(op, &x.0, dim, &index.0, &src.0),
                        &Reference::scatter(op, &x.1, dim, &index.1, &src.1),
                    );
                }
            }
        }
    }
}

#[test]
fn slices_by_index_agree_with_the_definition() {
    let mut numbers = Numbers::new(2);
    for dtype in DType::ALL {
        for lie in LIES {
            for dim in 0..3 {
                let x = pair(&numbers.values(105), [3, 5, 7], dtype, lie);
                let index = pair(&numbers.indices(4, [3, 5, 7][dim]), [4], DType::I64, lie);
                let mut shape = [3, 5, 7];
                shape[dim] = 4;
                let src = pair(&numbers.values(shape.iter().product()), shape, dtype, lie);
                same(
                    &Cpu::index_select(&x.0, dim, &index.0),
                    &Reference::index_select(&x.1, dim, &index.1),
                );
                same(
                    &Cpu::index_add(&x.0, dim, &index.0, &src.0),
                    &Reference::index_add(&x.1, dim, &index.1, &src.1),
                );
            }
        }
    }
}

#[test]
fn an_index_out_of_range_is_named() {
    let x = Tensor::<Cpu>::from_slice(&[1.0f32; 12], [3, 4], &CpuDevice);
    for wrong in [-1i64, 4, i64::MIN, i64::MAX] {
        let index = Tensor::from_slice(&[0, wrong, 1, 99], [2, 2], &CpuDevice);
        let flat = index.reshape([-1]);
        let src = Tensor::from_slice(&[1.0f32; 4], [2, 2], &CpuDevice);
        let rows = Tensor::from_slice(&[1.0f32; 12], [3, 4], &CpuDevice);
        let errors = [
            ("gather", catch(|| Cpu::gather(&x, 1, &index)).unwrap_err()),
            ("scatter", catch(|| Cpu::scatter(ScatterOp::Set, &x, 1, &index, &src)).unwrap_err()),
            ("index_select", catch(|| Cpu::index_select(&x, 1, &flat)).unwrap_err()),
            ("index_add", catch(|| Cpu::index_add(&x, 1, &flat, &rows)).unwrap_err()),
        ];
        for (name, error) in errors {
            let Error::Index { op, what, index, size, shape, .. } = error else {
                panic!("{error}");
            };
            assert_eq!((op, what, index, size, &shape[..]), (name, "index", wrong, 4, &[3, 4][..]));
        }
    }
}

#[test]
fn empty_and_scalar() {
    let x = pair(&[3.0], [], DType::F32, Lie::Plain);
    let zero = pair(&[0.0], [], DType::I64, Lie::Plain);
    same(&Cpu::gather(&x.0, 0, &zero.0), &x.1);
    let twice = Cpu::scatter(ScatterOp::Add, &x.0, 0, &zero.0, &x.0);
    assert_eq!((twice.rank(), twice.item()), (0, 6.0));
    let empty = pair(&[], [2, 0], DType::F32, Lie::Plain);
    let none = pair(&[], [0], DType::I64, Lie::Plain);
    assert_eq!(Cpu::index_select(&empty.0, 0, &none.0).dims(), [0, 0]);
    assert_eq!(Cpu::nonzero(&empty.0).dims(), [0, 2]);
    assert_eq!(Cpu::nonzero(&x.0).dims(), [1, 0]);
    assert_eq!(Cpu::sort(&empty.0, 1, false).1.dims(), [2, 0]);
    assert_eq!(Cpu::sort(&x.0, 0, false).1.item(), 0.0);
}

#[test]
fn order_agrees_with_the_definition() {
    let mut numbers = Numbers::new(3);
    for dtype in DType::ALL {
        for lie in LIES {
            for dim in 0..3 {
                let mut values = numbers.values(3 * 5 * 40);
                if dtype.is_float() {
                    for special in [f64::NAN, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
                        values[numbers.below(600)] = special;
                    }
                }
                let x = pair(&values, [3, 40, 5], dtype, lie);
                for flag in [false, true] {
                    let (a, b) = (Cpu::sort(&x.0, dim, flag), Reference::sort(&x.1, dim, flag));
                    same(&a.0, &b.0);
                    same(&a.1, &b.1);
                    let (a, b) =
                        (Cpu::topk(&x.0, 2, dim, flag), Reference::topk(&x.1, 2, dim, flag));
                    same(&a.0, &b.0);
                    same(&a.1, &b.1);
                }
                same(&Cpu::nonzero(&x.0), &Reference::nonzero(&x.1));
            }
        }
    }
}

#[test]
fn the_first_of_many() {
    let mut numbers = Numbers::new(11);
    let mut values = numbers.values(2 * 900);
    (0..900).step_by(7).for_each(|i| values[i] = f64::NAN);
    for dtype in [DType::F32, DType::I64, DType::U8] {
        let x = pair(&values, [2, 900], dtype, Lie::Plain);
        for (k, largest) in [(1, true), (3, false), (40, true), (200, false), (200, true)] {
            let (a, b) = (Cpu::topk(&x.0, k, 1, largest), Reference::topk(&x.1, k, 1, largest));
            same(&a.0, &b.0);
            same(&a.1, &b.1);
        }
    }
}

#[test]
fn cat_agrees_with_the_definition() {
    let mut numbers = Numbers::new(6);
    for dtype in DType::ALL {
        for lie in LIES {
            for dim in 0..3 {
                let parts = [1, 4, 0, 2].map(|size| {
                    let mut shape = [3, 5, 7];
                    shape[dim] = size;
                    pair(&numbers.values(shape.iter().product()), shape, dtype, lie)
                });
                same(
                    &Cpu::cat(&parts.each_ref().map(|p| &p.0), dim),
                    &Reference::cat(&parts.each_ref().map(|p| &p.1), dim),
                );
            }
        }
    }
    let long = pair(&numbers.values(200_000), [2, 100_000], DType::F32, Lie::Plain);
    let cat = Cpu::cat(&[&long.0, &long.0.narrow(1, 3, 2), &long.0], 1);
    let values = |x: &Tensor<Cpu>| x.to_vec::<f32>();
    assert_eq!(values(&cat.narrow(1, 100_002, 100_000)), values(&long.0));
    assert_eq!(values(&cat.narrow(1, 100_000, 2)), values(&long.0.narrow(1, 3, 2)));
}

#[test]
fn threads_change_nothing() {
    let mut numbers = Numbers::new(4);
    let x = pair(&numbers.floats(300_000), [300, 1000], DType::F32, Lie::Plain).0;
    let index = pair(&numbers.indices(300_000, 300), [300, 1000], DType::I64, Lie::Plain).0;
    let few = pair(&numbers.indices(300, 7), [300], DType::I64, Lie::Plain).0;
    any_threads(|| {
        let sorted = Cpu::sort(&x, 0, true);
        [
            Cpu::scatter(ScatterOp::Add, &x, 0, &index, &x),
            Cpu::index_add(&x, 0, &few, &x),
            Cpu::gather(&x, 0, &index),
            Cpu::nonzero(&x),
            sorted.0,
            sorted.1,
        ]
        .iter()
        .map(Cpu::download)
        .collect()
    });
}
