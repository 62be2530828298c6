"""Collects the tensors and operators of a file while the graph is traversed."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ConversionError
from bnnzoo.formats.lce.model_file import ABSENT, ModelFile, OperatorEntry, TensorEntry
from bnnzoo.formats.lce.words import words
from bnnzoo.graph.ir import Graph, Node, Type
from bnnzoo.graph.ops import infer_types

__all__ = ["Emitter", "refuse"]

# fused_activation_function, in the schema's numbers.
_FUSES = {
    "ADD", "AVERAGE_POOL_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "MAX_POOL_2D", "MUL", "SUB",
}  # fmt: skip


def refuse(node: Node, why: str, instead: str) -> ConversionError:
    """Returns the error for a node without an operator in Larq Compute Engine."""
    return ConversionError(
        f"Cannot write node '{node.name}' ({node.op}) for Larq Compute Engine: {why}. {instead}"
    )


class Emitter:
    """A file under construction.

    A value of the graph may have two tensors, one of float32 numbers and one of packed bits. Each
    is made on first use.

    Attributes:
        graph: The graph to write, after `prepare`.
        types: Types of its values.
        only_readers: The only reader of a value, by its name.
        absorbed: Names of nodes that are part of an operator before them.
        bytes: Size of the constants by purpose.
        notes: Sentences for the report.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.types: dict[str, Type] = infer_types(graph)
        self.absorbed: set[str] = set()
        self.bytes: collections.Counter[str] = collections.Counter()
        self.notes: list[str] = []
        self.only_readers = graph.only_readers()
        self._tensors: list[TensorEntry] = []
        self._operators: list[OperatorEntry] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], int] = {}
        self._real = {name: self._tensor(name, shape) for name, shape in graph.inputs.items()}
        self._packed: dict[str, int] = {}
        self._makers: dict[int, int] = {}  # tensor -> the operator that computes it

    def file(self, metadata: dict[str, bytes]) -> ModelFile:
        """Returns the file's contents."""
        return ModelFile(
            tuple(self._tensors),
            tuple(self._operators),
            tuple(self._real[name] for name in self.graph.inputs),
            tuple(self.real(name) for name in self.graph.outputs),
            metadata,
        )

    def constant(self, name: str, values: NDArray[Any], purpose: str) -> int:
        """Returns the tensor of a constant; equal constants share a tensor."""
        dtype = "INT32" if np.issubdtype(values.dtype, np.integer) else "FLOAT32"
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(values, "<i4" if dtype == "INT32" else "<f4")
        key = (dtype, values.shape, values.tobytes())
        if key not in self._constants:
            self._constants[key] = len(self._tensors)
            self._tensors.append(TensorEntry(name, dtype, values.shape, values))
            self.bytes[purpose] += values.nbytes
        return self._constants[key]

    def operator(
        self, kind: str, inputs: Sequence[int], name: str, shape: Sequence[int], **options: Any
    ) -> int:
        """Adds an operator with a float32 result; `shape` is without the batch axis."""
        return self._operator(kind, inputs, self._tensor(name, shape), options)

    def packed_operator(
        self, kind: str, inputs: Sequence[int], name: str, shape: Sequence[int], **options: Any
    ) -> int:
        """Adds an operator whose result is packed bits; `shape` is that of the bits."""
        *rest, channels = shape
        target = self._tensor(name, (*rest, words(channels)), "INT32")
        return self._operator(kind, inputs, target, options)

    def _operator(
        self, kind: str, inputs: Sequence[int], target: int, options: dict[str, Any]
    ) -> int:
        self._makers[target] = len(self._operators)
        self._operators.append(OperatorEntry(kind, tuple(inputs), (target,), options))
        return target

    def _tensor(self, name: str, shape: Sequence[int], dtype: str = "FLOAT32") -> int:
        self._tensors.append(TensorEntry(name, dtype, (1, *shape)))
        return len(self._tensors) - 1

    def set_real(self, value: str, tensor: int) -> None:
        """Sets the tensor of a value as float32."""
        self._real[value] = tensor

    def set_packed(self, value: str, tensor: int) -> None:
        """Sets the tensor of a value as packed bits."""
        self._packed[value] = tensor

    def real(self, value: str) -> int:
        """Returns the tensor of a value as float32, with bits as -1 and +1."""
        if value not in self._real:
            shape = self.types[value].shape
            self._real[value] = self.operator(
                "LceDequantize", [self._packed[value]], f"{value}/dequantized", shape
            )
        return self._real[value]

    def packed(self, value: str) -> int:
        """Returns the tensor of a value as packed bits."""
        return self._packed[value]

    def fuse(self, node: Node, activation: int) -> bool:
        """Fuses a clip into the operator before it, if possible."""
        value = node.inputs[0]
        tensor = self._real.get(value, ABSENT)
        made = self._makers.get(tensor)
        if made is None or value not in self.only_readers:
            return False
        operator = self._operators[made]
        if operator.kind not in _FUSES or operator.options.get("fusedActivationFunction"):
            return False
        options = {**operator.options, "fusedActivationFunction": activation}
        self._operators[made] = dataclasses.replace(operator, options=options)
        self._tensors[tensor] = dataclasses.replace(self._tensors[tensor], name=node.name)
        self._real[node.name] = tensor
        return True
