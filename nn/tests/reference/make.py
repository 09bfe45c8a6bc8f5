"""Makes layers.json.gz and init.json.gz: what PyTorch's layers, losses and initialisers give, in float64;
and linear.safetensors, a file of PyTorch's.

    pip install torch numpy safetensors
    python nn/tests/reference/make.py

The tests read only the tables. Inputs, parameters and the gradients that flow back are exact fractions,
computed alike on both sides; see `fill` and its twin in tests/pytorch/main.rs.
"""

import gzip
import json
import math
import pathlib
import warnings

import torch
from safetensors.torch import save_file
from torch import nn

HERE = pathlib.Path(__file__).parent


def fill(shape, k):
    """The k-th tensor of a case."""
    values = [((37 * i + 11 * k + 5) % 101 - 50) / 40 for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def unit(shape, k):
    """Like fill, between 0 and 1."""
    return (fill(shape, k) * 40 + 51) / 103


def make_input(spec, k):
    """A shape; or {"unit": shape}; or {"below": n, "shape": shape}, indices. What is not the first input
    has a gradient only if it is a plain shape."""
    if isinstance(spec, list):
        return fill(spec, k).requires_grad_()
    if "unit" in spec:
        return unit(spec["unit"], k).requires_grad_(k == 0)
    count = math.prod(spec["shape"])
    return torch.tensor([(7 * i + 3) % spec["below"] for i in range(count)]).reshape(spec["shape"])


def pack(tensor):
    if tensor is None:
        return None
    return {"shape": list(tensor.shape), "data": tensor.detach().double().flatten().tolist()}


def flat(*results):
    """All tensors of nested results as one row."""
    parts = [part for result in results for part in (result if isinstance(result, tuple) else [result])]
    if any(isinstance(part, tuple) for part in parts):
        return flat(*parts)
    return torch.cat([part.flatten() for part in parts])


def packed(m, x, lengths):
    """Sequences of several lengths through a recurrent layer."""
    packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    y, state = m(packed)
    return flat(nn.utils.rnn.pad_packed_sequence(y, padding_value=0.5)[0], state)


def unpooled(x, m):
    """Maxima of the windows that `m` puts back."""
    return nn.functional.max_pool2d(x, m.kernel_size, m.stride, m.padding, return_indices=True)


def case(name, inputs, call=None):
    """Runs the layer or loss `m` that the text `name` makes on the tensors `x`, as the text `call` says."""
    module = eval("nn." + name).double()
    for k, p in enumerate(module.parameters()):
        p.data.copy_(fill(p.shape, k + 10))
    for k, (path, buffer) in enumerate(module.named_buffers()):
        if path.endswith(("._u", "._v")):
            buffer.copy_(nn.functional.normalize(fill(buffer.shape, k + 70), dim=0))
    tensors = [make_input(spec, k) for k, spec in enumerate(inputs)]
    run = eval("lambda m, x: " + (call or "m(*x)"))
    output = run(module, tensors)
    if output.requires_grad:
        output.backward(fill(output.shape, 50))
    row = {
        "name": f"{name}: {call}" if call else name,
        "repr": repr(module).replace("NonDynamicallyQuantizable", ""),
        "inputs": inputs,
        "output": pack(output),
        "grads": [pack(x.grad) if x.requires_grad else None for x in tensors],
        "params": {name: pack(p.grad) for name, p in module.named_parameters()},
        # Random numbers that are given are no buffer here.
        "buffers": {name: pack(b) for name, b in module.named_buffers() if name != "_random_samples"},
    }
    if row["buffers"]:
        module.eval()
        row["eval"] = pack(run(module, tensors))
    return row


LAYERS = [
    ("Linear(5, 3)", [[2, 4, 5]]),
    ("Linear(5, 3, bias=False)", [[5]]),
    ("Identity()", [[2, 3]]),
    ("Flatten()", [[2, 3, 2, 2]]),
    ("Flatten(0, 1)", [[2, 3, 4]]),
    ("Unflatten(1, (2, 3))", [[2, 6, 2]]),
    ("Conv1d(3, 4, 3)", [[2, 3, 7]]),
    ("Conv1d(4, 6, 2, stride=2, padding=3, dilation=2, groups=2, bias=False)", [[2, 4, 7]]),
    ("Conv1d(2, 3, 4, padding='same', dilation=2)", [[2, 2, 8]]),
    ("Conv1d(2, 3, 3, padding=2, padding_mode='circular')", [[2, 2, 5]]),
    ("Conv2d(3, 4, 3)", [[2, 3, 5, 6]]),
    ("Conv2d(3, 5, 2)", [[3, 5, 6]]),
    ("Conv2d(4, 6, (2, 3), stride=(2, 1), padding=(1, 2), dilation=(2, 1), groups=2)", [[2, 4, 5, 4]]),
    ("Conv2d(2, 2, 3, padding=1, padding_mode='reflect')", [[1, 2, 4, 5]]),
    ("Conv2d(2, 2, 3, padding=(1, 2), padding_mode='replicate')", [[1, 2, 4, 3]]),
    ("Conv2d(4, 4, 3, groups=4, padding='same', bias=False)", [[1, 4, 4, 3]]),
    ("Conv3d(2, 3, 2, stride=(1, 2, 1), padding=(0, 1, 0))", [[2, 2, 3, 3, 4]]),
    ("MaxPool1d(3)", [[2, 3, 8]]),
    ("MaxPool1d(3, stride=2, padding=1, dilation=2, ceil_mode=True)", [[2, 2, 9]]),
    ("MaxPool2d(2)", [[2, 3, 5, 6]]),
    ("MaxPool2d((3, 2), stride=(2, 1), padding=1)", [[2, 2, 5, 4]]),
    ("MaxPool2d(2, ceil_mode=True)", [[2, 5, 5]]),
    ("MaxPool3d(2, stride=1)", [[1, 2, 3, 3, 4]]),
    ("AvgPool1d(2)", [[2, 3, 7]]),
    ("AvgPool2d(3, stride=2, padding=1)", [[2, 2, 5, 6]]),
    ("AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)", [[2, 2, 6, 6]]),
    ("AvgPool2d((2, 3), divisor_override=5)", [[2, 2, 4, 6]]),
    ("AvgPool3d(2)", [[2, 2, 2, 4, 3]]),
    ("AdaptiveAvgPool1d(3)", [[2, 2, 7]]),
    ("AdaptiveAvgPool2d(1)", [[2, 3, 4, 5]]),
    ("AdaptiveAvgPool2d((2, 3))", [[2, 2, 5, 7]]),
    ("AdaptiveAvgPool3d(2)", [[1, 2, 3, 4, 5]]),
    ("AdaptiveMaxPool1d(3)", [[2, 2, 7]]),
    ("AdaptiveMaxPool1d(5)", [[2, 3]]),
    ("AdaptiveMaxPool2d(2)", [[2, 3, 4, 6]]),
    ("AdaptiveMaxPool2d((2, 3))", [[2, 2, 5, 7]]),
    ("AdaptiveMaxPool3d((1, 3, 2))", [[1, 2, 3, 4, 5]]),
    ("BatchNorm1d(4)", [[5, 4]]),
    ("BatchNorm1d(3)", [[2, 3, 4]]),
    ("BatchNorm2d(3, eps=0.01, momentum=0.3)", [[2, 3, 2, 4]]),
    ("BatchNorm2d(3, momentum=None, affine=False)", [[2, 3, 2, 4]]),
    ("BatchNorm2d(3, track_running_stats=False)", [[2, 3, 2, 4]]),
    ("BatchNorm3d(2)", [[2, 2, 2, 3, 2]]),
    ("LayerNorm(5)", [[2, 3, 5]]),
    ("LayerNorm((3, 4), eps=0.1)", [[2, 3, 4]]),
    ("LayerNorm(4, elementwise_affine=False)", [[3, 4]]),
    ("LayerNorm(4, bias=False)", [[3, 4]]),
    ("Embedding(6, 3)", [{"below": 6, "shape": [2, 5]}]),
    ("Embedding(6, 3, padding_idx=2)", [{"below": 6, "shape": [2, 5]}]),
    ("Embedding(6, 3, max_norm=1.5, norm_type=1.0)", [{"below": 6, "shape": [4]}]),
    ("ReLU()", [[3, 37]]),
    ("ReLU6()", [[3, 5]]),
    ("LeakyReLU()", [[3, 5]]),
    ("LeakyReLU(negative_slope=0.2)", [[3, 5]]),
    ("ELU()", [[3, 5]]),
    ("ELU(alpha=0.7)", [[3, 5]]),
    ("SELU()", [[3, 5]]),
    ("CELU(alpha=0.6)", [[3, 5]]),
    ("GELU()", [[3, 5]]),
    ("GELU(approximate='tanh')", [[3, 5]]),
    ("SiLU()", [[3, 5]]),
    ("Mish()", [[3, 5]]),
    ("Sigmoid()", [[3, 5]]),
    ("Tanh()", [[3, 5]]),
    ("Softplus()", [[3, 5]]),
    ("Softplus(beta=2.0, threshold=1.5)", [[3, 5]]),
    ("Softsign()", [[3, 5]]),
    ("Softshrink()", [[3, 37]]),
    ("Hardshrink(lambd=0.3)", [[3, 37]]),
    ("Tanhshrink()", [[3, 5]]),
    ("Threshold(0.1, 0.5)", [[3, 5]]),
    ("Hardtanh()", [[3, 37]]),
    ("Hardtanh(min_val=-0.5, max_val=0.25)", [[3, 37]]),
    ("Hardswish()", [[3, 5]]),
    ("Hardsigmoid()", [[3, 5]]),
    ("LogSigmoid()", [[3, 5]]),
    ("Softmax(dim=1)", [[2, 4, 3]]),
    ("Softmin(dim=0)", [[4, 3]]),
    ("LogSoftmax(dim=-1)", [[2, 3, 4]]),
    ("GLU()", [[3, 6]]),
    ("GLU(dim=1)", [[2, 4, 3]]),
    ("Softmax2d()", [[2, 3, 2, 2]]),
    ("ConvTranspose1d(3, 4, 3)", [[2, 3, 5]]),
    ("ConvTranspose2d(4, 6, (2, 3), stride=2, padding=(0, 1), output_padding=1, groups=2)", [[2, 4, 3, 4]]),
    ("ConvTranspose2d(2, 3, 3, dilation=2, bias=False)", [[2, 4, 3]]),
    ("ConvTranspose3d(2, 3, 2, stride=(1, 2, 1))", [[1, 2, 2, 3, 2]]),
    ("GroupNorm(2, 4)", [[3, 4, 5]]),
    ("GroupNorm(3, 6, eps=0.1, affine=False)", [[2, 6, 2, 3]]),
    ("GroupNorm(1, 4, bias=False)", [[3, 4]]),
    ("RMSNorm(5)", [[2, 3, 5]]),
    ("RMSNorm((3, 4), eps=0.1, elementwise_affine=False)", [[2, 3, 4]]),
    ("InstanceNorm1d(3)", [[2, 3, 4]]),
    ("InstanceNorm2d(3, eps=0.1, momentum=0.3, affine=True, track_running_stats=True)", [[2, 3, 2, 4]]),
    ("InstanceNorm3d(2, affine=True)", [[2, 2, 3, 2]]),
    ("LocalResponseNorm(3, alpha=0.5, beta=0.7, k=2.0)", [[2, 5, 3]]),
    ("LocalResponseNorm(2)", [[2, 5, 3, 2]]),
    ("ZeroPad1d(2)", [[2, 3, 4]]),
    ("ZeroPad2d((1, 0, 2, -1))", [[2, 3, 4]]),
    ("ZeroPad3d(1)", [[1, 2, 3, 2, 2]]),
    ("ConstantPad1d((1, 2), 3.5)", [[2, 3, 4]]),
    ("ConstantPad2d(1, -0.5)", [[2, 1, 3, 4]]),
    ("ReflectionPad1d((1, 2))", [[2, 3, 4]]),
    ("ReflectionPad2d(1)", [[2, 3, 4, 3]]),
    ("ReplicationPad2d((1, 2, 0, 3))", [[2, 3, 4, 3]]),
    ("ReplicationPad3d(1)", [[1, 2, 3, 2, 2]]),
    ("CircularPad1d((3, 1))", [[2, 3, 4]]),
    ("CircularPad2d(2)", [[2, 1, 3, 4]]),
    ("Upsample(scale_factor=2)", [[2, 3, 4]]),
    ("Upsample(size=5)", [[2, 3, 7]]),
    ("Upsample(size=7, mode='nearest-exact')", [[1, 2, 3]]),
    ("Upsample(scale_factor=1.7, mode='linear')", [[2, 3, 4]]),
    ("Upsample(size=3, mode='linear', align_corners=True)", [[2, 3, 7]]),
    ("Upsample(size=(3, 7), mode='bilinear')", [[2, 3, 4, 5]]),
    ("Upsample(scale_factor=(2, 3), mode='bilinear', align_corners=True)", [[2, 1, 4, 3]]),
    ("Upsample(size=(7, 3), mode='bicubic')", [[2, 1, 4, 5]]),
    ("Upsample(size=(6, 8), mode='bicubic', align_corners=True)", [[1, 2, 4, 5]]),
    ("Upsample(size=(3, 4, 5), mode='trilinear')", [[1, 2, 2, 3, 4]]),
    ("Upsample(size=(3, 2), mode='area')", [[2, 1, 4, 5]]),
    ("PixelShuffle(2)", [[2, 8, 3, 2]]),
    ("PixelUnshuffle(2)", [[2, 2, 4, 6]]),
    ("ChannelShuffle(2)", [[2, 6, 3]]),
    ("Unfold((2, 3), dilation=(2, 1), padding=1, stride=2)", [[2, 3, 5, 6]]),
    ("Fold((4, 5), 2, padding=1)", [[2, 8, 30]]),
    ("Fold((4, 5), (2, 3), dilation=(2, 1), stride=(1, 2))", [[12, 4]]),
    ("LPPool1d(2, 3, stride=2)", [{"unit": [2, 3, 8]}]),
    ("LPPool2d(3, (2, 3), ceil_mode=True)", [{"unit": [2, 1, 5, 6]}]),
    ("PReLU()", [[2, 3, 4]]),
    ("PReLU(num_parameters=3)", [[2, 3, 4]]),
]


LOSSES = [
    (f"{loss}({options})", [[3, 4], [3, 4]])
    for loss in ["MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"]
    for options in ["", "reduction='sum'", "reduction='none'"]
] + [
    ("SmoothL1Loss(beta=0.3)", [[3, 4], [3, 4]]),
    ("SmoothL1Loss(beta=0.0)", [[3, 4], [3, 4]]),
    ("HuberLoss(delta=0.4)", [[3, 4], [3, 4]]),
    ("BCELoss()", [{"unit": [3, 4]}, {"unit": [3, 4]}]),
    ("BCELoss(weight=unit([4], 90), reduction='none')", [{"unit": [3, 4]}, {"unit": [3, 4]}]),
    ("BCEWithLogitsLoss()", [[3, 4], {"unit": [3, 4]}]),
    (
        "BCEWithLogitsLoss(weight=unit([3, 1], 90), pos_weight=unit([4], 91), reduction='sum')",
        [[3, 4], {"unit": [3, 4]}],
    ),
    ("CrossEntropyLoss()", [[6, 5], {"below": 5, "shape": [6]}]),
    ("CrossEntropyLoss(reduction='sum')", [[6, 5], {"below": 5, "shape": [6]}]),
    ("CrossEntropyLoss(weight=unit([5], 90))", [[6, 5], {"below": 5, "shape": [6]}]),
    ("CrossEntropyLoss(ignore_index=3, reduction='none')", [[6, 5], {"below": 5, "shape": [6]}]),
    (
        "CrossEntropyLoss(weight=unit([5], 90), ignore_index=3, label_smoothing=0.2)",
        [[6, 5], {"below": 5, "shape": [6]}],
    ),
    ("CrossEntropyLoss(label_smoothing=0.1)", [[2, 3, 4, 2], {"below": 3, "shape": [2, 4, 2]}]),
    ("CrossEntropyLoss(label_smoothing=0.3)", [[5], {"below": 5, "shape": []}]),
    ("NLLLoss()", [[6, 5], {"below": 5, "shape": [6]}]),
    ("NLLLoss(weight=unit([5], 90), ignore_index=1)", [[6, 5], {"below": 5, "shape": [6]}]),
    ("NLLLoss(reduction='none')", [[2, 3, 4], {"below": 3, "shape": [2, 4]}]),
    ("KLDivLoss()", [[3, 4], {"unit": [3, 4]}]),
    ("KLDivLoss(reduction='batchmean')", [[3, 4], {"unit": [3, 4]}]),
    ("KLDivLoss(reduction='sum', log_target=True)", [[3, 4], [3, 4]]),
    ("PoissonNLLLoss()", [[3, 4], {"unit": [3, 4]}]),
    (
        "PoissonNLLLoss(log_input=False, full=True)",
        [{"unit": [3, 4]}, {"below": 6, "shape": [3, 4]}],
        "m(x[0], x[1].double())",
    ),
    ("GaussianNLLLoss()", [[3, 4], [3, 4], {"unit": [3, 4]}]),
    ("GaussianNLLLoss(full=True, eps=0.3, reduction='sum')", [[3, 4], [3, 4], {"unit": [3, 1]}]),
    ("SoftMarginLoss()", [[3, 4], {"unit": [3, 4]}]),
    ("MultiLabelSoftMarginLoss()", [[3, 4], {"unit": [3, 4]}]),
    ("MultiLabelSoftMarginLoss(weight=unit([4], 90), reduction='sum')", [[3, 4], {"unit": [3, 4]}]),
    ("MultiMarginLoss()", [[6, 5], {"below": 5, "shape": [6]}]),
    (
        "MultiMarginLoss(p=2, margin=0.7, weight=unit([5], 90), reduction='none')",
        [[6, 5], {"below": 5, "shape": [6]}],
    ),
    ("MultiMarginLoss()", [[5], {"below": 5, "shape": []}], "m(x[0], x[1]) * 2"),
    ("MultiLabelMarginLoss()", [[6, 5], {"below": 5, "shape": [6, 5]}], "m(x[0], x[1] - 1)"),
    (
        "MultiLabelMarginLoss(reduction='none')",
        [[6, 5], {"below": 4, "shape": [6, 5]}],
        "m(x[0], x[1] - 1)",
    ),
    ("HingeEmbeddingLoss()", [[3, 4], {"below": 2, "shape": [3, 4]}], "m(x[0], 2.0 * x[1] - 1)"),
    ("HingeEmbeddingLoss(margin=0.4)", [[3, 4], {"below": 2, "shape": [3, 4]}], "m(x[0], 2.0 * x[1] - 1)"),
    ("MarginRankingLoss(margin=0.3)", [[7], [7], {"below": 2, "shape": [7]}], "m(x[0], x[1], 2.0 * x[2] - 1)"),
    ("CosineEmbeddingLoss(margin=0.1)", [[6, 4], [6, 4], {"below": 2, "shape": [6]}], "m(x[0], x[1], 2.0 * x[2] - 1)"),
    ("TripletMarginLoss()", [[6, 4], [6, 4], [6, 4]]),
    ("TripletMarginLoss(margin=0.5, p=1.0, swap=True, reduction='none')", [[6, 4], [6, 4], [6, 4]]),
    ("CosineSimilarity()", [[3, 4], [3, 4]]),
    ("CosineSimilarity(dim=-1, eps=0.5)", [[2, 3, 4], [2, 3, 4]]),
    ("PairwiseDistance()", [[3, 4], [3, 4]]),
    ("PairwiseDistance(p=1.0, keepdim=True)", [[3, 4], [3, 4]]),
    (
        "CTCLoss()",
        [[7, 3, 5], {"below": 4, "shape": [3, 3]}],
        "m(x[0].log_softmax(2), x[1] + 1, (7, 5, 6), (3, 1, 0))",
    ),
    (
        "CTCLoss(blank=4, reduction='none', zero_infinity=True)",
        [[6, 3, 5], {"below": 2, "shape": [7]}],
        "m(x[0].log_softmax(2), x[1], (6, 4, 2), (3, 1, 3))",
    ),
    ("CTCLoss(reduction='sum')", [[6, 5], {"below": 4, "shape": [3]}], "m(x[0].log_softmax(1), x[1] + 1, (6,), (3,))"),
    ("Bilinear(3, 4, 5)", [[2, 3], [2, 4]]),
    ("Bilinear(3, 4, 2, bias=False)", [[2, 2, 3], [2, 2, 4]]),
]


STEPS = [[5, 2, 3]]
QKV = [[5, 2, 8], [4, 2, 8], [4, 2, 8]]
MASKED = [[2, 5, 8], {"below": 3, "shape": [2, 5]}, {"below": 4, "shape": [5, 5]}]
ENCODER = "TransformerEncoderLayer(8, 2, 12, dropout=0.0"
DECODER = "TransformerDecoderLayer(8, 2, 12, dropout=0.0"

CALLS = [
    (
        "FractionalMaxPool2d(2, output_size=(3, 4), return_indices=True, _random_samples=unit([2, 3, 2], 60))",
        [[2, 3, 7, 9]],
        "flat(m(x[0])[0], m(x[0])[1].double())",
    ),
    (
        "FractionalMaxPool2d((3, 2), output_ratio=(0.5, 0.4), return_indices=True, _random_samples=unit([1, 2, 2], 60))",
        [[1, 2, 8, 5]],
        "flat(m(x[0])[0], m(x[0])[1].double())",
    ),
    (
        "FractionalMaxPool3d(2, output_size=(2, 1, 3), return_indices=True, _random_samples=unit([2, 2, 3], 60))",
        [[2, 2, 4, 3, 6]],
        "flat(m(x[0])[0], m(x[0])[1].double())",
    ),
    (
        "AdaptiveLogSoftmaxWithLoss(6, 10, [3, 7], div_value=2.0)",
        [[5, 6], {"below": 10, "shape": [5]}],
        "flat(m(x[0], x[1])[0], m(x[0], x[1])[1], m.log_prob(x[0]))",
    ),
    (
        "AdaptiveLogSoftmaxWithLoss(6, 9, [4], head_bias=True)",
        [[4, 6], {"below": 5, "shape": [4]}],
        "flat(m(x[0], x[1])[0], m(x[0], x[1])[1], m.predict(x[0]).double())",
    ),
    ("utils.parametrizations.weight_norm(nn.Linear(5, 3))", [[2, 5]]),
    ("utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 2), dim=None)", [[2, 2, 3, 4]]),
    ("utils.parametrizations.spectral_norm(nn.Linear(5, 3))", [[2, 5]]),
    ("utils.parametrizations.spectral_norm(nn.Conv1d(2, 3, 2), n_power_iterations=2, dim=1)", [[2, 2, 4]]),
    ("MaxUnpool1d(2)", [[2, 3, 4], {"below": 8, "shape": [2, 3, 4]}], "m(x[0], 2 * torch.arange(4).expand(2, 3, 4) + x[1] % 2)"),
    ("MaxUnpool2d((2, 3), stride=(2, 3), padding=(1, 0))", [[1, 5, 6]], "m(*unpooled(x[0], m), output_size=(5, 6))"),
    ("EmbeddingBag(6, 3)", [{"below": 6, "shape": [2, 5]}]),
    ("EmbeddingBag(6, 3, mode='sum', padding_idx=3)", [{"below": 6, "shape": [9]}, [9]], "m(x[0], torch.tensor([0, 4, 4]), x[1])"),
    (
        "EmbeddingBag(6, 3, mode='max', include_last_offset=True)",
        [{"below": 6, "shape": [9]}],
        "m(x[0], torch.tensor([0, 4, 4, 9]))",
    ),
    ("EmbeddingBag(6, 3, padding_idx=3)", [{"below": 6, "shape": [9]}], "m(x[0], torch.tensor([0, 4, 5]))"),
    ("RNN(3, 4)", STEPS, "flat(m(x[0]))"),
    ("RNN(3, 4, 2, 'relu', bidirectional=True)", [[5, 2, 3], [4, 2, 4]], "flat(m(x[0], x[1]))"),
    ("LSTM(3, 4)", STEPS, "flat(m(x[0]))"),
    ("LSTM(3, 4)", [[5, 3]], "flat(m(x[0]), 0 * x[0])"),
    (
        "LSTM(3, 4, 2, batch_first=True, bidirectional=True)",
        [[2, 5, 3], [4, 2, 4], [4, 2, 4]],
        "flat(m(x[0], (x[1], x[2])))",
    ),
    ("LSTM(3, 4, bias=False, bidirectional=True, proj_size=2)", STEPS, "flat(m(x[0]))"),
    ("LSTM(3, 4, 2, bidirectional=True)", [[5, 3, 3]], "packed(m, x[0], [2, 5, 3])"),
    ("GRU(3, 4)", STEPS, "flat(m(x[0]))"),
    ("GRU(3, 4, 2, bidirectional=True)", [[5, 2, 3], [4, 2, 4]], "flat(m(x[0], x[1]))"),
    ("GRU(3, 4, bidirectional=True)", [[5, 3, 3]], "packed(m, x[0], [2, 5, 3])"),
    ("RNNCell(3, 4)", [[2, 3]], "flat(m(x[0]))"),
    ("RNNCell(3, 4, nonlinearity='relu')", [[2, 3], [2, 4]], "flat(m(x[0], x[1]))"),
    ("LSTMCell(3, 4)", [[2, 3], [2, 4], [2, 4]], "flat(m(x[0], (x[1], x[2])))"),
    ("LSTMCell(3, 4)", [[3]], "flat(m(x[0]))"),
    ("GRUCell(3, 4, bias=False)", [[2, 3], [2, 4]], "flat(m(x[0], x[1]))"),
    ("MultiheadAttention(8, 2)", QKV, "flat(m(*x))"),
    ("MultiheadAttention(8, 2)", [[5, 8]], "flat(m(x[0], x[0], x[0]))"),
    (
        "MultiheadAttention(8, 2, bias=False, add_bias_kv=True, add_zero_attn=True, batch_first=True)",
        MASKED,
        "flat(m(x[0], x[0], x[0], x[1].eq(0), True, x[2].eq(0), False))",
    ),
    ("MultiheadAttention(6, 3, kdim=4, vdim=5)", [[5, 2, 6], [4, 2, 4], [4, 2, 5]], "flat(m(*x))"),
    ("MultiheadAttention(8, 4)", QKV, "m(*x, need_weights=False)[0]"),
    (
        "MultiheadAttention(8, 4, batch_first=True)",
        MASKED,
        "m(x[0], x[0], x[0], x[1].eq(0), False, x[2].eq(0))[0]",
    ),
    (f"{ENCODER})", [[5, 2, 8]], "m(x[0])"),
    (
        f"{ENCODER}, activation='gelu', batch_first=True, norm_first=True, bias=False)",
        MASKED,
        "m(x[0], x[2].eq(0), x[1].eq(0))",
    ),
    (f"{DECODER})", [[5, 2, 8], [4, 2, 8]], "m(x[0], x[1])"),
    (
        f"{DECODER}, norm_first=True)",
        [[5, 2, 8], [4, 2, 8]],
        "m(x[0], x[1], nn.Transformer.generate_square_subsequent_mask(5))",
    ),
    (f"TransformerEncoder(nn.{ENCODER}), 2, nn.LayerNorm(8))", [[5, 2, 8]], "m(x[0])"),
    (f"TransformerDecoder(nn.{DECODER}), 2)", [[5, 2, 8], [4, 2, 8]], "m(x[0], x[1])"),
    ("Transformer(8, 2, 1, 2, 12, 0.0)", [[5, 2, 8], [4, 2, 8]], "m(x[0], x[1])"),
]


# Functions, which take no layer.
FUNCTIONS = [
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bilinear', 'zeros', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bilinear', 'zeros', True)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bilinear', 'border', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bilinear', 'border', True)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bilinear', 'reflection', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bilinear', 'reflection', True)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'nearest', 'zeros', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'nearest', 'zeros', True)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'nearest', 'border', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'nearest', 'border', True)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'nearest', 'reflection', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'nearest', 'reflection', True)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bicubic', 'zeros', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bicubic', 'zeros', True)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bicubic', 'border', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bicubic', 'border', True)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bicubic', 'reflection', False)"),
    ("Identity()", [[2, 3, 4, 5], [2, 3, 2, 2]], "nn.functional.grid_sample(x[0], 1.3 * x[1], 'bicubic', 'reflection', True)"),
    ("Identity()", [[2, 2, 3, 4, 2], [2, 2, 1, 3, 3]], "nn.functional.grid_sample(x[0], 1.2 * x[1], 'bilinear', 'reflection', False)"),
    ("Identity()", [[2, 2, 3, 4, 2], [2, 2, 1, 3, 3]], "nn.functional.grid_sample(x[0], 1.2 * x[1], 'nearest', 'reflection', False)"),
    ("Identity()", [[2, 2, 3]], "nn.functional.affine_grid(x[0], (2, 1, 3, 4), False)"),
    ("Identity()", [[2, 3, 4]], "nn.functional.affine_grid(x[0], (2, 1, 2, 1, 3), False)"),
    ("Identity()", [[2, 2, 3]], "nn.functional.affine_grid(x[0], (2, 1, 3, 4), True)"),
    ("Identity()", [[2, 3, 4]], "nn.functional.affine_grid(x[0], (2, 1, 2, 1, 3), True)"),
    ("Identity()", [[4, 3]], "nn.functional.pdist(x[0])"),
    ("Identity()", [[4, 3]], "nn.functional.pdist(x[0], 3)"),
    ("Identity()", [[2, 3], [2, 4], [5, 3, 4], [5]], "nn.functional.bilinear(*x)"),
    ("Identity()", [[2, 4, 5]], "nn.functional.local_response_norm(x[0], 3, 0.5, 0.7, 2.0)"),
    ("Identity()", [[2, 2, 5, 6]], "nn.functional.max_pool2d(x[0], 3, 2, 1, ceil_mode=True)"),
    ("Identity()", [[2, 2, 5, 6]], "nn.functional.avg_pool2d(x[0], (2, 3), padding=1, count_include_pad=False)"),
    ("Identity()", [[2, 2, 5]], "nn.functional.lp_pool1d(x[0], 2, 3, 1)"),
    ("Identity()", [[2, 2, 3, 4, 5]], "nn.functional.adaptive_avg_pool3d(x[0], (2, 2, 3))"),
]


