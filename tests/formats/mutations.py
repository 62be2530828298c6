"""Random mutations of valid packed files.

Case i of a run depends only on `np.random.default_rng([run, i])`, so that two
numbers repeat it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

from bnnzoo.formats.graph_document import STORED_OPS
from bnnzoo.graph.ops import OPS
from tests.formats.seeds import Seed, repair, sealed, seeds, set_shape

Rng = np.random.Generator

# Raw: bytes that know nothing of the format ----------------------------------------------------


def flip_bits(rng: Rng, data: bytearray) -> bytes:
    for position in rng.integers(len(data), size=rng.integers(1, 9)):
        data[position] ^= 1 << int(rng.integers(8))
    return data


def cut(rng: Rng, data: bytearray) -> bytes:
    return data[: int(rng.integers(len(data)))]


def remove(rng: Rng, data: bytearray) -> bytes:
    begin = int(rng.integers(len(data)))
    del data[begin : begin + int(rng.integers(1, 65))]
    return data


def insert(rng: Rng, data: bytearray) -> bytes:
    position = int(rng.integers(len(data) + 1))
    data[position:position] = rng.bytes(int(rng.integers(1, 65)))
    return data


def splice(rng: Rng, data: bytearray) -> bytes:
    """Copies a stretch of this or another seed over another place."""
    source = data if rng.random() < 0.5 else pick(rng, seeds()).data
    length = int(rng.integers(1, 513))
    begin, target = int(rng.integers(len(source))), int(rng.integers(len(data)))
    piece = source[begin : begin + length]
    data[target : target + len(piece)] = piece
    return data


def header_length(rng: Rng, data: bytearray) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    value = pick(rng, [0, 1, length - 1, length + 1, len(data) - 8, len(data), 2**31, 2**63])
    return struct.pack("<Q", value) + data[8:]


def header_text(rng: Rng, data: bytearray) -> bytes:
    """Changes digits and structure of the header, at its length."""
    (length,) = struct.unpack("<Q", data[:8])
    places = [i for i in range(8, 8 + length) if data[i] in b'0123456789[]{}",:-.\\']
    for _ in range(int(rng.integers(1, 4))):
        data[pick(rng, places)] = pick(rng, b'0123456789[]{}",:-.e\\')
    return data


RAW = [flip_bits, cut, remove, insert, splice, header_length, header_text]

# Structured: right in form and under right digests --------------------------------------------

INTEGERS = (-1, 0, 1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 127, 255, 256, 1000, 2**16, 2**20, 2**20 + 1)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-38, 3e38, -3e38, 1e300, 0.1, "inf", "-inf", 10**15)
ODD = (None, True, "x", "", [], {}, [[]], 1.5, 2**53, -(2**53), "inf")
SIZES = (1, 2, 3, 5, 7, 8, 9, 16, 31, 63, 64, 65, 127, 128, 130)
REALS = (0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 1e-38, 3.4e38, -3.4e38, np.inf, -np.inf, np.nan)
KEYS = (*OPS["conv2d"].attributes, "pad_value", "pool", "axis", "begin", "size", "shape", "value",
        "input_bits", "crop", "pixels")  # fmt: skip


class NothingToChangeError(LookupError):
    """A file has nothing of the kind that an edit changes."""


def pick(rng: Rng, items: Any) -> Any:
    if not items:
        raise NothingToChangeError
    return items[int(rng.integers(len(items)))]


def a_node(rng: Rng, seed: Seed) -> dict[str, Any]:
    return pick(rng, seed.graph["nodes"])


def a_value(rng: Rng, seed: Seed) -> str:
    return pick(rng, ["images", *(node["name"] for node in seed.graph["nodes"])])


def near(rng: Rng, value: Any) -> Any:
    """Returns a value of the same form that may well be right, or is on the edge."""
    if isinstance(value, list):
        value = list(value)
        if value:
            at = int(rng.integers(len(value)))
            value[at] = near(rng, value[at])
        return value
    if isinstance(value, int) and rng.random() < 0.7:
        return value + int(rng.integers(-2, 3))
    return pick(rng, INTEGERS) if isinstance(value, int) else pick(rng, NUMBERS)


def attribute(rng: Rng, seed: Seed) -> None:
    node = pick(rng, [n for n in seed.graph["nodes"] if n.get("attributes")])
    name = pick(rng, list(node["attributes"]))
    node["attributes"][name] = near(rng, node["attributes"][name])


def odd_attribute(rng: Rng, seed: Seed) -> None:
    attributes = a_node(rng, seed).setdefault("attributes", {})
    name = pick(rng, KEYS)
    attributes[name] = pick(rng, ODD) if rng.random() < 0.7 else [pick(rng, INTEGERS)] * 4


def input_bits(rng: Rng, seed: Seed) -> None:
    """Lets a convolution take its input in 8 bits, whatever its kernel is, or no longer."""
    convs = [n for n in seed.graph["nodes"] if n["op"] in ("conv2d", "bconv2d")]
    attributes = pick(rng, convs).setdefault("attributes", {})
    if attributes.pop("input_bits", None) is None:
        attributes["input_bits"] = 8 if rng.random() < 0.8 else pick(rng, INTEGERS)


def operation(rng: Rng, seed: Seed) -> None:
    node = a_node(rng, seed)
    alike = [op for op in OPS if OPS[op].attributes == OPS[node["op"]].attributes]
    node["op"] = pick(rng, alike if rng.random() < 0.7 else list(OPS))


def new_node(rng: Rng, seed: Seed) -> None:
    """Puts an operation between two others."""
    nodes = seed.graph["nodes"]
    at = int(rng.integers(len(nodes)))
    if not nodes[at]["inputs"]:
        return
    source = pick(rng, nodes[at]["inputs"])
    node: dict[str, Any] = {"name": f"new{len(nodes)}", "op": "", "inputs": [source]}
    node["op"] = pick(rng, [op for op in STORED_OPS if not STORED_OPS[op] or op == "affine"])
    defaults = {"axis": 2, "begin": 0, "size": 1, "value": 1.0, "low": -1.0, "high": 1.0, "bits": 2,
                "padding": [0, 1, 0, 1], "strides": [1, 1], "pool": [2, 2], "shape": [1, 1, 4],
                "axes": [0, 1, 2], "pixels": [5, 6]}  # fmt: skip
    node["attributes"] = {name: defaults[name] for name in OPS[node["op"]].attributes}
    node["inputs"] *= max(OPS[node["op"]].inputs[0], int(rng.integers(1, 3)))
    nodes[at]["inputs"] = [node["name"] if n == source else n for n in nodes[at]["inputs"]]
    nodes.insert(at, node)


def inputs(rng: Rng, seed: Seed) -> None:
    node = a_node(rng, seed)
    choice = rng.random()
    if choice < 0.5 and node["inputs"]:
        node["inputs"][int(rng.integers(len(node["inputs"])))] = a_value(rng, seed)
    elif choice < 0.8:
        node["inputs"].append(a_value(rng, seed))
    else:
        node["inputs"] = node["inputs"] * int(rng.integers(0, 70))


def order(rng: Rng, seed: Seed) -> None:
    nodes = seed.graph["nodes"]
    i, j = rng.integers(len(nodes), size=2)
    choice = rng.random()
    if choice < 0.3:
        nodes[i], nodes[j] = nodes[j], nodes[i]
    elif choice < 0.6 and len(nodes) > 1:
        gone = nodes.pop(i)
        for node in nodes:  # what read it reads its source
            node["inputs"] = [
                gone["inputs"][0] if n == gone["name"] and gone["inputs"] else n
                for n in node["inputs"]
            ]
        keep_used_tensors(seed)
    else:
        nodes.insert(i, {**copy.deepcopy(nodes[i]), "name": f"copy{len(nodes)}"})


def keep_used_tensors(seed: Seed) -> None:
    used = {t for node in seed.graph["nodes"] for t in node.get("tensors", {}).values()}
    for name in [name for name in seed.graph["tensors"] if name not in used]:
        del seed.graph["tensors"][name]
        for array in (name, f"{name}/int8_scale"):
            seed.arrays.pop(array, None)


def outputs(rng: Rng, seed: Seed) -> None:
    if rng.random() < 0.3:
        seed.graph["outputs"] = [node["name"] for node in seed.graph["nodes"]][-64:]
    else:
        seed.graph["outputs"].insert(0, a_value(rng, seed))


def input_shape(rng: Rng, seed: Seed) -> None:
    if "inputs" in seed.graph:
        entry = pick(rng, seed.graph["inputs"])
        entry["shape"] = near(rng, entry["shape"])
    else:
        seed.graph["input_shape"] = near(rng, seed.graph["input_shape"])


def input_names(rng: Rng, seed: Seed) -> None:
    """Adds an input, takes one away, or gives it another's name."""
    entries = seed.graph.get("inputs")
    entry = pick(rng, entries)
    change = pick(rng, ["add", "remove", "rename"])
    if change == "add":
        entries.insert(0, {"name": a_value(rng, seed), "shape": near(rng, entry["shape"])})
    elif change == "remove":
        entries.remove(entry)
    else:
        entry["name"] = a_value(rng, seed)


