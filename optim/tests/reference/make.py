"""Makes the tables beside this file: what PyTorch's optimizers and schedulers compute, in float64.

    pip install torch numpy
    python optim/tests/reference/make.py

The tests read only the tables. Start values and gradients are exact fractions, so that both sides
compute the same ones; see `start` and `gradient`, and their twins in the tests.
"""

import gzip
import itertools
import json
import math
import pathlib
import warnings

import torch
from torch.optim import lr_scheduler as lrs

HERE = pathlib.Path(__file__).parent
STEPS = 8
KEPT = [1, 2, 5, 8]
SHAPES = [[2, 3], [4], [5]]  # the last one forms a group of its own
MATRICES = [[2, 3], [4, 1], [5, 2]]
# Some optimizers keep scalars in the default dtype.
torch.set_default_dtype(torch.float64)


def write(name, table):
    text = json.dumps(table, separators=(",", ":"), allow_nan=False)
    (HERE / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def start(k, i):
    return ((5 * i + 3 * k) % 13 - 6) / 4


def gradient(k, i, t, value):
    return ((7 * i + 3 * t + k) % 11 - 5) / 8 + value / 4


def params(shapes=SHAPES):
    return [
        torch.tensor([start(k, i) for i in range(math.prod(s))], dtype=torch.float64).reshape(s)
        for k, s in enumerate(shapes)
    ]


def set_grads(tensors, t):
    for k, p in enumerate(tensors):
        # The second parameter has no gradient in every third step.
        missing = k == 1 and t % 3 == 2
        p.grad = None if missing else torch.tensor(
            [gradient(k, i, t, v) for i, v in enumerate(p.flatten().tolist())], dtype=torch.float64
        ).reshape(p.shape)


class Lion(torch.optim.Optimizer):
    """The program of Chen et al. 2023, algorithm 2."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize))

    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in (p for p in group["params"] if p.grad is not None):
                g = -p.grad if group["maximize"] else p.grad
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                update = (beta1 * m + (1 - beta1) * g).sign()
                p.sub_(group["lr"] * (update + group["weight_decay"] * p))
                m.copy_(beta2 * m + (1 - beta2) * g)


def trajectory(name, options):
    shapes = MATRICES if name == "Muon" else SHAPES
    tensors = params(shapes)
    groups = [{"params": tensors[:2]}, {"params": tensors[2:], "lr": 0.05, "weight_decay": 0.02}]
    theirs = {k: v for k, v in options.items() if k != "ns_dtype"}
    optimizer = (Lion if name == "Lion" else getattr(torch.optim, name))(groups, **theirs)
    kept = []
    for t in range(1, STEPS + 1):
        set_grads(tensors, t)
        # PyTorch's Muon has no choice of the dtype that it orthogonalizes in.
        bfloat16 = torch.bfloat16
        if options.get("ns_dtype") == "parameter":
            torch.bfloat16 = torch.float64
        optimizer.step()
        torch.bfloat16 = bfloat16
        if t in KEPT:
            kept.append([p.flatten().tolist() for p in tensors])
        if t == 4:
            for group in optimizer.param_groups:
                group["lr"] *= 0.5
                if "momentum" in group:
                    group["momentum"] *= 0.9
                if "betas" in group:
                    group["betas"] = (0.9 * group["betas"][0], group["betas"][1])
    state = [
        {k: v.flatten().tolist() for k, v in optimizer.state[p].items() if torch.is_tensor(v) and v.ndim > 0}
        for p in tensors
    ]
    return {"optimizer": name, "options": options, "shapes": shapes, "params": kept, "state": state}


def combinations(name, **choices):
    for values in itertools.product(*choices.values()):
        options = dict(zip(choices, values))
        if options.get("nesterov") and (options["momentum"] == 0 or options.get("dampening")):
            continue
        if name == "SGD" and options["momentum"] == 0 and options["dampening"] != 0:
            continue
        yield trajectory(name, options)


def optimizers():
    flag = [False, True]
    decay = [0.0, 0.1]
    names = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax", "Adadelta", "Rprop", "ASGD"]
    yield from (trajectory(n, {}) for n in [*names, "Adafactor", "Lion", "Muon"])
    yield from combinations(
        "SGD", lr=[0.1], momentum=[0.0, 0.9], dampening=[0.0, 0.3], weight_decay=decay, nesterov=flag,
        maximize=flag,
    )
    for name in ["Adam", "AdamW"]:
        yield from combinations(
            name, lr=[0.1], betas=[[0.9, 0.999], [0.3, 0.6]], eps=[1e-3], weight_decay=decay,
            amsgrad=flag, maximize=flag,
        )
    yield from combinations(
        "RMSprop", lr=[0.1], alpha=[0.99, 0.4], eps=[1e-3], weight_decay=decay, momentum=[0.0, 0.9],
        centered=flag, maximize=flag,
    )
    yield from combinations(
        "Adagrad", lr=[0.1], lr_decay=[0.0, 0.2], weight_decay=decay, initial_accumulator_value=[0.0, 0.5],
        eps=[1e-3], maximize=flag,
    )
    for name, more in [("NAdam", {"momentum_decay": [4e-3, 0.5]}), ("RAdam", {})]:
        yield from combinations(
            name, lr=[0.1], betas=[[0.9, 0.9], [0.3, 0.6]], eps=[1e-3], weight_decay=decay,
            decoupled_weight_decay=flag, maximize=flag, **more,
        )
    yield from combinations(
        "Adamax", lr=[0.1], betas=[[0.9, 0.999], [0.3, 0.6]], eps=[1e-3], weight_decay=decay, maximize=flag
    )
    yield from combinations("Adadelta", lr=[0.5], rho=[0.9, 0.2], eps=[1e-3], weight_decay=decay, maximize=flag)
    yield from combinations(
        "Rprop", lr=[0.1, 0.5], etas=[[0.5, 1.2], [0.9, 3.0]], step_sizes=[[0.08, 0.3]], maximize=flag
    )
    yield from combinations(
        "ASGD", lr=[0.1], lambd=[1e-4, 0.3], alpha=[0.75, 2.0], t0=[1e6, 2.0], weight_decay=decay, maximize=flag
    )
    yield from combinations(
        "Adafactor", lr=[0.1, 10.0], beta2_decay=[-0.8, -0.1], eps=[[None, 1e-3], [0.5, 2.0]], d=[1.0, 2.0],
        weight_decay=decay, maximize=flag,
    )
    yield from combinations("Lion", lr=[0.1], betas=[[0.9, 0.99], [0.3, 0.6]], weight_decay=decay, maximize=flag)
    yield from combinations(
        "Muon", lr=[0.1], weight_decay=decay, momentum=[0.95, 0.2], nesterov=flag, ns_steps=[3, 5],
        adjust_lr_fn=["original", "match_rms_adamw", "spectral_unclamped"], ns_dtype=["parameter"],
    )
    yield from combinations("Muon", lr=[0.1], ns_coefficients=[[3.0, -3.2, 1.2]], eps=[2.0], ns_dtype=["parameter"])


def valley(x, y):
    """Rosenbrock's function of x, and a bowl of y."""
    steep = (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()
    return steep + ((y - 0.5) ** 2 * torch.arange(1.0, 5.0).reshape(2, 2)).sum() + y.sum() * x.sum() / 8


def lbfgs(options, steps):
    x = torch.tensor([-1.25, 1.0, 0.5], requires_grad=True)
    y = torch.tensor([[1.5, -0.5], [0.25, 2.0]], requires_grad=True)
    optimizer = torch.optim.LBFGS([x, y], **options)
    sign = -1 if options.get("maximize") else 1
    rows = []
    for _ in range(steps):
        def closure():
            optimizer.zero_grad()
            loss = sign * valley(x, y)
            loss.backward()
            return loss

        loss = optimizer.step(closure).item()
        evals = optimizer.state[x]["func_evals"]
        rows.append({"loss": loss, "evals": evals, "params": [*x.tolist(), *y.flatten().tolist()]})
    return {"options": options, "rows": rows}


def lbfgs_runs():
    yield lbfgs({"line_search_fn": "strong_wolfe"}, 3)
    yield lbfgs({"line_search_fn": "strong_wolfe", "max_iter": 4}, 6)
    yield lbfgs({"line_search_fn": "strong_wolfe", "max_iter": 1}, 12)
    yield lbfgs({"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 5, "lr": 0.5}, 6)
    yield lbfgs({"line_search_fn": "strong_wolfe", "max_iter": 6, "max_eval": 4, "lr": 3.0}, 8)
    yield lbfgs({"line_search_fn": "strong_wolfe", "maximize": True, "max_iter": 3}, 4)
    yield lbfgs({"line_search_fn": "strong_wolfe", "tolerance_grad": 1e-2, "max_iter": 30}, 3)
    yield lbfgs({"line_search_fn": "strong_wolfe", "tolerance_change": 1e-2, "max_iter": 30}, 5)
    yield lbfgs({"lr": 0.01}, 2)
    yield lbfgs({"lr": 0.1, "max_iter": 3, "history_size": 2}, 6)
    yield lbfgs({"lr": 0.1, "max_iter": 8, "max_eval": 4, "maximize": True}, 3)


def clipping():
    for norm_type in [1.0, 2.0, 3.0, 0.5, 0.0, math.inf, -math.inf]:
        for max_norm in [0.5, 1000.0]:
            tensors = params()
            set_grads(tensors, 2)  # one has none
            total = torch.nn.utils.clip_grad_norm_(tensors, max_norm, norm_type)
            yield {
                "norm_type": str(norm_type), "max_norm": max_norm, "total": total.item(),
                "grads": [None if p.grad is None else p.grad.flatten().tolist() for p in tensors],
            }


def scaler(options, spoilt, steps=14):
    """Which steps have an infinite gradient is given; what the scale and the parameters are after each."""
    tensors = params()
    optimizer = torch.optim.SGD(tensors, lr=0.1, momentum=0.5)
    scaler = torch.amp.GradScaler("cpu", **options)
    scaler.scale(torch.zeros(()))
    rows = []
    for t in range(1, steps + 1):
        set_grads(tensors, t)
        for p in tensors:
            if p.grad is not None:
                p.grad.mul_(scaler.get_scale())
        if t in spoilt:
            tensors[2].grad[3] = math.inf if t % 2 else math.nan
        if t % 3 == 0:
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(tensors, 1.0)
        scaler.step(optimizer)
        scaler.update()
        rows.append({"scale": scaler.get_scale(), "params": [p.flatten().tolist() for p in tensors]})
    state = {k: v for k, v in scaler.state_dict().items()}
    return {"options": options, "spoilt": spoilt, "rows": rows, "state": state}


def scalers():
    yield scaler({}, [2, 3, 7])
    yield scaler({"init_scale": 8.0, "growth_interval": 3}, [4, 9])
    yield scaler({"init_scale": 4.0, "growth_factor": 4.0, "backoff_factor": 0.125, "growth_interval": 2}, [1, 2, 6])
    yield scaler({"init_scale": 2.0**127, "growth_interval": 1}, [5])
    yield scaler({"enabled": False}, [])


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[1.0, -0.5, 0.25], [0.75, 2.0, -1.5]]))
        self.register_buffer("mean", torch.tensor([0.5, 1.5]))
        self.register_buffer("count", torch.tensor(3))


def averages():
    swa = torch.optim.swa_utils
    makes = {
        "swa": lambda m: swa.AveragedModel(m),
        "swa buffers": lambda m: swa.AveragedModel(m, multi_avg_fn=swa.get_swa_multi_avg_fn()),
        "ema": lambda m: swa.AveragedModel(m, multi_avg_fn=swa.get_ema_multi_avg_fn(0.9)),
        "own": lambda m: swa.AveragedModel(m, avg_fn=lambda avg, p, n: avg * 0.75 + p * 0.25 * n),
    }
    for name, make in makes.items():
        model = Net()
        averaged = make(model)
        rows = []
        for t in range(6):
            with torch.no_grad():
                model.weight.mul_(1.25).sub_(t / 8)
                model.mean.add_(t / 4)
                model.count.add_(1)
            averaged.update_parameters(model)
            rows.append([
                averaged.module.weight.flatten().tolist(), averaged.module.mean.tolist(),
                averaged.module.count.item(), averaged.n_averaged.item(),
            ])
        yield {"name": name, "rows": rows, "keys": list(averaged.state_dict())}


def fill(shape, k):
    values = [((37 * i + 11 * k + 5) % 101 - 50) / 100 for i in range(math.prod(shape))]
    return torch.tensor(values).reshape(shape)


class Reader(torch.nn.Module):
    """A recurrent layer whose last output is read."""

    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(3, 5, 2, batch_first=True)
        self.head = torch.nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Attender(torch.nn.Module):
    """A block of a transformer, and the mean over its outputs."""

    def __init__(self):
        super().__init__()
        self.block = torch.nn.TransformerEncoderLayer(
            8, 2, dim_feedforward=16, dropout=0.0, activation="gelu", batch_first=True
        )
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(x).mean(1))


