"""Source pixels and weights of each pixel of a resized image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["between"]

Places = NDArray[np.int32]


def between(op: str, before: int, after: int) -> tuple[Places, Places, NDArray[np.float32]]:
    """Returns, for each new pixel along an axis, the old pixels before and after it and its weight.

    The weight is 0 at the first of them and 1 at the second; for `nearest_resize2d` it is 0, and
    the pixels are computed in integers, so that no implementation rounds to another one.
    """
    first: NDArray[Any]
    if op == "nearest_resize2d":
        first = ((2 * np.arange(after) + 1) * before // (2 * after)).astype(np.int32)
        return first, first, np.zeros(after, np.float32)
    place = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)
    first = np.floor(place).astype(np.int32)
    return first, np.minimum(first + 1, np.int32(before - 1)), (place - first).astype(np.float32)
