"""Stores tensors of a graph as arrays of a file, and reads them back.

bits      kernel of -1 and +1: uint8 (c_out, ceil(K / 8)), see `packing`
ternary   kernel of -1, 0 and +1: uint8 (c_out, ceil(K / 4)), see `packing`
float32   as it is
float16   rounded
int8      kernel: levels -127 .. 127 and a float32 scale per output channel, `{name}/int8_scale`;
          w = level * scale, scale = max|w| / 127
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.errors import GraphError, ModelFormatError
from bnnzoo.formats.strict_json import shown
from bnnzoo.graph.ir import Tensor
from bnnzoo.graph.packing import (
    LEVELS,
    Int8Kernel,
    PackedSigns,
    is_ternary,
    pack_ternary,
    unpack_ternary,
)

__all__ = [
    "BITS",
    "ENCODINGS",
    "SCALE_SUFFIX",
    "Stored",
    "array_names",
    "encoding_of",
    "restore",
    "store",
]

Array = NDArray[Any]

ENCODINGS: dict[str, type[np.generic]] = {
    "bits": np.uint8,
    "float32": np.float32,
    "float16": np.float16,
    "int8": np.int8,
    "ternary": np.uint8,
}
BITS = {"bits": 1, "float32": 32, "float16": 16, "int8": 8, "ternary": 2}
SCALE_SUFFIX = "/int8_scale"
_FLOAT16_NORMAL = 2.0**-14
_FLOAT32_NORMAL = float(np.finfo(np.float32).tiny)
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Stored:
    """How a tensor is stored.

    Attributes:
        encoding: One of `ENCODINGS`.
        shape: Shape of the tensor in the graph.
    """

    encoding: str
    shape: tuple[int, ...]


def array_names(name: str, encoding: str) -> tuple[str, ...]:
    """Returns the names of a tensor's arrays in a file."""
    return (name, name + SCALE_SUFFIX) if encoding == "int8" else (name,)


def encoding_of(tensor: Tensor, *, kernel: bool, weights_dtype: str) -> str:
    """Returns the encoding of a tensor.

    Kernels of few bits are kept; `passes.eight_bits` makes those of 8 bits for `weights_dtype`
    int8. Vectors per channel stay float32: they are a hundredth of a network's size and matter most
    for its accuracy. A kernel also stays float32 if float16 would lose more than a rounding in one
    of its channels. float16 has a relative error of 2^-11 for numbers from 2^-14 on, and an
    absolute error of 2^-25 below. With the largest magnitude m of a channel, both are at most
    2^-11 m if m >= 2^-14. Above 65504 it overflows.
    """
    if isinstance(tensor, PackedSigns):
        return "bits"
    if isinstance(tensor, Int8Kernel):
        return "int8"
    if kernel and is_ternary(tensor):
        return "ternary"
    if not kernel or weights_dtype != "float16":
        return "float32"
    largest = np.abs(tensor, dtype=np.float64).reshape(len(tensor), -1).max(axis=1)
    largest = largest[largest > 0]
    fits = (largest >= _FLOAT16_NORMAL) & (largest <= np.finfo(np.float16).max)
    return "float16" if fits.all() else "float32"


def store(name: str, tensor: Tensor, encoding: str) -> dict[str, Array]:
    """Returns the arrays of a tensor in a file, in the encoding from `encoding_of`.

    Raises:
        GraphError: The tensor has a number that float32 cannot hold.
    """
    if isinstance(tensor, PackedSigns):
        return {name: tensor.bits}
    if isinstance(tensor, Int8Kernel):
        return {name: tensor.levels, name + SCALE_SUFFIX: tensor.scale.astype(np.float32)}
    if not np.issubdtype(tensor.dtype, np.floating):
        raise GraphError(f"Tensor '{name}' must be real numbers or packed, got {tensor.dtype}.")
    if encoding == "ternary":
        return {name: pack_ternary(tensor)}
    with np.errstate(over="ignore"):
        if not np.isfinite(tensor.astype(np.float32)).all():
            raise GraphError(f"Tensor '{name}' must be finite as float32, got NaN or infinity.")
    return {name: tensor.astype(ENCODINGS[encoding])}


def restore(name: str, stored: Stored, arrays: Mapping[str, Array]) -> Tensor:
    """Returns the tensor stored in arrays of a file: bits, int8, or float32.

    Raises:
        ModelFormatError: An array has the wrong type or shape, or an invalid value.
    """
    array = arrays[name]
    if stored.encoding == "bits":
        return _restore_bits(name, stored, array)
    if stored.encoding == "ternary":
        return _restore_ternary(name, stored, array)
    _expect_array(name, array, stored.encoding, stored.shape)
    if stored.encoding == "int8":
        return _restore_int8(name, stored, array, arrays[name + SCALE_SUFFIX])
    if not np.isfinite(array).all():
        raise ModelFormatError(f"tensor {shown(name)} must be finite, got NaN or infinity.")
    return array.astype(np.float32, copy=False)


def _expect_array(name: str, array: Array, encoding: str, shape: tuple[int, ...]) -> None:
    dtype = np.dtype(ENCODINGS[encoding])
    if array.dtype != dtype or array.shape != shape:
        raise ModelFormatError(
            f"tensor {shown(name)} must be {dtype} {shape}, got {array.dtype} {array.shape}."
        )


def _restore_bits(name: str, stored: Stored, array: Array) -> PackedSigns:
    signs = PackedSigns(array, stored.shape)
    _expect_array(name, array, "bits", (stored.shape[0], math.ceil(signs.K / 8)))
    if signs.K % 8 and (array[:, -1] >> signs.K % 8).any():
        raise ModelFormatError(
            f"tensor {shown(name)} must have zeros after its {signs.K} bits, got ones."
        )
    return signs


def _restore_ternary(name: str, stored: Stored, array: Array) -> Tensor:
    K = math.prod(stored.shape[1:])
    _expect_array(name, array, "ternary", (stored.shape[0], math.ceil(K / 4)))
    values = unpack_ternary(array, stored.shape)
    if (values < -1).any() or values[:, K:].any():
        raise ModelFormatError(
            f"tensor {shown(name)} must be -1, 0 and 1, and zeros after its {K} weights, got "
            "other bits."
        )
    return values[:, :K].reshape(stored.shape).astype(np.float32)


def _restore_int8(name: str, stored: Stored, levels: Array, scale: Array) -> Int8Kernel:
    _expect_array(name + SCALE_SUFFIX, scale, "float32", stored.shape[:1])
    if (levels < -LEVELS).any():
        raise ModelFormatError(f"tensor {shown(name)} must be -127 to 127, got -128.")
    if not ((scale >= _FLOAT32_NORMAL) & (scale <= _FLOAT32_MAX / 128)).all():
        raise ModelFormatError(
            f"tensor {shown(name + SCALE_SUFFIX)} must be positive normal numbers, "
            f"so that 127 times each is finite."
        )
    return Int8Kernel(levels, scale)
