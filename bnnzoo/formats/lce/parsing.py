"""From the bytes of a `.tflite` file to plain data.

Nothing in the file is trusted. The Python accessors of flatbuffers check nothing. Every count is
therefore compared with the size of the file before anything of that size is allocated, and what the
accessors raise for invalid bytes is caught in one place, `parse`. Arrays are views of the bytes.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import ModelFormatError
from bnnzoo.formats.lce.model_file import (
    ABSENT,
    DTYPES,
    LCE_OPERATORS,
    ModelFile,
    OperatorEntry,
    Quantization,
    TensorEntry,
)
from bnnzoo.formats.lce.schema import OPTIONS, schema
from bnnzoo.formats.strict_json import shown

__all__ = ["parse"]

MAX_TENSORS = 2**16
MAX_OPERATORS = 10_000
MAX_OPERANDS = 1024
MAX_AXES = 8
MAX_NAME_BYTES = 1000
MAX_METADATA = 64
_MAX_CODES = 1024
_MAX_OPTION_BYTES = 2**16
_CUSTOM = "CUSTOM"
_DAMAGED = "The file is damaged; download or convert it again."
# What the accessors raise for bytes beyond the end or of another type.
_NONSENSE = (
    *(struct.error, LookupError, ValueError, TypeError, OverflowError, AttributeError),
    AssertionError,  # of flexbuffers, for a key that is not one
)


def parse(data: bytes) -> ModelFile:
    """Parses the bytes of a file.

    Raises:
        ModelFormatError: They are not a TensorFlow Lite file with one network, or damaged.
        MissingDependencyError: No package that ships the schema is installed.
    """
    if data[4:8] != b"TFL3":
        raise ModelFormatError(
            f"it must have 'TFL3' at byte 4, got {shown(bytes(data[4:8]))}. "
            "It is not a TensorFlow Lite file, or it is damaged."
        )
    generated = schema()
    try:
        return _Reader(data, generated).file()
    except _NONSENSE as error:
        raise ModelFormatError(
            f"an offset or a count points outside the file ({shown(str(error))}). {_DAMAGED}"
        ) from error


class _Reader:
    def __init__(self, data: bytes, generated: Any) -> None:
        self.size = len(data)
        self.schema = generated
        self.model = generated.Model.GetRootAs(data, 0)
        self.builtins = _names(generated.BuiltinOperator)
        self.types = _names(generated.TensorType)

    def file(self) -> ModelFile:
        if self.model.SubgraphsLength() != 1:
            raise ModelFormatError(
                f"it must have one network, got {self.model.SubgraphsLength()} subgraphs."
            )
        graph = self.model.Subgraphs(0)
        kinds = self.each("operator codes", self.model.OperatorCodesLength(), _MAX_CODES, self.kind)
        tensors = self.each(
            "tensors", graph.TensorsLength(), MAX_TENSORS, lambda i: self.tensor(graph.Tensors(i))
        )
        operators = self.each(
            "operators",
            graph.OperatorsLength(),
            MAX_OPERATORS,
            lambda i: self.operator(graph.Operators(i), kinds, f"operator {i}"),
        )
        return ModelFile(
            tensors,
            operators,
            _operands(graph.InputsAsNumpy(), "the network's inputs"),
            _operands(graph.OutputsAsNumpy(), "the network's outputs"),
            self.metadata(),
        )

    def each(self, what: str, count: int, most: int, get: Callable[[int], Any]) -> tuple[Any, ...]:
        """Returns the items of a vector of tables, which has an offset of four bytes for each."""
        if count > min(most, self.size // 4):
            raise ModelFormatError(
                f"it must have at most {min(most, self.size // 4)} {what}, got {count}. {_DAMAGED}"
            )
        return tuple(get(i) for i in range(count))

    def kind(self, index: int) -> str:
        code = self.model.OperatorCodes(index)
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = self.builtins.get(number, f"number {number}")
        return _text(code.CustomCode()) if name == _CUSTOM else name

    def tensor(self, tensor: Any) -> TensorEntry:
        name = _text(tensor.Name())
        dtype = self.types.get(tensor.Type(), f"number {tensor.Type()}")
        shape = _integers(tensor.ShapeAsNumpy())
        if len(shape) > MAX_AXES or not all(n >= 0 for n in shape):
            raise ModelFormatError(f"tensor {shown(name)} must have a shape, got {shown(shape)}.")
        quantization = None
        if dtype in DTYPES and DTYPES[dtype].kind in "iu":
            quantization = _quantization(tensor.Quantization(), shape, f"tensor {shown(name)}")
        data = self.buffer(tensor.Buffer())
        if data is None or dtype not in DTYPES:
            return TensorEntry(name, dtype, shape, None, quantization)
        needed = math.prod(shape) * DTYPES[dtype].itemsize
        if data.nbytes != needed:
            raise ModelFormatError(
                f"tensor {shown(name)} must have {needed} bytes for its shape {shape}, "
                f"got {data.nbytes}. {_DAMAGED}"
            )
        values = data.view(DTYPES[dtype]).reshape(shape)
        return TensorEntry(name, dtype, shape, values, quantization)

    def buffer(self, index: int) -> NDArray[np.uint8] | None:
        """Returns the bytes of a buffer as a view; None if it is empty."""
        if not 0 <= index < self.model.BuffersLength():
            raise ModelFormatError(f"there is no buffer {index}. {_DAMAGED}")
        buffer = self.model.Buffers(index)
        if buffer.DataLength() == 0:
            return None
        data: NDArray[np.uint8] = buffer.DataAsNumpy()
        return data

    def operator(self, operator: Any, kinds: tuple[str, ...], what: str) -> OperatorEntry:
        if not 0 <= operator.OpcodeIndex() < len(kinds):
            raise ModelFormatError(f"{what} has no operator code. {_DAMAGED}")
        kind = kinds[operator.OpcodeIndex()]
        what = f"{what} ({shown(kind)})"
        inputs = _operands(operator.InputsAsNumpy(), f"the inputs of {what}")
        outputs = _operands(operator.OutputsAsNumpy(), f"the outputs of {what}")
        if kind in LCE_OPERATORS:
            options = _custom_options(operator, LCE_OPERATORS[kind], what)
        elif kind in OPTIONS:
            options = self.options(operator, *OPTIONS[kind])
        else:
            options = {}
        return OperatorEntry(kind, inputs, outputs, options)

    def options(self, operator: Any, table: str, fields: tuple[str, ...]) -> dict[str, int | float]:
        """Returns the options of a built-in operator, or the defaults if it has none."""
        if not fields:
            return {}
        if operator.BuiltinOptionsType() != getattr(self.schema.BuiltinOptions, table):
            defaults = getattr(self.schema, f"{table}T")()
            return {name: getattr(defaults, name) for name in fields}
        found = operator.BuiltinOptions()
        options = getattr(self.schema, table)()
        options.Init(found.Bytes, found.Pos)
        return {name: getattr(options, name[0].upper() + name[1:])() for name in fields}

    def metadata(self) -> dict[str, bytes]:
        def entry(index: int) -> tuple[str, bytes]:
            item = self.model.Metadata(index)
            data = self.buffer(item.Buffer())
            return _text(item.Name()), b"" if data is None else data.tobytes()

        return dict(self.each("metadata", self.model.MetadataLength(), MAX_METADATA, entry))


def _quantization(found: Any, shape: tuple[int, ...], what: str) -> Quantization | None:
    if found is None or found.ScaleLength() == 0:
        return None
    axis, scale, zero_point = (
        found.QuantizedDimension(),
        *map(np.atleast_1d, (found.ScaleAsNumpy(), found.ZeroPointAsNumpy())),
    )
    if not 0 <= axis < max(1, len(shape)) or len(scale) not in (1, *shape[axis : axis + 1]):
        raise ModelFormatError(
            f"{what} must have a scale, or one for each index of an axis of {shape}, "
            f"got {len(scale)} on axis {axis}. {_DAMAGED}"
        )
    if len(zero_point) != len(scale) or found.DetailsType():
        raise ModelFormatError(f"{what} must have a zero point for each scale. {_DAMAGED}")
    if not (np.isfinite(scale).all() and (scale > 0).all()):
        raise ModelFormatError(f"{what} must have scales above 0. {_DAMAGED}")
    return Quantization(scale, zero_point, axis)


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


def _text(data: bytes | None) -> str:
    if data is None:
        return ""
    if len(data) > MAX_NAME_BYTES:
        raise ModelFormatError(
            f"a name must have at most {MAX_NAME_BYTES} bytes, got {len(data)}. {_DAMAGED}"
        )
    return data.decode(errors="replace")


def _integers(vector: Any) -> tuple[int, ...]:
    """Returns a vector of integers; the accessors return 0 for a missing one."""
    return () if isinstance(vector, int) else tuple(vector[: MAX_OPERANDS + 1].tolist())


def _operands(vector: Any, what: str) -> tuple[int, ...]:
    indices = _integers(vector)
    if len(indices) > MAX_OPERANDS or not all(index >= ABSENT for index in indices):
        raise ModelFormatError(
            f"{what} must be at most {MAX_OPERANDS} tensors, got {shown(indices)}. {_DAMAGED}"
        )
    return indices


def _custom_options(operator: Any, fields: tuple[str, ...], what: str) -> dict[str, int | float]:
    from flatbuffers import flexbuffers

    if not fields:
        return {}
    data = operator.CustomOptionsAsNumpy()
    if isinstance(data, int) or not 3 <= len(data) <= _MAX_OPTION_BYTES:
        raise ModelFormatError(f"{what} must have its options, got none. {_DAMAGED}")
    options = flexbuffers.GetRoot(data.tobytes()).AsMap
    found: dict[str, int | float] = {}
    for name in fields:
        try:
            value = options[name]
        except KeyError as error:
            raise ModelFormatError(f"{what} must have the option {name!r}.") from error
        if not (value.IsInt or value.IsBool):
            raise ModelFormatError(f"{what} must have a number as {name!r}.")
        found[name] = value.AsInt
    return found
