//! Gradients at kinks, ties and borders are PyTorch's. kinks.py writes what is expected.

mod cases;
mod names;

use kiln_autograd::{Autograd, Backward, BackwardOptions};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{PoolSpec, Reduction, ScatterOp, Tensor, linalg};

use cases::{cases, same, weights};

type T = Tensor<Autograd<Cpu>>;

/// Where ours differ on purpose, with the reason; docs/autograd.md says the same.
const DIFFERS: &[(&str, &str)] = &[
    ("abs_nan", "the slope at NaN is NaN, not 0"),
    ("clamp", "NaN is left as it is, and so is its gradient"),
    ("xlogy", "0 · ln 0 is 0 whatever b is near 0; PyTorch divides 0 by 0"),
    ("xlog1py", "as xlogy"),
    ("kl_div", "as xlogy, in the target"),
    (
        "median_odd",
        "one of several equal elements gets the gradient, as of PyTorch's median of a dimension",
    ),
    ("nanmedian", "as median"),
    ("kthvalue", "of equal elements the first gets it; PyTorch does not say which"),
    (
        "binary_cross_entropy",
        "the derivative of what is computed, with the logarithm cut off; PyTorch's is −1e12 where the loss is at its \
         cut-off, and 0 where probability and target are both 0",
    ),
];

