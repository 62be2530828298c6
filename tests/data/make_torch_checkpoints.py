"""Writes torch/*.pth, checkpoints in every form that PyTorch writes, and torch/expected.npz.

Runs in the peer's environment, once (Python 3.11):
    pip install torch==2.13.0 numpy
    python tests/data/make_torch_checkpoints.py

`expected.npz` has under FILE/NAME the numbers of each tensor as torch.load returns them, bfloat16
as float32. Files that begin with `refused_` hold something else, and have no numbers there.
"""

import argparse
import collections
import io
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent / "torch"
TYPES = (
    "float32", "float64", "float16", "bfloat16", "bool", "uint8", "int8", "int16", "int32", "int64",
)  # fmt: skip
MAGIC = 0x1950A86A20F9469CFC6C


def typed(*names):
    """One tensor of each type, with the limits of its range."""
    tensors = {}
    for name in names:
        dtype = getattr(torch, name)
        if dtype.is_floating_point:
            limits = torch.finfo(dtype)
            values = [0.0, -0.0, 1.5, -3.25, limits.max, limits.tiny, limits.eps]
        else:
            limits = [0, 1] if name == "bool" else [torch.iinfo(dtype).min, torch.iinfo(dtype).max]
            values = [0, 1, *limits]
        tensors[name] = torch.tensor(values, dtype=dtype)
    return tensors


def views():
    """Tensors of other strides and offsets, several of one storage."""
    base = torch.arange(120, dtype=torch.float32).reshape(4, 5, 6)
    return {
        "base": base,
        "part": base[1:3, :, 2],
        "steps": base[::2, 1::2, ::3],
        "transposed": base.permute(2, 0, 1),
        "row": base[3, 4],
        "last": base[3, 4, 5],
        "channels_last": torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last),
        "scalar": torch.tensor(7.5),
        "empty": torch.empty(0),
        "empty_3": torch.empty(3, 0, 2),
        "empty_view": base[1:1],
        "parameter": nn.Parameter(torch.randn(3, 2)),
        "frozen": nn.Parameter(torch.randn(2), requires_grad=False),
    }


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def trained():
    """Other values that a training loop saves with the weights."""
    model = nn.DataParallel(network())
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 20])
    model(torch.randn(5, 3, 3, 3)).sum().backward()
    optimizer.step()
    averaged = torch.optim.swa_utils.AveragedModel(network())
    averaged.update_parameters(network())
    return {
        "epoch": 120,
        "arch": "net",
        "args": argparse.Namespace(lr=0.1, data="/data", layers=(1, 2)),
        "state_dict": model.state_dict(),
        "model_ema": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "best_acc1": np.float64(69.4),
        "loss": np.float32(0.5),
        "best_prec1": torch.tensor(69.4),
        "rng_state": torch.get_rng_state(),
        "device": torch.device("cuda", 0),
        "dtype": torch.bfloat16,
        "size": torch.Size((3, 4)),
        "seen": {1, 2},
        "history": collections.defaultdict(list, loss=[1.0, 0.5]),
        "bytes": b"\0\xff",
        "none": None,
    }


def attributed():
    tensor = torch.arange(4.0)
    tensor.note = "an attribute"
    return {"attributed": tensor}


def big_endian(data):
    """Returns a zip file with its numbers, float32, in the other byte order."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if "/data/" in name:
                content = np.frombuffer(content, "<f4").astype(">f4").tobytes()
            new.writestr(name, b"big" if name.endswith("/byteorder") else content)
    return result.getvalue()


class Id:
    """Stands for a persistent id."""

    def __init__(self, *id):
        self.id = id


class Legacy(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.id if isinstance(obj, Id) else None


class Call:
    """An object that is pickled as a function call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def before_04():
    """Returns a file as PyTorch 0.3 on Python 2 wrote it: views of storages, an old function."""
    numbers = np.arange(10, dtype="<f4")
    rebuild = torch._utils._rebuild_tensor
    whole = Id("storage", torch.FloatStorage, "71", "cpu", 10, None)
    part = Id("storage", torch.FloatStorage, "71", "cpu", 10, ("72", 4, 6))
    weights = Call(
        collections.OrderedDict,
        [
            ["whole", Call(rebuild, whole, 2, (2, 3), (3, 1))],
            ["part", Call(rebuild, part, 1, (2, 2), (1, 2))],
        ],
    )
    file = io.BytesIO()
    for value in (MAGIC, 1001, {"little_endian": True}, {"state_dict": weights}, ["71"]):
        Legacy(file, 2).dump(value)
    return file.getvalue() + struct.pack("<q", 10) + numbers.tobytes()


def saved(value, **options):
    file = io.BytesIO()
    torch.save(value, file, **options)
    return file.getvalue()


def scripted():
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    return file.getvalue()


OLD = {"_use_new_zipfile_serialization": False}


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    floats = saved({"a": torch.arange(5.0), "b": torch.randn(2, 3).t()})
    files = {
        "types": saved(typed(*TYPES, "uint16", "uint32", "uint64")),
        "types_old": saved(typed(*TYPES), **OLD),
        "views": saved(views()),
        "views_old": saved(views(), **OLD),
        "trained": saved(trained()),
        "trained_old": saved(trained(), **OLD),
        "protocol_4": saved(trained(), pickle_protocol=4),
        "attributed": saved(attributed()),
        "big_endian": big_endian(floats),
        "before_04": before_04(),
    }
    refused = {
        "module": saved(network()),
        "sparse": saved({"a": torch.eye(3).to_sparse()}),
        "complex": saved({"a": torch.ones(2, dtype=torch.complex64)}),
        "expanded": saved({"a": torch.ones(2, 1).expand(2, 50)}),
        "quantized": saved({"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}),
        "script": scripted(),
        "list": saved([torch.ones(2)]),
    }
    expected = {}
    for name, data in files.items():
        (FOLDER / f"{name}.pth").write_bytes(data)
        collect(torch.load(io.BytesIO(data), weights_only=False), name, expected)
    for name, data in refused.items():
        (FOLDER / f"refused_{name}.pth").write_bytes(data)
    np.savez_compressed(FOLDER / "expected.npz", **expected)


def collect(value, path, expected):
    """Adds the tensors of nested dictionaries with strings as keys."""
    if isinstance(value, torch.Tensor):
        value = value.detach()
        expected[path] = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str):
                collect(item, f"{path}/{key}", expected)


if __name__ == "__main__":
    main()
