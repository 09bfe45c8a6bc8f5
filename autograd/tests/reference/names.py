"""Writes names.txt: what PyTorch 2.15 calls the `grad_fn` of what users write, without the number at its end."""

from pathlib import Path

import torch
import torch.nn.functional as F

a = torch.rand(2, 3, requires_grad=True)
b = torch.rand(3, 2, requires_grad=True)
v = torch.rand(3, requires_grad=True)
w = torch.rand(4, 3, requires_grad=True)
bias = torch.rand(4, requires_grad=True)
c = torch.rand(2, 2, 3, requires_grad=True)
image = torch.rand(1, 2, 4, 4, requires_grad=True)
kernel = torch.rand(4, 2, 3, 3, requires_grad=True)
two = torch.rand(2, requires_grad=True)
index = torch.tensor([[0, 1], [2, 0]])
mask = torch.tensor([[True, False, True], [False, True, False]])
target = torch.rand(2, 3)
classes = torch.tensor([0, 2])

ROWS = {
    "add": lambda: a + a, "sub": lambda: a - 1, "rsub": lambda: 1 - a, "mul": lambda: a * 2, "div": lambda: a / a,
    "neg": lambda: -a, "pow": lambda: a**2, "exp": lambda: a.exp(), "log": lambda: a.log(), "sqrt": lambda: a.sqrt(),
    "abs": lambda: a.abs(), "sin": lambda: a.sin(), "tanh": lambda: a.tanh(), "sigmoid": lambda: a.sigmoid(),
    "relu": lambda: a.relu(), "gelu": lambda: F.gelu(a), "silu": lambda: F.silu(a), "elu": lambda: F.elu(a),
    "leaky_relu": lambda: F.leaky_relu(a), "softplus": lambda: F.softplus(a), "clamp": lambda: a.clamp(0, 1),
    "maximum": lambda: torch.maximum(a, a * 2), "where": lambda: torch.where(mask, a, a), "masked_fill": lambda: a.masked_fill(mask, 0),
    "clone": lambda: a.clone(), "to_double": lambda: a.double(),
    "sum": lambda: a.sum(), "sum_dims": lambda: a.sum(1), "mean": lambda: a.mean(), "mean_dims": lambda: a.mean(1),
    "prod": lambda: a.prod(), "var": lambda: a.var(), "std": lambda: a.std(1), "max": lambda: a.max(),
    "max_dim": lambda: a.max(1)[0], "amax": lambda: a.amax(1), "norm": lambda: torch.linalg.vector_norm(a), "logsumexp": lambda: a.logsumexp(1),
    "cumsum": lambda: a.cumsum(1), "cumprod": lambda: a.cumprod(1), "softmax": lambda: a.softmax(1), "log_softmax": lambda: a.log_softmax(1),
    "sort": lambda: a.sort(1)[0], "topk": lambda: a.topk(2)[0],
    "matmul": lambda: a @ b, "mm": lambda: a.mm(b), "bmm": lambda: c.bmm(c.mT), "matmul_broadcast": lambda: c @ b, "mv": lambda: a.mv(v),
    "dot": lambda: v.dot(v), "outer": lambda: v.outer(v), "addmm": lambda: torch.addmm(torch.ones(2), a, b),
    "linear": lambda: F.linear(a, w, bias), "linear_no_bias": lambda: F.linear(a, w), "einsum": lambda: torch.einsum("ij,jk->ik", a, b),
    "view": lambda: a.view(3, 2), "reshape": lambda: a.reshape(6), "flatten": lambda: c.flatten(1), "t": lambda: a.t(), "transpose": lambda: c.transpose(0, 1),
    "permute": lambda: c.permute(2, 0, 1), "expand": lambda: v.expand(2, 3), "unsqueeze": lambda: a.unsqueeze(0), "squeeze": lambda: a[:1].squeeze(0),
    "narrow": lambda: a.narrow(1, 0, 2), "select": lambda: a.select(0, 0), "i": lambda: a[0], "slice": lambda: a[:, 1:], "index": lambda: a[torch.tensor([0, 1])],
    "mask": lambda: a[mask], "masked_select": lambda: a.masked_select(mask), "split": lambda: a.split(2, 1)[0], "chunk": lambda: a.chunk(3, 1)[0],
    "unbind": lambda: a.unbind(0)[0], "diagonal": lambda: a.diagonal(), "flip": lambda: a.flip(0), "roll": lambda: a.roll(1, 0), "tril": lambda: a.tril(), "repeat": lambda: a.repeat(2, 1),
    "cat": lambda: torch.cat([a, a]), "stack": lambda: torch.stack([a, a]), "gather": lambda: a.gather(1, index), "take": lambda: a.take(index),
    "index_select": lambda: a.index_select(1, torch.tensor([0, 2])), "scatter_add": lambda: a.scatter_add(1, index, torch.rand(2, 2)), "pad": lambda: F.pad(a, (1, 1)),
    "conv": lambda: F.conv2d(image, kernel, bias), "conv_transpose": lambda: F.conv_transpose2d(image, kernel.transpose(0, 1)), "max_pool": lambda: F.max_pool2d(image, 2), "avg_pool": lambda: F.avg_pool2d(image, 2),
    "batch_norm_train": lambda: F.batch_norm(image, None, None, two, two, True), "batch_norm_eval": lambda: F.batch_norm(image, torch.zeros(2), torch.ones(2), two, two), "layer_norm": lambda: F.layer_norm(a, [3], v, v), "group_norm": lambda: F.group_norm(image, 2, two, two),
    "rms_norm": lambda: F.rms_norm(a, [3], v), "dropout": lambda: F.dropout(a, 0.5), "attention": lambda: F.scaled_dot_product_attention(c, c, c),
    "mse_loss": lambda: F.mse_loss(a, target), "l1_loss": lambda: F.l1_loss(a, target), "smooth_l1_loss": lambda: F.smooth_l1_loss(a, target), "huber_loss": lambda: F.huber_loss(a, target), "cross_entropy": lambda: F.cross_entropy(a, classes), "nll_loss": lambda: F.nll_loss(a, classes),
    "binary_cross_entropy": lambda: F.binary_cross_entropy(a, target), "bce_with_logits": lambda: F.binary_cross_entropy_with_logits(a, target), "kl_div": lambda: F.kl_div(a, target, reduction="sum"),
    "det": lambda: torch.linalg.det(a @ b), "inverse": lambda: torch.linalg.inv(a @ b), "cholesky": lambda: torch.linalg.cholesky(torch.eye(2) + a[:, :2] * 0),
}


def main():
    rows = [f"{name} {f().grad_fn.name().rstrip('0123456789')}" for name, f in ROWS.items()]
    Path(__file__).with_name("names.txt").write_text("\n".join(rows) + "\n")


main()
