//! The workloads that are compared, and what Kiln wants to reach.

use std::fmt;

/// What both sides do under one name; written in kiln/benches/workloads and in workloads.py.
#[derive(Debug)]
pub struct Workload {
    pub name: &'static str,
    pub does: &'static str,
    pub goal: Goal,
}

/// What Kiln wants to reach.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At least so many times as fast as torch.
    Ratio(f64),
    /// Less than so many nanoseconds.
    Nanoseconds(f64),
    /// Watched only.
    Watched,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::Ratio(least) => write!(f, "{least} ×"),
            Goal::Nanoseconds(most) => write!(f, "< {most} ns"),
            Goal::Watched => Ok(()),
        }
    }
}

const fn row(name: &'static str, does: &'static str, goal: Goal) -> Workload {
    Workload { name, does, goal }
}

/// On the host.
#[rustfmt::skip]
pub const WORKLOADS: [Workload; 26] = [
    row("gemm_512", "512 × 512 · 512 × 512", Goal::Ratio(1.05)),
    row("gemm_1024", "1024 × 1024 · 1024 × 1024", Goal::Ratio(1.05)),
    row("gemm_2048", "2048 × 2048 · 2048 × 2048", Goal::Ratio(1.05)),
    row("gemv_4096", "4096 × 4096 matrix · vector", Goal::Watched),
    row("bmm_96x128x64", "96 products 128 × 64 · 64 × 128", Goal::Watched),
    row("add_16M", "a + b", Goal::Watched),
    row("mul_add_relu_16M", "relu(a · b + c), one fused kernel", Goal::Ratio(5.0)),
    row("exp_4M", "exp", Goal::Watched),
    row("gelu_4M", "exact GELU", Goal::Watched),
    row("softmax_4096x4096", "over the last dim", Goal::Ratio(2.0)),
    row("sum_16M", "of all elements", Goal::Ratio(0.9)),
    row("layer_norm_4096x1024", "with weight and bias", Goal::Ratio(0.9)),
    row("transpose_copy_4096", "x.t().contiguous()", Goal::Watched),
    row("conv3x3_64_56x56", "3 × 3, 64 → 64 channels, batch 32, 56 × 56", Goal::Watched),
    row("max_pool_64_56x56", "2 × 2, batch 32, 64 channels", Goal::Watched),
    row("batch_norm_64_56x56", "training, forward, batch 32", Goal::Watched),
    row("layer_norm_train", "4096 × 1024, forward and backward", Goal::Watched),
    row("attention_96x128x64", "softmax(q · kᵀ / 8) · v", Goal::Watched),
    row("embedding_8192x64", "8192 rows of a table of 50,000", Goal::Watched),
    row("adam_10M", "one step on 10 M parameters", Goal::Watched),
    row("clip_grad_norm_100", "100 gradients 64 × 64", Goal::Watched),
    row("digits_epoch", "MLP 64-128-64-10, batch 64, Adam, shuffling", Goal::Ratio(2.0)),
    row("mlp_64_adam", "MLP 784-256-128-10, batch 64, one step", Goal::Ratio(1.5)),
    row("lenet_64_adam", "LeNet, batch 64 × 1 × 28 × 28, one step", Goal::Ratio(0.7)),
    row("tiny_op", "a + b on one element", Goal::Nanoseconds(150.0)),
    row("tiny_op_tracked", "the same, recorded for the gradient", Goal::Nanoseconds(400.0)),
];

/// On a GPU. Where a name ends in `of_copy`, PyTorch's side is a copy that moves as many bytes: what memory can do.
/// Such a copy reaches about 94 % of the figure that a GPU is sold with.
#[rustfmt::skip]
pub const ON_GPU: [Workload; 15] = [
    row("gemm_4096", "4096 × 4096 · 4096 × 4096", Goal::Watched),
    row("gemm_4096_tf32", "the same, numbers rounded to TF32", Goal::Ratio(0.9)),
    row("gemm_4096_bf16", "the same in bf16", Goal::Ratio(0.9)),
    row("chain_64M_of_copy", "relu(a · b + c), one fused kernel", Goal::Ratio(0.85)),
    row("softmax_4096_of_copy", "4096 × 4096 over the last dim", Goal::Ratio(0.85)),
    row("layer_norm_of_copy", "4096 × 4096, with weight and bias", Goal::Ratio(0.85)),
    row("sum_16M", "of all elements", Goal::Watched),
    row("conv3x3_64_56x56", "3 × 3, 64 → 64 channels, batch 32, 56 × 56", Goal::Watched),
    row("attention_96x128x64", "softmax(q · kᵀ / 8) · v", Goal::Watched),
    row("embedding_8192x64", "8192 rows of a table of 50,000", Goal::Watched),
    row("adam_10M", "one step on 10 M parameters", Goal::Watched),
    row("mlp_64_adam_graph", "MLP 784-256-128-10, batch 64, one step, replayed", Goal::Ratio(1.2)),
    row("lenet_64_adam_graph", "LeNet, batch 64 × 1 × 28 × 28, one step, replayed", Goal::Ratio(1.2)),
    row("transformer_adam_graph", "block of width 256, 4 heads, 8 × 128 positions, one step, replayed", Goal::Ratio(1.2)),
    row("tiny_op", "a + b on one element", Goal::Watched),
];
