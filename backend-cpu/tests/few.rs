//! Each kernel on a few elements, beside the slow reference: small, for an interpreter, which sees what the `unsafe` lines
//! do. `cargo xtask sanitize miri` runs it.

use kiln_autograd::{Autograd, Backward};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_tensor_core::{AttentionOptions, Backend, ConvSpec, DType, PoolSpec, Reduction, Tensor};

type T<B> = Tensor<Autograd<B>>;

/// Distinct multiples of 1/8.
fn numbers<B: Backend>(shape: &[usize], start: usize, device: &B::Device) -> T<B> {
    let count = shape.iter().product::<usize>();
    let data: Vec<f32> =
        (start..start + count).map(|i| (i * 37 % 211) as f32 / 8.0 - 13.0).collect();
    Tensor::from_slice(&data, shape, device) * 0.125
}

/// One test an op of floats, so that each is seen to end: what it gives, and the gradients of what it is given.
macro_rules! ops {
    ($($name:ident($shapes:expr, $x:ident) $run:block)*) => {$(
        #[test]
        fn $name() {
            fn run<B: Backend>($x: &[T<B>]) -> T<B> $run
            let ours = with_gradients(&$shapes, &CpuDevice, run::<Cpu>);
            compare(&ours, || with_gradients(&$shapes, &ReferenceDevice, run::<Reference>));
        }
    )*};
}

ops! {
    map([&[5, 19], &[19, 5]], x) { (&x[0] * x[1].t()).exp() + &x[0] }
    map_of_steps([&[3, 40], &[3, 1]], x) { x[0].flip([1]).narrow(1, 1, 33).sin() * &x[1] }
    sum([&[4, 21]], x) { x[0].sum_dims([0], false).pow(2.0) + x[0].t().sum_dims([1], false) }
    amax([&[4, 21]], x) { x[0].amax_dims([1], true) * x[0].amin_dims([0], true) }
    prod([&[3, 5]], x) { x[0].prod_dims([1], false) }
    cumsum([&[3, 18]], x) { x[0].cumsum(1) * x[0].cumsum(0) }
    softmax([&[3, 21]], x) { x[0].softmax(1) + x[0].softmax(0) }
    log_softmax([&[3, 21]], x) { x[0].log_softmax(1) + x[0].log_softmax(0) }
    layer_norm([&[3, 21], &[21], &[21]], x) {
        x[0].layer_norm([21], Some(&x[1]), Some(&x[2]), 1e-5)
    }
    rms_norm([&[3, 21], &[21]], x) { x[0].rms_norm([21], Some(&x[1]), 1e-5) }
    batch_norm([&[4, 3, 5], &[3], &[3]], x) {
        x[0].batch_norm_train(Some(&x[1]), Some(&x[2]), 1e-5).0
    }
    attention([&[1, 2, 5, 8], &[1, 2, 7, 8], &[1, 2, 7, 8]], x) {
        x[0].scaled_dot_product_attention(&x[1], &x[2], AttentionOptions::new())
    }
    matmul([&[5, 18], &[18, 21]], x) { x[0].matmul(&x[1]) }
    matmul_of_lanes([&[18, 5], &[21, 18]], x) { x[0].t().matmul(&x[1].t()) }
    matmul_of_a_batch([&[3, 2, 9], &[3, 9, 4]], x) { x[0].matmul(&x[1]) }
    matmul_of_a_vector([&[9, 19], &[19]], x) { x[0].matmul(&x[1]) }
    linear([&[5, 18], &[7, 18], &[7]], x) { x[0].linear(&x[1], Some(&x[2])) }
    conv([&[2, 3, 6, 7], &[4, 3, 3, 3], &[4]], x) {
        let spec = ConvSpec { padding: [1, 0].as_slice().into(), ..ConvSpec::new(2) };
        x[0].conv(&x[1], Some(&x[2]), &spec)
    }
    conv_of_groups([&[1, 4, 9], &[4, 2, 3]], x) {
        let stride = [2].as_slice().into();
        x[0].conv(&x[1], None, &ConvSpec { stride, groups: 2, ..ConvSpec::new(1) })
    }
    max_pool([&[1, 2, 5, 6]], x) { x[0].max_pool(&PoolSpec::new(&[2, 3])) }
    avg_pool([&[1, 2, 5, 6]], x) { x[0].avg_pool(&PoolSpec::new(&[2, 3])) }
    cat([&[2, 3], &[2, 5]], x) { Tensor::cat(&[&x[0], &x[1]], 1) }
    by_index([&[4, 3]], x) {
        let rows = Tensor::from_slice(&[3i64, 0, 3], [3], x[0].device());
        let cells = Tensor::from_slice(&[1i64, 0, 2, 2], [4, 1], x[0].device());
        let picked = x[0].index_select(0, &rows).sum_dims([0], true);
        x[0].scatter_add(1, &cells, &x[0].gather(1, &cells)) + picked
    }
    sort([&[3, 19]], x) { x[0].sort(1, true).0.narrow(1, 0, 4) + x[0].topk(4, 1, false).0 }
    cross_entropy([&[4, 7]], x) {
        let classes = Tensor::from_slice(&[1i64, 6, -100, 0], [4], x[0].device());
        x[0].cross_entropy(&classes, None, -100, 0.1, Reduction::Mean)
    }
}