def start(name):
    """The spread of the parameters of a new layer."""
    torch.manual_seed(0)
    module = eval("nn." + name)
    return {"name": name, "params": {name: spread(p) for name, p in module.named_parameters()}}


def initialised(name):
    torch.manual_seed(0)
    weight = torch.empty(60, 40, 5)
    eval("nn.init." + name.replace("(", "(weight, ").replace(", )", ")"))
    return {"name": name, "spread": spread(weight)}


def spread(x):
    """Mean, standard deviation and the largest magnitude."""
    return [x.mean().item(), x.std(correction=0).item(), x.abs().max().item()]


STARTS = [
    "Linear(300, 400)", "Conv1d(30, 60, 7)", "Conv2d(20, 60, (3, 5), groups=4)", "Conv3d(8, 50, 3)",
    "Bilinear(20, 30, 40)", "Embedding(200, 90)", "BatchNorm2d(7)", "LayerNorm(9)", "PReLU(5)",
    "ConvTranspose2d(20, 60, (3, 5), groups=4)", "EmbeddingBag(200, 90)", "LSTM(60, 80)",
    "GRUCell(60, 80)", "MultiheadAttention(120, 4, add_bias_kv=True)",
    "Transformer(60, 4, 1, 1, 100)",
]
INITS = [
    "uniform_(-0.5, 1.5)", "normal_(0.5, 2.0)", "constant_(0.3)", "ones_()", "zeros_()",
    "xavier_uniform_()", "xavier_uniform_(gain=2.0)", "xavier_normal_()", "kaiming_uniform_()",
    "kaiming_uniform_(a=0.5, mode='fan_out')", "kaiming_uniform_(nonlinearity='relu')",
    "kaiming_normal_()", "kaiming_normal_(mode='fan_out', nonlinearity='tanh')",
]


def write(name, rows):
    text = json.dumps(rows, separators=(",", ":"), allow_nan=False)
    (HERE / name).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


warnings.simplefilter("ignore")
write("layers.json.gz", [case(*row) for row in LAYERS + LOSSES + CALLS + FUNCTIONS])
write("init.json.gz", {"layers": list(map(start, STARTS)), "functions": list(map(initialised, INITS))})
linear = {"weight": torch.arange(6.0).reshape(3, 2) / 2, "bias": torch.tensor([-1.0, 0.0, 1.0])}
save_file(linear, HERE / "linear.safetensors", metadata={"format": "pt"})
