"""Writes kinks.txt: gradients that PyTorch 2.15 gives at kinks, ties and borders. Functions of the crate nn begin with `nn::`.

A line is a case: its name, the operands, and the gradients of the operands, apart by `|`; tensors by `;`. The operands are
vectors of doubles. The gradient of result i is 1 + i/4, in row-major order, so that no sum hides what came from where.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F

nan, inf = math.nan, math.inf
CASES = []


def case(name, f, *operands):
    CASES.append((name, f, operands))


# ---------------------------------------------------------------- one operand

for name in """abs sign floor ceil round trunc frac relu sigmoid tanh square""".split():
    case(name, getattr(torch, name), [-1.0, -0.5, -0.0, 0.0, 0.5, 1.0])
for name in "sqrt rsqrt reciprocal log log2 log10 lgamma digamma sinc i0".split():
    case(name, getattr(torch, name), [0.0, 1.0])
for name in ["i1", "i0e", "i1e"]:
    case(name, getattr(torch.special, name), [0.0, 1.0])
case("log1p", torch.log1p, [-1.0, 0.0])
for name in ["asin", "acos", "atanh", "erfinv"]:
    case(name, getattr(torch, name), [-1.0, 0.0, 1.0])
case("acosh", torch.acosh, [1.0, 2.0])
case("logit", torch.logit, [0.0, 0.5, 1.0])
case("logit_clamped", lambda x: torch.logit(x, 0.1), [0.0, 0.1, 0.5, 0.9, 1.0])
case("tan", torch.tan, [0.0])
case("angle", torch.angle, [-1.0, 0.0, 1.0])
case("nan_to_num", lambda x: torch.nan_to_num(x, 1.0, 2.0, 3.0), [nan, inf, -inf, 1.0])
case("exp", torch.exp, [-inf, 0.0, inf])
case("relu_nan", torch.relu, [nan, inf, -inf])
case("abs_nan", torch.abs, [nan, inf, -inf])

case("relu6", F.relu6, [-1.0, 0.0, 3.0, 6.0, 7.0])
case("hardtanh", F.hardtanh, [-2.0, -1.0, 0.0, 1.0, 2.0])
case("hardshrink", lambda x: F.hardshrink(x, 0.5), [-1.0, -0.5, 0.0, 0.5, 1.0])
case("softshrink", lambda x: F.softshrink(x, 0.5), [-1.0, -0.5, 0.0, 0.5, 1.0])
case("hardsigmoid", F.hardsigmoid, [-4.0, -3.0, 0.0, 3.0, 4.0])
case("hardswish", F.hardswish, [-4.0, -3.0, 0.0, 3.0, 4.0])
case("leaky_relu", lambda x: F.leaky_relu(x, 0.1), [-1.0, 0.0, 1.0])
case("elu", lambda x: F.elu(x, 1.5), [-1.0, 0.0, 1.0])
case("celu", lambda x: F.celu(x, 1.5), [-1.0, 0.0, 1.0])
case("selu", F.selu, [-1.0, 0.0, 1.0])
case("threshold", lambda x: F.threshold(x, 0.5, -1.0), [0.0, 0.5, 1.0])
case("softplus", F.softplus, [19.5, 20.0, 20.5])
case("log_sigmoid", F.logsigmoid, [-1.0, 0.0, 1.0])
case("softsign", F.softsign, [-1.0, 0.0, 1.0])
case("tanhshrink", F.tanhshrink, [-1.0, 0.0, 1.0])
case("silu", F.silu, [0.0])
case("gelu", F.gelu, [0.0])
case("mish", F.mish, [0.0])
case("prelu", F.prelu, [-1.0, 0.0, 1.0], [0.25])

# ---------------------------------------------------------------- bounds

case("clamp", lambda x: x.clamp(-1, 1), [-2.0, -1.0, 0.0, 1.0, 2.0, nan])
case("clamp_crossed", lambda x: x.clamp(1, -1), [-2.0, -1.0, 0.0, 1.0, 2.0])
case("clamp_min", lambda x: x.clamp_min(0.5), [0.0, 0.5, 1.0])
case("clamp_max", lambda x: x.clamp_max(0.5), [0.0, 0.5, 1.0])

# ---------------------------------------------------------------- two operands

for name in ["maximum", "minimum", "fmax", "fmin"]:
    case(name, getattr(torch, name), [1.0, 2.0, 0.0, nan, 1.0, nan], [1.0, 1.0, -0.0, 1.0, nan, nan])
case("div", torch.div, [1.0, 0.0, -1.0], [0.0, 0.0, 2.0])
case("pow", torch.pow, [0.0, 0.0, 0.0, 0.0, -2.0, -2.0, 2.0], [0.0, 1.0, 2.0, 0.5, 2.0, 3.0, 0.0])
for y in [0.0, 0.5, 1.0, 2.0, 3.0, -1.0]:
    case(f"pow_{y:g}", lambda x, y=y: torch.pow(x, y), [-1.0, 0.0, 2.0])
for b in [0.0, 1.0, 2.0]:
    case(f"{b:g}_pow", lambda x, b=b: torch.pow(b, x), [-1.0, 0.0, 2.0])
case("atan2", torch.atan2, [0.0, 0.0, 1.0, -0.0], [0.0, -1.0, 0.0, 1.0])
case("hypot", torch.hypot, [0.0, 3.0, 0.0], [0.0, 0.0, -2.0])
case("xlogy", torch.xlogy, [0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, nan])
case("xlog1py", torch.special.xlog1py, [0.0, 0.0, 1.0], [-1.0, 0.0, -1.0])
case("logaddexp", torch.logaddexp, [-inf, 0.0, inf, 1.0], [-inf, -inf, 0.0, 1.0])
case("logaddexp2", torch.logaddexp2, [-inf, 0.0, inf, 1.0], [-inf, -inf, 0.0, 1.0])
case("fmod", torch.fmod, [4.0, -4.0, 3.0, -3.0], [2.0, 2.0, 2.0, -2.0])
case("remainder", torch.remainder, [4.0, -4.0, 3.0, -3.0], [2.0, 2.0, 2.0, -2.0])
case("copysign", torch.copysign, [0.0, -0.0, 1.0, -1.0], [1.0, -1.0, 0.0, -0.0])
case("ldexp", torch.ldexp, [0.0, 1.0], [0.0, 2.0])
case("lerp", lambda a, b, w: torch.lerp(a, b, w), [0.0, 1.0, 1.0], [1.0, 1.0, 3.0], [0.0, 0.5, 1.0])
case("where_nan", lambda x: torch.where(x > 0, x.sqrt(), torch.zeros((), dtype=torch.double)), [-1.0, 0.0, 4.0])
case("where_log", lambda x: torch.where(x > 0, x.log(), x), [-1.0, 0.0, 4.0])
case("masked_fill_log", lambda x: x.log().masked_fill(x <= 0, 0.0), [-1.0, 0.0, 4.0])

# ---------------------------------------------------------------- along a dimension

TIES = [3.0, 1.0, 3.0, 2.0, 1.0, 3.0]
case("max", torch.max, TIES)
case("min", torch.min, TIES)
case("amax", lambda x: x.view(2, 3).amax(1), TIES)
case("amin", lambda x: x.view(2, 3).amin(1), TIES)
case("amax_all", lambda x: x.view(2, 3).amax((0, 1)), TIES)
case("max_dim", lambda x: x.view(2, 3).max(1)[0], TIES)
case("min_dim", lambda x: x.view(2, 3).min(1)[0], TIES)
case("aminmax", lambda x: torch.stack(list(x.aminmax())), TIES)
case("max_nan", torch.max, [1.0, nan, 2.0, nan])
case("median", torch.median, TIES)
case("median_odd", torch.median, [2.0, 1.0, 2.0])
case("median_dim", lambda x: x.view(2, 3).median(1)[0], TIES)
case("nanmedian", torch.nanmedian, [2.0, nan, 2.0, 1.0])
case("kthvalue", lambda x: x.kthvalue(4)[0], TIES)
case("mode", lambda x: x.mode()[0], TIES)
case("sort", lambda x: x.sort(stable=True)[0], TIES)
case("topk", lambda x: x.sort(stable=True, descending=True)[0][:2], TIES)
case("cummax", lambda x: x.cummax(0)[0], TIES)
case("cummin", lambda x: x.cummin(0)[0], TIES)
case("quantile", lambda x: x.quantile(0.5), TIES)
case("quantile_between", lambda x: x.quantile(0.3), [1.0, 2.0, 4.0, 8.0])
case("logsumexp", lambda x: x.view(2, 2).logsumexp(1), [-inf, -inf, 0.0, -inf])
case("logsumexp_inf", lambda x: x.logsumexp(0), [inf, 0.0])
case("logcumsumexp", lambda x: x.logcumsumexp(0), [-inf, -inf, 0.0, -inf])
case("softmax", lambda x: x.view(2, 2).softmax(1), [-inf, -inf, 0.0, -inf])
case("log_softmax", lambda x: x.view(2, 2).log_softmax(1), [0.0, 0.0, 0.0, -inf])
case("prod_no_zero", lambda x: x.prod(), [2.0, 3.0, 4.0])
case("prod_one_zero", lambda x: x.prod(), [2.0, 0.0, 4.0])
case("prod_two_zeros", lambda x: x.prod(), [0.0, 0.0, 4.0])
case("cumprod", lambda x: x.cumprod(0), [2.0, 0.0, 3.0, 0.0, 4.0])
case("var_one", lambda x: x.var(), [2.0])
case("std_one", lambda x: x.std(), [2.0])
case("std_equal", lambda x: x.std(), [2.0, 2.0, 2.0])
case("std_population_one", lambda x: x.std(correction=0), [2.0])
case("var_population_one", lambda x: x.var(correction=0), [2.0])
for p in ["0", "0.5", "1", "1.5", "2", "3", "inf", "-inf"]:
    case(f"norm_{p}", lambda x, p=p: torch.linalg.vector_norm(x, float(p)), [0.0, 0.0])
    case(f"norm_{p}_some", lambda x, p=p: torch.linalg.vector_norm(x, float(p)), [0.0, -2.0, 2.0])
case("dist", lambda a, b: torch.dist(a, b), [1.0, 2.0], [1.0, 2.0])
case("renorm", lambda x: x.view(1, 2).renorm(2, 0, 1.0), [0.0, 0.0])
for p in ["1", "2", "3", "inf"]:
    case(f"cdist_{p}", lambda a, b, p=p: torch.cdist(a.view(2, 2), b.view(1, 2), float(p)), [1.0, 2.0, 1.0, 3.0], [1.0, 2.0])
for p in ["1", "2", "inf"]:
    case(
        f"nn::pairwise_distance_{p}",
        lambda a, b, p=p: F.pairwise_distance(a.view(2, 2), b.view(2, 2), float(p), 0.0),
        [1.0, 2.0, 1.0, 3.0],
        [1.0, 2.0, 1.0, 2.0],
    )
case("nn::normalize", lambda x: F.normalize(x, dim=0), [0.0, 0.0])
case("nn::cosine_similarity", lambda a, b: F.cosine_similarity(a, b, 0), [0.0, 0.0], [1.0, 2.0])
case("max_pool", lambda x: F.max_pool1d(x.view(1, 1, 6), 2), [1.0, 1.0, 2.0, 3.0, nan, 1.0])
case("adaptive_max_pool", lambda x: F.adaptive_max_pool1d(x.view(1, 1, 6), 2), TIES)
case("scatter_amax", lambda x, s: x.scatter_reduce(0, torch.tensor([0, 0, 1]), s, "amax"), [2.0, 1.0], [2.0, 2.0, 0.0])


# ---------------------------------------------------------------- losses

case("l1_loss", lambda a, b: F.l1_loss(a, b), [1.0, 2.0], [1.0, 1.0])
case("smooth_l1_loss", lambda a, b: F.smooth_l1_loss(a, b), [0.0, 1.0, -1.0, 2.0], [0.0, 0.0, 0.0, 0.0])
case("smooth_l1_loss_0", lambda a, b: F.smooth_l1_loss(a, b, beta=0.0), [0.0, 1.0], [0.0, 0.0])
case("huber_loss", lambda a, b: F.huber_loss(a, b), [0.0, 1.0, -1.0, 2.0], [0.0, 0.0, 0.0, 0.0])
case("binary_cross_entropy", lambda a, b: F.binary_cross_entropy(a, b), [0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0])
case("bce_with_logits", lambda a, b: F.binary_cross_entropy_with_logits(a, b), [0.0, 800.0, -800.0, 1.0], [0.0, 1.0, 0.0, 0.5])
case("kl_div", lambda a, b: F.kl_div(a, b, reduction="sum"), [-1.0, -2.0], [0.0, 0.5])
case("nn::hinge_embedding_loss", lambda x: F.hinge_embedding_loss(x, torch.tensor([-1.0, 1.0, -1.0]).double()), [1.0, 1.0, 2.0])
case("nn::margin_ranking_loss", lambda a, b: F.margin_ranking_loss(a, b, torch.tensor([1.0, 1.0]).double()), [1.0, 1.0], [1.0, 2.0])
case("nn::multi_margin_loss", lambda x: F.multi_margin_loss(x.view(1, 3), torch.tensor([0])), [1.0, 0.0, 2.0])
case("nn::soft_margin_loss", lambda x: F.soft_margin_loss(x, torch.tensor([1.0, -1.0]).double()), [0.0, 0.0])
case("nn::triplet_margin_loss", lambda a, p, n: F.triplet_margin_loss(a, p, n, eps=0.0), [1.0, 2.0], [1.0, 2.0], [1.0, 2.0])
case("nn::cosine_embedding_loss", lambda a, b: F.cosine_embedding_loss(a.view(1, 2), b.view(1, 2), torch.tensor([-1.0]).double()), [1.0, 0.0], [0.0, 1.0])
case("nn::gaussian_nll_loss", lambda a, t, v: F.gaussian_nll_loss(a, t, v), [1.0, 1.0], [0.0, 1.0], [0.0, 1.0])


def numbers(tensor):
    return ",".join(repr(x) for x in tensor.reshape(-1).tolist())


def main():
    lines = []
    for name, f, operands in CASES:
        xs = [torch.tensor(x, dtype=torch.double, requires_grad=True) for x in operands]
        y = f(*xs)
        weights = (1 + torch.arange(y.numel(), dtype=torch.double) / 4).view(y.shape)
        grads = torch.autograd.grad(y, xs, weights, allow_unused=True) if y.requires_grad else [None] * len(xs)
        grads = [torch.zeros_like(x) if g is None else g for x, g in zip(xs, grads)]
        lines.append(" | ".join([name, "; ".join(map(numbers, xs)), "; ".join(map(numbers, grads))]))
    Path(__file__).with_name("kinks.txt").write_text("\n".join(lines) + "\n")


main()
