"""Tensors of a checkpoint. Their values are read only by `StoredTensor.array`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import WeightsError
from bnnzoo.formats.strict_json import shown

__all__ = [
    "BYTES",
    "DTYPES",
    "STORAGES",
    "Dtype",
    "Storage",
    "StoredTensor",
    "described",
    "stored_tensor",
]

MAX_AXES = 8
_MAX_SIZE = 2**40  # also limits the axes of tensors without elements


@dataclass(frozen=True)
class Dtype:
    """A type of elements.

    Attributes:
        name: Its name in PyTorch.
        code: The NumPy type that its bits are read as.
    """

    name: str
    code: str

    @property
    def bytes(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.code).itemsize

    def decode(self, bits: NDArray[Any]) -> NDArray[Any]:
        """Returns the values of elements that were read as `code`."""
        if self.name == "bfloat16":  # the upper half of a float32
            return (bits.astype(np.uint32) << 16).view(np.float32)
        return bits != 0 if self.name == "bool" else bits.astype(self.code)


DTYPES = {
    name: Dtype(name, code)
    for name, code in {
        "float32": "f4", "float64": "f8", "float16": "f2", "bfloat16": "u2", "bool": "u1",
        "uint8": "u1", "uint16": "u2", "uint32": "u4", "uint64": "u8", "int8": "i1", "int16": "i2",
        "int32": "i4", "int64": "i8",
    }.items()
}  # fmt: skip
# Class of a storage -> type of its elements.
STORAGES = {
    "FloatStorage": "float32", "DoubleStorage": "float64", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "BoolStorage": "bool", "ByteStorage": "uint8",
    "CharStorage": "int8", "ShortStorage": "int16", "IntStorage": "int32", "LongStorage": "int64",
}  # fmt: skip
# The type of an untyped storage. Only its tensors have a type.
BYTES = Dtype("untyped", "u1")


@dataclass(frozen=True)
class Storage:
    """Consecutive elements in a file, which tensors are views of.

    Attributes:
        dtype: Type of the elements.
        elements: Number of elements.
        fetch: Returns all bytes of the storage in the file.
        offset: The first element in the storage of the file.
        byte_order: `<` or `>`.
    """

    dtype: Dtype
    elements: int
    fetch: Callable[[], memoryview]
    offset: int = 0
    byte_order: Literal["<", ">"] = "<"

    def view(self, offset: int, elements: int) -> Storage:
        """Returns a part of the storage."""
        if not 0 <= offset <= offset + elements <= self.elements:
            raise WeightsError(
                f"a view must be within its storage of {self.elements} elements, got {elements} "
                f"from {offset}."
            )
        return Storage(self.dtype, elements, self.fetch, self.offset + offset, self.byte_order)

    def numbers(self, dtype: Dtype) -> NDArray[Any]:
        """Returns the elements with the bits of `dtype`, without copying them."""
        code = np.dtype(dtype.code).newbyteorder(self.byte_order)
        begin = self.offset * self.dtype.bytes
        held = self.fetch()[begin : begin + self.elements * self.dtype.bytes]
        return np.frombuffer(held[: len(held) // dtype.bytes * dtype.bytes], code)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor: a view of a storage. Strides and offset are counted in elements."""

    storage: Storage
    dtype: Dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.dtype.bytes

    def array(self) -> NDArray[Any]:
        """Returns a copy of its values. bfloat16 becomes float32."""
        if self.bytes == 0:
            return self.dtype.decode(np.zeros(self.shape, self.dtype.code))
        view = np.lib.stride_tricks.as_strided(
            self.storage.numbers(self.dtype)[self.offset :],
            self.shape,
            [stride * self.dtype.bytes for stride in self.strides],
            writeable=False,
        )
        return self.dtype.decode(view)


def stored_tensor(
    storage: Any, offset: Any, shape: Any, strides: Any, dtype: Dtype | None = None
) -> StoredTensor:
    """Returns a tensor after checking that it is within its storage.

    Raises:
        WeightsError: An argument has the wrong type, an element is outside the storage, or the
            tensor repeats elements, which would make it larger than its storage.
    """
    if not isinstance(storage, Storage):
        raise WeightsError(f"a tensor must have a storage, got {described(storage)}.")
    dtype = dtype or storage.dtype
    shape, strides = _counts(shape, "shape"), _counts(strides, "strides")
    (offset,) = _counts((offset,), "offset")
    if len(shape) != len(strides):
        raise WeightsError(
            f"a tensor of shape {shape} must have {len(shape)} strides, got {strides}."
        )
    held = storage.elements * storage.dtype.bytes // dtype.bytes
    elements = math.prod(shape)
    end = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True)) + 1
    if elements > 0 and end > held:
        raise WeightsError(
            f"a tensor of shape {shape} ends at element {end}, but its storage has {held} elements."
        )
    if elements > held:
        raise WeightsError(
            f"a tensor must not repeat the {held} elements of its storage, got shape {shape} with "
            f"strides {strides}. Save tensor.contiguous() instead."
        )
    return StoredTensor(storage, dtype, offset, shape, strides)


def _counts(values: Any, what: str) -> tuple[int, ...]:
    plain = isinstance(values, (tuple, list)) and len(values) <= MAX_AXES
    if not plain or not all(type(n) is int and 0 <= n <= _MAX_SIZE for n in values):
        raise WeightsError(
            f"the {what} of a tensor must be at most {MAX_AXES} non-negative integers, got "
            f"{described(values)}."
        )
    return tuple(values)


def described(value: Any) -> str:
    """Returns a value of a pickle for a message, or only its type if it has parts."""
    if isinstance(value, (str, bytes, int, float, type(None))):
        return shown(value)
    return f"a {type(value).__name__}"
