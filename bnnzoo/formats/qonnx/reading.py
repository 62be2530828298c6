"""The graph under construction while the operators of a file are read.

Values of a graph are channels last, and images in ONNX are channels first. A Transpose only changes
the view of a value. The value itself is permuted when an operator needs another order of its axes,
so that pairs of Transposes cancel.
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

# Limits the bytes of computed constants per byte of the file. Folding makes a few copies of each.
_CONSTANT_BYTES_PER_BYTE = 16
_SPARE_BYTES = 2**20
_MAX_IMAGE_CHANNELS = 4  # an axis of at most this size is taken for the channels of an image


def channels_first(rank: int) -> Axes:
    """Returns the axis order of a tensor whose first axis is the last axis of the value."""
    return (rank - 1, *range(rank - 1))


@dataclass(frozen=True)
class Value:
    """A tensor that depends on the input: a view of a value of the graph.

    Attributes:
        name: Name of the value.
        type: Type of the value.
        axes: Axes of the value in the order of the tensor's axes after the batch axis.
    """

    name: str
    type: Type
    axes: Axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor, with a batch of 1."""
        return (1, *(self.type.shape[axis] for axis in self.axes))

    @property
    def channels(self) -> int:
        """Size of the last axis of the value."""
        return self.type.shape[-1]


@dataclass(frozen=True)
class Condition:
    """An elementwise comparison.

    Attributes:
        bits: For a strict comparison, -1 where it is true. Otherwise, -1 where it is false.
        strict: Whether it is `<` or `>`, not `<=` or `>=`.
    """

    bits: Value
    strict: bool


Found = Value | Condition | Array


@dataclass(frozen=True)
class Choice:
    """A value that is selected elementwise by signs.

    Attributes:
        bits: The signs.
        minus: The value or number where they are -1.
        plus: The value or number where they are +1.
    """

    bits: Value
    minus: Value | float
    plus: Value | float


def compact(array: Array) -> Array:
    """Returns an array with broadcast axes (stride 0) reduced to one element."""
    repeats = zip(array.strides, array.shape, strict=True)
    return array[tuple(slice(1 if step == 0 and n else None) for step, n in repeats)]


class Reading:
    """A graph under construction.

    Attributes:
        file: The file that is read.
        values: Tensor -> its value, condition or constant.
        builder: Builder of the graph.
        three_way: Value with elements -1, 0 and +1 -> the value that it is the sign of.
        choices: Value -> the signs and operands that it is selected by.
        bounds: Bits of a comparison with a number -> the value, the number, and whether -1 means
            that the value is less.
        differences: Tensor -> the two tensors that it is the difference of.
        origins: Tensor -> the tensor that it is a copy of.
        zeros: Tensors that are 0 because a value was subtracted from itself.
        channels_first: Whether an input is channels first.
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
        self.zeros: set[str] = set()
        self.channels_first = False
        self._bytes_left = _CONSTANT_BYTES_PER_BYTE * file_bytes + _SPARE_BYTES

    def feed(self) -> None:
        """Adds the network's inputs. Images become channels last."""
        if not 0 < len(self.file.inputs) <= MAX_PORTS:
            raise ModelFormatError(
                f"it must have 1 to {MAX_PORTS} inputs, got {len(self.file.inputs)}."
            )
        for name, (batch, *lengths) in ((n, s or (0,)) for n, s in self.file.inputs.items()):
            shape = tuple(n for n in lengths if n is not None)
            if batch not in (1, None) or not shape or len(shape) < len(lengths):
                known = tuple("?" if n is None else n for n in (batch, *lengths))
                raise ModelFormatError(
                    f"its input {shown(name)} must have a batch of 1 and a fixed size, got "
                    f"{shown(known)}. Export the network with such an input."
                )
            axes: Axes = tuple(range(len(shape)))
            if len(shape) == 3 and not self._is_channels_last(name, shape):
                axes, shape = channels_first(3), (*shape[1:], shape[0])
                self.channels_first = True
            value = self.builder.add_input(readable(name) or "input", shape)
            self.values[name] = self.value(value, axes)

    def _is_channels_last(self, name: str, shape: Sequence[int]) -> bool:
        """Returns whether an input is channels last: then its first reader is a Transpose."""
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
        return shape[2] <= _MAX_IMAGE_CHANNELS < shape[0]

    def value(self, name: str, axes: Axes) -> Value:
        """Returns a view of a value of the graph."""
        return Value(name, self.builder.types[name], axes)

    def spend(self, numbers: int) -> None:
        """Counts the elements of a constant that is about to be computed.

        Raises:
            ModelFormatError: All constants together are out of proportion to the file.
        """
        self._bytes_left -= 4 * numbers
        if self._bytes_left < 0:
            raise ModelFormatError("its constants need far more memory than the size of the file.")

    def origin(self, tensor: str) -> str:
        """Returns the tensor that a tensor is a copy of, or the tensor itself."""
        return self.origins.get(tensor, tensor)


# Operators that show the layout of an image, and operators after which it is unknown.
_SPATIAL = ("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool",
            "GlobalMaxPool", "MaxPool", "Resize", "Upsample")  # fmt: skip
_MOVING = ("Flatten", "Gemm", "MatMul", "Reshape", "Squeeze", "Unsqueeze")
