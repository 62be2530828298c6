"""Mutations of valid whole models in HDF5.

Case i of a run depends only on `np.random.default_rng([run, i])`. A third of the
files have changed bytes, a third a changed structure, and a third other arrays.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np

from tests.formats.mutations import INTEGERS, ODD, cut, flip_bits, insert, near, pick, remove
from tests.hdf5_model.files import branches, convolution, file_of

Rng = np.random.Generator

NAMES = (
    "Activation", "Add", "AveragePooling2D", "BatchNormalization", "Concatenate", "Conv2D",
    "Dense", "DoReFa", "Dropout", "Flatten", "Functional", "InputLayer", "Lambda", "LeakyReLU",
    "MaxPooling2D", "Model", "PReLU", "Permute", "Popen", "QuantConv2D", "QuantDense",
    "QuantSeparableConv2D", "ReLU", "Reshape", "Sequential", "SteSign", "SteTern", "TFOpLambda",
    "UpSampling2D", "UnitNorm", "ZeroPadding2D", "causal", "channels_first", "conv", "deserialize",
    "images", "relu", "same", "softmax", "ste_sign", "valid",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    *INTEGERS, *ODD, 2**31, 1e300, -0.0, [1, 1], [3, 3, 3], ["conv", 0, 0], [["images", 0, 0, {}]],
    {"class_name": "Popen", "module": "subprocess", "config": {"args": "id"}},
    {"class_name": "__lambda__", "config": {"value": "x"}}, {"class_name": "SteSign", "config": {}},
)  # fmt: skip


@functools.cache
def seeds() -> tuple[bytes, ...]:
    return file_of(*convolution()), file_of(*branches())


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Returns every value in a structure as its container and its key."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        found.append((value, key))
        if isinstance(item, (dict, list)):
            found += _places(item)
    return found


def value(rng: Rng, config: Any) -> None:
    """Replaces a value with one of the same type, or of any type."""
    holder, key = pick(rng, _places(config))
    old = holder[key]
    if isinstance(old, str) and rng.random() < 0.7:
        holder[key] = pick(rng, NAMES)
    elif isinstance(old, (int, float)) and not isinstance(old, bool) and rng.random() < 0.6:
        holder[key] = near(rng, old)
    else:
        holder[key] = pick(rng, VALUES)


def loss(rng: Rng, config: Any) -> None:
    holder, key = pick(rng, _places(config))
    del holder[key]


def gain(rng: Rng, config: Any) -> None:
    """Adds a setting, or repeats an item."""
    holder, key = pick(rng, _places(config))
    if isinstance(holder, list):
        holder.insert(key, holder[key])
    else:
        holder[pick(rng, (*holder, "filters", "axis", "data_format", "activation"))] = holder[key]


def deeper(rng: Rng, config: Any) -> None:
    """Replaces one part of the structure with another part, or with itself."""
    (first, one), (second, two) = (pick(rng, _places(config)) for _ in range(2))
    first[one] = json.loads(json.dumps(second[two]))


def arrays(rng: Rng, file: h5py.File) -> None:
    """Changes, moves or removes an array, or replaces it with a link."""
    found: list[str] = []
    file["model_weights"].visit(found.append)
    name = f"model_weights/{pick(rng, found)}"
    shape = pick(rng, [(), (0,), (3,), (3, 3, 2, 3), (10**5, 10**5), (2, 3)])
    kind, choice = pick(rng, ["f4", "f8", "i1", "S3", "f4,i4"]), rng.random()
    if choice < 0.2:
        file.move(name, pick(rng, ["x", "model_weights/x", "model_weights/conv/kernel:0"]))
        return
    del file[name]
    if choice < 0.6:
        file.create_dataset(name, shape, kind)
    elif choice < 0.8:
        file[name] = pick(rng, (h5py.SoftLink("/"), h5py.ExternalLink("x.h5", "/")))


def texts(rng: Rng, file: h5py.File) -> None:
    """Replaces the structure with another value."""
    file.attrs["model_config"] = pick(rng, [
        "", "null", "[" * 2000, "{", np.zeros(3), np.bytes_(b"\xff\xfe"), 5, h5py.Empty("S1"),
        np.array([b"a", b"b"]), '{"class_name": "Sequential"}',
    ])  # fmt: skip


RAW = (flip_bits, cut, remove, insert)
CONFIG: tuple[Callable[[Rng, Any], None], ...] = (value, value, value, loss, gain, deeper)


def mutated(run: int, case: int) -> tuple[bytes, str]:
    """Returns a mutated file and the name of the mutation."""
    rng = np.random.default_rng([run, case])
    seed = pick(rng, seeds())
    if case % 3 == 0:
        edit = pick(rng, RAW)
        return bytes(edit(rng, bytearray(seed))), edit.__name__
    data = io.BytesIO(seed)
    with h5py.File(data, "r+") as file:
        if case % 3 == 1:
            change = pick(rng, CONFIG)
            config = json.loads(file.attrs["model_config"])
            change(rng, config)
            file.attrs["model_config"] = json.dumps(config)
        else:
            change = pick(rng, (arrays, arrays, texts))
            change(rng, file)
    return data.getvalue(), change.__name__
