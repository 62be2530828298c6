"""Builds the graph while the operators of a file are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import GraphError, ModelFormatError
from bnnzoo.formats.graph_document import MAX_PORTS
from bnnzoo.formats.lce.model_file import ABSENT, ModelFile, OperatorEntry
from bnnzoo.formats.lce.words import WORD_BITS, words
from bnnzoo.formats.strict_json import readable, shown
from bnnzoo.graph.attribute_rules import is_int
from bnnzoo.graph.builder import GraphBuilder
from bnnzoo.graph.ir import Tensor, Type

__all__ = ["Condition", "Constant", "Operation", "Reading", "Value", "uniform"]

Array = NDArray[Any]

# Limits the bytes of computed constants per byte of the file. Folding makes a few copies of each.
_CONSTANT_BYTES_PER_BYTE = 16


@dataclass(frozen=True)
class Value:
    """A value of the graph and its type: the result of an operator for one image."""

    name: str
    type: Type


@dataclass(frozen=True)
class Constant:
    """A value that does not depend on the image.

    Attributes:
        array: The array in the file, with all axes.
        kind: `real` numbers, `integers` of a table or of packed words, or `bits`, -1 and +1.
    """

    array: Array
    kind: Literal["real", "integers", "bits"]


@dataclass(frozen=True)
class Condition:
    """An elementwise comparison.

    Attributes:
        bits: For a strict comparison, -1 where it is true. Otherwise, -1 where it is false.
        strict: Whether it is `<` or `>`, not `<=` or `>=`.
        value: The value that is compared.
        below: Whether it is `<` or `<=`.
        bound: The number that it is compared with, or None if there are several.
    """

    bits: Value
    strict: bool
    value: Value
    below: bool
    bound: float | None


def uniform(array: Array) -> float | None:
    """Returns the value of all elements; None if they differ or there are none."""
    if array.size == 0:
        return None
    first = array.reshape(-1)[0]
    return float(first) if (array == first).all() else None


class Reading:
    """A graph under construction.

    Attributes:
        file: The file.
        values: Tensor -> its value, if it was read already.
        builder: Builds the graph.
        batch: Images that the file was written for.
    """

    def __init__(self, file: ModelFile, file_bytes: int) -> None:
        self.file = file
        self.values: dict[int, Value | Constant | Condition] = {}
        self.builder = GraphBuilder()
        self.batch = 1
        self._kept: dict[tuple[int, str], str] = {}
        self._bytes_left = _CONSTANT_BYTES_PER_BYTE * file_bytes
        for index, entry in enumerate(file.tensors):
            if entry.values is None:
                continue
            if entry.is_real:
                self.spend(0 if entry.dtype == "FLOAT32" else 4 * entry.values.size)
                self.values[index] = Constant(entry.numbers(), "real")
            elif entry.is_integers:
                self.values[index] = Constant(entry.values, "integers")

    def feed(self) -> None:
        """Adds the network's inputs."""
        if not 0 < len(self.file.inputs) <= MAX_PORTS:
            raise ModelFormatError(
                f"it must have 1 to {MAX_PORTS} inputs, got {len(self.file.inputs)}."
            )
        for index in self.file.inputs:
            self._feed(index)

    def _feed(self, index: int) -> None:
        if isinstance(self.values.get(index), Value):
            raise ModelFormatError(f"its inputs must be distinct, got tensor {index} twice.")
        entry = self.file.tensors[index] if 0 <= index < len(self.file.tensors) else None
        known = entry is not None and (entry.is_real or entry.is_words)
        if entry is None or index in self.values or not known:
            kind = "none" if entry is None else entry.dtype
            raise ModelFormatError(
                f"its inputs must be float32, quantized numbers or words of bits, got {kind}. "
                "Convert the network with float32 inputs."
            )
        if index == self.file.inputs[0]:
            self.batch = entry.shape[0] if entry.shape else 1
        if len(entry.shape) < 2 or entry.shape[0] != self.batch or not all(entry.shape):
            raise ModelFormatError(
                "its inputs must have equal batch sizes and no empty axes, got shape "
                f"{entry.shape}. Convert the network with a batch of 1."
            )
        name = readable(entry.name or "input") or "value"
        if entry.is_words:
            self.values[index] = self._signs(index, name, entry.shape[1:])
        else:
            self.values[index] = self.value(self.builder.add_input(name, entry.shape[1:]))

    def _signs(self, index: int, name: str, shape: tuple[int, ...]) -> Value:
        """Adds a real input whose signs are the bits of an input in words.

        Words do not determine the number of channels, so it is taken from a convolution that reads
        them.
        """
        channels = shape[-1] * WORD_BITS
        for operator in self.file.operators:
            if operator.kind == "LceBconv2d" and operator.inputs[:1] == (index,):
                channels = int(operator.options["channels_in"])
        if not 0 < channels <= shape[-1] * WORD_BITS:
            raise ModelFormatError(
                f"input {index} must have 1 to {shape[-1] * WORD_BITS} channels, got {channels}."
            )
        numbers = self.builder.add_input(name, (*shape[:-1], channels))
        bits = self.builder.names.free(f"{numbers}/bits")
        return self.value(self.builder.add("sign", numbers, name=bits))

    def value(self, name: str) -> Value:
        """Returns a value of the graph with its type."""
        return Value(name, self.builder.types[name])

    def spend(self, count: int) -> None:
        """Accounts for a constant of `count` bytes that will be made.

        Raises:
            ModelFormatError: The constants would be far larger than the file.
        """
        self._bytes_left -= count
        if self._bytes_left < 0:
            raise ModelFormatError("its constants must not become far larger than the file.")

    def keep(self, name: str, index: int, role: str, tensor: Tensor) -> str:
        """Adds a tensor to the graph and returns its name; a shared constant is added once."""
        key = (index, role)
        if index == ABSENT or key not in self._kept:
            self.builder.tensors[name] = tensor
            self._kept[key] = name
            return name
        return self._kept[key]

    def scaled(self, value: Value) -> tuple[Value, float | None]:
        """Returns the input and the factor of a scaled value; the value and None for others."""
        node = self.builder.nodes.get(value.name)
        if node is None or node.op != "affine" or set(node.tensors) != {"scale"}:
            return value, None
        factor = uniform(np.asarray(self.builder.tensors[node.tensors["scale"]]))
        return self.value(node.inputs[0]), factor


