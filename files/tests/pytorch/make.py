"""Makes the .pt files beside this script and in `tests/numpy` the .npy and .npz files: what PyTorch and NumPy
write.

    pip install torch numpy
    python files/tests/pytorch/make.py
"""

import collections
import pathlib

import numpy as np
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
torch.manual_seed(0)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        return self.fc(self.norm(self.conv(x)).flatten(1))


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
x = (torch.arange(64.0) % 7 / 7).reshape(4, 1, 4, 4)
for _ in range(2):
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()
net.eval()
torch.save(net.state_dict(), HERE / "net.pt")
torch.save({"x": x, "y": net(x).detach()}, HERE / "net_io.pt")
torch.save(
    {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.25, "done": True},
    HERE / "run.pt",
)

base = torch.arange(24, dtype=torch.int64)
tied = torch.tensor([1.5, -2.0])
dtypes = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]
everything = collections.OrderedDict(
    none=None,
    truth=[True, False],
    ints=(0, 255, 256, 65536, -1, 2**31, -(2**40), 2**62),
    float=-1.5e-300,
    text="größer",
    nested={1: {"deep": [(), [], {}]}},
    size=torch.Size([2, 3]),
    device=torch.device("cpu"),
    indexed_device=torch.device("cuda:1"),
    dtype=torch.bfloat16,
    parameter=nn.Parameter(torch.tensor([3.0])),
    scalar=torch.tensor(7, dtype=torch.int16),
    empty=torch.zeros(0, 3),
    dtypes={name: torch.tensor([0, 1, 3]).to(getattr(torch, name)) for name in dtypes},
    base=base,
    slice=base[3:7],
    matrix=base.reshape(4, 6),
    transposed=base.reshape(4, 6).t(),
    stepped=base.reshape(4, 6)[1:, ::2],
    expanded=torch.tensor([[1.0], [2.0]]).expand(2, 1000),
    one_wide=base.reshape(4, 6)[:, :1],
    tied=[tied, tied],
)
torch.save(everything, HERE / "everything.pt")

torch.save(net, HERE / "refused_module.pt")
torch.save({"z": torch.tensor([1 + 2j])}, HERE / "refused_complex.pt")
torch.save({"s": {1, 2}}, HERE / "refused_set.pt")
torch.save({"n": np.float64(3.0)}, HERE / "refused_numpy.pt")
torch.save({"x": torch.ones(2)}, HERE / "legacy.pt", _use_new_zipfile_serialization=False)

# The same values in big-endian order: torch.save writes that only on machines that have it.
import zipfile

with zipfile.ZipFile(HERE / "big_endian.pt", "w") as out:
    torch.save({"x": torch.tensor([1.0, 2.5, -3.0]), "i": torch.tensor([1, 258])}, HERE / "tmp.pt")
    with zipfile.ZipFile(HERE / "tmp.pt") as source:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith("/byteorder"):
                data = b"big"
            elif info.filename.endswith("/data/0"):
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            elif info.filename.endswith("/data/1"):
                data = np.frombuffer(data, "<i8").astype(">i8").tobytes()
            out.writestr(info.filename, data)
    (HERE / "tmp.pt").unlink()

NUMPY = HERE.parent / "numpy"
for name in dtypes:
    if name != "bfloat16":
        np.save(NUMPY / f"{name}.npy", np.array([[0, 1, 3], [4, 5, 6]]).astype(name))
np.save(NUMPY / "fortran.npy", np.asfortranarray(np.arange(24, dtype="<i4").reshape(2, 3, 4)))
np.save(NUMPY / "big_endian.npy", np.arange(6, dtype=">f8").reshape(2, 3))
np.save(NUMPY / "scalar.npy", np.float32(2.5))
np.save(NUMPY / "empty.npy", np.zeros((0, 4), "<f4"))
np.save(NUMPY / "objects.npy", np.array([{"a": 1}, None]), allow_pickle=True)
np.save(NUMPY / "complex.npy", np.array([1 + 2j]))
np.save(NUMPY / "text.npy", np.array(["a", "bc"]))
np.save(NUMPY / "records.npy", np.zeros(2, dtype=[("a", "<i4"), ("b", "<f4")]))
for version in [(1, 0), (2, 0), (3, 0)]:
    with open(NUMPY / f"version{version[0]}.npy", "wb") as file:
        np.lib.format.write_array(file, np.arange(5, dtype="<i2"), version)
arrays = {"x": np.arange(6, dtype="<f4").reshape(2, 3), "y": np.zeros(3000, "<i8"), "s": np.float64(1.5)}
np.savez(NUMPY / "stored.npz", **arrays)
np.savez_compressed(NUMPY / "deflated.npz", **arrays)
