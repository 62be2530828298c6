"""Folds a term that does not depend on the input into the correction of a binary convolution.

A convolution of AdaBin is the sum of a scaled convolution of signs and a convolution of ones. The
latter is a constant, which varies only at the border. This pass computes it and adds it to the
correction:

    scale * bconv2d(x) + constant = scale * (bconv2d(x) + constant / scale)

Like the correction of zero padding, the constant is the same for all output pixels of a class of
rows and columns.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.interpreter import run
from bnnzoo.graph.ir import Graph, Node, Tensor, numbers
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.drop_unused import drop_identities, drop_unused, with_inputs
from bnnzoo.graph.windows import classes_of

__all__ = ["constant_terms"]

Array = NDArray[Any]


def constant_terms(graph: Graph) -> Graph:
    """Folds convolutions of constants into the corrections of binary convolutions."""
    folder = _Folder(graph)
    for node in graph.nodes:
        if node.op == "add":
            folder.fold(node)
    if not folder.changed:
        return graph
    nodes = tuple(folder.changed.get(node.name, node) for node in graph.nodes)
    folded = dataclasses.replace(graph, nodes=nodes, tensors=folder.tensors)
    return drop_unused(drop_identities(folded))


class _Folder:
    """Folds constants into the nodes of a graph.

    Attributes:
        changed: Name of a node -> its replacement.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types = infer_types(graph)
        self.producers = {node.name: node for node in graph.nodes}
        self.readers = graph.only_readers()
        self.tensors: dict[str, Tensor] = dict(graph.tensors)
        self.changed: dict[str, Node] = {}

    def fold(self, node: Node) -> None:
        """Removes the constant inputs of a sum that has a binary convolution as an input."""
        values = [(name, self._constant(name)) for name in node.inputs]
        constants = [value for _, value in values if value is not None]
        rest = tuple(name for name, value in values if value is None)
        if not constants:
            return
        for name in rest:
            found = self._scaled_convolution(name, node)
            if found is not None and self._correct(*found, np.sum(constants, axis=0)):
                alone = Node(node.name, "affine", rest)
                self.changed[node.name] = with_inputs(node, rest) if len(rest) > 1 else alone
                return

    def _constant(self, name: str) -> Array | None:
        """Returns the value (h, w, c) of a convolution of a constant, or None for other nodes."""
        conv = self.producers.get(name)
        if conv is None or conv.op != "conv2d" or "input_bits" in conv.attributes:
            return None
        affine = self.producers.get(conv.inputs[0])
        if affine is None or affine.op != "affine":
            return None
        scale = self.graph.tensor(affine, "scale")
        if scale is None or np.any(numbers(scale)):
            return None
        bias = self.graph.tensor(affine, "bias")
        shape = self.types[affine.name].shape
        x = np.zeros(shape) + (0 if bias is None else numbers(bias))
        conv = with_inputs(conv, ("x",))
        alone = Graph({"x": shape}, (conv,), (conv.name,), self.graph.tensors)
        value: Array = run(alone, x[None])[conv.name][0]
        return value

    def _scaled_convolution(self, name: str, reader: Node) -> tuple[Node, Array] | None:
        """Returns the binary convolution and the scale of a term that only the sum reads."""
        node = self.producers.get(name)
        scale = np.ones(self.types[name].shape[-1])
        if node is not None and node.op == "affine" and self.readers.get(name) is reader:
            given = self.graph.tensor(node, "scale")
            scale = scale if given is None else numbers(given).astype(np.float64)
            name, reader, node = node.inputs[0], node, self.producers.get(node.inputs[0])
        if node is None or node.op != "bconv2d" or self.readers.get(name) is not reader:
            return None
        return None if (scale == 0).any() else (node, scale)

    def _correct(self, conv: Node, scale: Array, constant: Array) -> bool:
        """Adds a constant to the correction of a convolution. False if the classes do not fit."""
        sizes = self.types[conv.inputs[0]].shape[:2], constant.shape[:2]
        taps = self.tensors[conv.tensors["kernel"]].shape[1:3]
        (_, row_class), (_, column_class) = classes_of(conv.attributes, *sizes, taps)
        classes = constant[np.ix_(_first(row_class), _first(column_class))] / scale
        if not np.allclose(classes[row_class][:, column_class] * scale, constant, rtol=1e-6):
            return False
        given = self.graph.tensor(conv, "correction")
        added = {
            "correction": classes + (0 if given is None else numbers(given)),
            "row_class": row_class.astype(np.int32),
            "column_class": column_class.astype(np.int32),
        }
        names = {role: f"{conv.name}/{role}" for role in added}
        self.tensors |= {names[role]: tensor for role, tensor in added.items()}
        self.changed[conv.name] = dataclasses.replace(conv, tensors={**conv.tensors, **names})
        return True


def _first(classes: Array) -> Array:
    """Returns the first position of each class."""
    return np.unique(classes, return_index=True)[1]
