//! Calls of every other primitive on every dtype: small and large, in order and transposed.

use kiln_tensor_core::expr::Builder;
use kiln_tensor_core::{
    AttentionSpec, Backend, ConvSpec, DType, Expr, Kernel, PoolSpec, ReduceOp, ScanOp, ScatterOp,
    Shape, use_deterministic_algorithms,
};

use super::{B, forms, zeros};

pub fn run() {
    let steps: [fn(); 5] = [reductions, products, windows, indexing, fused];
    steps.iter().for_each(|step| step());
}

const REDUCED: [ReduceOp; 8] = [
    ReduceOp::Sum,
    ReduceOp::Prod,
    ReduceOp::Max,
    ReduceOp::Min,
    ReduceOp::ArgMax,
    ReduceOp::ArgMin,
    ReduceOp::Any,
    ReduceOp::All,
];

fn reductions() {
    for dtype in DType::ALL {
        let same = Expr::new("same", [dtype], |[x]| x);
        let truth = Expr::new("truth", [dtype], |[x]| x.truth());
        for op in REDUCED {
            let whole = matches!(op, ReduceOp::Any | ReduceOp::All);
            if dtype == DType::Bool && matches!(op, ReduceOp::Sum | ReduceOp::Prod) {
                continue;
            }
            // Of narrow numbers only loads, stores and what is kept beside them differ.
            let narrow = dtype != DType::Bool && dtype.compute() != dtype;
            if narrow && !matches!(op, ReduceOp::Sum | ReduceOp::ArgMax) {
                continue;
            }
            let kernel = Kernel::new(if whole { &truth } else { &same });
            // Rows, columns, and all into one: the last is done in two passes.
            for x in forms(dtype).iter().chain([&zeros(&[70_000], dtype)]) {
                let rank = x.rank();
                for dims in [vec![0], vec![rank - 1], (0..rank).collect()] {
                    B::reduce(op, kernel, &[x], x.shape(), &dims);
                }
            }
        }
        if dtype != DType::Bool {
            for x in forms(dtype) {
                for (op, dim) in [(ScanOp::Sum, 1), (ScanOp::Prod, 1), (ScanOp::Sum, 0)] {
                    B::scan(op, &x, dim);
                }
            }
            // In one chunk, and in several.
            for length in [300, 3000, 30_000] {
                B::scan(ScanOp::Sum, &zeros(&[length], dtype), 0);
                B::scan(ScanOp::Prod, &zeros(&[length], dtype), 0);
            }
        }
        for x in forms(dtype).iter().chain([&zeros(&[70_000], dtype)]) {
            for backwards in [false, true] {
                B::sort(x, 0, backwards);
                B::topk(x, 2, 0, backwards);
            }
        }
    }
    // With a program that needs the elements' numbers.
    let builder = Builder::new(&[DType::F32]);
    let (x, at) = (builder.input(0), builder.index());
    let weighed = x * at.cast(DType::F32);
    let out = [(weighed.id(), DType::F32)];
    let expr = builder.finish("weighed", &out);
    for x in forms(DType::F32) {
        B::reduce(ReduceOp::Sum, Kernel::new(&expr), &[&x], x.shape(), &[0, 1]);
    }
}

fn products() {
    for dtype in DType::ALL.into_iter().filter(|&dtype| dtype != DType::Bool) {
        for n in [3, 70, 256] {
            let (a, b) = (zeros(&[n, n], dtype), zeros(&[n, n], dtype));
            for (a, b) in [(&a, &b), (&a.t(), &b), (&a, &b.t()), (&a.t(), &b.t())] {
                B::matmul(a, b);
            }
            let batch = zeros(&[2, n, n], dtype);
            B::matmul(&batch, &batch);
            for narrow in [zeros(&[n, 1], dtype), zeros(&[n, 2], dtype)] {
                B::matmul(&a, &narrow);
                B::matmul(&narrow.t(), &a);
            }
        }
        if dtype.is_float() {
            for (rows, inner, outs) in [(3, 5, 7), (256, 128, 192)] {
                let (x, w) = (zeros(&[rows, inner], dtype), zeros(&[outs, inner], dtype));
                B::linear(&x, &w, Some(&zeros(&[outs], dtype)));
                B::linear(&x, &w, None);
            }
        }
    }
}