class Operation:
    """An operator that is being read: its inputs, and the nodes that compute it.

    Attributes:
        kind: Kind of the operator.
        reading: The graph under construction.
    """

    def __init__(self, reading: Reading, entry: OperatorEntry, index: int) -> None:
        self.reading = reading
        self.kind = entry.kind
        self._entry = entry
        self._what = f"operator {index} ({shown(entry.kind)})"
        if len(entry.outputs) != 1 or not 0 <= entry.outputs[0] < len(reading.file.tensors):
            raise self.wrong(f"it must have one result, got {shown(entry.outputs)}")
        if entry.outputs[0] in reading.values:
            raise self.wrong("its result must not exist already")
        self.target = reading.file.tensors[entry.outputs[0]]
        self._first = len(reading.builder.nodes)
        self._name = reading.builder.names.free(readable(self.target.name) or "value")

    def wrong(self, rule: str) -> ModelFormatError:
        """Returns an error that names this operator."""
        return ModelFormatError(f"{self._what}: {rule}.")

    def operands(self, least: int, most: int) -> int:
        """Returns the number of inputs.

        Raises:
            ModelFormatError: There are fewer than `least` or more than `most`.
        """
        count = len(self._entry.inputs)
        if not least <= count <= most:
            raise self.wrong(f"it must have {least} to {most} inputs, got {count}")
        return count

    def operand(self, place: int) -> Value | Constant | Condition | None:
        """Returns an input; None if it is omitted."""
        inputs = self._entry.inputs
        if place >= len(inputs) or inputs[place] == ABSENT:
            return None
        if inputs[place] not in self.reading.values:
            raise self.wrong(f"input {place} must be computed before it")
        return self.reading.values[inputs[place]]

    def value(self, place: int, kind: str = "real") -> Value:
        """Returns an input that depends on the image."""
        value = self.operand(place)
        if not isinstance(value, Value) or value.type.kind != kind:
            raise self.wrong(f"input {place} must be {kind} and depend on the network's input")
        return value

    def constant(self, place: int, kind: str = "real") -> Array:
        """Returns an input that does not depend on the image."""
        constant = self.operand(place)
        if not isinstance(constant, Constant) or constant.kind != kind:
            raise self.wrong(f"input {place} must be a constant: {kind}")
        if kind == "real":
            self._check_finite(constant.array, place)
        return constant.array

    def _check_finite(self, array: Array, place: int) -> None:
        if not np.isfinite(array).all():
            raise self.wrong(f"input {place} must be finite numbers")

    def table(self, place: int, shape: tuple[int, ...]) -> list[Any]:
        """Returns a constant of integers as nested lists; -1 in `shape` allows any length."""
        array = self.constant(place, "integers")
        fits = len(array.shape) == len(shape) and all(
            wanted in (-1, got) for wanted, got in zip(shape, array.shape, strict=True)
        )
        if not fits or array.size > 64:
            raise self.wrong(f"input {place} must be integers of shape {shape}, got {array.shape}")
        found: list[Any] = array.tolist()
        return found

    def option(self, name: str, least: int = 0, most: int = 2**20) -> int:
        """Returns an option that is an integer in a range."""
        value = self._entry.options[name]
        value = int(value) if isinstance(value, bool) else value
        if not is_int(value, least, most):
            raise self.wrong(f"{name} must be {least} to {most}, got {shown(value)}")
        return int(value)

    def number(self, name: str) -> float:
        """Returns an option that is a finite number."""
        value = float(self._entry.options[name])
        if not math.isfinite(value):
            raise self.wrong(f"{name} must be a finite number, got {value}")
        return value

    def add(
        self,
        part: str,
        op: str,
        *inputs: Value,
        tensors: Mapping[str, tuple[int, Tensor]] | None = None,
        **attributes: Any,
    ) -> Value:
        """Adds a node.

        Args:
            part: Last part of its name.
            op: Operation of the graph.
            inputs: Values that it reads.
            tensors: Role -> index of the input that the tensor comes from (or `ABSENT`), and the
                tensor.
            attributes: Attributes of the operation.
        """
        builder = self.reading.builder
        name = builder.names.free(readable(f"{self._name}/{part}"))
        names = {}
        for role, (place, tensor) in (tensors or {}).items():
            source = ABSENT if place == ABSENT else self._entry.inputs[place]
            names[role] = self.reading.keep(f"{name}/{role}", source, f"{op} {role}", tensor)
        try:
            builder.add(
                op, *(value.name for value in inputs), name=name, tensors=names, **attributes
            )
        except GraphError as error:
            raise ModelFormatError(str(error)) from error
        return self.reading.value(name)

    def same(self, place: int, other: int) -> bool:
        """Returns whether two inputs are the same tensor."""
        return self._entry.inputs[place] == self._entry.inputs[other]

    def finish(self, value: Value | Constant | Condition) -> None:
        """Sets the operator's result, and compares its shape with that in the file."""
        if isinstance(value, Condition):
            self._check_condition(value)
        if isinstance(value, Value):
            self._check_result(value.type)
            if len(self.reading.builder.nodes) > self._first:
                value = Value(self.reading.builder.rename(value.name, self._name), value.type)
        self.reading.values[self._entry.outputs[0]] = value

    def _check_result(self, type_: Type) -> None:
        *rest, channels = type_.shape
        bits = type_.kind == "bits"
        shape = (self.reading.batch, *rest, words(channels) if bits else channels)
        fits = self.target.is_words if bits else self.target.is_real
        if not fits or self.target.shape != shape:
            kind = "INT32 words" if bits else "FLOAT32 or quantized"
            raise self.wrong(
                f"its result must be {kind} {shape}, got {self.target.dtype} {self.target.shape}"
            )

    def _check_condition(self, condition: Condition) -> None:
        shape = (self.reading.batch, *condition.bits.type.shape)
        if self.target.dtype != "BOOL" or self.target.shape != shape:
            raise self.wrong(
                f"its result must be BOOL {shape}, got {self.target.dtype} {self.target.shape}"
            )

    def reshaped_bits(self, value: Value) -> tuple[int, ...]:
        """Returns the shape of the bits that are packed in the result's words."""
        channels, count = value.type.shape[-1], self.target.shape[-1]
        if channels % WORD_BITS == 0:
            return (*self.target.shape[1:-1], count * WORD_BITS)
        if count == words(channels):
            return (*self.target.shape[1:-1], channels)
        raise self.wrong(f"words of {channels} channels must not be split")
