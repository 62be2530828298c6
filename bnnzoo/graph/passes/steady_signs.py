"""sign(scale * n + bias) of a count n, written so that float32 has the sign that float64 has.

The runtime compares counts with a threshold and rounds nothing. Keras, ONNX and LCE multiply and
add in float32: where the threshold is next to an integer, they may get zero, or the other sign.

1. n is an integer, |n| <= K. scale * n + bias is nearest to zero at n0 = round(-bias / scale).
2. Whatever the order of its operations, float32 is wrong by at most m = FEW * (|scale| K + |bias|),
   each |bias| being the magnitudes that it is the sum of.
3. Where |scale * n0 + bias| < m, the bias moves by the difference, away from zero. Half a count,
   |scale| / 2, is the farthest that it can be from both neighbours.

What else reads the affine gets numbers that differ by roundings.
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
    """Moves biases between counts and signs off what float32 takes for zero.

    Args:
        graph: Batch norms folded or not.
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
    """Returns the affines in front of a sign, in order, behind the node that the first reads."""
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
            return  # reshaped to something else than features of all channels
        scale, bias, size = (np.resize(vector, len(factor)) for vector in (scale, bias, size))
        scale, bias, size = factor * scale, factor * bias + term, np.abs(factor) * size + terms
        if node.tensors.get("scale", "").endswith("kernel_scale"):
            lost = sum_of(K)  # Keras has the scale in the kernel, and its sums are not integers
    nearest = np.rint(np.divide(-bias, scale, out=np.zeros_like(bias), where=scale != 0))
    value = scale * nearest + bias
    missing = np.minimum(lost * size, np.abs(scale) / 2) - np.abs(value)
    move = np.where((missing > 0) & (np.abs(nearest) <= K), missing, 0.0)
    if move.any():
        _move(graph, chain, np.where(value < 0, -move, move), tensors)


def _parts(graph: Graph, node: Node) -> tuple[Vector, Vector, Vector]:
    """Returns scale and bias of a node, and the magnitudes that its bias is the sum of."""
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
    """Adds to what a chain gives, through the last bias that is a weight of its layer."""
    for node in reversed(chain):
        scale, _, _ = _parts(graph, node)
        for role, factor in (("bias", 1.0), ("beta", 1.0), ("mean", -scale)):
            # The offset of a Rescaling has another name: a Keras model has it in its config.
            if node.tensors.get(role, "").endswith(f"/{role}"):
                old = np.asarray(graph.tensor(node, role), np.float64)
                safe = np.where(factor == 0, 1.0, factor)
                tensors[node.tensors[role]] = old + move / safe
                return
        move = move / np.where(scale == 0, 1.0, scale)
