"""Bits in words of 32 channels, as in Larq Compute Engine.

The channels of a pixel are consecutive bits, starting at the lowest bit of the first word. A bit of
1 is -1. Unused bits of the last word are 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WORD_BITS", "from_words", "to_words", "words"]

WORD_BITS = 32


def words(channels: int) -> int:
    """Returns the number of words for `channels` bits."""
    return -(-channels // WORD_BITS)


def to_words(signs: NDArray[Any]) -> NDArray[np.int32]:
    """Returns the signs of numbers `(..., channels)` as words `(..., words)`."""
    *rest, channels = signs.shape
    bits = np.zeros((*rest, words(channels) * WORD_BITS), bool)
    bits[..., :channels] = signs < 0
    packed = np.packbits(bits, axis=-1, bitorder="little")
    return packed.view("<i4").astype(np.int32, copy=False)


def from_words(packed: NDArray[np.int32], channels: int) -> NDArray[np.bool_] | None:
    """Returns which of the channels `(..., channels)` are -1; None if an unused bit is 1."""
    data = np.ascontiguousarray(packed.astype("<i4", copy=False)).view(np.uint8)
    bits = np.unpackbits(data, axis=-1, bitorder="little")
    if bits[..., channels:].any():
        return None
    return bits[..., :channels].astype(bool)
