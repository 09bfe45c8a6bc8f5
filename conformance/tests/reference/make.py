"""Makes ops.txt.gz: rows of the table of ops, operands, and what PyTorch gives for them.

    python3 make.py

A line is a case: family and name of the row, its arguments, its operands, its results; tensors as dtype:sizes:elements.
What a row does is in conformance/src/table; each function here does the same in PyTorch.
"""

import gzip
import math
from pathlib import Path

import torch
import torch.nn.functional as F

torch.manual_seed(3)
NAN, INF = math.nan, math.inf


def text(x):
    name = {torch.float64: "f64", torch.int64: "i64", torch.int32: "i32", torch.bool: "bool"}[x.dtype]
    values = ",".join(str(int(v) if x.dtype == torch.bool else repr(v)) for v in x.flatten().tolist())
    return f"{name}:{'x'.join(map(str, x.shape))}:{values}"


def floats(*shape, ties=False):
    x = torch.randn(shape, dtype=torch.float64)
    return (x * 2).round() / 2 if ties else x


def ints(*shape, low=-3, high=4):
    return torch.randint(low, high, shape)


def unknown(x):
    return torch.where(torch.rand(x.shape) < 0.3, torch.tensor(NAN, dtype=x.dtype), x)


def along(make, count=12, **options):
    """Tensors with a dim, counted from either end, and whether to keep it."""
    for i in range(count):
        shape = [(5,), (3, 4), (2, 3, 4)][i % 3]
        dim = i % len(shape) - (len(shape) if i % 2 else 0)
        yield [dim, (i // 3) % 2], [make(*shape, **options)]


def each(*cases):
    return [(list(args), list(inputs)) for args, inputs in cases]


def quantiles(f, x, a, all_q, one):
    dim, keep = a[0], bool(a[1])
    q = torch.tensor(all_q, dtype=torch.float64)
    ways = ["linear", "lower", "higher", "nearest", "midpoint"]
    return [f(x[0], one, dim, keep)] + [f(x[0], q, dim, keep, interpolation=way) for way in ways]


def unique(x, a):
    values, inverse, counts = torch.unique(x[0], return_inverse=True, return_counts=True)
    return [values, inverse, counts, *torch.unique_consecutive(x[0], return_inverse=True, return_counts=True)]


def unique_dim(x, a):
    ways = dict(return_inverse=True, return_counts=True, dim=a[0])
    return [*torch.unique(x[0], **ways), *torch.unique_consecutive(x[0], **ways)]


def histogram(x, a):
    counts, edges = torch.histogram(x[0], 4, range=(-1.0, 1.0))
    sums, _ = torch.histogram(x[0], 4, range=(-2.0, 2.0), weight=x[1])
    density, _ = torch.histogram(torch.ones_like(x[0]), 2, range=(0.0, 2.0), density=True)
    uneven, _ = torch.histogram(x[0], torch.tensor([-2.0, -0.5, 0.0, 2.0], dtype=torch.float64))
    return [counts, edges, sums, density, uneven]


def weighted_cov(x, correction, often, much):
    whole = [torch.cov(x, correction=c, fweights=often, aweights=much) for c in (0, 1)]
    # 1 / cov is linear in the correction.
    return 1 / ((1 - correction) / whole[0] + correction / whole[1])


def mode(x, a):
    values, _ = torch.mode(x[0], a[0], bool(a[1]))
    # Which of several places PyTorch names is open; here it is the last.
    full = values if a[1] else values.unsqueeze(a[0])
    n = x[0].shape[a[0]]
    places = torch.arange(n).reshape([n if d == a[0] % x[0].dim() else 1 for d in range(x[0].dim())])
    last = torch.where(x[0] == full, places, -1).amax(a[0], bool(a[1]))
    return [values, last]




def spread(x):
    n = torch.arange(x.numel(), dtype=x.dtype)
    return (n * n * 0.25).reshape(x.shape)


def written(x, a):
    dim, (x, index, src) = a[0], x
    first = torch.zeros_like(x.narrow(dim, 0, 1), dtype=torch.int64)
    return [
        x.clone().index_add_(dim, index, src),
        x.clone().index_copy_(dim, index, src),
        x.clone().index_fill_(dim, index, 1),
        x.clone().masked_scatter_(x == x, x * 2),
        x.clone().scatter_(dim, first, 1),
        x.clone().scatter_reduce_(dim, first, x.narrow(dim, 0, 1), "sum"),
    ]


def listed(make):
    for i in range(6):
        shape = [(4,), (3, 4), (2, 3, 4)][i % 3]
        dim = i % len(shape)
        index = torch.randperm(shape[dim])[:2]
        yield [dim], [make(*shape), index, make(*[2 if d == dim else n for d, n in enumerate(shape)])]


def repeated(make):
    for args, (x, index, src) in listed(make):
        index[1] = index[0]
        yield args, [x, index, src]


def scattered(make):
    for i in range(6):
        shape = [(4,), (3, 4), (2, 3, 4)][i % 3]
        dim = i % len(shape)
        own = [3 if d == dim else max(n - 1, 1) for d, n in enumerate(shape)]
        index = torch.randint(0, shape[dim], own)
        yield [dim], [make(*shape), index, make(*own)]


def both(cases):
    return list(cases(floats)) + list(cases(ints))


def index_reduce(x, a):
    x, index, src = x
    run = lambda how, own: x.clone().index_reduce(a[0], index, src, how, include_self=own)
    return [run("amax", True), run("amin", False), run("mean", True), run("mean", False)]


def combined(x, a, ways):
    return [x[0].scatter_reduce(a[0], x[1], x[2], how, include_self=own) for how, own in ways]


ROWS = {
    "ordered/cummax": (
        lambda x, a: [*torch.cummax(x[0], a[0]), *torch.cummin(x[0], a[0])],
        [*along(floats, ties=True), *along(ints), *((a, [unknown(x[0])]) for a, x in along(floats))],
    ),
    "ordered/logcumsumexp": (lambda x, a: [torch.logcumsumexp(x[0], a[0])], along(floats)),
    "ordered/diff": (
        lambda x, a: [torch.diff(x[0], 1, a[0]), torch.diff(x[0], 2, a[0])],
        [*along(floats), *along(ints), *((a, [x[0] > 0]) for a, x in along(floats))],
    ),
    "ordered/gradient": (lambda x, a: [torch.gradient(x[0], spacing=0.5, dim=a[0])[0]], along(floats)),
    "ordered/trapezoid": (
        lambda x, a: [
            torch.trapezoid(x[0], dx=0.5, dim=a[0]),
            torch.cumulative_trapezoid(x[0], dx=0.5, dim=a[0]),
            torch.trapezoid(x[0], x[1], dim=a[0]),
            torch.cumulative_trapezoid(x[0], x[1], dim=a[0]),
        ],
        [(a, [*x, floats(x[0].shape[a[0]])]) for a, x in along(floats)],
    ),
    "ordered/quantile": (
        lambda x, a: quantiles(torch.quantile, x, a, [0.0, 0.35, 1.0], 0.3),
        [*along(floats), *along(floats, ties=True), *((a, [unknown(x[0])]) for a, x in along(floats))],
    ),
    "ordered/nanquantile": (
        lambda x, a: quantiles(torch.nanquantile, x, a, [0.0, 0.375, 1.0], 0.5),
        [(a, [unknown(x[0])]) for a, x in along(floats, 24)],
    ),
    "ordered/kthvalue": (
        lambda x, a: list(torch.kthvalue(x[0], a[2], a[0], bool(a[1]))),
        [([*a, 1 + i % x[0].shape[a[0]]], x) for i, (a, x) in enumerate(along(floats))],
    ),
    "ordered/nanmedian": (
        lambda x, a: [*torch.nanmedian(x[0], a[0], bool(a[1])), torch.nanmedian(x[0])],
        # Not of NaN alone: which of them is named is open.
        [*along(floats), *((a, [torch.where(x[0] < x[0].median(), NAN, x[0])]) for a, x in along(floats, 3))],
    ),
    "ordered/mode": (mode, [*along(ints), *along(floats, ties=True)]),
    "ordered/aminmax": (
        lambda x, a: [
            torch.msort(x[0]),
            *torch.aminmax(x[0], dim=a[0], keepdim=bool(a[1])),
            *torch.aminmax(x[0]),
        ],
        [*along(floats), *along(ints)],
    ),
    "ordered/unique": (unique, [*along(ints), *along(floats, ties=True), ([0, 0], [floats(0)])]),
    "ordered/unique_dim": (unique_dim, [(a, [x[0].clamp(0, 1)]) for a, x in along(ints, 24)]),
    "ordered/searchsorted": (
        lambda x, a: [torch.searchsorted(x[0], x[1]), torch.searchsorted(x[0], x[1], right=True)],
        each(
            ([], [floats(3, 7, ties=True).sort(-1)[0], floats(3, 5, ties=True)]),
            ([], [ints(2, 3, 8).sort(-1)[0], ints(2, 3, 4)]),
            ([], [ints(5).sort(-1)[0], ints(3, 4)]),
            ([], [floats(0), floats(4)]),
            ([], [torch.tensor([0.0, 1.0, INF]), torch.tensor([NAN, -INF, INF, 1.0])]),
        ),
    ),
    "ordered/bucketize": (
        lambda x, a: [torch.bucketize(x[1], x[0]), torch.bucketize(x[1], x[0], right=True)],
        each(([], [floats(6, ties=True).sort()[0], floats(3, 4, ties=True)]), ([], [ints(4).sort()[0], ints(7)])),
    ),
    "ordered/isin": (
        lambda x, a: [torch.isin(x[0], x[1])],
        each(([], [ints(3, 4), ints(2)]), ([], [unknown(floats(9, ties=True)), floats(3, ties=True)]), ([], [ints(5), ints(0)])),
    ),
    "ordered/bincount": (
        lambda x, a: [torch.bincount(x[0]), torch.bincount(x[0], x[1], 7)],
        each(([], [ints(9, low=0, high=5), floats(9)]), ([], [ints(3, low=0, high=9), floats(3)])),
    ),
    "ordered/histc": (
        lambda x, a: [torch.histc(x[0], 4, -1.0, 1.0)],
        [*along(floats), ([0, 0], [torch.tensor([-1.0, 1.0, 0.5, 0.0, 2.0], dtype=torch.float64)])],
    ),
    "ordered/histogram": (histogram, [(a, [x[0], floats(*x[0].shape)]) for a, x in along(floats)]),
    "arranged/meshgrid": (
        lambda x, a: [
            *torch.meshgrid(*x, indexing="ij"),
            *torch.meshgrid(*x, indexing="xy"),
            torch.cartesian_prod(*x),
            torch.cartesian_prod(x[0]),
        ],
        each(([], [floats(3), floats(2)]), ([], [ints(1), ints(4)])),
    ),
    "arranged/combinations": (
        lambda x, a: [torch.combinations(x[0], 2), torch.combinations(x[0], 2, True), torch.combinations(x[0], 3)],
        each(([], [floats(4)]), ([], [ints(3)])),
    ),
    "arranged/tril_indices": (
        lambda x, a: [
            torch.tril_indices(3, 4, 1),
            torch.tril_indices(4, 2, -1, dtype=torch.int32),
            torch.triu_indices(3, 4, 1),
            torch.triu_indices(4, 2, -1, dtype=torch.int32),
        ],
        each(([], [ints(1)])),
    ),
    "arranged/logspace": (
        lambda x, a: [
            torch.logspace(-1, 2, 5, 2.0, dtype=torch.float64),
            torch.logspace(0, 1, 3, 10.0, dtype=torch.float64),
        ],
        each(([], [floats(1)])),
    ),
    "arranged/vander": (
        lambda x, a: [torch.vander(x[0], 3), torch.vander(x[0], 4, increasing=True)],
        each(([], [floats(4)])),
    ),
    "arranged/diag_embed": (
        lambda x, a: [
            torch.diag_embed(x[0]),
            torch.diag_embed(x[0], 1),
            torch.diag_embed(x[0], -2, 0, -1),
            torch.diag_embed(x[0], 0, -1, 0),
        ],
        each(([], [floats(3)]), ([], [floats(2, 3)]), ([], [ints(2, 3, 4)])),
    ),
    "arranged/block_diag": (
        lambda x, a: [torch.block_diag(*x), torch.block_diag(x[1])],
        each(([], [floats(2, 3), floats(4), floats()])),
    ),
    "arranged/hstack": (
        lambda x, a: [torch.hstack(x), torch.vstack(x), torch.dstack(x), torch.column_stack(x)],
        each(*(([], [floats(*s), floats(*s)]) for s in [(), (3,), (2, 3), (2, 3, 4)])),
    ),
    "arranged/atleast_1d": (
        lambda x, a: [torch.atleast_1d(x[0]), torch.atleast_2d(x[0]), torch.atleast_3d(x[0])],
        each(*(([], [floats(*s)]) for s in [(), (3,), (2, 3), (2, 3, 4), (1, 2, 3, 2)])),
    ),
    "arranged/tensor_split": (
        lambda x, a: [*torch.tensor_split(x[0], 3, a[0]), *torch.tensor_split(x[0], (1, -1), a[0])],
        each(([0], [floats(5)]), ([-1], [floats(2, 7)]), ([1], [floats(2, 2, 3)])),
    ),
    "arranged/hsplit": (
        lambda x, a: [
            *torch.hsplit(x[0], 2),
            *torch.hsplit(x[1], 2),
            *torch.hsplit(x[0], [1]),
            *torch.vsplit(x[0], 2),
            *torch.vsplit(x[0], [1]),
            *torch.dsplit(x[0], 3),
            *torch.dsplit(x[0], [-1]),
        ],
        each(([], [floats(2, 2, 3), floats(4)])),
    ),
    "arranged/broadcast_tensors": (
        lambda x, a: list(torch.broadcast_tensors(*x)),
        each(([], [floats(3, 1), floats(4)]), ([], [floats(), ints(2, 3)])),
    ),
    "arranged/rot90": (
        lambda x, a: [
            *(torch.rot90(x[0], k, [0, -1]) for k in range(-1, 4)),
            torch.fliplr(x[0]),
            torch.flipud(x[0]),
            torch.ravel(x[0]),
            x[0].mT,
            torch.swapdims(x[0], 0, -1),
            torch.moveaxis(x[0], 0, -1),
            torch.movedim(x[0], (0, -1), (1, 0)),
        ],
        each(([], [floats(2, 3)]), ([], [floats(2, 3, 4)])),
    ),
    "statistics/nansum": (
        lambda x, a: [torch.nansum(x[0]), torch.nansum(x[0], a[0], bool(a[1]))],
        [(a, [unknown(x[0])]) for a, x in along(floats)],
    ),
    "statistics/nanmean": (
        lambda x, a: [torch.nanmean(x[0]), torch.nanmean(x[0], a[0], bool(a[1]))],
        [(a, [unknown(x[0])]) for a, x in along(floats)],
    ),
    "statistics/var_mean": (
        lambda x, a: [
            *torch.var_mean(x[0], a[0], correction=1, keepdim=bool(a[1])),
            *torch.std_mean(x[0], a[0], correction=0),
        ],
        along(floats),
    ),
    "statistics/cov": (
        lambda x, a: [torch.cov(x[0]), torch.cov(x[0], correction=0), torch.cov(x[1])],
        each(([], [floats(3, 5), floats(4)])),
    ),
    "statistics/cov_weighted": (
        lambda x, a: [
            torch.cov(x[0], fweights=(x[1] * 2).long() + 1),
            torch.cov(x[0], correction=0, aweights=x[1]),
            # The correction is an integer in PyTorch: half of one lies between.
            weighted_cov(x[0], 0.5, (x[1] * 2).long() + 1, x[1]),
        ],
        each(([], [floats(3, 5), floats(5).abs() + 0.5])),
    ),
    "statistics/corrcoef": (lambda x, a: [torch.corrcoef(x[0] + spread(x[0]))], each(([], [floats(3, 5)]))),
    "statistics/dist": (
        lambda x, a: [torch.dist(x[0], x[1], 2), torch.dist(x[0], x[1], 3)],
        each(([], [floats(3, 2), floats(3, 2)])),
    ),
    "statistics/cdist": (
        lambda x, a: [torch.cdist(x[0], x[1], 2.0), torch.cdist(x[0], x[1], 3.0)],
        each(([], [floats(2, 3, 4), floats(2, 5, 4)]), ([], [floats(3, 2), floats(4, 2)])),
    ),
    "statistics/normalize": (
        lambda x, a: [F.normalize(x[0], 2.0, a[0]), F.normalize(x[0], 3.0, a[0])],
        along(floats),
    ),
    "statistics/renorm": (
        lambda x, a: [torch.renorm(x[0], 2, a[0], 0.25), torch.renorm(x[0], 1, a[0], 1000.0)],
        each(([0], [floats(3, 4)]), ([-1], [floats(2, 3, 4)])),
    ),
    "statistics/inner": (
        lambda x, a: [torch.inner(x[0], x[1])],
        each(([], [floats(2, 3, 5), floats(4, 5)]), ([], [floats(3), floats(3)]), ([], [floats(), floats(2, 3)])),
    ),
    "statistics/kron": (
        lambda x, a: [torch.kron(x[0], x[1])],
        each(([], [floats(2, 3), floats(2, 1, 2)]), ([], [ints(2), ints(3)]), ([], [floats(), floats(2, 2)])),
    ),
    "statistics/cross": (lambda x, a: [torch.linalg.cross(x[0], x[1], dim=1)], each(([], [floats(2, 3, 2), floats(2, 3, 1)]))),
    "statistics/addmv": (
        lambda x, a: [
            torch.addmv(x[0], x[1], x[2], beta=0.5, alpha=2.0),
            torch.addr(x[1], x[0], x[2], beta=0.5, alpha=2.0),
        ],
        each(([], [floats(3), floats(3, 2), floats(2)])),
    ),
    "replaced/select_scatter": (
        lambda x, a: [torch.select_scatter(x[0], x[1], 1, -2)],
        each(([], [floats(3, 4), floats(3)])),
    ),
    "replaced/slice_scatter": (
        lambda x, a: [
            torch.slice_scatter(x[0], x[1], 1, 1, None, 2),
            torch.slice_scatter(x[0], x[1], -1, None, -2, 1),
        ],
        each(([], [floats(3, 4), floats(3, 2)])),
    ),
    "replaced/diagonal_scatter": (
        lambda x, a: [torch.diagonal_scatter(x[0], x[1], 1), torch.diagonal_scatter(x[0], x[1], 0, 1, 0)],
        each(([], [floats(3, 4), floats(3)])),
    ),
    "replaced/fill_diagonal_": (
        lambda x, a: [x[0].clone().fill_diagonal_(1), x[0].tril(-1), x[0].triu(1)],
        each(([], [floats(3, 4), floats(1)])),
    ),
    "replaced/index_put": (
        lambda x, a: [
            x[0].index_put((x[2], x[3]), x[1], accumulate=True),
            x[0].index_put((x[2],), torch.tensor(2.0, dtype=x[0].dtype)),
        ],
        each(([], [floats(3, 4), floats(2), ints(2, low=-3, high=3), ints(2, 1, low=-4, high=4)])),
    ),
    "replaced/put_": (
        lambda x, a: [x[0].put(x[2], x[1], accumulate=True), x[0].put(x[2], x[1])],
        each(([], [floats(3, 4), floats(2, 3), torch.randperm(12)[:6].reshape(2, 3)])),
    ),
    "replaced/scatter_reduce_fresh": (
        lambda x, a: combined(x, a, [("sum", False), ("amax", False), ("amin", False)]),
        both(scattered),
    ),
    "replaced/scatter_mean": (lambda x, a: combined(x, a, [("mean", True), ("mean", False)]), both(scattered)),
    "replaced/index_reduce": (index_reduce, [*listed(floats), *repeated(floats), *listed(ints)]),
    "replaced/written": (written, [*listed(floats), *listed(ints)]),
    "replaced/repeat_interleave_each": (
        lambda x, a: [torch.repeat_interleave(x[0], x[1], a[0])],
        [(a[:1], [x[0], ints(x[0].shape[a[0]], low=0, high=4)]) for a, x in along(floats)],
    ),
    "binary/nextafter": (lambda x, a: [torch.nextafter(*x)] * 2, each(([], [floats(9), floats(9)]))),
    "numbers/frexp": (
        lambda x, a: list(torch.frexp(x[0])),
        each(([], [torch.tensor([0.0, -0.0, 1.0, 0.5, -0.75, 6.0, 1e300, 1e-300, 5e-324, INF, -INF, NAN], dtype=torch.float64)])),
    ),
    "numbers/polygamma": (
        # PyTorch's trigamma has ten digits; its zeta has them all.
        lambda x, a: [torch.special.zeta(torch.tensor(2.0), x[0]) if n == 1 else torch.polygamma(n, x[0]) for n in range(4)],
        each(([], [floats(9) * 4]), ([], [torch.linspace(0.1, 60, 30, dtype=torch.float64)])),
    ),
    "numbers/mvlgamma": (
        lambda x, a: [torch.mvlgamma(x[0], 1), torch.mvlgamma(x[0], 3)],
        each(([], [floats(9).abs() + 1.5])),
    ),
}
SPECIAL = torch.special
for name, f, low, high in [
    ("erfc", torch.erfc, -4, 20),
    ("erfinv", torch.erfinv, -1, 1),
    ("ndtr", SPECIAL.ndtr, -20, 5),
    ("lgamma", torch.lgamma, -6.3, 40),
    ("digamma", torch.digamma, -6.3, 40),
    ("i0", torch.i0, -20, 20),
    ("i0e", SPECIAL.i0e, -50, 50),
    ("i1", SPECIAL.i1, -20, 20),
    ("i1e", SPECIAL.i1e, -50, 50),
    ("logit", torch.logit, 0, 1),
    ("sinc", torch.sinc, -3, 3),
    ("log_sigmoid", F.logsigmoid, -40, 40),
]:
    points = torch.linspace(low, high, 40, dtype=torch.float64)
    ROWS[f"pointwise/{name}"] = (lambda x, a, f=f: [f(x[0])] * 2, each(([], [points])))
for name, f in [
    ("copysign", torch.copysign),
    ("heaviside", torch.heaviside),
    ("logaddexp2", torch.logaddexp2),
    ("xlog1py", SPECIAL.xlog1py),
    ("ldexp", torch.ldexp),
    ("float_power", torch.float_power),
    ("trunc_divide", lambda a, b: torch.div(a, b, rounding_mode="trunc")),
    ("gcd", torch.gcd),
    ("lcm", torch.lcm),
    ("bitwise_left_shift", torch.bitwise_left_shift),
    ("bitwise_right_shift", torch.bitwise_right_shift),
]:
    whole = name in ("gcd", "lcm") or name.startswith("bitwise")
    make = (lambda: ints(20, low=-30, high=30)) if whole else (lambda: floats(20, ties=True))
    pair = lambda: [make(), ints(20, low=-2, high=12)] if name.startswith("bitwise") else [make(), make()]
    cases = each(([], pair()), ([], pair()))
    ROWS[f"binary/{name}"] = (lambda x, a, f=f: [f(*x)] * 2, cases)


def main():
    lines = []
    for name, (f, cases) in ROWS.items():
        for args, inputs in cases:
            inputs = [x.to(torch.float64) if x.dtype == torch.float32 else x for x in inputs]
            results = f([x.clone() for x in inputs], args)
            parts = [name, ",".join(map(str, args)), ";".join(map(text, inputs)), ";".join(map(text, results))]
            lines.append(" ".join(parts))
    data = "".join(line + "\n" for line in lines).encode()
    Path(__file__).with_name("ops.txt.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    print(len(ROWS), "rows,", len(lines), "cases,", len(data), "bytes")


main()
