"""Moves the bias in sign(scale * n + bias), n a count, so that float32 gives the sign of float64.

The runtime compares counts with a threshold, without rounding. Keras, ONNX and LCE multiply and add
in float32: if the threshold is next to an integer, they may get zero or the opposite sign.

1. n is an integer, |n| <= K. scale * n + bias is nearest to zero at n0 = round(-bias / scale).
2. In any order of operations, the error of float32 is at most m = FEW * (|scale| K + |bias|), with
   |bias| the sum of the magnitudes of its terms.
3. If |scale * n0 + bias| < m, the bias is moved by the difference, away from zero, but at most to
   |scale| / 2, half a count, where it is farthest from both neighbours.

For other readers of the affine, the numbers change by rounding errors.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.ir import Graph, Node, Tensor
from bnnzoo.graph.ops import BINARY, infer_types
from bnnzoo.graph.passes.fold_affine import parameter
from bnnzoo.graph.passes.fold_batch_norm import scale_and_bias
from bnnzoo.graph.tolerance import FEW, sum_of

__all__ = ["steady_signs"]

Vector = NDArray[np.float64]
_MOVING = ("max_pool2d", "reshape", "pad")


def steady_signs(graph: Graph) -> Graph:
    """Moves biases between counts and signs away from zero by more than float32's error.

    Args:
        graph: A graph with or without folded batch norms.
    """
    types = infer_types(graph)
    producers = {node.name: node for node in graph.nodes}
    tensors: dict[str, Tensor] = dict(graph.tensors)
    for node in graph.nodes:
        if node.op != "sign" or "threshold" in node.tensors:
            continue
        conv, *chain = _chain(node, producers)
        if chain and conv.op in BINARY and types[conv.inputs[0]].kind == "bits":
            _settle(dataclasses.replace(graph, tensors=tensors), conv, chain, tensors)
    return dataclasses.replace(graph, tensors=tensors)


def _chain(sign: Node, producers: dict[str, Node]) -> list[Node]:
    """Returns the node before the affines of a sign, and the affines in order."""
    found = [sign]
    node = producers.get(sign.inputs[0])
    while node is not None and node.op in ("affine", "batch_norm", *_MOVING):
        found += [node] if node.op not in _MOVING else []
        node = producers.get(node.inputs[0])
    return [node or sign, *reversed(found[1:])]


def _settle(graph: Graph, conv: Node, chain: list[Node], tensors: dict[str, Tensor]) -> None:
    """Moves the bias of the last affine of a chain."""
    K = math.prod(graph.tensors[conv.tensors["kernel"]].shape[1:])
    scale, bias, size = np.ones(1), np.zeros(1), np.full(1, float(K))
    lost = FEW
    for node in chain:
        factor, term, terms = _parts(graph, node)
        if len(factor) % len(scale):
            return  # the last axis is not a multiple of the channels
        scale, bias, size = (np.resize(vector, len(factor)) for vector in (scale, bias, size))
        scale, bias, size = factor * scale, factor * bias + term, np.abs(factor) * size + terms
        if node.tensors.get("scale", "").endswith("kernel_scale"):
            lost = sum_of(
                K
            )  # in Keras the scale is part of the kernel, so that sums are not integers
    nearest = np.rint(np.divide(-bias, scale, out=np.zeros_like(bias), where=scale != 0))
    value = scale * nearest + bias
    missing = np.minimum(lost * size, np.abs(scale) / 2) - np.abs(value)
    move = np.where((missing > 0) & (np.abs(nearest) <= K), missing, 0.0)
    if move.any():
        _move(graph, chain, np.where(value < 0, -move, move), tensors)


def _parts(graph: Graph, node: Node) -> tuple[Vector, Vector, Vector]:
    """Returns the scale and bias of a node, and the sum of the magnitudes of the bias's terms."""
    if node.op == "batch_norm":
        scale, bias = scale_and_bias(graph, node)
        mean, beta = parameter(graph, node, "mean"), parameter(graph, node, "beta")
        assert mean is not None
        return scale, bias, np.abs(scale * mean) + np.abs(0.0 if beta is None else beta)
    found = [parameter(graph, node, role) for role in ("scale", "bias")]
    size = max((len(vector) for vector in found if vector is not None), default=1)
    scale, bias = (
        np.full(size, default) if vector is None else vector
        for vector, default in zip(found, (1.0, 0.0), strict=True)
    )
    return scale, bias, np.abs(bias)


def _move(graph: Graph, chain: list[Node], move: Vector, tensors: dict[str, Tensor]) -> None:
    """Adds `move` to the result of a chain, in the last bias that is a weight of its layer."""
    for node in reversed(chain):
        scale, _, _ = _parts(graph, node)
        for role, factor in (("bias", 1.0), ("beta", 1.0), ("mean", -scale)):
            # The offset of a Rescaling has another name, since it is in the Keras model's config.
            if node.tensors.get(role, "").endswith(f"/{role}"):
                old = np.asarray(graph.tensor(node, role), np.float64)
                safe = np.where(factor == 0, 1.0, factor)
                tensors[node.tensors[role]] = old + move / safe
                return
        move = move / np.where(scale == 0, 1.0, scale)