def training(name, model, shape, loss_of, optimizer, scheduler=None, clip=None, steps=20):
    """Three batches in turn; the losses, and what the parameters are in the end."""
    model.train()
    for k, p in enumerate(model.parameters()):
        p.data.copy_(fill(p.shape, k))
    optimizer = optimizer(model.parameters())
    scheduler = scheduler and scheduler(optimizer)
    losses = []
    for t in range(steps):
        loss = loss_of(model(fill(shape, 50 + t % 3)), t % 3)
        optimizer.zero_grad()
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        if scheduler:
            scheduler.step()
        losses.append(loss.item())
    state = {name: p.double().flatten().tolist() for name, p in model.state_dict().items()}
    return {"name": name, "losses": losses, "state": state}


def classes(count, size, batch):
    return torch.tensor([(7 * i + 3 * batch) % size for i in range(count)])


def trainings():
    nn, optim = torch.nn, torch.optim
    yield training(
        "mlp", nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 3)), [5, 4],
        lambda y, b: nn.functional.cross_entropy(y, classes(5, 3, b)),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda o: lrs.StepLR(o, 5, gamma=0.5),
    )
    yield training(
        "cnn",
        nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2),
            nn.SiLU(), nn.Flatten(), nn.Linear(16, 3),
        ),
        [4, 1, 6, 6],
        lambda y, b: nn.functional.cross_entropy(y, classes(4, 3, b)), lambda p: optim.Adam(p, lr=0.01),
    )
    yield training(
        "lstm", Reader(), [3, 7, 3], lambda y, b: nn.functional.mse_loss(y, fill([3, 2], 70 + b)),
        lambda p: optim.RMSprop(p, lr=0.01), clip=0.5,
    )
    yield training(
        "transformer", Attender(), [4, 6, 8],
        lambda y, b: nn.functional.cross_entropy(y, classes(4, 3, b), label_smoothing=0.1),
        lambda p: optim.AdamW(p, lr=0.01), lambda o: lrs.OneCycleLR(o, 0.02, total_steps=21),
    )


