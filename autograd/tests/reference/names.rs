//! `grad_fn` is what the user called, and PyTorch's name where it has the same; names.py writes those.

use kiln_autograd::{Autograd, GradFn};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{
    AttentionOptions, ConvSpec, DType, PadMode, PoolSpec, Reduction, Tensor, linalg,
};

type T = Tensor<Autograd<Cpu>>;

/// Where the name is another than PyTorch's: ours, and why. docs/autograd.md says the same.
#[rustfmt::skip]
const OURS: &[(&str, &str)] = &[
    // What was written, where PyTorch names the kernel that it has chosen or what it composes the function of.
    ("rsub", "SubBackward"), ("clone", "CopyBackward"), ("to_double", "ToDtypeBackward"), ("norm", "NormBackward"),
    ("matmul", "MatmulBackward"), ("matmul_broadcast", "MatmulBackward"), ("outer", "OuterBackward"),
    ("linear", "LinearBackward"), ("linear_no_bias", "LinearBackward"), ("einsum", "EinsumBackward"),
    ("pad", "PadBackward"), ("conv", "ConvBackward"), ("conv_transpose", "ConvTransposeBackward"),
    ("max_pool", "MaxPoolBackward"), ("avg_pool", "AvgPoolBackward"), ("batch_norm_train", "BatchNormBackward"),
    ("batch_norm_eval", "BatchNormBackward"), ("layer_norm", "LayerNormBackward"), ("group_norm", "GroupNormBackward"),
    ("rms_norm", "RmsNormBackward"), ("dropout", "DropoutBackward"), ("attention", "ScaledDotProductAttentionBackward"),
    ("l1_loss", "L1LossBackward"), ("cross_entropy", "CrossEntropyBackward"), ("kl_div", "KlDivBackward"),
    ("det", "DetBackward"), ("inverse", "InvBackward"), ("cholesky", "CholeskyBackward"),
];

fn leaf(shape: &[usize]) -> T {
    T::rand(shape, &CpuDevice).requires_grad_(true)
}

