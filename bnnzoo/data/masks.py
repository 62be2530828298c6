"""Images with masks: a folder of images, and one of PNG files with a class index per pixel."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bnnzoo.data.images import BROKEN, MAX_PIXELS, check_image, read_image
from bnnzoo.data.searching import Search
from bnnzoo.data.source import Item, Skipped, Source
from bnnzoo.data.tables import read_names
from bnnzoo.errors import DataError, first_line

__all__ = ["CLASSES_FILE", "masked_images", "read_mask"]

CLASSES_FILE = "classes.txt"

# In a PNG file, after the signature, and length, type, width and height of the first chunk.
_DEPTH_AT = 24
# Bits per pixel -> distance of the grey levels that Pillow returns.
_SPREAD = {2: 85, 4: 17}

logger = logging.getLogger(__name__)


def masked_images(images: Path, masks: Path, *, skip_bad: bool = False) -> Source:
    """Returns the images of a folder, each with the mask of the same name in another folder.

    `street/1.jpg` has the mask `street/1.png`. Without a mask, or as a mask without an image, a
    file is an error. If the masks' folder has a `classes.txt`, it names the classes, one per line.

    Args:
        images: Folder of images, also in subfolders.
        masks: Folder of masks; see `read_mask`.
        skip_bad: Leave out files without a partner, and list them in `skipped`.

    Raises:
        DataError: A folder does not exist or has no images, a file has no partner, or two images
            have the same name.
    """
    found, search = _by_name(images)
    known, mask_search = _by_name(masks)
    problems = [*search.problems, *mask_search.problems, *_unpaired(found, known, images, masks)]
    if problems and not skip_bad:
        raise DataError(problems[0].reason)
    if left_out := search.said():
        logger.warning("%s: left out %s.", images, left_out)
    items = tuple(
        Item(
            str(path.relative_to(images)),
            0,
            functools.partial(read_image, path),
            functools.partial(read_mask, known[name]),
        )
        for name, path in found.items()
        if name in known
    )
    if not items:
        raise DataError(f"{images} has no image with a mask in {masks}. Check the paths.")
    table = masks / CLASSES_FILE
    names = read_names(table) if table.is_file() else None
    name = f"folder:{images},{masks}"
    return Source(name, len(items), items, names, tuple(problems), has_masks=True)


def _by_name(folder: Path) -> tuple[dict[str, Path], Search]:
    """Returns the images of a folder by their path without the suffix."""
    search = Search(folder.parent)
    found: dict[str, Path] = {}
    for path in search.images(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(
                f"{path}: names must differ without their suffixes, but {found[name].name} exists. "
                "Rename one of them."
            )
        found[name] = path
    return found, search


def _unpaired(
    found: dict[str, Path], known: dict[str, Path], images: Path, masks: Path
) -> list[Skipped]:
    without = [
        Skipped(name, f"{path} has no mask {masks / name}.png. Add it, or go on without the image "
                "with --skip-bad.")
        for name, path in found.items() if name not in known
    ]  # fmt: skip
    lonely = [
        Skipped(name, f"{path} has no image {images / name}.*. Add it, or go on without the mask "
                "with --skip-bad.")
        for name, path in known.items() if name not in found
    ]  # fmt: skip
    return without + lonely


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Returns the class index of each pixel, uint8 `(h, w)`; 255 means no class.

    The index is that in the palette, or the grey level of up to 8 bits.

    Raises:
        DataError: The file does not exist, is not a complete PNG file, has colours or 16 bits, or
            more than `MAX_PIXELS` pixels.
    """
    check_image(path)
    try:
        with path.open("rb") as file:
            depth = file.read(_DEPTH_AT + 1)[-1]
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has more than {MAX_PIXELS:,} pixels")
            if image.mode not in ("1", "L", "P"):
                raise ValueError(f"it has mode '{image.mode}', not class indices of up to 8 bits")
            pixels = np.asarray(image).astype(np.uint8)
            grey = image.mode == "L"
    except BROKEN as error:
        reason = first_line(error).rstrip(".")
        raise DataError(
            f"{path} is not a mask: {reason}. Save class indices as a PNG file, in grey or with a "
            "palette."
        ) from error
    return pixels // _SPREAD[depth] if grey and depth in _SPREAD else pixels
