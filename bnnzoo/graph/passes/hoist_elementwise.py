"""Moves elementwise operations before a reshape: f(reshape(x)) = reshape(f(x)).

Dense layers are 1 x 1 convolutions between reshapes, and Flatten is between a convolution and the
sign of the dense layer after it. Before the reshape, a batch norm or sign directly follows the
convolution, as the other passes expect.
"""

from __future__ import annotations

import dataclasses

from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.drop_unused import drop_unused, with_inputs

__all__ = ["hoist_elementwise"]

_UNARY = ("affine", "clip", "prelu", "sigmoid", "tanh", "sign", "quantize")


def hoist_elementwise(graph: Graph) -> Graph:
    """Swaps a reshape with the elementwise operations after it.

    Operations with parameters per channel are swapped only if the reshape keeps the last axis. The
    result keeps its name, which the reshape takes over.
    """
    types = infer_types(graph)
    nodes: list[Node] = []
    reshapes: dict[str, Node] = {}
    for node in graph.nodes:
        reshape = reshapes.get(node.inputs[0])
        if reshape is not None and node.op in _UNARY:
            shape = types[node.name].shape
            origin = reshape.inputs[0]
            if not node.tensors or types[origin].shape[-1] == shape[-1]:
                inner = dataclasses.replace(
                    with_inputs(node, (origin,)), name=f"{node.name}/unshaped"
                )
                nodes.append(inner)
                types[inner.name] = dataclasses.replace(types[node.name], shape=types[origin].shape)
                node = Node(node.name, "reshape", (inner.name,), {"shape": shape})
        if node.op == "reshape":
            reshapes[node.name] = node
        nodes.append(node)
    if len(nodes) == len(graph.nodes):
        return graph
    return drop_unused(dataclasses.replace(graph, nodes=tuple(nodes)))
