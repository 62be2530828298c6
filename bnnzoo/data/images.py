"""Decodes image files with Pillow."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bnnzoo.errors import DataError, first_line

__all__ = ["IMAGE_SUFFIXES", "decode_image", "read_image"]

IMAGE_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)

# What Pillow raises for broken files, plugin by plugin; an unknown format is an OSError too.
_BROKEN = (
    Image.DecompressionBombError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    OSError,
    OverflowError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Returns the pixels `(h, w, 1)` of a grey image or `(h, w, 3)` of any other.

    The EXIF orientation is applied. Transparency is laid over white, 16-bit grey is cut to its
    upper 8 bits, CMYK and palettes become RGB, and of an animation the first frame is taken.

    Raises:
        DataError: The file does not exist, or is not a whole image.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder. Name image files.")
    try:
        return _decoded(path, str(path))
    except FileNotFoundError as error:
        raise DataError(f"There is no image {path}. Check its path.") from error


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Returns the pixels of an encoded image, as `read_image` does.

    Args:
        data: The bytes of an image file.
        name: What an error calls it.

    Raises:
        DataError: They are not a whole image.
    """
    return _decoded(io.BytesIO(data), name)


def _decoded(file: Path | IO[bytes], name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return _pixels(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise
    except _BROKEN as error:
        reason = first_line(error).rstrip(".")
        raise DataError(f"{name} is not a readable image: {reason}. Replace it.") from error


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise ValueError("it has 32-bit float pixels; save it with 8 bits a channel")
    if image.mode.startswith("I"):
        return _upper_byte(np.asarray(image))
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        layers = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
    grey = image.mode in ("1", "L")
    pixels = np.array(image.convert("L" if grey else "RGB"))
    return pixels[..., None] if grey else pixels


def _upper_byte(pixels: np.ndarray) -> NDArray[np.uint8]:
    """Returns 8 of 16 bits `(h, w, 1)`; Pillow reads some 16-bit files as 32-bit integers."""
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise ValueError("it has 32-bit pixels; save it with 8 bits a channel")
    return (pixels >> 8).astype(np.uint8)[..., None]