#[rustfmt::skip]
fn apply(name: &str, x: &[T]) -> T {
    let p = |prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.split('_').next()?.parse::<f64>().ok());
    let a = &x[0];
    let zero = || T::from_slice(&[0.0], (), &CpuDevice);
    let at = || T::from_slice(&[0i64, 0, 1], [3], &CpuDevice);
    match name {
        "abs" | "abs_nan" => a.abs(), "sign" => a.sign(), "floor" => a.floor(), "ceil" => a.ceil(),
        "round" => a.round(), "trunc" => a.trunc(), "frac" => a.frac(), "relu" | "relu_nan" => a.relu(),
        "sigmoid" => a.sigmoid(), "tanh" => a.tanh(), "square" => a.square(), "sqrt" => a.sqrt(),
        "rsqrt" => a.rsqrt(), "reciprocal" => a.reciprocal(), "log" => a.log(), "log2" => a.log2(),
        "log10" => a.log10(), "lgamma" => a.lgamma(), "digamma" => a.digamma(), "sinc" => a.sinc(),
        "i0" => a.i0(), "i1" => a.i1(), "i0e" => a.i0e(), "i1e" => a.i1e(), "log1p" => a.log1p(),
        "asin" => a.asin(), "acos" => a.acos(), "atanh" => a.atanh(), "erfinv" => a.erfinv(),
        "acosh" => a.acosh(), "logit" => a.logit(), "logit_clamped" => a.logit_clamped(0.1), "tan" => a.tan(),
        "angle" => a.angle(), "nan_to_num" => a.nan_to_num(1.0, Some(2.0), Some(3.0)), "exp" => a.exp(),
        "relu6" => a.relu6(), "hardtanh" => a.hardtanh(-1.0, 1.0), "hardshrink" => a.hardshrink(0.5),
        "softshrink" => a.softshrink(0.5), "hardsigmoid" => a.hardsigmoid(), "hardswish" => a.hardswish(),
        "leaky_relu" => a.leaky_relu(0.1), "elu" => a.elu(1.5), "celu" => a.celu(1.5), "selu" => a.selu(),
        "threshold" => a.threshold(0.5, -1.0), "softplus" => a.softplus(1.0, 20.0),
        "log_sigmoid" => a.log_sigmoid(), "softsign" => a.softsign(), "tanhshrink" => a.tanhshrink(),
        "silu" => a.silu(), "gelu" => a.gelu(), "mish" => a.mish(), "prelu" => a.prelu(&x[1]),

        "clamp" => a.clamp(-1.0, 1.0), "clamp_crossed" => a.clamp(1.0, -1.0),
        "clamp_min" => a.clamp_min(0.5), "clamp_max" => a.clamp_max(0.5),

        "maximum" => a.maximum(&x[1]), "minimum" => a.minimum(&x[1]), "fmax" => a.fmax(&x[1]),
        "fmin" => a.fmin(&x[1]), "div" => a / &x[1], "pow" => a.pow(&x[1]), "atan2" => a.atan2(&x[1]),
        "0_pow" => T::pow(&zero(), a), "1_pow" => T::pow(&(zero() + 1.0), a), "2_pow" => T::pow(&(zero() + 2.0), a),
        "hypot" => a.hypot(&x[1]), "xlogy" => a.xlogy(&x[1]), "xlog1py" => a.xlog1py(&x[1]),
        "logaddexp" => a.logaddexp(&x[1]), "logaddexp2" => a.logaddexp2(&x[1]), "fmod" => a.fmod(&x[1]),
        "remainder" => a.remainder(&x[1]), "copysign" => a.copysign(&x[1]), "ldexp" => a.ldexp(&x[1]),
        "lerp" => a.lerp(&x[1], &x[2]), "where_nan" => T::where_(&a.gt(0.0), a.sqrt(), zero()),
        "where_log" => T::where_(&a.gt(0.0), a.log(), a), "masked_fill_log" => a.log().masked_fill(&a.le(0.0), 0.0),

        "max" | "max_nan" => a.max(), "min" => a.min(), "amax" => a.view([2, 3]).amax_dims([1], false),
        "amin" => a.view([2, 3]).amin_dims([1], false), "amax_all" => a.view([2, 3]).amax_dims([0, 1], false),
        "max_dim" => a.view([2, 3]).max_dim(1, false).0, "min_dim" => a.view([2, 3]).min_dim(1, false).0,
        "aminmax" => { let (low, high) = a.aminmax(); T::stack(&[&low, &high], 0) }
        "median" | "median_odd" => a.median(), "median_dim" => a.view([2, 3]).median_dim(1, false).0,
        "nanmedian" => a.nanmedian(), "kthvalue" => a.kthvalue(4, 0, false).0, "mode" => a.mode(0, false).0,
        "sort" => a.sort(0, false).0, "topk" => a.topk(2, 0, true).0, "cummax" => a.cummax(0).0,
        "cummin" => a.cummin(0).0, "quantile" => a.quantile(0.5, 0, false),
        "quantile_between" => a.quantile(0.3, 0, false), "logsumexp" => a.view([2, 2]).logsumexp([1], false),
        "logsumexp_inf" => a.logsumexp([0], false), "logcumsumexp" => a.logcumsumexp(0),
        "softmax" => a.view([2, 2]).softmax(1), "log_softmax" => a.view([2, 2]).log_softmax(1),
        "prod_no_zero" | "prod_one_zero" | "prod_two_zeros" => a.prod(), "cumprod" => a.cumprod(0),
        "var_one" => a.var(), "std_one" | "std_equal" => a.std(),
        "std_population_one" => a.std_dims([], 0.0, false), "var_population_one" => a.var_dims([], 0.0, false),
        "dist" => a.dist(&x[1], 2.0), "renorm" => a.view([1, 2]).renorm(2.0, 0, 1.0),
        "max_pool" => a.view([1, 1, 6]).max_pool(&PoolSpec::new(&[2])),
        "adaptive_max_pool" => a.view([1, 1, 6]).adaptive_max_pool(&[2]),
        "scatter_amax" => a.scatter_reduce(ScatterOp::Max, 0, &at(), &x[1]),

        "l1_loss" => a.l1_loss(&x[1], Reduction::Mean), "smooth_l1_loss" => a.smooth_l1_loss(&x[1], 1.0, Reduction::Mean),
        "smooth_l1_loss_0" => a.smooth_l1_loss(&x[1], 0.0, Reduction::Mean),
        "huber_loss" => a.huber_loss(&x[1], 1.0, Reduction::Mean),
        "binary_cross_entropy" => a.binary_cross_entropy(&x[1], None, Reduction::Mean),
        "bce_with_logits" => a.binary_cross_entropy_with_logits(&x[1], None, None, Reduction::Mean),
        "kl_div" => a.kl_div(&x[1], false, Reduction::Sum),
        _ => {
            if let Some(p) = p("pow_") { return a.pow(p); }
            if let Some(p) = p("norm_") { return linalg::vector_norm(a, p, [], false); }
            if let Some(p) = p("cdist_") { return a.view([2, 2]).cdist(&x[1].view([1, 2]), p); }
            panic!("no function for {name}")
        }
    }
}

#[test]
fn gradients_at_kinks_are_those_of_pytorch() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, operands, want) in cases().into_iter().filter(|(name, ..)| !name.starts_with("nn::"))
    {
        count += 1;
        let leaf = |x: &Vec<f64>| T::from_slice(x, [x.len()], &CpuDevice).requires_grad_(true);
        let xs: Vec<T> = operands.iter().map(leaf).collect();
        let y = apply(name, &xs);
        if y.requires_grad() {
            let gradient = T::from_slice(&weights(y.numel()), y.shape(), &CpuDevice);
            y.backward_with(BackwardOptions::new().gradient(gradient));
        }
        let ours = |(x, want): (&T, &Vec<f64>)| {
            x.grad().map_or_else(|| vec![0.0; want.len()], |grad| grad.to_vec::<f64>())
        };
        let ours: Vec<Vec<f64>> = xs.iter().zip(&want).map(ours).collect();
        let equal = ours.iter().zip(&want).all(|(ours, want)| same(ours, want));
        if equal == DIFFERS.iter().any(|(known, _)| *known == name) {
            wrong.push(format!("{name} of {operands:?}: {ours:?}, PyTorch {want:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 130, "{count} cases");
}
