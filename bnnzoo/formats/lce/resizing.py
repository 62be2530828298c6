"""The pixels that TensorFlow Lite's RESIZE_NEAREST_NEIGHBOR takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest_pixels"]


def nearest_pixels(before: int, after: int, *, half_pixel_centers: bool) -> NDArray[np.int32]:
    """Returns the old pixel of each new one along an axis.

    Pixel i of `after` is floor((i + offset) * before / after) in float32, at most before - 1; the
    offset is 1/2 with half-pixel centres, otherwise 0.
    """
    scale = np.float32(before) / np.float32(after)
    offset = np.float32(0.5 if half_pixel_centers else 0.0)
    place = np.floor((np.arange(after, dtype=np.float32) + offset) * scale)
    return np.asarray(np.minimum(place, before - 1), dtype=np.int32)
