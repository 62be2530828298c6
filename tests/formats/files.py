"""A network that is small enough to be read by eye, and files that are wrong in one place."""

from __future__ import annotations

import copy
import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bnnzoo.formats import safetensors_file
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import to_bytes
from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.packing import pack

GOLDEN = Path(__file__).parent / "tiny.safetensors"

INFO = NetworkInfo(
    "tiny",
    tag="made_up",
    preprocessing="scale_pm1",
    labels=("cat", "dög"),
    licence="CC0-1.0",
    architecture={"name": "tiny", "arguments": {"width": 3, "strides": [1, 2]}},
    versions={"bnnzoo": "1.0"},
)


def tiny_graph() -> Graph:
    """A real convolution, a binary one around which a residual goes, and a dense layer."""
    conv = {"strides": (1, 1), "dilation": (1, 1), "padding": (1, 1, 1, 1), "groups": 1}
    dense = {**conv, "padding": (0, 0, 0, 0)}
    nodes = (
        Node("stem", "conv2d", ("images",), conv, {"kernel": "stem/kernel"}),
        Node("norm", "affine", ("stem",), {}, {"scale": "norm/scale", "bias": "norm/bias"}),
        Node("binary/sign", "sign", ("norm",)),
        Node("binary", "bconv2d", ("binary/sign",), {**conv, "pad_value": 0},
             {"kernel": "binary/kernel"}),
        Node("residual", "add", ("binary", "norm")),
        Node("relu", "clip", ("residual",), {"low": 0.0, "high": float("inf")}),
        Node("pool", "global_avg_pool2d", ("relu",)),
        Node("dense/row", "reshape", ("pool",), {"shape": (1, 1, 3)}),
        Node("dense/conv", "conv2d", ("dense/row",), dense, {"kernel": "dense/kernel"}),
        Node("dense", "reshape", ("dense/conv",), {"shape": (2,)}),
    )  # fmt: skip
    tensors = {
        "stem/kernel": (np.arange(54, dtype=np.float32).reshape(3, 3, 3, 2) - 27) / 32,
        "norm/scale": np.array([0.5, -1.0, 0.25], np.float32),
        "norm/bias": np.array([0.0, 1.0, -0.125], np.float32),
        "binary/kernel": pack(np.where(np.arange(81) % 5 < 2, -1, 1).reshape(3, 3, 3, 3)),
        "dense/kernel": np.array([[1.5, -0.5, 0.25], [2.0, 1.0, -1.0]]).reshape(2, 1, 1, 3),
    }
    return Graph({"images": (4, 4, 2)}, nodes, ("dense",), tensors)


def tiny_file(weights_dtype: str = "float32") -> bytes:
    return to_bytes(tiny_graph(), INFO, weights_dtype=weights_dtype)


Edit = Callable[[Any], None]


def edited(
    data: bytes,
    *,
    graph: Edit | None = None,
    info: Edit | None = None,
    metadata: Edit | None = None,
    arrays: Edit | None = None,
    signed: bool = True,
) -> bytes:
    """Returns a file whose parts are changed in place; `signed` renews its digests.

    This is a second implementation of the digests, by the words of docs/format.md.
    """
    contents = safetensors_file.parse(data)
    texts = dict(contents.metadata)
    values = {name: array.copy() for name, array in contents.arrays.items()}
    for key, edit in (("graph", graph), ("info", info)):
        if edit is not None:
            value = json.loads(texts[key])
            edit(value)
            texts[key] = json.dumps(value)
    if arrays is not None:
        arrays(values)
    if signed:
        digests = {
            name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in values.items()
        }
        texts["sha256"] = json.dumps(digests)
    if metadata is not None:
        metadata(texts)
    if signed:
        texts["digest"] = digest(texts)
    return safetensors_file.serialize(texts, values)


def digest(metadata: dict[str, str]) -> str:
    parts = [f"{key}\0{metadata[key]}\0" for key in sorted(metadata) if key != "digest"]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def with_header(data: bytes, edit: Callable[[Any], Any]) -> bytes:
    """Returns a file with another header; `edit` changes it, or returns its new text."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    changed = copy.deepcopy(header)
    text = edit(changed)
    encoded = text if isinstance(text, bytes) else json.dumps(changed).encode()
    return struct.pack("<Q", len(encoded)) + encoded + data[8 + length :]