fn windows() {
    let floats = DType::ALL.into_iter().filter(|dtype| dtype.is_float());
    for dtype in floats {
        for (spatial, size) in [(1, 9), (2, 9), (3, 9), (2, 40)] {
            let sizes = vec![size; spatial];
            // Plain, in groups, and a channel by itself.
            for (groups, channels, outs) in [(1, 4, 6), (2, 4, 6), (4, 4, 4), (1, 64, 64)] {
                let shape: Vec<usize> = [2, channels].into_iter().chain(sizes.clone()).collect();
                let taps = [outs, channels / groups].into_iter().chain(vec![3; spatial]);
                let (x, w) = (zeros(&shape, dtype), zeros(&taps.collect::<Vec<_>>(), dtype));
                let mut spec = ConvSpec::new(spatial);
                spec.groups = groups;
                let y = B::conv(&x, &w, &spec);
                B::conv_grad_input(&y, &w, x.shape(), &spec);
                B::conv_grad_weight(&y, &x, w.shape(), &spec);
                spec.stride.fill(2);
                spec.padding.fill(1);
                let y = B::conv(&x, &w, &spec);
                B::conv_grad_input(&y, &w, x.shape(), &spec);
                B::conv_grad_weight(&y, &x, w.shape(), &spec);
            }
            let shape: Vec<usize> = [2, 4].into_iter().chain(sizes).collect();
            let x = zeros(&shape, dtype);
            let mut spec = PoolSpec::new(&vec![3; spatial]);
            let (y, at) = B::max_pool(&x, &spec);
            B::max_pool_grad(&y, &at, x.shape());
            for (padded, divisor) in [(true, None), (false, None), (true, Some(7))] {
                (spec.count_include_pad, spec.divisor) = (padded, divisor);
                let y = B::avg_pool(&x, &spec);
                B::avg_pool_grad(&y, x.shape(), &spec);
            }
        }
    }
    for dtype in DType::ALL.into_iter().filter(|dtype| dtype.is_int() && *dtype != DType::Bool) {
        B::max_pool(&zeros(&[2, 4, 9, 9], dtype), &PoolSpec::new(&[3, 3]));
    }
}

fn indexing() {
    let all = [ScatterOp::Set, ScatterOp::Add, ScatterOp::Mul, ScatterOp::Max, ScatterOp::Min];
    for dtype in DType::ALL {
        for x in forms(dtype) {
            let index = zeros(x.dims(), DType::I64);
            let line = zeros(&[2], DType::I64);
            B::gather(&x, 0, &index);
            B::index_select(&x, 0, &line);
            for op in all.into_iter().filter(|op| dtype != DType::Bool || *op == ScatterOp::Set) {
                B::scatter(op, &x, 0, &index, &x);
            }
            if dtype != DType::Bool {
                B::index_add(&x, 0, &line, &x.narrow(0, 0, 2));
                let (into, many) = (zeros(&[9], dtype), zeros(&[100], DType::I64));
                for op in all {
                    B::scatter(op, &into, 0, &many, &zeros(&[100], dtype));
                }
                use_deterministic_algorithms(false);
                B::index_add(&into, 0, &many, &zeros(&[100], dtype));
                use_deterministic_algorithms(true);
            }
            B::nonzero(&x);
            B::cat(&[&x, &x], 0);
        }
    }
}

fn fused() {
    let shape: Shape = [64, 1000].into();
    for dtype in DType::ALL.into_iter().filter(|dtype| dtype.is_float()) {
        for x in forms(dtype).iter().chain([&zeros(&shape, dtype), &zeros(&[2, 40_000], dtype)]) {
            let (rows, columns) = (x.dims()[0], x.dims()[1]);
            for dim in [0, 1] {
                B::softmax_grad(x, &B::softmax(x, dim), dim);
                B::log_softmax_grad(x, &B::log_softmax(x, dim), dim);
            }
            let target = zeros(&[rows], DType::I64);
            B::cross_entropy_grad(&B::cross_entropy(x, &target, -100), x, &target, -100);
            let line = zeros(&[columns], dtype);
            for (weight, bias) in [(None, None), (Some(&line), None), (Some(&line), Some(&line))] {
                let [_, mean, rstd] = B::layer_norm(x, weight, bias, 1, 1e-5);
                B::layer_norm_grad(x, x, &mean, &rstd, weight, 1, 1e-5);
                if bias.is_none() {
                    let [_, rstd] = B::rms_norm(x, weight, 1, 1e-5);
                    B::rms_norm_grad(x, x, &rstd, weight, 1, 1e-5);
                }
                let [_, mean, var] = B::batch_norm(x, weight, bias, 1e-5);
                B::batch_norm_grad(x, x, &mean, &var, weight, 1e-5);
            }
        }
        // Heads that fit the larger tile, and wider ones; each kind of mask.
        for (width, causal) in [(64, false), (64, true), (128, true)] {
            let (q, spec) = (zeros(&[2, 70, width], dtype), AttentionSpec { causal, scale: 0.1 });
            let masks = [zeros(&[2, 70, 70], dtype), zeros(&[2, 70, 70], DType::Bool)];
            for mask in [None, Some(&masks[0]), Some(&masks[1])] {
                let [y, log] = B::scaled_dot_product_attention(&q, &q, &q, mask, &spec);
                B::scaled_dot_product_attention_grad(&y, &q, &q, &q, mask, &y, &log, &spec);
            }
        }
        let image = zeros(&[4, 8, 9, 9], dtype);
        let [_, mean, var] = B::batch_norm(&image, None, None, 1e-5);
        B::batch_norm_grad(&image, &image, &mean, &var, None, 1e-5);
    }
}
