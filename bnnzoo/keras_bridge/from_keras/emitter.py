"""Builds a graph node by node, and is what the handlers of layers write to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ConversionError
from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import OPS
from bnnzoo.keras_bridge.from_keras.walking import LayerCall

__all__ = ["Emitter", "GraphBuilder", "numbers"]


def numbers(variable: Any) -> NDArray[np.float32]:
    """Returns the values of a Keras variable or tensor."""
    import keras

    return np.array(keras.ops.convert_to_numpy(variable), np.float32)


class GraphBuilder:
    """A graph in the making; knows the type of every value."""

    def __init__(self, inputs: Mapping[str, tuple[int, ...]]) -> None:
        self.inputs = dict(inputs)
        self.nodes: list[Node] = []
        self.tensors: dict[str, NDArray[Any]] = {}
        self.types = {name: Type("real", shape) for name, shape in inputs.items()}
        self._real: dict[str, str] = {}

    def add(self, node: Node) -> str:
        """Appends a node and returns its name."""
        tensors = {role: self.tensors[name] for role, name in node.tensors.items()}
        types = [self.types[name] for name in node.inputs]
        self.types[node.name] = OPS[node.op].infer(node, types, tensors)
        self.nodes.append(node)
        return node.name

    def rename_last(self, name: str) -> str:
        """Gives the last node, which nothing reads yet, another name."""
        last = self.nodes.pop()
        self.types[name] = self.types.pop(last.name)
        self.nodes.append(dataclasses.replace(last, name=name))
        return name

    def real(self, value: str) -> str:
        """Returns a value as real numbers, through a `dequantize` that its readers share."""
        if self.types[value].kind == "real":
            return value
        if value not in self._real:
            self._real[value] = self.add(Node(f"{value}/dequantize", "dequantize", (value,)))
        return self._real[value]

    def graph(self, outputs: Sequence[str]) -> Graph:
        """Returns the graph."""
        return Graph(self.inputs, tuple(self.nodes), tuple(outputs), dict(self.tensors))


class Emitter:
    """Writes the nodes of one call of a layer.

    Attributes:
        call: The call.
        layer: Its layer.
        inputs: Names of the values that the layer takes.
        quantized: The value that the layer's input quantizer gives, where it has one.
    """

    def __init__(self, builder: GraphBuilder, call: LayerCall, inputs: Sequence[str]) -> None:
        self.builder = builder
        self.call = call
        self.layer = call.layer
        self.inputs = tuple(inputs)
        self.quantized: str | None = None
        self._emitted = 0

    @property
    def x(self) -> str:
        """The first input."""
        return self.inputs[0]

    def type(self, value: str) -> Type:
        """Returns the type of a value."""
        return self.builder.types[value]

    def shape(self, value: str) -> tuple[int, ...]:
        """Returns the shape of a value."""
        return self.builder.types[value].shape

    def real(self, value: str) -> str:
        """Returns a value as real numbers."""
        return self.builder.real(value)

    def add(
        self,
        part: str,
        op: str,
        inputs: str | Sequence[str],
        tensors: Mapping[str, tuple[str, NDArray[Any]]] | None = None,
        **attributes: Any,
    ) -> str:
        """Appends a node.

        Args:
            part: What comes behind the layer's path in the node's name.
            op: The operation.
            inputs: Names of values; bits and levels are made real where the operation wants that.
            tensors: Role -> name behind the layer's path, and the tensor.
            attributes: The operation's.

        Returns:
            The name of the node.
        """
        names = {role: self.tensor(name, value) for role, (name, value) in (tensors or {}).items()}
        values = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        if op not in _TAKES_BITS:
            values = tuple(self.real(value) for value in values)
        self._emitted += 1
        return self.builder.add(Node(self._free(part), op, values, attributes, names))

    def _free(self, part: str) -> str:
        base = name = f"{self.call.path}/{part}"
        k = 1
        while name in self.builder.types:
            k += 1
            name = f"{base}_{k}"
        return name

    def tensor(self, name: str, value: NDArray[Any]) -> str:
        """Keeps a tensor under the layer's path; calls of a shared layer share equal ones."""
        tensors = self.builder.tensors
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            self.refuse(f"its {name} has values that are not finite", "Train it again.")
        for path in (self.call.first_path, self.call.path):
            full = f"{path}/{name}"
            if full not in tensors:
                tensors[full] = value
                return full
            if np.array_equal(tensors[full], value):
                return full
        raise ConversionError(f"Tensor '{self.call.path}/{name}' must be unique. Rename the layer.")

    def reshape(self, part: str, value: str, shape: tuple[int, ...]) -> str:
        """Returns the value in another shape; itself where it has that shape."""
        if self.shape(value) == shape:
            return value
        return self.add(part, "reshape", value, shape=shape)

    def finish(self, value: str) -> str:
        """Gives the layer's name to its result, if the layer has computed it."""
        if self._emitted and self.builder.nodes[-1].name == value:
            return self.builder.rename_last(self.call.path)
        return value

    def refuse(self, rule: str, hint: str) -> NoReturn:
        """Raises the error that a setting of the layer cannot be converted.

        Raises:
            ConversionError: Always.
        """
        kind = type(self.layer).__name__
        raise ConversionError(f"Cannot convert layer '{self.call.path}' ({kind}): {rule}. {hint}")


_TAKES_BITS = ("dequantize", "bconv2d", "bconv2d_transpose", "bmax_pool2d", "reshape")
