"""An operator that is being read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnnzoo.errors import GraphError, ModelFormatError
from bnnzoo.formats.graph_document import MAX_NODES
from bnnzoo.formats.qonnx.onnx_file import MAX_AXES, MAX_OPERANDS, NodeEntry
from bnnzoo.formats.qonnx.reading import (
    Array,
    Axes,
    Choice,
    Found,
    Reading,
    Value,
    channels_first,
    compact,
)
from bnnzoo.formats.strict_json import readable, shown
from bnnzoo.graph.ir import Tensor, numbers

__all__ = ["Operation"]

_NEUTRAL = {"scale": 1, "bias": 0}


class Operation:
    """An operator that is being read: gives access to its inputs and adds nodes for it.

    Attributes:
        kind: Name of the operator.
        reading: The graph under construction.
        entry: The operator in the file.
    """

    def __init__(self, reading: Reading, entry: NodeEntry, index: int) -> None:
        self.reading = reading
        self.kind = entry.op
        self.entry = entry
        self._what = entry.label or f"operator {index} ({shown(entry.op)})"
        self._outputs = entry.outputs
        while self._outputs and not self._outputs[-1]:
            self._outputs = self._outputs[:-1]
        if not self._outputs or not all(self._outputs):
            raise self.wrong(f"it must have outputs, got {shown(entry.outputs)}")
        for name in self._outputs:
            if name in reading.values:
                raise self.wrong(f"its output {shown(name)} must not exist already")
        self._created: list[str] = []
        self._names = [reading.builder.names.free(readable(name)) for name in self._outputs]

    @property
    def results(self) -> int:
        """Number of outputs of the operator."""
        return len(self._outputs)

    @property
    def opset(self) -> int:
        """Version of the operators."""
        return self.reading.file.opset

    def wrong(self, rule: str) -> ModelFormatError:
        """Returns an error that names this operator."""
        return ModelFormatError(f"{self._what}: {rule}.")

    def operands(self, least: int, most: int) -> int:
        """Returns the number of inputs.

        Raises:
            ModelFormatError: It is not within `least` and `most`.
        """
        count = len(self.entry.inputs)
        if not least <= count <= most:
            raise self.wrong(f"it must have {least} to {most} inputs, got {count}")
        return count

    def operand(self, place: int) -> Found | None:
        """Returns an input, or None if it is omitted."""
        inputs = self.entry.inputs
        if place >= len(inputs) or not inputs[place]:
            return None
        if inputs[place] not in self.reading.values:
            raise self.wrong(f"input {shown(inputs[place])} must be computed before it")
        return self.reading.values[inputs[place]]

    def tensor(self, place: int) -> str:
        """Returns the name of an input. For a copy, the name of the original."""
        self.operands(place + 1, MAX_OPERANDS)
        return self.reading.origin(self.entry.inputs[place])

    def value(self, place: int = 0) -> Value:
        """Returns an input that depends on the network's input."""
        value = self.operand(place)
        if not isinstance(value, Value):
            raise self.wrong(f"input {place} must depend on the network's input, and be numeric")
        return value

    def constant(self, place: int) -> Array:
        """Returns a constant input with finite values."""
        array = self.operand(place)
        if not isinstance(array, np.ndarray):
            raise self.wrong(f"input {place} must be a constant")
        if not np.isfinite(compact(array)).all():
            raise self.wrong(f"input {place} must be finite")
        return array

    def whole(self, place: int) -> Array:
        """Returns a constant input as float32, after counting the elements that it repeats."""
        array = self.constant(place)
        if compact(array).size < array.size:
            self.reading.spend(array.size)
        return array.astype(np.float32)

    def parameter(self, place: int, value: Value) -> Array:
        """Returns a constant input that broadcasts to a tensor as float32; see `aligned`."""
        return self.aligned(self.constant(place), value).astype(np.float32)

    def scalar(self, place: int, default: float | None = None) -> float:
        """Returns a constant input with one element, or the default if it is omitted."""
        array = self.operand(place)
        if array is None and default is not None:
            return default
        array = self.constant(place)
        if array.size != 1:
            raise self.wrong(f"input {place} must have one element, got shape {array.shape}")
        return float(array.reshape(())[()])

    def table(self, place: int, most: int = 2 * MAX_AXES) -> tuple[int, ...]:
        """Returns a constant input that is a list of integers."""
        array = self.constant(place)
        if array.ndim > 1 or array.size > most or array.dtype.kind not in "iu":
            raise self.wrong(
                f"input {place} must be at most {most} integers, got shape {array.shape}"
            )
        return tuple(int(n) for n in array.reshape(-1))

    def setting(self, name: str, place: int, since: int) -> tuple[int, ...] | None:
        """Returns integers that are an attribute before opset `since`, and an input since then."""
        if self.opset < since:
            return self.integers(name)
        return None if self.operand(place) is None else self.table(place)

    def integer(
        self, name: str, default: int | None = None, least: int = -(2**20), most: int = 2**20
    ) -> int:
        """Returns an attribute that is an integer from `least` to `most`."""
        value = self.entry.attributes.get(name, default)
        if not isinstance(value, int) or not least <= value <= most:
            raise self.wrong(f"{name} must be {least} to {most}, got {shown(value)}")
        return value

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Returns an attribute that is a list of integers, or None if it is omitted."""
        value = self.entry.attributes.get(name)
        if value is None and name not in self.entry.attributes:
            return None
        if not isinstance(value, tuple) or not all(isinstance(n, int) for n in value):
            raise self.wrong(f"{name} must be integers, got {shown(value)}")
        return value

    def number(self, name: str, default: float) -> float:
        """Returns an attribute that is a finite number."""
        value = self.entry.attributes.get(name, default)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.wrong(f"{name} must be a finite number, got {shown(value)}")
        return float(value)

    def word(self, name: str, default: str, *others: str) -> str:
        """Returns an attribute that is one of a few strings."""
        value = self.entry.attributes.get(name, default)
        if value not in (default, *others):
            choices = " or ".join((default, *others))
            raise self.wrong(f"{name} must be {choices}, got {shown(value)}")
        return str(value)

    def axis(self, axis: int, rank: int) -> int:
        """Returns an axis of a tensor. Negative ones count from the end."""
        if not -rank <= axis < rank:
            raise self.wrong(f"an axis must be {-rank} to {rank - 1}, got {axis}")
        return axis % rank

    def add(
        self,
        part: str,
        op: str,
        *inputs: Value,
        view: Axes | None = None,
        tensors: Mapping[str, Tensor] | None = None,
        **attributes: Any,
    ) -> Value:
        """Adds a node.

        Args:
            part: Suffix of its name.
            op: Operation of the graph.
            inputs: Its inputs.
            view: `Value.axes` of the result. Defaults to those of the first input.
            tensors: Its parameters by role.
            attributes: Attributes of the operation.
        """
        builder = self.reading.builder
        if len(builder.nodes) >= MAX_NODES:
            raise ModelFormatError(f"it must become at most {MAX_NODES:,} nodes.")
        name = builder.names.free(f"{self._names[0]}/{part}")
        if not all(np.isfinite(numbers(tensor)).all() for tensor in (tensors or {}).values()):
            raise self.wrong("its parameters must be finite")
        try:
            builder.add(
                op, *(value.name for value in inputs), name=name, tensors=tensors, **attributes
            )
        except GraphError as error:
            raise self.wrong(str(error).partition(": ")[2].rstrip(".") or str(error)) from error
        self._created.append(name)
        return self.reading.value(name, inputs[0].axes if view is None else view)

    def ordered(self, value: Value, axes: Axes) -> Value:
        """Returns the same tensor as a view of a value in another axis order: `Value.axes`."""
        if value.axes == axes:
            return value
        order = tuple(value.axes[axes.index(axis)] for axis in range(len(axes)))
        lengths = tuple(value.type.shape[axis] for axis in order)
        long = [axis for axis in order if value.type.shape[axis] > 1]
        if long == sorted(long):
            return self.add("order", "reshape", value, view=axes, shape=lengths)
        return self.add("order", "permute", value, view=axes, axes=order)

    def plain(self, value: Value) -> Value:
        """Returns the same tensor as a view of a value with the tensor's own axis order."""
        return self.ordered(value, tuple(range(len(value.axes))))

    def map(self, value: Value) -> Value:
        """Returns a channels-first tensor of images as a view of a channels-last value."""
        if len(value.axes) != 3:
            raise self.wrong(f"input 0 must be (1, c, h, w), got {value.shape}")
        return self.ordered(value, channels_first(3))

    def last(self, value: Value, place: int) -> Value:
        """Returns the same tensor, with axis `place + 1` as the last axis of its value."""
        rank = len(value.axes)
        if value.axes[place] == rank - 1:
            return value
        others = iter(range(rank - 1))
        return self.ordered(
            value, tuple(rank - 1 if i == place else next(others) for i in range(rank))
        )

    def reshaped(self, value: Value, shape: Sequence[int]) -> Value:
        """Returns a tensor of another shape, including the batch."""
        shape = tuple(shape)
        if shape == value.shape:
            return value
        if len(shape) < 2 or shape[0] != 1 or min(shape) < 1 or len(shape) > MAX_AXES:
            raise self.wrong(f"its output must have a batch of 1, got {shown(shape)}")
        if math.prod(shape) != math.prod(value.shape):
            raise self.wrong(
                f"shapes {value.shape} and {shown(shape)} must have the same number of elements"
            )
        for axes in (channels_first(len(shape) - 1), tuple(range(len(shape) - 1))):
            if _keeps_order(value, shape[1:], axes):
                break
        else:
            value = self.plain(value)
        lengths = tuple(shape[1 + axes.index(axis)] for axis in range(len(axes)))
        return self.add("shape", "reshape", value, view=axes, shape=lengths)

    def aligned(self, array: Array, value: Value) -> Array:
        """Returns a constant with the same number of axes as the tensor that it broadcasts to.

        If all its elements are equal, the result has one element.
        """
        rank = len(value.shape)
        lengths = (1,) * (rank - array.ndim) + array.shape
        lengths = lengths[len(lengths) - rank :] if set(lengths[:-rank]) <= {1} else lengths
        fits = len(lengths) == rank and all(
            n in (1, m) for n, m in zip(lengths, value.shape, strict=True)
        )
        if not fits:
            raise self.wrong(f"a constant of shape {array.shape} must broadcast to {value.shape}")
        array = compact(array.reshape(lengths))
        first = array[(slice(1),) * rank]
        return first if (array == first).all() else array

    def elementwise(self, part: str, op: str, value: Value, **parameters: Array) -> Value:
        """Adds an operation with parameters that broadcast to the tensor.

        Operations have one parameter per element of the last axis. If parameters differ along other
        axes, the value is permuted or flattened before the operation.
        """
        arrays = {role: self.aligned(array, value) for role, array in parameters.items()}
        channel = 1 + value.axes.index(len(value.axes) - 1)
        along = {i for a in arrays.values() for i, n in enumerate(a.shape) if n > 1}
        if along <= {channel}:
            return self.add(part, op, value, tensors=self._vectors(arrays, value.channels))
        if len(along) == 1:
            moved = self.last(value, along.pop() - 1)
            return self.add(part, op, moved, tensors=self._vectors(arrays, moved.channels))
        flat = self.add("flat", "reshape", value, view=(0,), shape=(math.prod(value.shape),))
        order = [0, *(1 + value.axes.index(axis) for axis in range(len(value.axes)))]
        full = {}
        for role, array in arrays.items():
            self.reading.spend(math.prod(value.shape))
            full[role] = np.broadcast_to(array, value.shape).transpose(order)
        changed = self.add(part, op, flat, tensors=self._vectors(full, flat.channels))
        return self.add("whole", "reshape", changed, view=value.axes, shape=value.type.shape)

    def _vectors(self, arrays: Mapping[str, Array], length: int) -> dict[str, Tensor]:
        self.reading.spend(length * len(arrays))
        return {
            role: np.broadcast_to(array.reshape(-1), (length,)).astype(np.float32)
            for role, array in arrays.items()
        }

    def affine(self, part: str, value: Value, **parameters: Array | float) -> Value:
        """Adds scale * value + bias, leaving out a scale of 1 and a bias of 0."""
        arrays = {role: np.asarray(array) for role, array in parameters.items()}
        arrays = {r: array for r, array in arrays.items() if (array != _NEUTRAL[r]).any()}
        if not arrays:
            for array in parameters.values():
                self.aligned(np.asarray(array), value)
            return value
        result = self.elementwise(part, "affine", value, **arrays)
        known = self.reading.choices.get(value.name)
        if known is not None and result.axes == value.axes:
            scale, bias = (self.aligned(arrays.get(role, np.float32(neutral)), value)
                           for role, neutral in _NEUTRAL.items())  # fmt: skip
            numbers = (known.minus, known.plus)
            if scale.size == bias.size == 1 and not any(isinstance(n, Value) for n in numbers):
                minus, plus = (float(scale.item() * n + bias.item()) for n in numbers)
                self.reading.choices[result.name] = Choice(known.bits, minus, plus)
        return result

    def signs(self, part: str, bits: Value) -> Value:
        """Adds a node that converts bits to -1.0 and +1.0."""
        numbers = self.add(part, "dequantize", bits)
        self.reading.choices[numbers.name] = Choice(bits, -1.0, 1.0)
        return numbers

    def scaled(self, value: Value) -> tuple[Value, float]:
        """Returns (x, scale) if a value was computed as scale * x, or the value and 1."""
        return self._undone(value, "scale", 1.0)

    def shifted(self, value: Value) -> tuple[Value, float]:
        """Returns (x, bias) if a value was computed as x + bias, or the value and 0."""
        return self._undone(value, "bias", 0.0)

    def _undone(self, value: Value, role: str, neutral: float) -> tuple[Value, float]:
        node = self.reading.builder.nodes.get(value.name)
        if node is None or node.op != "affine" or set(node.tensors) != {role}:
            return value, neutral
        vector = np.asarray(self.reading.builder.tensors[node.tensors[role]])
        if (vector != vector[0]).any():
            return value, neutral
        return self.reading.value(node.inputs[0], value.axes), float(vector[0])

    def copies(self, place: int) -> None:
        """Records that the output is a copy of an input."""
        self.reading.origins[self._outputs[0]] = self.tensor(place)

    def subtracts(self) -> None:
        """Records that the output is the difference of the inputs."""
        self.reading.differences[self._outputs[0]] = (self.tensor(0), self.tensor(1))

    def zero(self) -> Array:
        """Returns 0, and records that the output is 0 for every input of the network."""
        self.reading.zeros.add(self._outputs[0])
        return np.zeros((1,), np.float32)

    def is_zero(self, place: int) -> bool:
        """Returns whether an input is 0 because a value was subtracted from itself."""
        return self.tensor(place) in self.reading.zeros

    def cancelled(self) -> Found | None:
        """Returns a for the inputs a - b and b, or None. Straight-through estimators have them."""
        for place in (0, 1):
            minuend, subtrahend = self.reading.differences.get(self.tensor(place), ("", ""))
            if minuend and subtrahend == self.tensor(1 - place):
                return self.reading.values[minuend]
        return None

    def alike(self, first: Value, second: Value) -> tuple[Value, Value]:
        """Returns two tensors with the same number of axes, and values with the same axis order.

        The tensor with fewer axes gets axes of size 1 in front.
        """
        rank = max(len(first.axes), len(second.axes))
        first, second = (
            self.reshaped(value, (1,) * (rank + 1 - len(value.shape)) + value.shape)
            for value in (first, second)
        )
        return first, self.ordered(second, first.axes)

    def finish(self, *found: Found) -> None:
        """Records the outputs. The last node of an output gets the output's name."""
        if len(found) != self.results:
            raise self.wrong(f"it must have {len(found)} outputs, got {self.results}")
        for output, name, result in zip(self._outputs, self._names, found, strict=True):
            if isinstance(result, Value) and result.name in self._created:
                self.reading.builder.rename(result.name, name)
                self._created.remove(result.name)
                for known in (self.reading.three_way, self.reading.choices):
                    if result.name in known:
                        known[name] = known.pop(result.name)  # type: ignore[assignment]
                result = self.reading.value(name, result.axes)
            self.reading.values[output] = result


def _keeps_order(value: Value, lengths: Sequence[int], axes: Axes) -> bool:
    """Returns whether a reshape of a tensor to `lengths`, viewed as `axes`, reshapes the value.

    The axes with more than one element must be the same, and keep the order of the value.
    """
    before = [axis for axis in value.axes if value.type.shape[axis] > 1]
    after = [place for place, n in enumerate(lengths) if n > 1]
    if [value.type.shape[axis] for axis in before] != [lengths[place] for place in after]:
        return False
    source = dict(zip(after, before, strict=True))
    order = [source[axes.index(axis)] for axis in range(len(axes)) if axes.index(axis) in source]
    return order == sorted(order)
