"""Colours of classes, and PNG files of masks."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["mask_png", "palette"]


def palette() -> NDArray[np.uint8]:
    """Returns a colour for each of 256 classes, `(256, 3)`: the colour map of PASCAL VOC.

    Bits 0, 1 and 2 of the class index become the highest bits of red, green and blue, bits 3, 4
    and 5 the next ones, and so on. Class 0 is black, and 255, no class, is a light beige.

    Reference:
        Everingham et al. 2010, The PASCAL Visual Object Classes Challenge,
        https://doi.org/10.1007/s11263-009-0275-4
    """
    index = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for level in range(8):
        for channel in range(3):
            colours[:, channel] |= (index >> (3 * level + channel) & 1) << (7 - level)
    return colours.astype(np.uint8)


def mask_png(mask: NDArray[np.uint8]) -> bytes:
    """Returns a PNG file with a palette: `data.masks.read_mask` returns the same mask.

    Args:
        mask: Class indices, uint8 `(h, w)`.
    """
    image = Image.frombytes("P", mask.shape[::-1], np.ascontiguousarray(mask).tobytes())
    image.putpalette(palette().tobytes())
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()
