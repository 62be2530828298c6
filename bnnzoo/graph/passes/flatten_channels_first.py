"""Flattens images in another order, and permutes the weights after it instead of the image.

If images are (c, h, w), as in ONNX, flattening in the order (h, w, c) requires a transposition of
the whole image. Instead, the weights of the dense layer that reads the result are permuted:
sum over i of w[i] x[i] = sum over i of w[order[i]] x[order[i]]. `flatten_channels_last` is the way
back, for files that are read.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.ir import Graph, Node, Tensor, numbers
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.packing import Int8Kernel
from bnnzoo.graph.passes.drop_unused import drop_unused, with_inputs

__all__ = ["flatten_channels_first", "flatten_channels_last"]

_ANY_ORDER = ("sign", "quantize", "dequantize", "clip", "sigmoid", "tanh")
_VECTORS = ("affine", "batch_norm", "prelu")
_CHANNELS_FIRST = (2, 0, 1)


def flatten_channels_first(graph: Graph) -> Graph:
    """Flattens real images channels first if only dense layers read them.

    There may be elementwise operations in between, whose parameters are permuted too.
    """
    types = infer_types(graph)
    for node in graph.nodes:
        shape = types[node.inputs[0]].shape
        if node.op != "reshape" or len(shape) != 3 or types[node.inputs[0]].kind != "real":
            continue
        height, width, channels = shape
        moves = height * width > 1 and channels > 1
        if moves and types[node.name].shape[-1] == math.prod(shape):
            permute = Node(
                f"{node.name}/channels_first", "permute", node.inputs, {"axes": _CHANNELS_FIRST}
            )
            reshape = with_inputs(node, (permute.name,))
            graph = _flattened(graph, (permute, reshape), _channels_first(shape))
    return drop_unused(graph)


def flatten_channels_last(graph: Graph) -> Graph:
    """Flattens real images channels last if they were permuted to flatten them channels first."""
    types = infer_types(graph)
    producers = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        permute = producers.get(node.inputs[0])
        if node.op != "reshape" or permute is None or permute.op != "permute":
            continue
        shape = types[permute.inputs[0]].shape
        flat = types[node.name].shape[-1] == math.prod(shape)
        if flat and permute.attributes["axes"] == _CHANNELS_FIRST:
            order = np.argsort(_channels_first(shape))
            graph = _flattened(graph, (with_inputs(node, permute.inputs),), order)
    return drop_unused(graph)


def _channels_first(shape: Sequence[int]) -> NDArray[Any]:
    """Returns the indices of an image flattened channels last, in the order of channels first."""
    indices = np.arange(math.prod(shape)).reshape(shape)
    return np.asarray(indices.transpose(_CHANNELS_FIRST).ravel())


def _flattened(graph: Graph, replacement: Sequence[Node], order: NDArray[Any]) -> Graph:
    """Returns the graph with one image flattened in another order, or unchanged if impossible.

    Args:
        graph: Any graph.
        replacement: The nodes that replace the reshape; the last one is a reshape of its name.
        order: Old indices in the new order.
    """
    reshape = replacement[-1]
    moved = {reshape.name}
    changed: dict[str, Node] = {}
    tensors: dict[str, Tensor] = dict(graph.tensors)
    for node in graph.nodes:
        if not moved.intersection(node.inputs):
            continue
        keeps = node.op == "reshape" and node.attributes["shape"][-1] == len(order)
        if keeps or node.op in _ANY_ORDER:
            moved.add(node.name)
        elif node.op in _VECTORS:
            moved.add(node.name)
            changed[node.name] = _with_moved(node, tensors, order)
        elif _is_dense(node, graph):
            changed[node.name] = _with_moved(node, tensors, order)
        else:
            return graph
    if moved.intersection(graph.outputs):
        return graph
    nodes: list[Node] = []
    for node in graph.nodes:
        nodes += replacement if node.name == reshape.name else [changed.get(node.name, node)]
    return dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors)


def _is_dense(node: Node, graph: Graph) -> bool:
    kernel = graph.tensor(node, "kernel")
    return kernel is not None and kernel.shape[1:3] == (1, 1) and node.attributes["groups"] == 1


def _with_moved(node: Node, tensors: dict[str, Tensor], order: NDArray[Any]) -> Node:
    """Returns the node with the last axis of its parameters permuted."""
    names = {role: f"{node.name}/{role}/permuted" for role in node.tensors}
    for role, name in node.tensors.items():
        tensor = tensors[name]
        if isinstance(tensor, Int8Kernel):
            tensors[names[role]] = Int8Kernel(tensor.levels[..., order], tensor.scale)
        else:
            tensors[names[role]] = numbers(tensor)[..., order]
    return dataclasses.replace(node, tensors=names)
