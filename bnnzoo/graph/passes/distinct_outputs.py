"""Outputs of different names: a value that a network returns twice is copied.

A reshape to the same shape is the copy, which costs a runtime nothing. As an output it stays: see
`drop_identities`.
"""

from __future__ import annotations

import dataclasses

from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types

__all__ = ["distinct_outputs"]


def distinct_outputs(graph: Graph) -> Graph:
    """Gives the k-th output of a value, k >= 2, the name `value:k`, or the next that is free."""
    types = infer_types(graph)
    names: list[str] = []
    copies: list[Node] = []
    for value in graph.outputs:
        name, k = value, 1
        while name in names or (k > 1 and name in types):
            k += 1
            name = f"{value}:{k}"
        if k > 1:
            copies.append(Node(name, "reshape", (value,), {"shape": types[value].shape}))
        names.append(name)
    if not copies:
        return graph
    return dataclasses.replace(graph, nodes=(*graph.nodes, *copies), outputs=tuple(names))
