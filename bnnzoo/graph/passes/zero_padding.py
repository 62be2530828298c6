"""Zero padding becomes padding with +1, which bits can represent, and a constant correction.

A tap on the border contributes 0 with zero padding, and the sum of its weights with padding +1:

    zero padding = padding +1 - sum over the taps outside the image of their weights

The sum depends on the output channel and on which taps are outside, that is on the class of the
output row (which kernel rows are inside) and of the column: nine corrections per channel for a
3 x 3 kernel on an image of at least 3 x 3. They are integers and therefore exact.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bnnzoo.graph.ir import Graph, Node, Tensor, Type, sum_inputs
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.windows import classes_of

__all__ = ["zero_padding"]


def zero_padding(graph: Graph) -> Graph:
    """Pads every binary convolution of bits with +1 instead of 0, and corrects it."""
    types = infer_types(graph)
    tensors = dict(graph.tensors)
    nodes = []
    for node in graph.nodes:
        zeros = node.op == "bconv2d" and node.attributes["pad_value"] == 0
        if zeros and types[node.inputs[0]].kind == "bits":
            node = _corrected(node, types, tensors)
        nodes.append(node)
    return dataclasses.replace(graph, nodes=tuple(nodes), tensors=tensors)


def _corrected(node: Node, types: dict[str, Type], tensors: dict[str, Tensor]) -> Node:
    attributes = {**node.attributes, "pad_value": 1}
    if not any(node.attributes["padding"]):
        return dataclasses.replace(node, attributes=attributes)
    kernel = tensors[node.tensors["kernel"]]
    taps = sum_inputs(kernel)
    (rows, row_class), (columns, column_class) = classes_of(
        attributes, types[node.inputs[0]].shape, types[node.name].shape, taps.shape[1:]
    )
    # In two steps, since one would take rows * columns * c_out * taps operations.
    in_rows = np.einsum("rh,ohw->row", rows.astype(np.int32), taps)
    kept = np.einsum("row,cw->rco", in_rows, columns.astype(np.int32))
    added = {
        "correction": kept - taps.sum(axis=(1, 2), dtype=np.int32),
        "row_class": row_class.astype(np.int32),
        "column_class": column_class.astype(np.int32),
    }
    names = {role: f"{node.name}/{role}" for role in added}
    tensors |= {names[role]: tensor for role, tensor in added.items()}
    return dataclasses.replace(node, attributes=attributes, tensors={**node.tensors, **names})
