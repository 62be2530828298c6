"""The sign of a maximum is the maximum of the signs, which on bits is one AND.

max over the window, then sign = sign, then max over the window, since sign is monotone: rising in
channels of direction +1, falling (then it is the minimum) in those of direction -1. Constant
channels are both. Pooling bits reads 1/32 of the memory, and padding never wins in either order.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnzoo.graph.ir import Graph, Node

__all__ = ["sign_before_pool"]


def sign_before_pool(graph: Graph, *, falling: bool = True) -> Graph:
    """Swaps a max pooling with the sign that is its only reader.

    Args:
        graph: Any graph.
        falling: Also swap if the sign falls in some channels, which then take the minimum.
    """
    producers = {node.name: node for node in graph.nodes}
    readers = graph.only_readers()
    swapped: dict[str, tuple[Node, ...]] = {}
    for node in graph.nodes:
        pool = producers.get(node.inputs[0])
        if node.op != "sign" or pool is None or pool.op != "max_pool2d" or pool.name not in readers:
            continue
        direction = graph.tensor(node, "direction")
        falls = direction is not None and np.any(np.asarray(direction) < 0)
        if falls and not falling:
            continue
        sign = dataclasses.replace(node, name=f"{node.name}/unpooled", inputs=pool.inputs)
        tensors = {"direction": node.tensors["direction"]} if falls else {}
        bits = Node(node.name, "bmax_pool2d", (sign.name,), pool.attributes, tensors)
        swapped[pool.name] = ()
        swapped[node.name] = (sign, bits)
    if not swapped:
        return graph
    nodes = tuple(part for node in graph.nodes for part in swapped.get(node.name, (node,)))
    return dataclasses.replace(graph, nodes=nodes)
