"""Makes indexing.txt.gz and einsum.txt.gz: random index expressions and equations, and what PyTorch gives for them.

    python3 make.py

Each line is a case: the sizes of x = arange(…), the index, `read`, `write` or `add`, the sizes of the result, the
elements. Items of an index are separated by `;`:

    i-1        a position                  s1:3:2     a slice, empty where Python has it so
    n          None                        e          ...
    b1         True                        t2x1:0,-1  an index tensor of sizes 2x1
    m2x3:01..  a mask of sizes 2x3

A line of the second is an equation, and the sizes of each operand, which has 0, 1, 2, 0, 1, … for elements, and of
the result; then the result's elements.

`write` is x[index] = arange(…) − 100 in the shape of x[index]; `add` is index_put_ with accumulate of the same.
"""

import gzip
import random
from pathlib import Path

import torch

SIZES = [2, 3, 4, 5]


def sizes(shape):
    return "x".join(map(str, shape))


def draw(rng, shape):
    """An index of a tensor of this shape: as Python has it, and as text."""
    items, text, dim, dots = [], [], 0, False
    # One shape for all index tensors, of which each may have parts.
    common = [rng.choice([1, 2, 3]) for _ in range(rng.choice([0, 1, 1, 2]))]
    wanted = rng.randint(0, len(shape))
    while dim < wanted or rng.random() < 0.15:
        kind = rng.choice("iissssttttmmneb" if dim < wanted else "neb")
        left = len(shape) - dim
        if kind == "n":
            items.append(None)
            text.append("n")
        elif kind == "b":
            on = rng.random() < 0.8
            items.append(on)
            text.append(f"b{int(on)}")
        elif kind == "e":
            if dots:
                continue
            dots = True
            items.append(...)
            text.append("e")
            # What follows indexes the last dims.
            skipped = rng.randint(0, max(left - (wanted - dim), 0))
            dim, wanted = dim + skipped, min(wanted + skipped, len(shape))
            after = wanted - dim
            dim, wanted = len(shape) - after, len(shape)
        elif kind == "i":
            at = rng.randrange(-shape[dim], shape[dim])
            items.append(at)
            text.append(f"i{at}")
            dim += 1
        elif kind == "s":
            bound = lambda: rng.choice([None, rng.randint(-shape[dim] - 1, shape[dim] + 1)])
            start, end, step = bound(), bound(), rng.choice([None, 1, 2, 3])
            items.append(slice(start, end, step))
            text.append("s" + ":".join("" if v is None else str(v) for v in (start, end, step)))
            dim += 1
        elif kind == "t":
            own = [1 if rng.random() < 0.3 else n for n in common]
            own = own[rng.randint(0, len(own)) :] if rng.random() < 0.2 else own
            count = 1
            for n in own:
                count *= n
            values = [rng.randrange(-shape[dim], shape[dim]) for _ in range(count)]
            items.append(torch.tensor(values).reshape(own))
            text.append(f"t{sizes(own)}:{','.join(map(str, values))}")
            dim += 1
        elif kind == "m":
            rank = rng.randint(1, min(2, wanted - dim))
            own = shape[dim : dim + rank]
            mask = torch.tensor([rng.random() < 0.5 for _ in range(torch.Size(own).numel())]).reshape(own)
            items.append(mask)
            text.append(f"m{sizes(own)}:{''.join(str(int(v)) for v in mask.flatten().tolist())}")
            dim += rank
    return tuple(items), ";".join(text)


def pack(name, lines):
    data = "".join(line + "\n" for line in lines).encode()
    Path(__file__).with_name(name).write_bytes(gzip.compress(data, 9, mtime=0))
    print(len(lines), "cases,", len(data), "bytes")


def indexing():
    rng = random.Random(7)
    lines, seen = [], set()
    while len(lines) < 1500:
        shape = rng.sample(SIZES, rng.randint(1, 4))
        x = torch.arange(torch.Size(shape).numel()).reshape(shape)
        index, text = draw(rng, shape)
        how = rng.choice(["read", "read", "write", "add"])
        if text in seen or not index:
            continue
        try:
            read = x[index]
        except IndexError:
            # Masks and index tensors that do not broadcast together.
            continue
        seen.add(text)
        value = torch.arange(read.numel()).reshape(read.shape) - 100
        tensors = any(isinstance(item, (torch.Tensor, bool)) for item in index)
        if how == "read":
            result = read
        elif how == "write":
            # Which of two values stays in one place is open in PyTorch.
            places = torch.arange(x.numel()).reshape(shape)[index].flatten()
            if len(places.unique()) < len(places):
                continue
            result = x.clone()
            result[index] = value
        elif tensors:
            places = torch.arange(x.numel()).reshape(shape)[index].flatten()
            result = x.flatten().index_put((places,), value.flatten(), accumulate=True).reshape(shape)
        else:
            continue
        elements = ",".join(map(str, result.flatten().tolist()))
        lines.append(f"{sizes(shape)} {text} {how} {sizes(result.shape)} {elements}")
    pack("indexing.txt.gz", lines)


def equation(rng):
    """An equation and the sizes of its operands."""
    size = {letter: rng.randint(1, 3) for letter in "abcdXY"}
    dots = [rng.randint(1, 3) for _ in range(rng.choice([0, 0, 1, 2]))]
    terms, shapes = [], []
    for _ in range(rng.choice([1, 2, 2, 3])):
        letters = [rng.choice("abcdXY") for _ in range(rng.randint(0, 4))]
        # A size of 1 broadcasts.
        shape = [size[letter] for letter in letters]
        at = rng.randint(0, len(letters))
        if dots and rng.random() < 0.8:
            own = [1 if rng.random() < 0.2 else n for n in dots[rng.randint(0, len(dots)) :]]
            terms.append("".join(letters[:at]) + "..." + "".join(letters[at:]))
            shapes.append(shape[:at] + own + shape[at:])
        else:
            terms.append("".join(letters))
            shapes.append(shape)
    left = ",".join(terms)
    if rng.random() < 0.3:
        return left, shapes
    letters = sorted(set(left) - set(",."))
    output = rng.sample(letters, rng.randint(0, len(letters)))
    if "..." in left:
        output.insert(rng.randint(0, len(output)), "...")
    return left + rng.choice(["->", " -> "]) + "".join(output), shapes


def einsum():
    rng = random.Random(11)
    lines, seen = [], set()
    while len(lines) < 600:
        text, shapes = equation(rng)
        if text in seen:
            continue
        numbers = lambda shape: (torch.arange(torch.Size(shape).numel()) % 3).reshape(shape)
        try:
            result = torch.einsum(text, *map(numbers, shapes))
        except RuntimeError:
            continue
        if result.numel() > 60:
            continue
        seen.add(text)
        operands = ";".join(map(sizes, shapes))
        elements = ",".join(map(str, result.flatten().tolist()))
        lines.append(f"{text.replace(' ', '_')} {operands} {sizes(result.shape)} {elements}")
    pack("einsum.txt.gz", lines)


indexing()
einsum()
