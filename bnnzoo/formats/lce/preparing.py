"""Prepares a graph to be written for Larq Compute Engine.

Its binary convolution is followed by a multiplier and a bias per channel, or by a threshold if the
next one takes bits. Every affine is therefore moved into the convolution before it, or becomes the
threshold of a sign that is its only reader.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.drop_unused import drop_identities, drop_unused
from bnnzoo.graph.passes.fold_affine import fold_into_conv, merge_affines
from bnnzoo.graph.passes.fold_batch_norm import fold_batch_norm
from bnnzoo.graph.passes.fold_padding import fold_padding
from bnnzoo.graph.passes.hoist_elementwise import hoist_elementwise
from bnnzoo.graph.passes.sign_before_pool import sign_before_pool
from bnnzoo.graph.passes.sign_thresholds import sign_thresholds
from bnnzoo.graph.passes.steady_signs import steady_signs
from bnnzoo.graph.thresholds import above_float32, directed

__all__ = ["packs_output", "prepare"]


def prepare(graph: Graph) -> Graph:
    """Returns the graph with affines and signs where the writer expects them."""
    # Values read by a sign and by something else are computed in float32.
    graph = fold_batch_norm(steady_signs(graph))
    # Moves affines and signs of dense layers past the reshape, next to their convolution.
    graph = merge_affines(fold_padding(drop_identities(hoist_elementwise(graph))))
    graph = sign_thresholds(graph, shared=False)
    # Bits are pooled with LceBMaxPool2d, which has no minimum.
    graph = sign_before_pool(graph, falling=False)
    # Again: a sign moved before a pooling now follows an affine.
    graph = sign_thresholds(graph, shared=False)
    # After the thresholds: those that no convolution uses become affines for `fold_into_conv`.
    return drop_unused(fold_into_conv(_shifted_signs(graph)))


def packs_output(node: Node, types: Mapping[str, Type]) -> bool:
    """Returns whether LceBconv2d can write the signs of this convolution as bits.

    With zero padding it cannot, since a popcount has no zeros.
    """
    attributes = node.attributes
    return (
        node.op == "bconv2d"
        and attributes["groups"] == 1
        and types[node.inputs[0]].kind == "bits"
        and (attributes["pad_value"] != 0 or not any(attributes["padding"]))
    )


def _shifted_signs(graph: Graph) -> Graph:
    """Replaces thresholds that no convolution uses by an affine before the sign.

    x < t is x - t < 0 and x > t is t - x < 0. The sign of a float32 difference is exact if t is
    rounded to the float32 that has the same numbers below (or above) it. A sign that does not
    depend on x is that of 0 * x - 1 or 0 * x + 1.
    """
    types, readers = infer_types(graph), graph.only_readers()
    producers = {node.name: node for node in graph.nodes}
    tensors, nodes = dict(graph.tensors), []
    for node in graph.nodes:
        source = producers.get(node.inputs[0])
        taken = source is not None and packs_output(source, types) and source.name in readers
        if node.op != "sign" or "threshold" not in node.tensors or taken:
            nodes.append(node)
            continue
        vectors = _scale_and_bias(graph, node, types[node.name].shape[-1])
        names = {role: f"{node.name}/shifted_{role}" for role in vectors}
        tensors |= {names[role]: vector for role, vector in vectors.items()}
        affine = Node(f"{node.name}/shifted", "affine", node.inputs, {}, names)
        nodes += [affine, Node(node.name, "sign", (affine.name,))]
    return dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors)


def _scale_and_bias(graph: Graph, sign: Node, channels: int) -> dict[str, np.ndarray]:
    threshold, direction = directed(graph, sign, channels)
    threshold = above_float32(threshold)
    constant = np.isinf(threshold)
    bias = np.where(constant, -np.sign(threshold), -threshold)
    scale = np.where(constant, 0.0, direction)
    return {"bias": bias} if np.all(scale == 1) else {"scale": scale, "bias": bias}
