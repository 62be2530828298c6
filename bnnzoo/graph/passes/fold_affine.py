"""Merges chains of scale * x + bias, and folds the scale into the kernel before it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.ir import Graph, Node, Tensor, numbers, signs
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.graph.passes.drop_unused import drop_unused

__all__ = ["fold_into_conv", "merge_affines", "parameter", "scale_and_bias_of"]


Vector = NDArray[Any]


def parameter(graph: Graph, node: Node, role: str) -> Vector | None:
    """Returns a vector of a node as float64; None if the node has none."""
    tensor = graph.tensor(node, role)
    return None if tensor is None else np.asarray(tensor, np.float64)


def scale_and_bias_of(graph: Graph, node: Node, channels: int) -> tuple[Vector, Vector]:
    """Returns the scale and bias of an affine, by default 1 and 0."""
    scale, bias = parameter(graph, node, "scale"), parameter(graph, node, "bias")
    return (
        np.ones(channels) if scale is None else scale,
        np.zeros(channels) if bias is None else bias,
    )


def merge_affines(graph: Graph) -> Graph:
    """Merges an affine into its only reader, if that is an affine.

    scale2 * (scale1 * x + bias1) + bias2 = (scale2 * scale1) * x + (scale2 * bias1 + bias2)
    """
    producers = {node.name: node for node in graph.nodes}
    readers = graph.only_readers()
    tensors = dict(graph.tensors)
    merged: dict[str, Node] = {}
    for node in graph.nodes:
        first = merged.get(node.inputs[0], producers.get(node.inputs[0]))
        if (
            node.op != "affine"
            or first is None
            or first.op != "affine"
            or first.name not in readers
        ):
            continue
        graph = dataclasses.replace(graph, tensors=tensors)
        composed = _compose(graph, first, node)
        names = {role: f"{node.name}/merged_{role}" for role in composed}
        tensors |= {names[role]: vector for role, vector in composed.items()}
        merged[node.name] = Node(node.name, "affine", first.inputs, {}, names)
    if not merged:
        return graph
    nodes = tuple(merged.get(node.name, node) for node in graph.nodes)
    return drop_unused(dataclasses.replace(graph, nodes=nodes, tensors=tensors))


def _compose(graph: Graph, first: Node, second: Node) -> dict[str, NDArray[Any]]:
    scale1, bias1 = parameter(graph, first, "scale"), parameter(graph, first, "bias")
    scale2, bias2 = parameter(graph, second, "scale"), parameter(graph, second, "bias")
    scale = scale1 if scale2 is None else scale2 if scale1 is None else scale2 * scale1
    carried = bias1 if scale2 is None or bias1 is None else scale2 * bias1
    bias = carried if bias2 is None else bias2 if carried is None else carried + bias2
    vectors = {"scale": scale, "bias": bias}
    return {role: vector for role, vector in vectors.items() if vector is not None}


def fold_into_conv(graph: Graph) -> Graph:
    """Folds the scale of an affine into the kernel of a real convolution that only it reads.

    conv2d is linear in its kernel: scale * conv2d(x, w) = conv2d(x, scale * w). A binary kernel
    stays binary. An 8-bit kernel for 8-bit inputs keeps its levels, and its scale changes.
    """
    producers = {node.name: node for node in graph.nodes}
    readers = graph.only_readers()
    tensors: dict[str, Tensor] = dict(graph.tensors)
    changed: dict[str, Node] = {}
    for node in graph.nodes:
        conv = producers.get(node.inputs[0])
        if (
            node.op != "affine"
            or "scale" not in node.tensors
            or conv is None
            or conv.op != "conv2d"
            or conv.name not in readers
            or signs(graph.tensors[conv.tensors["kernel"]])
        ):
            continue
        scale = parameter(graph, node, "scale")
        assert scale is not None
        kernel = graph.tensors[conv.tensors["kernel"]]
        name = f"{conv.name}/folded_kernel"
        if "input_bits" in conv.attributes and isinstance(kernel, Int8Kernel):
            tensors[name] = Int8Kernel(kernel.levels, kernel.scale * scale)
        else:
            tensors[name] = np.asarray(numbers(kernel), np.float64) * scale[:, None, None, None]
        changed[conv.name] = dataclasses.replace(conv, tensors={**conv.tensors, "kernel": name})
        rest = {role: tensor for role, tensor in node.tensors.items() if role != "scale"}
        changed[node.name] = dataclasses.replace(node, tensors=rest)
    if not changed:
        return graph
    nodes = tuple(changed.get(node.name, node) for node in graph.nodes)
    return drop_unused(dataclasses.replace(graph, nodes=nodes, tensors=tensors))
