"""Kernels of few bits, as in `bnnzoo-packed`: signs as one bit, real numbers as eight."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Int8Kernel",
    "PackedSigns",
    "is_ternary",
    "pack",
    "pack_ternary",
    "quantize",
    "unpack_ternary",
]

_PAIRS = np.arange(0, 8, 2, dtype=np.uint8)  # first bits of the four weights in a byte
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.uint8)
LEVELS = 127  # of an int8 kernel, on each side of 0
_MIN_SCALE = float(np.finfo(np.float32).tiny)
_MAX_WEIGHT = float(np.finfo(np.float32).max) / 2


@dataclass(frozen=True, eq=False)
class PackedSigns:
    """A kernel of -1 and +1, one bit each.

    Attributes:
        bits: uint8 `(c_out, ceil(K / 8))`. The K bits of an output channel are in
            (kernel_h, kernel_w, c_in) order, from the lowest bit of the first byte; bit 1 = -1,
            unused bits 0.
        shape: `(c_out, kernel_h, kernel_w, c_in / groups)`; K is the product of the last three.
    """

    bits: NDArray[np.uint8]
    shape: tuple[int, ...]

    @property
    def K(self) -> int:  # noqa: N802 (the papers' symbol)
        """Number of binary products per output."""
        return math.prod(self.shape[1:])

    def unpack(self) -> NDArray[np.int8]:
        """Returns int8 -1 and +1, in `shape`."""
        bits = np.unpackbits(self.bits, axis=-1, count=self.K, bitorder="little")
        return (1 - 2 * bits.astype(np.int8)).reshape(self.shape)

    def sum_inputs(self) -> NDArray[np.int32]:
        """Returns the sum over the input channels, `(c_out, kernel_h, kernel_w)`."""
        c_in = self.shape[3]
        sums: NDArray[np.int32]
        if c_in % 8:
            sums = self.unpack().sum(axis=-1, dtype=np.int32)
        else:
            ones = _ONES.take(self.bits.reshape(*self.shape[:3], c_in // 8))
            sums = c_in - 2 * ones.sum(axis=-1, dtype=np.int32)
        return sums


@dataclass(frozen=True, eq=False)
class Int8Kernel:
    """A kernel of real numbers in 8 bits: weight = level * scale of its output channel.

    Attributes:
        levels: -127 to 127, `(c_out, kernel_h, kernel_w, c_in / groups)`.
        scale: `(c_out,)`; float32 in a file.
    """

    levels: NDArray[np.int8]
    scale: NDArray[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the kernel."""
        return self.levels.shape

    def unpack(self) -> NDArray[np.float32]:
        """Returns the weights, each rounded to float32 once."""
        per_channel = self.scale.astype(np.float32).reshape(-1, *[1] * (self.levels.ndim - 1))
        return self.levels.astype(np.float32) * per_channel


def pack(signs: NDArray[np.int8]) -> PackedSigns:
    """Returns the bits of a kernel of -1 and +1.

    Args:
        signs: `(c_out, kernel_h, kernel_w, c_in / groups)`.
    """
    rows = np.ascontiguousarray(signs.reshape(len(signs), -1) < 0)  # the bits are then, too
    return PackedSigns(np.packbits(rows, axis=-1, bitorder="little"), signs.shape)


def is_ternary(kernel: Any) -> bool:
    """Returns whether a kernel of real numbers contains only -1, 0 and +1."""
    return isinstance(kernel, np.ndarray) and bool(np.isin(kernel, (-1, 0, 1)).all())


def pack_ternary(kernel: NDArray[Any]) -> NDArray[np.uint8]:
    """Returns a kernel of -1, 0 and +1 as uint8 `(c_out, ceil(K / 4))`, two bits per weight.

    A weight is an integer in two's complement; the first one is in the lowest bits.
    """
    codes = kernel.reshape(len(kernel), -1).astype(np.int8).view(np.uint8) & 3
    codes = np.pad(codes, ((0, 0), (0, -codes.shape[1] % 4))).reshape(len(kernel), -1, 4)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(codes << _PAIRS, axis=-1)
    return packed


def unpack_ternary(codes: NDArray[np.uint8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Returns all two-bit integers, -2 to +1, including the unused ones after the last weight.

    Args:
        codes: The result of `pack_ternary`.
        shape: Shape of the kernel.

    Returns:
        `(c_out, 4 * ceil(K / 4))`.
    """
    pairs = codes[:, :, None] >> _PAIRS & 3
    values = pairs.reshape(shape[0], -1).astype(np.int8)
    return values - 4 * (values > 1).astype(np.int8)


def quantize(kernel: NDArray[Any]) -> Int8Kernel | None:
    """Returns the nearest int8 kernel, with the scale max|w| / 127 for each channel.

    Returns None if a scale would not be a normal float32, or 127 times it would be too large: the
    channel's largest weight would lose more than a rounding.
    """
    rows = kernel.reshape(len(kernel), -1).astype(np.float64)
    largest = np.abs(rows).max(axis=1)
    some = largest[largest != 0]
    if not np.all((some >= LEVELS * _MIN_SCALE) & (some <= _MAX_WEIGHT)):
        return None
    scale = (largest / LEVELS).astype(np.float32)
    scale[scale == 0] = 1.0  # a channel of zeros
    levels = np.clip(np.rint(rows / scale[:, None]), -LEVELS, LEVELS)
    return Int8Kernel(levels.astype(np.int8).reshape(kernel.shape), scale)