def roles(rng: Rng, seed: Seed) -> None:
    node = pick(rng, [n for n in seed.graph["nodes"] if n.get("tensors")])
    role = pick(rng, list(node["tensors"]))
    if rng.random() < 0.6:
        node["tensors"][role] = pick(rng, list(seed.graph["tensors"]))
    else:
        node["tensors"][pick(rng, ["kernel", "scale", "bias", "threshold"])] = node["tensors"].pop(
            role
        )
    if rng.random() < 0.8:
        keep_used_tensors(seed)


def table(rng: Rng, seed: Seed) -> None:
    """Changes what the graph says of a tensor; the array stays."""
    entry = seed.graph["tensors"][pick(rng, list(seed.graph["tensors"]))]
    if rng.random() < 0.6:
        entry["shape"] = near(rng, entry["shape"])
    else:
        entry["encoding"] = pick(rng, ["bits", "float32", "float16", "int8"])


def resize(rng: Rng, seed: Seed) -> None:
    """Gives a tensor another shape, and its arrays too."""
    name = pick(rng, list(seed.graph["tensors"]))
    entry = seed.graph["tensors"][name]
    shape = rng.permutation(entry["shape"]).tolist() if rng.random() < 0.3 else entry["shape"]
    at = int(rng.integers(len(shape)))
    shape[at] = int(pick(rng, SIZES)) if rng.random() < 0.5 else max(1, shape[at] - 1)
    set_shape(seed, name, shape)