/// What has no gradient: other dtypes, places, writes.
fn plain<B: Backend>(device: &B::Device) -> Vec<T<B>> {
    let x = numbers::<B>(&[3, 19], 0, device);
    let mut all: Vec<T<B>> = DType::ALL.iter().map(|&dtype| x.to_dtype(dtype)).collect();
    let sums: Vec<T<B>> = all.iter().map(|x| x + x.t().copy().t()).collect();
    all.extend(sums);
    let small = x.to_dtype(DType::I64);
    all.extend([small.t().matmul(&small), small.sum(), small.cumsum(1), small.bitwise_and(&small)]);
    all.extend([x.argmax(1, false), x.gt(0.0).nonzero(), x.sort(0, false).1, x.gt(0.0).any()]);
    let written = x.copy();
    written.narrow(1, 2, 9).t().add_(1.5);
    written.i(1).copy_(&x.i(0));
    written.masked_fill_(&x.gt(5.0), 0.5);
    all.push(written);
    all
}

fn wide<B: Backend>(x: &T<B>) -> Vec<f64> {
    x.to_dtype(DType::F32).to_vec::<f32>().into_iter().map(f64::from).collect()
}

/// What an op gives of operands of these shapes, and the gradient of each.
fn with_gradients<B: Backend>(
    shapes: &[&[usize]],
    device: &B::Device,
    run: fn(&[T<B>]) -> T<B>,
) -> Vec<Vec<f64>> {
    let leaf = |(i, shape): (usize, &&[usize])| {
        numbers::<B>(shape, 50 * i, device).detach().requires_grad_(true)
    };
    let inputs: Vec<T<B>> = shapes.iter().enumerate().map(leaf).collect();
    let y = run(&inputs);
    (&y * &y).sum().backward();
    let gradients = inputs.iter().map(|x| wide(&x.grad().expect("a gradient")));
    std::iter::once(wide(&y.detach())).chain(gradients).collect()
}

/// The op's result first, then the gradients.
fn compare(ours: &[Vec<f64>], theirs: impl FnOnce() -> Vec<Vec<f64>>) {
    // The interpreter is there for what ours does, and the reference takes longer.
    if cfg!(miri) {
        return;
    }
    let theirs = theirs();
    assert_eq!(ours.len(), theirs.len());
    for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(ours.len(), theirs.len(), "{i}");
        // A few dozen f32 roundings of numbers up to the largest.
        let scale = theirs.iter().fold(1.0f64, |most, x| most.max(x.abs()));
        for (a, b) in ours.iter().zip(theirs) {
            assert!((a - b).abs() <= 64.0 * f64::from(f32::EPSILON) * scale, "{i}: {a} {b}");
        }
    }
}

#[test]
fn dtypes_places_and_writes() {
    let ours: Vec<Vec<f64>> = plain::<Cpu>(&CpuDevice).iter().map(wide).collect();
    compare(&ours, || plain::<Reference>(&ReferenceDevice).iter().map(wide).collect());
}
