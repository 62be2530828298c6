"""The batch norm of a trained network is one multiplication and one addition per channel.

    gamma * (x - mean) / sqrt(variance + epsilon) + beta = scale * x + bias
    scale = gamma / sqrt(variance + epsilon),   bias = beta - mean * scale

They are computed in float64, and rounded only when they are stored.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.ir import Graph, Node

__all__ = ["fold_batch_norm", "scale_and_bias"]


def fold_batch_norm(graph: Graph) -> Graph:
    """Replaces every `batch_norm` by an `affine`."""
    if not any(node.op == "batch_norm" for node in graph.nodes):
        return graph
    tensors = dict(graph.tensors)
    nodes = []
    for node in graph.nodes:
        if node.op == "batch_norm":
            prefix = node.tensors["mean"].removesuffix("/mean")
            names = {"scale": f"{prefix}/scale", "bias": f"{prefix}/bias"}
            scale, bias = scale_and_bias(graph, node)
            tensors[names["scale"]], tensors[names["bias"]] = scale, bias
            node = Node(node.name, "affine", node.inputs, {}, names)
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors)


def scale_and_bias(graph: Graph, node: Node) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the scale and bias of a batch norm, in float64."""
    mean, variance, gamma, beta = (
        None if (tensor := graph.tensor(node, role)) is None else np.asarray(tensor, np.float64)
        for role in ("mean", "variance", "gamma", "beta")
    )
    assert mean is not None and variance is not None
    scale = 1.0 / np.sqrt(variance + node.attributes["epsilon"])
    scale = scale if gamma is None else gamma * scale
    bias = -mean * scale
    return scale, bias if beta is None else beta + bias
