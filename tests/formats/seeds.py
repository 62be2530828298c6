"""Right files to start from, taken apart; and how a changed one becomes a file again."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnzoo.errors import BnnZooError
from bnnzoo.formats import graph_document, safetensors_file
from bnnzoo.formats.network_info import NetworkInfo
from bnnzoo.formats.packed import WEIGHTS_DTYPES, to_bytes
from bnnzoo.graph.ir import Graph, Type
from bnnzoo.graph.ops import OPS, infer_types
from bnnzoo.graph.packing import Int8Kernel, PackedSigns
from bnnzoo.graph.passes import STORED, apply
from tests.formats.files import INFO, digest, tiny_graph
from tests.graph.graphs import GraphBuilder, random_graph, with_more_ends
from tests.runtime.exact_graphs import exact_graph


def every_op_graph(rng: np.random.Generator) -> Graph:
    """A network that has every operation of a file."""
    b = GraphBuilder(rng, (6, 5, 3))
    x = b.affine(b.conv("images", binary=False, filters=4))
    x = b.add("clip", b.batch_norm(x), low=-2.0, high=float("inf"))
    bits = b.pool("bmax_pool2d", b.add("sign", x))
    y = b.batch_norm(b.conv(bits, binary=True, groups=2, filters=4))
    y = b.add("prelu", y, tensors={"alpha": b.reals(4)})
    levels = b.conv(b.add("quantize", y, bits=2), binary=True, filters=4)
    x = b.pool("max_pool2d", b.pool("avg_pool2d", b.add("tanh", levels)))
    x = b.add("multiply", x, b.gate(x))
    x = b.add("subtract", x, b.affine(x))
    x = b.add("concat", x, b.add("slice", x, axis=2, begin=1, size=2), axis=2)
    x = b.add("permute", b.add("pad", x, padding=(0, 1, 2, 0), value=0.5), axes=(1, 0, 2))
    x = b.add("add", x, b.add("dequantize", b.add("sign", x)))
    grown = {"strides": (2, 1), "dilation": (1, 2), "crop": (1, 0), "pixels": (7, 8)}
    kernel = b.signs(4, 3, 2, b.shape(x)[-1])
    x = b.add("bconv2d_transpose", b.add("sign", x), tensors={"kernel": kernel}, **grown)
    x = b.add("conv2d_transpose", x, tensors={"kernel": b.reals(4, 3, 2, 4)}, **grown)
    x = b.add("bilinear_resize2d", b.add("nearest_resize2d", x, pixels=(9, 3)), pixels=(4, 5))
    pooled = b.add("add", b.add("global_avg_pool2d", x), b.add("global_max_pool2d", x))
    logits = b.dense(b.add("sign", pooled), 3, binary=True)
    return b.graph(b.add("softmax", logits), logits)


@dataclass(frozen=True)
class Seed:
    """A right file, taken apart once."""

    data: bytes
    graph: Any
    metadata: dict[str, str]
    arrays: dict[str, np.ndarray]


def is_real(graph: Graph, name: str) -> bool:
    return infer_types(graph)[name].kind == "real"


@functools.cache
def seeds() -> tuple[Seed, ...]:
    """Small files that together have every operation and every encoding."""
    graphs = [(tiny_graph(), INFO)]
    for i in range(4):
        graphs.append((every_op_graph(np.random.default_rng(i)), NetworkInfo("every_op")))
    for i in range(60):
        rng = np.random.default_rng(i)
        graphs.append((random_graph(rng, blocks=1 + i % 4), NetworkInfo("random")))
    for i in range(60):
        graph = exact_graph(np.random.default_rng(i), blocks=1 + i % 5)
        outputs = tuple(dict.fromkeys(name for name in graph.outputs if is_real(graph, name)))
        graphs.append((dataclasses.replace(graph, outputs=outputs), NetworkInfo("exact")))
    for i in range(30):
        rng = np.random.default_rng(i)
        graph = with_more_ends(rng, random_graph(rng, blocks=1 + i % 4))
        if graph.nodes:
            graphs.append((graph, NetworkInfo("ends")))
    files = [
        to_bytes(apply(graph, STORED)[0], info, weights_dtype=WEIGHTS_DTYPES[i % 3])
        for i, (graph, info) in enumerate(graphs)
    ]
    return tuple(map(_take_apart, files))


def _take_apart(data: bytes) -> Seed:
    contents = safetensors_file.parse(data)
    metadata = dict(contents.metadata)
    arrays = {name: array.copy() for name, array in contents.arrays.items()}
    return Seed(data, json.loads(metadata["graph"]), metadata, arrays)


def set_shape(seed: Seed, name: str, shape: list[int]) -> None:
    """Gives a tensor another shape, in the graph and in the arrays."""
    if min(shape) < 1 or math.prod(shape) > 200_000:
        return
    entry = seed.graph["tensors"][name]
    entry["shape"] = shape
    K = int(np.prod(shape[1:]))
    bits = seed.arrays[name].dtype == np.uint8
    seed.arrays[name] = np.resize(seed.arrays[name], [shape[0], -(-K // 8)] if bits else shape)
    if bits and K % 8:
        seed.arrays[name][:, -1] &= (1 << K % 8) - 1
    scale = f"{name}/int8_scale"
    if scale in seed.arrays:
        seed.arrays[scale] = np.resize(seed.arrays[scale], shape[:1])


def repair(seed: Seed) -> None:
    """Makes tensors and reshapes fit what is in front of them, as far as that goes."""
    try:
        version = 2 if "inputs" in seed.graph else 1
        graph, _ = graph_document.from_document(seed.graph, version)
        types = {name: Type("real", shape) for name, shape in graph.inputs.items()}
        for place, document in enumerate(seed.graph["nodes"]):
            node = graph.nodes[place]
            sources = [types[name] for name in node.inputs]
            fit(seed, document, sources[0].shape)
            node = graph_document.from_document(seed.graph, version)[0].nodes[place]
            tensors = {role: stub(seed, name) for role, name in node.tensors.items()}
            types[node.name] = OPS[node.op].infer(node, sources, tensors)
    except (ArithmeticError, BnnZooError, LookupError, TypeError, ValueError):
        return  # it is beyond repair


def fit(seed: Seed, node: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Changes the tensors or the shape of a node so that they fit its input."""
    attributes = node.get("attributes", {})
    for role, name in node.get("tensors", {}).items():
        old = seed.graph["tensors"][name]["shape"]
        if role == "kernel" and shape[-1] % attributes["groups"] == 0:
            groups = attributes["groups"]
            new = [-(-old[0] // groups) * groups, *old[1:3], shape[-1] // groups]
        else:
            new = [shape[-1]]
        if new != old and len(new) == len(old):
            set_shape(seed, name, new)
    if node["op"] == "reshape" and math.prod(attributes["shape"]) != math.prod(shape):
        attributes["shape"] = [1] * (len(attributes["shape"]) - 1) + [math.prod(shape)]


def stub(seed: Seed, name: str) -> Any:
    entry = seed.graph["tensors"][name]
    if entry["encoding"] == "bits":
        return PackedSigns(seed.arrays[name], tuple(entry["shape"]))
    if entry["encoding"] == "int8":
        return Int8Kernel(seed.arrays[name], seed.arrays[f"{name}/int8_scale"])
    return np.broadcast_to(np.float32(0), entry["shape"])  # whose size nothing bounds here


def sealed(seed: Seed, edit: Callable[[dict[str, str]], None] | None = None) -> bytes:
    """Returns the file of a changed seed, under new digests; `edit` changes JSON as text before."""
    digests = {n: hashlib.sha256(array.tobytes()).hexdigest() for n, array in seed.arrays.items()}
    metadata = {
        "format": seed.metadata["format"],
        "graph": json.dumps(seed.graph),
        "info": seed.metadata["info"],
        "sha256": json.dumps(digests),
    }
    if edit is not None:
        edit(metadata)
    try:
        metadata["digest"] = digest(metadata)
    except UnicodeEncodeError:  # half a character; the digest does not matter any more
        return with_escapes({**metadata, "digest": ""}, seed.arrays)
    return safetensors_file.serialize(metadata, seed.arrays)


def with_escapes(metadata: dict[str, str], arrays: dict[str, np.ndarray]) -> bytes:
    plain = safetensors_file.serialize({}, arrays)
    (length,) = struct.unpack("<Q", plain[:8])
    header = json.loads(plain[8 : 8 + length])
    header["__metadata__"] = metadata
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + plain[8 + length :]
