"""The workloads of `cargo xtask bench --vs torch`, in PyTorch.

Reads commands from standard input, one a line, and answers each with one line:
    run NAME ITERATIONS   ->  ok MILLISECONDS     (of all iterations together)
    drop                  ->  ok 0                (forget what the last workload keeps)
Between commands it sleeps. Its twin is kiln/benches/workloads: same names, sizes and order of work.

usage: workloads.py THREADS DIGITS_CSV_GZ [DEVICE]
"""

import gc
import gzip
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

M = 1 << 20
digits_file = sys.argv[2]
device = torch.device(sys.argv[3] if len(sys.argv) > 3 else "cpu")


def gemm(n):
    a, b = torch.randn(n, n), torch.randn(n, n)
    return lambda: a @ b


def gemm_4096(precision="highest", dtype=torch.float32):
    torch.set_float32_matmul_precision(precision)
    a, b = (torch.randn(4096, 4096).to(dtype) for _ in range(2))
    return lambda: a @ b


def gemv(n):
    a, x = torch.randn(n, n), torch.randn(n)
    return lambda: a @ x


def bmm():
    a, b = torch.randn(96, 128, 64), torch.randn(96, 64, 128)
    return lambda: a @ b


def unary(f, *shape):
    x = torch.randn(*shape)
    return lambda: f(x)


def add():
    a, b = torch.randn(16 * M), torch.randn(16 * M)
    return lambda: a + b


def mul_add_relu():
    a, b, c = torch.randn(16 * M), torch.randn(16 * M), torch.randn(16 * M)
    return lambda: torch.relu(a * b + c)


def layer_norm():
    x, weight, bias = torch.randn(4096, 1024), torch.ones(1024), torch.zeros(1024)
    return lambda: F.layer_norm(x, (1024,), weight, bias)


def copy(*shape):
    """Moves each element twice: from memory and to it."""
    x, y = torch.empty(*shape), torch.empty(*shape)
    return lambda: y.copy_(x)


def conv():
    x, weight = torch.randn(32, 64, 56, 56), torch.randn(64, 64, 3, 3)
    return lambda: F.conv2d(x, weight, padding=1)


def batch_norm():
    x, layer = torch.randn(32, 64, 56, 56), nn.BatchNorm2d(64)

    def run():
        with torch.no_grad():
            layer(x)

    return run


def layer_norm_train():
    x, weight, bias = torch.randn(4096, 1024), torch.ones(1024), torch.zeros(1024)
    for p in (x, weight, bias):
        p.requires_grad_()

    def run():
        F.layer_norm(x, (1024,), weight, bias).sum().backward()
        x.grad = weight.grad = bias.grad = None

    return run


def attention():
    q, k, v = (torch.randn(96, 128, 64) for _ in range(3))
    return lambda: F.scaled_dot_product_attention(q, k, v)


def embedding():
    table, rows = torch.randn(50_000, 64), torch.arange(8192) * 7919 % 50_000
    return lambda: F.embedding(rows, table)


def clip_grad_norm():
    parameters = [torch.randn(64, 64, requires_grad=True) for _ in range(100)]
    for p in parameters:
        p.grad = torch.randn(64, 64)
    return lambda: nn.utils.clip_grad_norm_(parameters, 1.0)


def adam():
    p = torch.randn(10 * M, requires_grad=True)
    p.grad = torch.randn(10 * M)
    return torch.optim.Adam([p], lr=1e-3).step


def tiny_op(tracked):
    a, b = torch.randn(1, requires_grad=tracked), torch.randn(1)
    return lambda: a + b


def mlp(*widths):
    layers = []
    for i, o in zip(widths, widths[1:]):
        layers += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )


def training_step(model):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def one_batch(model, *shape):
    x, y, step = torch.randn(*shape), torch.randint(0, 10, shape[:1]), training_step(model)
    return lambda: step(x, y)


