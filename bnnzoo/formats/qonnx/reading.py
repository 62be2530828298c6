"""Builds the graph while the operators of a file are read.

Values of a graph are channels last, ONNX computes on images with channels first. No value is moved
before an operator needs another order: a Transpose is another view of the same value, so that those
around a network cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.graph_document import MAX_PORTS
from bnnzoo.formats.qonnx.onnx_file import OnnxFile
from bnnzoo.formats.strict_json import readable, shown
from bnnzoo.graph.builder import GraphBuilder
from bnnzoo.graph.ir import Type

__all__ = [
    "Array",
    "Axes",
    "Choice",
    "Condition",
    "Found",
    "Reading",
    "Value",
    "channels_first",
    "compact",
]

Array = NDArray[Any]
Axes = tuple[int, ...]

# Bytes of constants that may be made, per byte of the file: a few of each, where they are folded.
_CONSTANT_BYTES_PER_BYTE = 16
_SPARE_BYTES = 2**20
_FEW_CHANNELS = 4  # images in files have at most so many


def channels_first(rank: int) -> Axes:
    """Returns the axes of a tensor that has the channels, the last axis of its value, first."""
    return (rank - 1, *range(rank - 1))


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the image: a value of the graph in an order of its axes.

    Attributes:
        name: Of the value.
        type: Of the value.
        axes: Axes of the value in the order of the tensor's axes behind the batch.
    """

    name: str
    type: Type
    axes: Axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, whose batch is one image."""
        return (1, *(self.type.shape[axis] for axis in self.axes))

    @property
    def channels(self) -> int:
        """Length of the last axis of the value."""
        return self.type.shape[-1]


@dataclass(frozen=True)
class Condition:
    """A comparison, for each element.

    Attributes:
        bits: -1 where it holds if it is strict, where it does not hold if it is not.
        strict: Equal ones do not count.
    """

    bits: Value
    strict: bool


Found = Value | Condition | Array


@dataclass(frozen=True)
class Choice:
    """What a value is by the sign of others, as values or numbers.

    Attributes:
        bits: The signs.
        minus: Where they are -1.
        plus: Where they are +1.
    """

    bits: Value
    minus: Value | float
    plus: Value | float


def compact(array: Array) -> Array:
    """Returns an array with one element along axes that only repeat it."""
    repeats = zip(array.strides, array.shape, strict=True)
    return array[tuple(slice(1 if step == 0 and n else None) for step, n in repeats)]


class Reading:
    """A graph under construction.

    Attributes:
        file: What is read.
        values: Tensor -> what is known of it by now.
        builder: The graph.
        three_way: Value -> what it is the sign of, 0 where that is 0.
        choices: Value -> what it is by the sign of others.
        bounds: Bits -> what they compare, the one number with which, whether less is -1.
        differences: Value or constant -> the two tensors that it is the difference of.
        origins: Tensor -> the tensor that it is a copy of.
        nothing: Tensors that are 0, as a value minus itself.
        channels_first: Whether an input is.
    """

    def __init__(self, file: OnnxFile, file_bytes: int) -> None:
        self.file = file
        self.values: dict[str, Found] = dict(file.constants)
        self.builder = GraphBuilder()
        self.three_way: dict[str, Value] = {}
        self.choices: dict[str, Choice] = {}
        self.bounds: dict[str, tuple[Value, float, bool]] = {}
        self.differences: dict[str, tuple[str, str]] = {}
        self.origins: dict[str, str] = {}
        self.nothing: set[str] = set()
        self.channels_first = False
        self._bytes_left = _CONSTANT_BYTES_PER_BYTE * file_bytes + _SPARE_BYTES

    def feed(self) -> None:
        """Adds the network's inputs; images become channels last."""
        if not 0 < len(self.file.inputs) <= MAX_PORTS:
            raise ModelFormatError(
                f"it must have 1 to {MAX_PORTS} inputs, got {len(self.file.inputs)}."
            )
        for name, (batch, *lengths) in ((n, s or (0,)) for n, s in self.file.inputs.items()):
            shape = tuple(n for n in lengths if n is not None)
            if batch not in (1, None) or not shape or len(shape) < len(lengths):
                known = tuple("?" if n is None else n for n in (batch, *lengths))
                raise ModelFormatError(
                    f"its input {shown(name)} must be a batch of one image of a fixed size, got "
                    f"{shown(known)}. Export the network with such an input."
                )
            axes: Axes = tuple(range(len(shape)))
            if len(shape) == 3 and not self._is_channels_last(name, shape):
                axes, shape = channels_first(3), (*shape[1:], shape[0])
                self.channels_first = True
            value = self.builder.add_input(readable(name) or "input", shape)
            self.values[name] = self.value(value, axes)

    def _is_channels_last(self, name: str, shape: Sequence[int]) -> bool:
        """Returns whether an input is channels last: a Transpose is the first to move it."""
        if name in self.file.layouts:
            return self.file.layouts[name] == "NHWC"
        names = {name}
        for node in self.file.nodes:
            if names.isdisjoint(node.inputs):
                continue
            if node.op == "Transpose":
                return node.attributes.get("perm") == (0, 3, 1, 2)
            if node.op in _SPATIAL:
                return False
            if node.op in _MOVING:
                break
            names.update(filter(None, node.outputs))
        return shape[2] <= _FEW_CHANNELS < shape[0]

    def value(self, name: str, axes: Axes) -> Value:
        """Returns a value of the graph as a tensor."""
        return Value(name, self.builder.types[name], axes)

    def spend(self, numbers: int) -> None:
        """Says that a constant of so many numbers will be made.

        Raises:
            ModelFormatError: Together they are out of proportion to the file.
        """
        self._bytes_left -= 4 * numbers
        if self._bytes_left < 0:
            raise ModelFormatError("its constants are used for far more bytes than it has.")

    def origin(self, tensor: str) -> str:
        """Returns the tensor that another one is a copy of; itself if it is of none."""
        return self.origins.get(tensor, tensor)


# Operators that say how an image is arranged; those that move it without saying it.
_SPATIAL = ("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool",
            "GlobalMaxPool", "MaxPool", "Resize", "Upsample")  # fmt: skip
_MOVING = ("Flatten", "Gemm", "MatMul", "Reshape", "Squeeze", "Unsqueeze")