def widen(rng: Rng, seed: Seed) -> None:
    """Gives a convolution another number of output channels; `repair` does the rest."""
    kernels = [n for n, entry in seed.graph["tensors"].items() if len(entry["shape"]) == 4]
    if kernels:
        name = pick(rng, kernels)
        _, *rest = seed.graph["tensors"][name]["shape"]
        set_shape(seed, name, [int(pick(rng, SIZES)), *rest])


def window(rng: Rng, seed: Seed) -> None:
    """Gives a convolution another kernel size, stride, dilation or padding, far from square."""
    nodes = [n for n in seed.graph["nodes"] if "strides" in n.get("attributes", {})]
    if not nodes:
        return
    attributes = (node := pick(rng, nodes))["attributes"]
    for name in ("strides", "dilation"):
        if name in attributes:
            attributes[name] = rng.choice([1, 1, 1, 2, 3], 2).tolist()
    attributes["padding"] = rng.choice([0, 1, 2, 3, 5], 4).tolist()
    if "pad_value" in attributes:
        attributes["pad_value"] = int(rng.integers(-1, 2))
    if "pool" in attributes:
        attributes["pool"] = rng.integers(1, 5, 2).tolist()
        attributes["padding"] = [min(p, attributes["pool"][i // 2] - 1)
                                 for i, p in enumerate(attributes["padding"])]  # fmt: skip
    name = node.get("tensors", {}).get("kernel")
    shape = seed.graph["tensors"].get(name, {}).get("shape", [])
    if len(shape) == 4:
        if rng.random() < 0.3:
            attributes["groups"] = int(pick(rng, [1, 2, 3, shape[3]]))
        set_shape(seed, name, [shape[0], *rng.integers(1, 5, 2).tolist(), shape[3]])


def values(rng: Rng, seed: Seed) -> None:
    """Changes numbers of a tensor."""
    array = seed.arrays[pick(rng, list(seed.arrays))].reshape(-1)
    count = len(array) if rng.random() < 0.3 else int(rng.integers(1, 4))
    places = rng.integers(len(array), size=count)
    with np.errstate(over="ignore"):
        if array.dtype.kind == "f":
            # Mostly what a file may have.
            usable = REALS[:9] if rng.random() < 0.8 else REALS
            array[places] = rng.choice(np.array(usable), count).astype(array.dtype)
        else:
            info = np.iinfo(array.dtype)
            array[places] = rng.integers(info.min, info.max, count, endpoint=True)


def info(rng: Rng, seed: Seed) -> None:
    value = json.loads(seed.metadata["info"])
    key = pick(
        rng, ["name", "tag", "labels", "architecture", "versions", "keras_config", "licence"]
    )
    value[key] = pick(rng, (*ODD, ["a", "b", "c"], {"name": "x", "arguments": {}}, "a\x00b"))
    seed.metadata["info"] = json.dumps(value)


def text(rng: Rng, metadata: dict[str, str]) -> None:
    """Changes characters of the JSON in the metadata."""
    key = pick(rng, ["graph", "info", "sha256"])
    characters = list(metadata[key])
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(characters)))
        characters[at] = pick(rng, '0123456789[]{}",:-.eaE\\ \x00\ud800é')
    metadata[key] = "".join(characters)


GRAPH_EDITS: list[Callable[[Rng, Seed], None]] = [
    attribute, odd_attribute, input_bits, operation, new_node, inputs, order, outputs, input_shape,
    input_names,
    roles, table, resize, widen, window,
]  # fmt: skip
STRUCTURED = [*GRAPH_EDITS, values, values, info]


def mutated(run: int, case: int) -> tuple[bytes, str]:
    """Returns a changed file and what was done to it; half of them are sealed again."""
    rng = np.random.default_rng([run, case])
    seed = pick(rng, seeds())
    if case % 2:
        edit = pick(rng, RAW)
        return bytes(edit(rng, bytearray(seed.data))), edit.__name__
    seed = copy.deepcopy(seed)
    edits = [pick(rng, STRUCTURED) for _ in range(int(rng.choice([1, 1, 1, 2, 3])))]
    for structured in edits:
        with contextlib.suppress(NothingToChangeError):
            structured(rng, seed)
    if rng.random() < 0.8:
        repair(seed)
    names = "+".join(structured.__name__ for structured in edits)
    if rng.random() < 0.05:
        return sealed(seed, edit=functools.partial(text, rng)), f"{names}+text"
    return sealed(seed), names
