"""Drops unused nodes, and nodes that do nothing."""

from __future__ import annotations

import dataclasses
import math

from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import infer_types

__all__ = ["drop_identities", "drop_unused", "with_inputs"]


def drop_unused(graph: Graph) -> Graph:
    """Drops nodes that no output depends on, and tensors that no node uses."""
    needed = set(graph.outputs)
    kept: list[Node] = []
    for node in reversed(graph.nodes):
        if node.name in needed:
            kept.append(node)
            needed.update(node.inputs)
    kept.reverse()
    used = {name for node in kept for name in node.tensors.values()}
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in used}
    if len(kept) == len(graph.nodes) and len(tensors) == len(graph.tensors):
        return graph
    return dataclasses.replace(graph, nodes=tuple(kept), tensors=tensors)


def drop_identities(graph: Graph) -> Graph:
    """Drops nodes whose value is their input, and skips a reshape of a reshape.

    Identities that are outputs are kept, so that outputs keep their names.
    """
    types = infer_types(graph)
    source: dict[str, str] = {}
    reshaped: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = with_inputs(node, tuple(source.get(name, name) for name in node.inputs))
        if node.op == "reshape":
            origin = reshaped.get(node.inputs[0], node.inputs[0])
            node = with_inputs(node, (origin,))
            reshaped[node.name] = origin
        if node.name not in graph.outputs and _does_nothing(node, types):
            source[node.name] = node.inputs[0]
            continue
        nodes.append(node)
    if all(a is b for a, b in zip(nodes, graph.nodes, strict=False)) and not source:
        return graph
    return dataclasses.replace(graph, nodes=tuple(nodes))


def with_inputs(node: Node, inputs: tuple[str, ...]) -> Node:
    """Returns the node with other inputs, or the node itself if they are the same."""
    return node if inputs == node.inputs else dataclasses.replace(node, inputs=inputs)


def _does_nothing(node: Node, types: dict[str, Type]) -> bool:
    attributes = node.attributes
    match node.op:
        case "reshape" | "slice" | "permute":
            same_shape = types[node.name].shape == types[node.inputs[0]].shape
            moved = node.op == "permute" and attributes["axes"] != tuple(
                range(len(attributes["axes"]))
            )
            return same_shape and not moved
        case "concat":
            return len(node.inputs) == 1
        case "affine":
            return not node.tensors
        case "clip":
            return bool(attributes["low"] == -math.inf and attributes["high"] == math.inf)
        case "pad":
            return not any(attributes["padding"])
        case _:
            return False
