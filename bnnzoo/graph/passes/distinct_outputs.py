"""Distinct output names: a value that a network returns twice is copied.

The copy is a reshape to the same shape, which costs nothing at run time. `drop_identities` keeps it
because it is an output.
"""

from __future__ import annotations

import dataclasses

from bnnzoo.graph.ir import Graph, Node
from bnnzoo.graph.ops import infer_types

__all__ = ["distinct_outputs"]


def distinct_outputs(graph: Graph) -> Graph:
    """Names the k-th output of a value, k >= 2, `value:k`, or uses the next unused number."""
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
