"""sign(scale * x + bias) is a comparison of x with one number per channel.

1. scale * x + bias < 0 is monotone in x: it holds on one side of a threshold.
2. With scale > 0, it is x < t, t the least x with scale * x + bias >= 0.
   With scale < 0, it is x > t, t the greatest such x; `direction` is -1.
   With scale = 0, it holds always or never: t = +inf or -inf, direction +1.
3. t is found in float64 as the exact turning point of the float64 expression, by stepping from
   -bias / scale to the neighbour where the expression changes.
4. Sums of signs are integers: x < t is x < ceil(t), and x > t is x > floor(t).

A sign that already has thresholds absorbs a further affine in the same way, with t instead of 0.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import BINARY, infer_types
from bnnzoo.graph.passes.drop_unused import drop_unused
from bnnzoo.graph.passes.fold_affine import scale_and_bias_of
from bnnzoo.graph.thresholds import directed

__all__ = ["sign_thresholds"]

Vector = NDArray[Any]


def sign_thresholds(graph: Graph, *, shared: bool = True) -> Graph:
    """Makes every sign of an affine read the affine's input, with thresholds.

    Args:
        graph: Any graph.
        shared: Also if other nodes read the affine, which is then still computed.
    """
    readers = graph.only_readers()
    producers = {node.name: node for node in graph.nodes}
    types = infer_types(graph)
    tensors = dict(graph.tensors)
    changed: dict[str, Node] = {}
    for node in graph.nodes:
        affine = producers.get(node.inputs[0])
        if node.op != "sign" or affine is None or affine.op != "affine":
            continue
        if not shared and affine.name not in readers:
            continue
        threshold, direction = _through(graph, node, affine, types[affine.name].shape[-1])
        if _is_integer(affine.inputs[0], graph, producers):
            threshold = np.where(direction > 0, np.ceil(threshold), np.floor(threshold))
        names = {role: f"{node.name}/{role}" for role in ("threshold", "direction")}
        tensors |= {names["threshold"]: threshold, names["direction"]: direction}
        changed[node.name] = Node(node.name, "sign", affine.inputs, {}, names)
    if not changed:
        return graph
    nodes = tuple(changed.get(node.name, node) for node in graph.nodes)
    return drop_unused(dataclasses.replace(graph, nodes=nodes, tensors=tensors))


def _through(graph: Graph, sign: Node, affine: Node, channels: int) -> tuple[Vector, Vector]:
    """Returns threshold and direction on the affine's input."""
    scale, bias = scale_and_bias_of(graph, affine, channels)
    threshold, direction = directed(graph, sign, channels)
    # x > t is -x < -t: all comparisons become "less than", all scales positive.
    scale, bias = scale * direction, bias * direction
    flipped = scale < 0
    constant = (scale == 0) | np.isinf(threshold)
    turning = _least_at_or_above(np.where(constant, 1.0, np.abs(scale)), bias, threshold)
    turning = np.where(flipped, -turning, turning)
    always = np.where(np.isinf(threshold), threshold > 0, bias < threshold)
    turning = np.where(constant, np.where(always, np.inf, -np.inf), turning)
    return turning, np.where(flipped & ~constant, -1, 1).astype(np.int8)


def _least_at_or_above(scale: Vector, bias: Vector, threshold: Vector) -> Vector:
    """Returns the least float64 x with scale * x + bias >= threshold, for scale > 0."""
    finite = np.where(np.isinf(threshold), 0.0, threshold)
    x = (finite - bias) / scale
    for _ in range(4):
        x = np.where(scale * x + bias < finite, np.nextafter(x, np.inf), x)
    for _ in range(4):
        below = np.nextafter(x, -np.inf)
        x = np.where(scale * below + bias >= finite, below, x)
    return x


def _is_integer(name: str, graph: Graph, producers: dict[str, Node]) -> bool:
    """Returns whether a value is a sum of signs, or a maximum of such sums."""
    node = producers.get(name)
    while node is not None and node.op in ("max_pool2d", "reshape"):
        node = producers.get(node.inputs[0])
    if node is None or node.op not in BINARY:
        return False
    source = producers.get(node.inputs[0])
    while source is not None and source.op in ("reshape", "bmax_pool2d"):
        source = producers.get(source.inputs[0])
    return source is not None and source.op == "sign"