def metric(t):
    """Falls, stays, rises."""
    return [10.0, 8.0, 7.5, 7.5, 7.4999, 7.6, 7.7, 7.7, 7.7, 3.0][t % 10] - t / 20


def schedule(name, make, steps=40, optimizer="SGD"):
    tensors = params()
    groups = [{"params": tensors[:2]}, {"params": tensors[2:], "lr": 0.02}]
    extra = {"momentum": 0.5} if optimizer == "SGD" else {}
    opt = getattr(torch.optim, optimizer)(groups, lr=0.1, **extra)
    scheduler = make(opt)
    momentum = lambda g: g["momentum"] if optimizer == "SGD" else g["betas"][0]
    rows = []
    for t in range(steps):
        rows.append([[g["lr"], momentum(g)] for g in opt.param_groups])
        opt.step()
        if isinstance(scheduler, lrs.ReduceLROnPlateau):
            scheduler.step(metric(t))
        else:
            scheduler.step()
        assert scheduler.get_last_lr() == [g["lr"] for g in opt.param_groups]
    return {"name": name, "optimizer": optimizer, "rows": rows}


def schedules():
    yield schedule("lambda", lambda o: lrs.LambdaLR(o, lambda e: 1 / (1 + e)))
    yield schedule("lambda each", lambda o: lrs.LambdaLR(o, [lambda e: 0.95**e, lambda e: 1 + e / 8]))
    yield schedule("multiplicative", lambda o: lrs.MultiplicativeLR(o, lambda e: 1 - 1 / (2 + e)))
    yield schedule("step", lambda o: lrs.StepLR(o, 7))
    yield schedule("step gamma", lambda o: lrs.StepLR(o, 3, gamma=0.7))
    yield schedule("multistep", lambda o: lrs.MultiStepLR(o, [5, 12, 12, 30], gamma=0.3))
    yield schedule("constant", lambda o: lrs.ConstantLR(o))
    yield schedule("constant options", lambda o: lrs.ConstantLR(o, factor=0.3, total_iters=11))
    yield schedule("linear", lambda o: lrs.LinearLR(o))
    yield schedule(
        "linear options", lambda o: lrs.LinearLR(o, start_factor=0.9, end_factor=0.1, total_iters=23)
    )
    yield schedule("exponential", lambda o: lrs.ExponentialLR(o, 0.9))
    yield schedule("polynomial", lambda o: lrs.PolynomialLR(o))
    yield schedule("polynomial options", lambda o: lrs.PolynomialLR(o, total_iters=25, power=2.5))
    yield schedule("cosine", lambda o: lrs.CosineAnnealingLR(o, 10))
    yield schedule("cosine eta_min", lambda o: lrs.CosineAnnealingLR(o, 7, eta_min=0.003))
    yield schedule("warm restarts", lambda o: lrs.CosineAnnealingWarmRestarts(o, 6))
    yield schedule(
        "warm restarts options", lambda o: lrs.CosineAnnealingWarmRestarts(o, 4, T_mult=2, eta_min=0.001)
    )
    for optimizer in ["SGD", "Adam"]:
        yield schedule("cyclic", lambda o: lrs.CyclicLR(o, 0.01, 0.2, step_size_up=5), optimizer=optimizer)
        yield schedule(
            "cyclic triangular2",
            lambda o: lrs.CyclicLR(
                o, [0.01, 0.02], [0.2, 0.1], step_size_up=4, step_size_down=7, mode="triangular2",
                base_momentum=0.6, max_momentum=0.95,
            ),
            optimizer=optimizer,
        )
        yield schedule("one cycle", lambda o: lrs.OneCycleLR(o, 0.3, total_steps=40), optimizer=optimizer)
        yield schedule(
            "one cycle options",
            lambda o: lrs.OneCycleLR(
                o, [0.3, 0.5], epochs=5, steps_per_epoch=8, pct_start=0.4, anneal_strategy="linear",
                base_momentum=0.7, max_momentum=0.9, div_factor=10, final_div_factor=100, three_phase=True,
            ),
            optimizer=optimizer,
        )
    yield schedule(
        "cyclic exp_range",
        lambda o: lrs.CyclicLR(o, 0.01, 0.2, step_size_up=6, mode="exp_range", gamma=0.97, cycle_momentum=False),
    )
    yield schedule(
        "cyclic scale_fn",
        lambda o: lrs.CyclicLR(o, 0.01, 0.2, step_size_up=6, scale_fn=lambda x: 1 / x, scale_mode="cycle"),
    )
    yield schedule(
        "cyclic scale_fn iterations",
        lambda o: lrs.CyclicLR(
            o, 0.01, 0.2, step_size_up=6, scale_fn=lambda x: 1 / (1 + x), scale_mode="iterations"
        ),
    )
    yield schedule("plateau", lambda o: lrs.ReduceLROnPlateau(o, patience=1), steps=60)
    yield schedule(
        "plateau options",
        lambda o: lrs.ReduceLROnPlateau(
            o, mode="max", factor=0.6, patience=2, threshold=0.5, threshold_mode="abs", cooldown=3,
            min_lr=[0.01, 0.005], eps=1e-3,
        ),
        steps=60,
    )
    yield schedule(
        "plateau max rel", lambda o: lrs.ReduceLROnPlateau(o, mode="max", patience=3, threshold=0.1), steps=60
    )
    yield schedule(
        "plateau min abs",
        lambda o: lrs.ReduceLROnPlateau(o, patience=3, threshold=0.2, threshold_mode="abs"), steps=60,
    )
    yield schedule("swa", lambda o: torch.optim.swa_utils.SWALR(o, 0.05))
    yield schedule(
        "swa options",
        lambda o: torch.optim.swa_utils.SWALR(o, [0.5, 0.001], anneal_epochs=7, anneal_strategy="linear"),
    )
    yield schedule("swa at once", lambda o: torch.optim.swa_utils.SWALR(o, 0.05, anneal_epochs=0))
    yield schedule(
        "sequential",
        lambda o: lrs.SequentialLR(
            o,
            [lrs.LinearLR(o, start_factor=0.1, total_iters=5), lrs.CosineAnnealingLR(o, 12), lrs.StepLR(o, 4)],
            [5, 20],
        ),
    )
    yield schedule(
        "sequential others",
        lambda o: lrs.SequentialLR(
            o,
            [
                lrs.ConstantLR(o, factor=0.1, total_iters=3),
                lrs.ExponentialLR(o, 0.9),
                lrs.CosineAnnealingWarmRestarts(o, 5),
                lrs.PolynomialLR(o, total_iters=10, power=2.0),
                lrs.MultiStepLR(o, [2, 4]),
            ],
            [4, 10, 22, 34],
        ),
    )
    yield schedule(
        "sequential lambdas",
        lambda o: lrs.SequentialLR(
            o, [lrs.LambdaLR(o, lambda e: 1 / (2 + e)), lrs.MultiplicativeLR(o, lambda e: 0.9)], [9]
        ),
    )
    yield schedule(
        "chained", lambda o: lrs.ChainedScheduler([lrs.ConstantLR(o, factor=0.1, total_iters=9), lrs.ExponentialLR(o, 0.9)])
    )
    yield schedule(
        "chained cosine",
        lambda o: lrs.ChainedScheduler(
            [lrs.LinearLR(o, total_iters=6), lrs.CosineAnnealingLR(o, 15, eta_min=1e-3), lrs.StepLR(o, 10, gamma=0.5)]
        ),
    )


warnings.simplefilter("ignore")
write("optimizers.json.gz", list(optimizers()))
write("training.json.gz", list(trainings()))
write("scalers.json.gz", list(scalers()))
write("averages.json.gz", list(averages()))
write("lbfgs.json.gz", list(lbfgs_runs()))
write("clipping.json.gz", list(clipping()))
write("schedulers.json.gz", list(schedules()))
