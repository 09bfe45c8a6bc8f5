//! Single ops.

use std::hint::black_box;

use kiln::prelude::*;
use kiln::tensor::{ConvSpec, PoolSpec};
use kiln::{MatmulPrecision, set_float32_matmul_precision};

use crate::{Work, Workload, device};

const M: usize = 1 << 20;

pub const WORKLOADS: &[Workload] = &[
    Workload { name: "gemm_512", make: || gemm(512) },
    Workload { name: "gemm_1024", make: || gemm(1024) },
    Workload { name: "gemm_2048", make: || gemm(2048) },
    Workload { name: "gemm_4096", make: || gemm(4096) },
    Workload { name: "gemm_4096_tf32", make: gemm_tf32 },
    Workload { name: "gemm_4096_bf16", make: gemm_bf16 },
    Workload { name: "gemv_4096", make: gemv },
    Workload { name: "bmm_96x128x64", make: bmm },
    Workload { name: "add_16M", make: add },
    Workload { name: "mul_add_relu_16M", make: || chain(16 * M) },
    Workload { name: "chain_64M_of_copy", make: || chain(64 * M) },
    Workload { name: "exp_4M", make: || unary([4 * M], Tensor::exp) },
    Workload { name: "gelu_4M", make: || unary([4 * M], Tensor::gelu) },
    Workload { name: "softmax_4096x4096", make: || unary([4096, 4096], |x| x.softmax(1)) },
    Workload { name: "softmax_4096_of_copy", make: || unary([4096, 4096], |x| x.softmax(1)) },
    Workload { name: "sum_16M", make: || unary([16 * M], Tensor::sum) },
    Workload { name: "layer_norm_4096x1024", make: || layer_norm(1024) },
    Workload { name: "layer_norm_of_copy", make: || layer_norm(4096) },
    Workload { name: "transpose_copy_4096", make: || unary([4096, 4096], |x| x.t().contiguous()) },
    Workload { name: "conv3x3_64_56x56", make: conv },
    Workload { name: "max_pool_64_56x56", make: max_pool },
    Workload { name: "batch_norm_64_56x56", make: batch_norm },
    Workload { name: "layer_norm_train", make: layer_norm_train },
    Workload { name: "attention_96x128x64", make: attention },
    Workload { name: "embedding_8192x64", make: embedding },
    Workload { name: "adam_10M", make: adam },
    Workload { name: "clip_grad_norm_100", make: clip_grad_norm },
    Workload { name: "tiny_op", make: || tiny_op(false) },
    Workload { name: "tiny_op_tracked", make: || tiny_op(true) },
];

fn randn<const N: usize>(shape: [usize; N]) -> Tensor {
    Tensor::randn(shape, device())
}

/// Does `f` and drops its result.
fn work(mut f: impl FnMut() -> Tensor + 'static) -> Work {
    Box::new(move || drop(black_box(f())))
}

fn unary<const N: usize>(shape: [usize; N], f: fn(&Tensor) -> Tensor) -> Work {
    let x = randn(shape);
    work(move || f(&x))
}

fn gemm(n: usize) -> Work {
    let (a, b) = (randn([n, n]), randn([n, n]));
    work(move || a.matmul(&b))
}

fn gemm_tf32() -> Work {
    let [a, b] = [(); 2].map(|()| randn([4096, 4096]));
    work(move || {
        set_float32_matmul_precision(MatmulPrecision::High);
        let c = a.matmul(&b);
        set_float32_matmul_precision(MatmulPrecision::Highest);
        c
    })
}

fn gemm_bf16() -> Work {
    let [a, b] = [(); 2].map(|()| randn([4096, 4096]).to_dtype(BF16));
    work(move || a.matmul(&b))
}

fn gemv() -> Work {
    let (a, x) = (randn([4096, 4096]), randn([4096]));
    work(move || a.matmul(&x))
}

fn bmm() -> Work {
    let (a, b) = (randn([96, 128, 64]), randn([96, 64, 128]));
    work(move || a.matmul(&b))
}

fn add() -> Work {
    let (a, b) = (randn([16 * M]), randn([16 * M]));
    work(move || &a + &b)
}

fn chain(n: usize) -> Work {
    static KERNEL: Fused<3> = Fused::new("mul_add_relu", |[a, b, c]| (a * b + c).relu());
    let (a, b, c) = (randn([n]), randn([n]), randn([n]));
    work(move || KERNEL.call([&a, &b, &c]))
}

fn layer_norm(width: usize) -> Work {
    let x = randn([4096, width]);
    let (weight, bias) = (Tensor::ones([width], device()), Tensor::zeros([width], device()));
    work(move || x.layer_norm([width], Some(&weight), Some(&bias), 1e-5))
}

fn conv() -> Work {
    let (x, weight) = (randn([32, 64, 56, 56]), randn([64, 64, 3, 3]));
    let mut spec = ConvSpec::new(2);
    spec.padding = [1, 1].into_iter().collect();
    work(move || x.conv(&weight, None, &spec))
}

fn max_pool() -> Work {
    let (x, spec) = (randn([32, 64, 56, 56]), PoolSpec::new(&[2, 2]));
    work(move || x.max_pool(&spec))
}

fn batch_norm() -> Work {
    let x = randn([32, 64, 56, 56]);
    let (weight, bias) = (Tensor::ones([64], device()), Tensor::zeros([64], device()));
    work(move || x.batch_norm_train(Some(&weight), Some(&bias), 1e-5).0)
}

fn layer_norm_train() -> Work {
    let x = randn([4096, 1024]).requires_grad_(true);
    let (weight, bias) = (Tensor::ones([1024], device()), Tensor::zeros([1024], device()));
    let (weight, bias) = (weight.requires_grad_(true), bias.requires_grad_(true));
    Box::new(move || {
        x.layer_norm([1024], Some(&weight), Some(&bias), 1e-5).sum().backward();
        for x in [&x, &weight, &bias] {
            x.set_grad(None);
        }
    })
}

fn attention() -> Work {
    let [q, k, v] = [(); 3].map(|()| randn([96, 128, 64]));
    work(move || q.scaled_dot_product_attention(&k, &v, AttentionOptions::new()))
}

fn embedding() -> Work {
    let table = randn([50_000, 64]);
    let rows: Vec<i64> = (0..8192).map(|i| i * 7919 % 50_000).collect();
    let rows = Tensor::from_slice(&rows, [8192], device());
    work(move || table.index_select(0, &rows))
}

fn clip_grad_norm() -> Work {
    let parameters: Vec<Tensor> = (0..100)
        .map(|_| {
            let p = randn([64, 64]).requires_grad_(true);
            p.set_grad(Some(randn([64, 64])));
            p
        })
        .collect();
    work(move || clip_grad_norm_(&parameters, 1.0, 2.0))
}

fn adam() -> Work {
    let p = randn([10 * M]).requires_grad_(true);
    p.set_grad(Some(randn([10 * M])));
    let mut adam = Adam::new([&p]).lr(1e-3);
    Box::new(move || adam.step())
}

fn tiny_op(tracked: bool) -> Work {
    let (a, b) = (randn([1]).requires_grad_(tracked), randn([1]));
    work(move || &a + &b)
}
