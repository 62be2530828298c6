"""Collects the nodes that the layer handlers emit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ConversionError
from bnnzoo.graph.builder import GraphBuilder
from bnnzoo.graph.ir import Type
from bnnzoo.keras_bridge.from_keras.walking import LayerCall

__all__ = ["Emitter", "numbers", "real"]


def numbers(variable: Any) -> NDArray[np.float32]:
    """Returns the values of a Keras variable or tensor."""
    import keras

    return np.array(keras.ops.convert_to_numpy(variable), np.float32)


def real(builder: GraphBuilder, value: str) -> str:
    """Returns a value as real numbers, from a `dequantize` shared by its readers."""
    if builder.types[value].kind == "real":
        return value
    name = f"{value}/dequantize"
    known = builder.nodes.get(name)
    if known is not None and (known.op, known.inputs) == ("dequantize", (value,)):
        return name
    return builder.add("dequantize", value, name=builder.names.free(name))


class Emitter:
    """Writes the nodes of one call of a layer.

    Attributes:
        call: The call.
        layer: Its layer.
        inputs: Names of the layer's inputs.
        quantized: The output of the layer's input quantizer, if it has one.
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
        return self.builder.shape(value)

    def real(self, value: str) -> str:
        """Returns a value as real numbers."""
        return real(self.builder, value)

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
            part: Part of the node's name after the layer's path.
            op: The operation.
            inputs: Names of values; bits and levels are dequantized if the operation needs it.
            tensors: Role -> name after the layer's path, and the tensor.
            attributes: Attributes of the operation.

        Returns:
            The name of the node.
        """
        names = {role: self.tensor(name, value) for role, (name, value) in (tensors or {}).items()}
        values = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        if op not in _TAKES_BITS:
            values = tuple(self.real(value) for value in values)
        self._emitted += 1
        name = self.builder.names.free(f"{self.call.path}/{part}")
        return self.builder.add(op, *values, name=name, tensors=names, **attributes)

    def tensor(self, name: str, value: NDArray[Any]) -> str:
        """Adds a tensor under the layer's path; calls of a shared layer share equal tensors."""
        tensors = self.builder.tensors
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            self.refuse(f"its {name} has values that are not finite", "Train it again.")
        for path in (self.call.first_path, self.call.path):
            full = f"{path}/{name}"
            if full not in tensors:
                tensors[full] = value
                return full
            if np.array_equal(np.asarray(tensors[full]), value):
                return full
        raise ConversionError(f"Tensor '{self.call.path}/{name}' must be unique. Rename the layer.")

    def sign(self, value: str) -> str:
        """Returns the sign of a value, one for all layers that read it."""
        value = self.real(value)
        for node in self.builder.nodes.values():
            if (node.op, node.inputs) == ("sign", (value,)):
                return node.name
        return self.add("sign", "sign", value)

    def reshape(self, part: str, value: str, shape: tuple[int, ...]) -> str:
        """Returns the value in another shape, or unchanged if it has that shape."""
        if self.shape(value) == shape:
            return value
        return self.add(part, "reshape", value, shape=shape)

    def finish(self, value: str) -> str:
        """Names the layer's result after the layer, if the layer computed it."""
        if self._emitted and next(reversed(self.builder.nodes)) == value:
            return self.builder.rename(value, self.call.path)
        return value

    def refuse(self, rule: str, hint: str) -> NoReturn:
        """Raises a ConversionError for an unsupported setting of the layer.

        Raises:
            ConversionError: Always.
        """
        kind = type(self.layer).__name__
        raise ConversionError(f"Cannot convert layer '{self.call.path}' ({kind}): {rule}. {hint}")


_TAKES_BITS = ("dequantize", "bconv2d", "bconv2d_transpose", "bmax_pool2d", "reshape")
