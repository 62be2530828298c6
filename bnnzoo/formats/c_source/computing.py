"""Calls for elementwise operations and for pooling."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from bnnzoo.formats.c_source.calls import Call, Lower, Lowering, elementwise, planes
from bnnzoo.graph.ir import Node
from bnnzoo.graph.packing import pack
from bnnzoo.graph.thresholds import above_float32, directed

__all__ = ["COMPUTING", "window"]


def _elements(
    node: Node, lowering: Lowering, function: str, a: str | None = None, b: str | None = None
) -> Call:
    channels = lowering.shape(node.inputs[0])[-1]
    return elementwise(node, lowering, function, "elements", channels=channels, a=a, b=b)


def _affine(node: Node, lowering: Lowering) -> Iterator[Call]:
    scale, bias = (lowering.array(node, role) for role in ("scale", "bias"))
    yield _elements(node, lowering, "affine", scale, bias)


def _prelu(node: Node, lowering: Lowering) -> Iterator[Call]:
    yield _elements(node, lowering, "prelu", lowering.array(node, "alpha"))


def _plain(node: Node, lowering: Lowering, function: str) -> Iterator[Call]:
    yield _elements(node, lowering, function)


def _pooled(node: Node, lowering: Lowering, function: str) -> Iterator[Call]:
    call = _elements(node, lowering, function)
    yield Call(call.function, call.struct, call.settings, call.reads, call.writes, call.nodes)


def _clip(node: Node, lowering: Lowering) -> Iterator[Call]:
    low, high = (float(node.attributes[name]) for name in ("low", "high"))
    yield elementwise(node, lowering, "clip", "clipping", low=low, high=high)


def _sign(node: Node, lowering: Lowering) -> Iterator[Call]:
    """Compares with the thresholds, or with 0; -0.0 and +0.0 give +1."""
    if "threshold" not in node.tensors:
        yield _elements(node, lowering, "sign")
        return
    threshold, direction = directed(lowering.graph, node, lowering.shape(node.name)[-1])
    a = lowering.array(node, "threshold", above_float32(threshold))
    b = lowering.array(node, "direction", direction.astype(np.float32))
    yield _elements(node, lowering, "sign", a, b)


def _levels(node: Node, lowering: Lowering, levels: str) -> Iterator[Call]:
    channels = lowering.shape(node.name)[-1]
    type_ = lowering.types[levels]
    yield elementwise(node, lowering, node.op, "levels", channels=channels, planes=planes(type_))


def window(node: Node, lowering: Lowering, taps: tuple[int, int]) -> dict[str, Any]:
    """Returns the fields of a window."""
    padding = node.attributes["padding"]
    return {
        "image": lowering.shape(node.inputs[0])[:2],
        "result": lowering.shape(node.name)[:2],
        "taps": taps,
        "strides": node.attributes["strides"],
        "dilation": node.attributes.get("dilation", (1, 1)),
        "before": (padding[0], padding[2]),
    }


def _pool(node: Node, lowering: Lowering) -> Iterator[Call]:
    channels = lowering.shape(node.name)[-1]
    least = None
    direction = lowering.graph.tensor(node, "direction")
    if direction is not None:
        signs = np.where(np.asarray(direction) < 0, -1, 1).astype(np.int8)
        least = lowering.array(node, "least", as_words(signs.reshape(1, 1, 1, channels)))
    fields = {
        "at": window(node, lowering, node.attributes["pool"]),
        "channels": channels,
        "least": least,
    }
    yield Call(node.op, "pooling", fields, node.inputs, node.name, (node,))


def as_words(signs: np.ndarray[Any, np.dtype[np.int8]]) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """Returns kernels `(c_out, h, w, c)` as words `(c_out, ceil(K / 32))`; bit 1 = -1."""
    bits = pack(signs).bits
    padded = np.pad(bits, [(0, 0), (0, -bits.shape[1] % 4)])
    return padded.view("<u4").astype(np.uint32)


COMPUTING: dict[str, Lower] = {
    "affine": _affine,
    "prelu": _prelu,
    "clip": _clip,
    "sigmoid": partial(_plain, function="sigmoid"),
    "tanh": partial(_plain, function="hyperbolic_tangent"),
    "softmax": partial(_plain, function="softmax"),
    "sign": _sign,
    "quantize": lambda node, lowering: _levels(node, lowering, node.name),
    "dequantize": lambda node, lowering: _levels(node, lowering, node.inputs[0]),
    "max_pool2d": _pool,
    "avg_pool2d": _pool,
    "bmax_pool2d": _pool,
    "global_avg_pool2d": partial(_pooled, function="global_avg_pool2d"),
    "global_max_pool2d": partial(_pooled, function="global_max_pool2d"),
}
