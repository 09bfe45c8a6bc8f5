//! Pooling against the definition.

mod common;

use common::{LIES, Lie, Numbers, any_threads, close, pair, same};
use kiln_backend_cpu::Cpu;
use kiln_conformance::Reference;
use kiln_tensor_core::{Backend, DType, PoolSpec, Shape, compose};
use proptest::prelude::*;

/// Sizes of an input and a window that fits.
fn specs() -> impl Strategy<Value = (Vec<usize>, PoolSpec)> {
    let dim = (1usize..9, 1usize..4, 1usize..4, 0usize..2, 1usize..3);
    (prop::collection::vec(dim, 1..4), any::<bool>(), any::<bool>(), prop::option::of(1usize..5))
        .prop_filter_map("the window fits", |(dims, ceil_mode, count_include_pad, divisor)| {
            let mut sizes = vec![2, 3];
            let mut spec = PoolSpec::new(&dims.iter().map(|d| d.1).collect::<Vec<_>>());
            for (i, &(size, kernel, stride, padding, dilation)) in dims.iter().enumerate() {
                sizes.push(size);
                spec.stride[i] = stride;
                spec.padding[i] = padding.min(kernel / 2);
                spec.dilation[i] = dilation;
            }
            (spec.ceil_mode, spec.count_include_pad, spec.divisor) =
                (ceil_mode, count_include_pad, divisor);
            let fits =
                (0..dims.len()).all(|i| spec.out_size(i, sizes[2 + i]).is_some_and(|n| n > 0));
            // Every window must have a tap inside.
            let reached = dims.iter().all(|&(size, .., dilation)| dilation == 1 || size > 2);
            (fits && reached).then_some((sizes, spec))
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() })]

    #[test]
    fn pooling_agrees_with_the_definition((sizes, spec) in specs(), seed: u64, lie in 0usize..6) {
        let mut numbers = Numbers::new(seed);
        let shape = Shape::from(&sizes[..]);
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::I16] {
            let x = pair(&numbers.values(shape.numel()), shape.clone(), dtype, LIES[lie]);
            let (a, b) = (Cpu::max_pool(&x.0, &spec), Reference::max_pool(&x.1, &spec));
            same(&a.0, &b.0);
            same(&a.1, &b.1);
            if !dtype.is_float() {
                continue;
            }
            let grad = pair(&numbers.values(a.0.numel()), a.0.shape(), dtype, LIES[lie]);
            same(
                &Cpu::max_pool_grad(&grad.0, &a.1, &shape),
                &compose::max_pool_grad(&grad.1, &b.1, &shape),
            );
            let spec = PoolSpec { dilation: spec.dilation.iter().map(|_| 1).collect(), ..spec.clone() };
            // Means round once more than the definition does, at the division.
            let tolerance = if dtype == DType::BF16 { 1e-2 } else { 1e-6 };
            let y = Cpu::avg_pool(&x.0, &spec);
            close(&y, &Reference::avg_pool(&x.1, &spec), tolerance);
            let grad = pair(&numbers.values(y.numel()), y.shape(), dtype, LIES[lie]);
            close(
                &Cpu::avg_pool_grad(&grad.0, &shape, &spec),
                &Reference::avg_pool_grad(&grad.1, &shape, &spec),
                tolerance,
            );
        }
    }
}

#[test]
fn nan_wins_and_the_first_of_equals_stays() {
    let nan = f64::NAN;
    let x = pair(&[1.0, nan, nan, 5.0, 2.0, 2.0, 2.0, 2.0], [1, 1, 2, 4], DType::F32, Lie::Plain).0;
    let (values, indices) = Cpu::max_pool(&x, &PoolSpec::new(&[1, 4]));
    let values = values.to_vec::<f32>();
    assert!(values[0].is_nan() && values[1] == 2.0);
    assert_eq!(indices.to_vec::<i64>(), [1, 4]);
}

#[test]
fn threads_change_nothing() {
    let mut numbers = Numbers::new(5);
    let x = pair(&numbers.floats(8 * 3 * 40 * 40), [8, 3, 40, 40], DType::F32, Lie::Plain).0;
    let spec = PoolSpec::new(&[3, 2]);
    any_threads(|| {
        let (values, indices) = Cpu::max_pool(&x, &spec);
        let mean = Cpu::avg_pool(&x, &spec);
        let grads = [
            Cpu::max_pool_grad(&values, &indices, x.shape()),
            Cpu::avg_pool_grad(&mean, x.shape(), &spec),
        ];
        [&values, &indices, &mean].into_iter().chain(&grads).map(Cpu::download).collect()
    });
}
