"""Folds padding into the convolution that reads it.

PyTorch pads all sides equally, at stride 2 as well, which no padding rule of Keras does: in Keras,
the border is a separate layer, before or after the sign. Folded, it is

    bconv2d(sign(pad(x, v))) = bconv2d(sign(x)) with a border of sign(v), +1 for zeros
    conv2d(pad(signs, v)) = bconv2d(signs) with a border of v = -1, 0 or +1, if its kernel is binary

After a sign, a border of zeros gives values that are not signs: without this pass, such a
convolution would be computed in real numbers. Convolutions of levels and real numbers are padded
with zeros, so that a border of zeros is folded in the same way.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from bnnzoo.graph.builder import Names
from bnnzoo.graph.ir import Graph, Node, signs
from bnnzoo.graph.ops import infer_types
from bnnzoo.graph.passes.drop_unused import drop_unused, with_inputs

__all__ = ["fold_padding"]


def fold_padding(graph: Graph) -> Graph:
    """Folds the border of each `pad` into the convolutions that read it."""
    folder = _Folder(graph)
    for node in graph.nodes:
        folder.add(node)
    if not folder.folded:
        return graph
    return drop_unused(dataclasses.replace(graph, nodes=tuple(folder.nodes)))


@dataclass(frozen=True)
class _Border:
    """A value that is another value with a border around it.

    Attributes:
        source: The value inside.
        sides: Width of the border in pixels: top, bottom, left, right.
        value: Number in the border; for levels, the level.
    """

    source: str
    sides: tuple[int, ...]
    value: float


class _Folder:
    """The state while the nodes are visited in order."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types = infer_types(graph)
        self.names = Names((*self.types, *graph.tensors))
        self.nodes: list[Node] = []
        self.producers: dict[str, Node] = {}
        self.borders: dict[str, _Border] = {}
        self.folded = False

    def add(self, node: Node) -> None:
        """Appends a node, and records the border of its value if it has one."""
        border = self.borders.get(node.inputs[0])
        if node.op == "pad":
            self._pad(node, border)
        elif border is None:
            pass
        elif node.op == "reshape":
            self.borders[node.name] = border
        elif node.op in ("sign", "quantize") and not node.tensors:
            self._quantize(node, border)
        elif node.op in ("conv2d", "bconv2d") and self._whole(node.inputs[0], border):
            node = self._convolve(node, border)
        self._append(node)

    def _append(self, node: Node) -> None:
        self.nodes.append(node)
        self.producers[node.name] = node

    def _whole(self, value: str, border: _Border) -> bool:
        """Returns whether no reshape moved the border of a value."""
        height, width, channels = self.types[border.source].shape
        top, bottom, left, right = border.sides
        return self.types[value].shape == (height + top + bottom, width + left + right, channels)

    def _pad(self, node: Node, inner: _Border | None) -> None:
        value, sides = node.attributes["value"], node.attributes["padding"]
        if inner is not None and inner.value == value and self._whole(node.inputs[0], inner):
            self.borders[node.name] = _Border(inner.source, _sum(inner.sides, sides), value)
        else:
            self.borders[node.name] = _Border(node.inputs[0], sides, value)

    def _quantize(self, node: Node, border: _Border) -> None:
        """Quantizes the value inside a border; removed again if nothing reads it."""
        source, type_ = self._counted(border.source), self.types[node.name]
        if source is None or dataclasses.replace(self.types[source], shape=type_.shape) != type_:
            source = self._added(node, border.source)
        if node.op == "sign":
            value = -1.0 if border.value < 0 else 1.0
        else:
            value = np.rint(np.clip(border.value, 0, 1) * (2 ** node.attributes["bits"] - 1))
        self.borders[node.name] = _Border(source, border.sides, value)

    def _added(self, node: Node, source: str) -> str:
        """Appends a copy of a node that reads another value."""
        name = self.names.free(f"{node.name}/inside")
        shape = self.types[source].shape
        self._append(Node(name, node.op, (source,), node.attributes))
        self.types[name] = dataclasses.replace(self.types[node.name], shape=shape)
        return name

    def _counted(self, value: str) -> str | None:
        """Returns the bits or levels that a value was dequantized from; None for other values."""
        node = self.producers.get(value)
        if node is None or node.op not in ("dequantize", "reshape"):
            return None
        if node.op == "dequantize":
            return node.inputs[0]
        source = self._counted(node.inputs[0])
        if source is None:
            return None
        name = self.names.free(f"{value}/bits")
        self._append(Node(name, "reshape", (source,), node.attributes))
        self.types[name] = dataclasses.replace(self.types[source], shape=self.types[value].shape)
        return name

    def _convolve(self, node: Node, border: _Border) -> Node:
        """Returns a convolution with the border folded into it, or unchanged if impossible."""
        source, kind = border.source, self.types[border.source].kind
        if node.op == "conv2d" and self._is_binary(node):
            counted = self._counted(source)
            if counted is not None and _holds(self.types[counted].kind, border.value):
                source, kind = counted, self.types[counted].kind
        own = node.attributes.get("pad_value", 0) if kind == "bits" else 0
        same = own == border.value or (kind == "bits" and not any(node.attributes["padding"]))
        if not same or not _holds(kind, border.value):
            return node
        self.folded = True
        sides = _sum(node.attributes["padding"], border.sides)
        attributes = {**node.attributes, "padding": sides}
        if kind == "real":
            return dataclasses.replace(with_inputs(node, (source,)), attributes=attributes)
        attributes["pad_value"] = int(border.value)
        return Node(node.name, "bconv2d", (source,), attributes, node.tensors)

    def _is_binary(self, node: Node) -> bool:
        """Returns whether it is worth computing in bits: a depthwise kernel has few products."""
        depthwise = node.attributes["groups"] == self.types[node.inputs[0]].shape[-1] > 1
        return signs(self.graph.tensors[node.tensors["kernel"]]) and not depthwise


def _holds(kind: str, value: float) -> bool:
    """Returns whether a convolution of values of this kind can be padded with `value`."""
    return value in (-1, 0, 1) if kind == "bits" else value == 0


def _sum(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))