def digits_epoch():
    with gzip.open(digits_file, "rt") as file:
        rows = [[float(v) for v in line.split(",")] for line in file if line[0].isdigit()]
    x = torch.tensor([row[:64] for row in rows]) / 16
    y = torch.tensor([int(row[64]) for row in rows])
    step = training_step(mlp(64, 128, 64, 10))

    def epoch():
        for batch in torch.randperm(len(x)).split(64):
            step(x[batch], y[batch])

    return epoch


def transformer():
    block = nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.1, batch_first=True)
    optimizer, x = torch.optim.Adam(block.parameters(), lr=1e-3), torch.randn(8, 128, 256)

    def step():
        loss = block(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


WORKLOADS = {
    "gemm_512": lambda: gemm(512),
    "gemm_1024": lambda: gemm(1024),
    "gemm_2048": lambda: gemm(2048),
    "gemv_4096": lambda: gemv(4096),
    "bmm_96x128x64": bmm,
    "add_16M": add,
    "mul_add_relu_16M": mul_add_relu,
    "exp_4M": lambda: unary(torch.exp, 4 * M),
    "gelu_4M": lambda: unary(F.gelu, 4 * M),
    "softmax_4096x4096": lambda: unary(lambda x: torch.softmax(x, 1), 4096, 4096),
    "sum_16M": lambda: unary(torch.sum, 16 * M),
    "layer_norm_4096x1024": layer_norm,
    "transpose_copy_4096": lambda: unary(lambda x: x.t().contiguous(), 4096, 4096),
    "conv3x3_64_56x56": conv,
    "max_pool_64_56x56": lambda: unary(lambda x: F.max_pool2d(x, 2), 32, 64, 56, 56),
    "batch_norm_64_56x56": batch_norm,
    "layer_norm_train": layer_norm_train,
    "attention_96x128x64": attention,
    "embedding_8192x64": embedding,
    "adam_10M": adam,
    "clip_grad_norm_100": clip_grad_norm,
    "digits_epoch": digits_epoch,
    "mlp_64_adam": lambda: one_batch(mlp(784, 256, 128, 10), 64, 784),
    "lenet_64_adam": lambda: one_batch(lenet(), 64, 1, 28, 28),
    "gemm_4096": gemm_4096,
    "gemm_4096_tf32": lambda: gemm_4096("high"),
    "gemm_4096_bf16": lambda: gemm_4096(dtype=torch.bfloat16),
    # Kiln reads three arrays of 64 M and writes one.
    "chain_64M_of_copy": lambda: copy(128 * M),
    "softmax_4096_of_copy": lambda: copy(4096, 4096),
    "layer_norm_of_copy": lambda: copy(4096, 4096),
    "mlp_64_adam_graph": lambda: one_batch(mlp(784, 256, 128, 10), 64, 784),
    "lenet_64_adam_graph": lambda: one_batch(lenet(), 64, 1, 28, 28),
    "transformer_adam_graph": transformer,
    "tiny_op": lambda: tiny_op(False),
    "tiny_op_tracked": lambda: tiny_op(True),
}


def main():
    torch.set_num_threads(int(sys.argv[1]))
    torch.manual_seed(0)
    torch.set_default_device(device)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    print("ready", torch.__version__, flush=True)
    current, run = None, None
    for line in sys.stdin:
        match line.split():
            case ["run", name, iterations]:
                if name not in WORKLOADS:
                    print("error: no workload", name, flush=True)
                    continue
                if name != current:
                    run = None
                    torch.set_float32_matmul_precision("highest")
                    current, run = name, WORKLOADS[name]()
                gc.collect()
                gc.disable()
                wait()
                start = time.perf_counter()
                for _ in range(int(iterations)):
                    run()
                wait()
                elapsed = time.perf_counter() - start
                gc.enable()
                print("ok", elapsed * 1e3, flush=True)
            case ["drop"]:
                current, run = None, None
                print("ok 0", flush=True)
            case _:
                print("error: unknown command", line.strip(), flush=True)


main()
