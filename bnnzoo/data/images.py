"""Decodes image files with Pillow."""

from __future__ import annotations

import io
import math
import stat
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from bnnzoo.errors import DataError, first_line

__all__ = [
    "BROKEN",
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "as_pixels",
    "check_image",
    "decode_image",
    "read_image",
]

# Pillow's name of each supported format, and its file suffixes. Pillow detects some forty formats
# by content; for one of them, PostScript, it starts another program.
FORMATS = {
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jfif", ".jpe", ".jpeg", ".jpg"),
    "PNG": (".apng", ".png"),
    "PPM": (".pbm", ".pgm", ".pnm", ".ppm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

# Pillow needs up to 16 bytes per pixel, for WebP, while it decodes: 1 GiB for an image.
MAX_PIXELS = 2**26
STRIP_PIXELS = 2**20
BITS_PER_SAMPLE = 258  # a tag of TIFF; Pillow does not scale 12 bits to 16
TILE_SIDES = (322, 323)

# What Pillow's plugins raise for broken files; an unknown format is an OSError as well.
BROKEN = (
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
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

    The EXIF orientation is applied. Transparent images are put on white, 16-bit grey is reduced to
    its upper 8 bits, CMYK and palettes become RGB, and the first frame of an animation is used.

    Raises:
        DataError: The file does not exist, is not a complete image in one of `FORMATS`, or has more
            than `MAX_PIXELS` pixels.
    """
    check_image(path)
    return _decoded(path, str(path))


def check_image(path: Path) -> None:
    """Checks that the file exists, without reading it.

    Raises:
        DataError: It does not exist, or is not a regular file.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        dangling = isinstance(error, FileNotFoundError) and path.is_symlink()
        link = f", a link to {path.readlink()}" if dangling else ""
        raise DataError(f"There is no image {path!s:.200}{link}. Check its path.") from error
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a folder. Pass image files.")
    if not stat.S_ISREG(mode):
        raise DataError(f"{path} is not a regular file. Pass image files.")


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Returns the pixels of an encoded image, as `read_image` does.

    Args:
        data: The bytes of an image file.
        name: Name of the image in errors.

    Raises:
        DataError: They are not a complete image.
    """
    return _decoded(io.BytesIO(data), name)


def as_pixels(image: Any) -> NDArray[Any]:
    """Returns an array as it is, and a Pillow image as `read_image` would return it.

    The EXIF orientation is not applied.

    Raises:
        DataError: Pillow cannot convert the image to RGB with 8 bits, or the range of its 16 or 32
            bits per channel is unknown.
    """
    if not isinstance(image, Image.Image):
        return np.asarray(image)
    try:
        return _pixels(image, image.format)
    except BROKEN as error:
        reason = first_line(error).rstrip(".")
        raise DataError(
            f"An image of mode '{image.mode}' cannot be converted to RGB: {reason}."
        ) from error


def _decoded(file: Path | IO[bytes], name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(file, formats=tuple(FORMATS)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"it has {image.width} x {image.height} pixels, at most {MAX_PIXELS:,} are read"
                )
            format = image.format  # which exif_transpose may reset
            if format == "TIFF":
                _check_tiles(image)
            ImageOps.exif_transpose(image, in_place=True)
            return _pixels(image, format)
    except BROKEN as error:
        reason = first_line(error).rstrip(".")
        raise DataError(f"{name} is not a readable image: {reason}. Replace it.") from error


def _check_tiles(image: Any) -> None:
    """Refuses a TIFF file with tiles of more than `MAX_PIXELS` pixels: each is decoded at once.

    Repeated tags are refused: libtiff, which decodes, uses the first, older Pillow the last.
    """
    given = [tag for tag in _tiff_tags(image.fp) if tag in TILE_SIDES]
    sides = [image.tag_v2[tag] for tag in TILE_SIDES if tag in image.tag_v2]
    if len(given) != len(sides) or math.prod(sides) > MAX_PIXELS:
        size = " x ".join(map(str, sides))
        raise ValueError(f"its tiles must have one size, of at most {MAX_PIXELS:,} pixels: {size}")


def _tiff_tags(file: IO[bytes]) -> Iterator[int]:
    """Yields the tags of the first directory of a TIFF or BigTIFF file."""
    file.seek(0)
    head = file.read(16)
    order, is_big = "<" if head[:2] == b"II" else ">", 43 in head[2:4]
    (offset,) = struct.unpack_from(order + ("Q" if is_big else "I"), head, 8 if is_big else 4)
    file.seek(offset)
    (count,) = struct.unpack(order + ("Q" if is_big else "H"), file.read(8 if is_big else 2))
    for _ in range(count):
        yield struct.unpack_from(order + "H", file.read(20 if is_big else 12))[0]


def _pixels(image: Image.Image, format: str | None) -> NDArray[np.uint8]:
    """Converts strip by strip, because some conversions need several copies of the image."""
    is_deep = _is_deep(image, format)
    is_grey = is_deep or (image.mode in ("1", "L") and "transparency" not in image.info)
    pixels = np.empty((image.height, image.width, 1 if is_grey else 3), np.uint8)
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = image.crop((0, top, image.width, bottom))
        if is_deep:
            pixels[top:bottom, :, 0] = np.asarray(strip) >> 8
        elif is_grey:
            pixels[top:bottom, :, 0] = np.asarray(strip.convert("L"))
        else:
            pixels[top:bottom] = np.asarray(_over_white(strip).convert("RGB"))
    return pixels


def _is_deep(image: Image.Image, format: str | None) -> bool:
    """Returns whether the pixels of a file have 16 bits; refuses 12 and 32 bits."""
    mode = image.mode
    if mode.startswith("I;16") and format in FORMATS:
        if 12 in getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE, ()):
            raise ValueError("it has 12-bit pixels; save it with 8 bits per channel")
        return True
    if mode == "I" and format in ("PNG", "PPM"):  # these have at most 16 bits
        return True
    if mode == "F" or mode.startswith("I"):
        bits = {"F": "32-bit float", "I": "32-bit"}.get(mode, "16-bit")
        raise ValueError(f"it has {bits} pixels; save it with 8 bits per channel")
    return False


def _over_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("RGBA", "RGBa", "LA", "La", "PA") and "transparency" not in image.info:
        return image
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers)
