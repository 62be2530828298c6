"""Binary kernels as bits: 1 = -1, in the order that `bnnzoo-packed/1` has."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PackedSigns", "pack"]


@dataclass(frozen=True, eq=False)
class PackedSigns:
    """A kernel of -1 and +1, one bit each.

    Attributes:
        bits: uint8 `(c_out, ceil(K / 8))`. The K bits of an output channel are in
            (kernel_h, kernel_w, c_in) order, the first one the lowest bit of the first byte;
            bit 1 = -1, unused bits 0.
        shape: `(c_out, kernel_h, kernel_w, c_in / groups)`; K is the product of the last three.
    """

    bits: NDArray[np.uint8]
    shape: tuple[int, ...]

    @property
    def K(self) -> int:  # noqa: N802 (the papers' symbol)
        """Number of binary products per output."""
        return math.prod(self.shape[1:])

    def unpack(self) -> NDArray[np.int8]:
        """Returns the -1 and +1, int8 of `shape`."""
        bits = np.unpackbits(self.bits, axis=-1, count=self.K, bitorder="little")
        return (1 - 2 * bits.astype(np.int8)).reshape(self.shape)


def pack(signs: NDArray[np.int8]) -> PackedSigns:
    """Returns the bits of a kernel of -1 and +1.

    Args:
        signs: `(c_out, kernel_h, kernel_w, c_in / groups)`.
    """
    rows = signs.reshape(len(signs), -1) < 0
    return PackedSigns(np.packbits(rows, axis=-1, bitorder="little"), signs.shape)