/// What is called, and how many operands it has that gradients flow to.
#[rustfmt::skip]
fn apply(name: &str) -> (T, usize) {
    let (a, b, v) = (leaf(&[2, 3]), leaf(&[3, 2]), leaf(&[3]));
    let (w, bias, c, two) = (leaf(&[4, 3]), leaf(&[4]), leaf(&[2, 2, 3]), leaf(&[2]));
    let (image, kernel) = (leaf(&[1, 2, 4, 4]), leaf(&[4, 2, 3, 3]));
    let index = T::from_slice(&[0i64, 1, 2, 0], [2, 2], &CpuDevice);
    let list = T::from_slice(&[0i64, 1], [2], &CpuDevice);
    let mask = T::from_slice(&[true, false, true, false, true, false], [2, 3], &CpuDevice);
    let target = T::rand([2, 3], &CpuDevice);
    let classes = T::from_slice(&[0i64, 2], [2], &CpuDevice);
    let mean = Reduction::Mean;
    match name {
        "add" => (&a + &a, 2), "sub" => (&a - 1.0, 1), "rsub" => (1.0 - &a, 1), "mul" => (&a * 2.0, 1),
        "div" => (&a / &leaf(&[2, 3]), 2), "neg" => (-&a, 1), "pow" => (a.pow(2.0), 1), "exp" => (a.exp(), 1), "log" => (a.log(), 1),
        "sqrt" => (a.sqrt(), 1), "abs" => (a.abs(), 1), "sin" => (a.sin(), 1), "tanh" => (a.tanh(), 1),
        "sigmoid" => (a.sigmoid(), 1), "relu" => (a.relu(), 1), "gelu" => (a.gelu(), 1), "silu" => (a.silu(), 1),
        "elu" => (a.elu(1.0), 1), "leaky_relu" => (a.leaky_relu(0.01), 1), "softplus" => (a.softplus(1.0, 20.0), 1),
        "clamp" => (a.clamp(0.0, 1.0), 1), "maximum" => (a.maximum(&a), 2), "where" => (T::where_(&mask, &a, &a), 3),
        "masked_fill" => (a.masked_fill(&mask, 0.0), 2), "clone" => (a.copy(), 1), "to_double" => (a.to_dtype(DType::F64), 1),
        "sum" => (a.sum(), 1), "sum_dims" => (a.sum_dims([1], false), 1), "mean" => (a.mean(), 1),
        "mean_dims" => (a.mean_dims([1], false), 1), "prod" => (a.prod(), 1), "var" => (a.var(), 1),
        "std" => (a.std_dims([1], 1.0, false), 1), "max" => (a.max(), 1), "max_dim" => (a.max_dim(1, false).0, 1),
        "amax" => (a.amax_dims([1], false), 1), "norm" => (a.norm(), 1), "logsumexp" => (a.logsumexp([1], false), 1),
        "cumsum" => (a.cumsum(1), 1), "cumprod" => (a.cumprod(1), 1), "softmax" => (a.softmax(1), 1),
        "log_softmax" => (a.log_softmax(1), 1), "sort" => (a.sort(1, false).0, 1), "topk" => (a.topk(2, 1, true).0, 1),
        "matmul" => (a.matmul(&b), 2), "mm" => (a.mm(&b), 2), "bmm" => (c.bmm(&leaf(&[2, 3, 2])), 2),
        "matmul_broadcast" => (c.matmul(&b), 2), "mv" => (a.mv(&v), 2), "dot" => (v.dot(&leaf(&[3])), 2),
        "outer" => (v.outer(&leaf(&[3])), 2), "addmm" => (two.addmm(&a, &b, 1.0, 1.0), 3),
        "linear" => (a.linear(&w, Some(&bias)), 3), "linear_no_bias" => (a.linear(&w, None), 2),
        "einsum" => (T::einsum("ij,jk->ik", &[&a, &b]), 2), "view" => (a.view([3, 2]), 1), "reshape" => (a.reshape([6]), 1),
        "flatten" => (c.flatten(1, -1), 1), "t" => (a.t(), 1), "transpose" => (c.transpose(0, 1), 1),
        "permute" => (c.permute([2, 0, 1]), 1), "expand" => (v.expand([2, 3]), 1), "unsqueeze" => (a.unsqueeze(0), 1),
        "squeeze" => (leaf(&[1, 3]).squeeze(0), 1), "narrow" => (a.narrow(1, 0, 2), 1), "select" => (a.select(0, 0), 1),
        "i" => (a.i(0), 1), "slice" => (a.i((.., 1..)), 1), "index" => (a.i(&list), 1), "mask" => (a.i(&mask), 1),
        "masked_select" => (a.masked_select(&mask), 1), "split" => (a.split(2, 1).remove(0), 1),
        "chunk" => (a.chunk(3, 1).remove(0), 1), "unbind" => (a.unbind(0).remove(0), 1), "diagonal" => (a.diagonal(0, 0, 1), 1),
        "flip" => (a.flip([0]), 1), "roll" => (a.roll([1], [0]), 1), "tril" => (a.tril(0), 1), "repeat" => (a.repeat([2, 1]), 1),
        "cat" => (T::cat(&[&a, &a], 0), 2), "stack" => (T::stack(&[&a, &leaf(&[2, 3])], 0), 2),
        "gather" => (a.gather(1, &index), 1), "take" => (a.take(&index), 1), "index_select" => (a.index_select(1, &list), 1),
        "scatter_add" => (a.scatter_add(1, &index, &leaf(&[2, 2])), 2), "pad" => (a.pad(&[1, 1], PadMode::Constant(0.0)), 1),
        "conv" => (image.conv(&kernel, Some(&bias), &ConvSpec::new(2)), 3),
        "conv_transpose" => (image.conv_transpose(&leaf(&[2, 4, 3, 3]), None, &ConvSpec::new(2), &[0, 0]), 2),
        "max_pool" => (image.max_pool(&PoolSpec::new(&[2, 2])), 1), "avg_pool" => (image.avg_pool(&PoolSpec::new(&[2, 2])), 1),
        "batch_norm_train" => (image.batch_norm_train(Some(&two), Some(&leaf(&[2])), 1e-5).0, 3),
        "batch_norm_eval" => (image.batch_norm_eval(&T::zeros([2], &CpuDevice), &T::ones([2], &CpuDevice), Some(&two), Some(&leaf(&[2])), 1e-5), 3),
        "layer_norm" => (a.layer_norm([3], Some(&v), Some(&leaf(&[3])), 1e-5), 3), "group_norm" => (image.group_norm(2, Some(&two), Some(&leaf(&[2])), 1e-5), 3),
        "rms_norm" => (a.rms_norm([3], Some(&v), 1e-5), 2), "dropout" => (a.dropout(0.5, true), 1),
        "attention" => (c.scaled_dot_product_attention(&c, &c, AttentionOptions::default()), 3),
        "mse_loss" => (a.mse_loss(&target, mean), 1), "l1_loss" => (a.l1_loss(&target, mean), 1),
        "smooth_l1_loss" => (a.smooth_l1_loss(&target, 1.0, mean), 1), "huber_loss" => (a.huber_loss(&target, 1.0, mean), 1),
        "cross_entropy" => (a.cross_entropy(&classes, None, -100, 0.0, mean), 1), "nll_loss" => (a.nll_loss(&classes, None, -100, mean), 1),
        "binary_cross_entropy" => (a.binary_cross_entropy(&target, None, mean), 1),
        "bce_with_logits" => (a.binary_cross_entropy_with_logits(&target, None, None, mean), 1),
        "kl_div" => (a.kl_div(&target, false, Reduction::Sum), 1), "det" => (linalg::det(&leaf(&[2, 2])), 1),
        "inverse" => (linalg::inv(&leaf(&[2, 2])), 1), "cholesky" => (linalg::cholesky(&T::eye(2, &CpuDevice).requires_grad_(true)), 1),
        _ => panic!("no function for {name}"),
    }
}

#[test]
fn grad_fn_is_what_was_called() {
    let mut wrong = Vec::new();
    for line in include_str!("names.txt").lines() {
        let (name, theirs) = line.split_once(' ').unwrap();
        let (y, operands) = apply(name);
        let made = GradFn::of(&y).expect("recorded");
        let ours = OURS.iter().find(|(known, _)| *known == name).map_or(theirs, |(_, ours)| ours);
        if made.name() != ours || OURS.contains(&(name, theirs)) {
            wrong.push(format!("(\"{name}\", \"{}\"), // {theirs}", made.name()));
        }
        let next: Vec<_> = made.next_functions().iter().flatten().map(GradFn::name).collect();
        if next.len() > operands || next.iter().any(|name| name != "AccumulateGrad") {
            wrong.push(format!("{name} comes from {next:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
