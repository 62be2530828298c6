"""Images with masks from real photos: parts of one photo in blobs on parts of another.

The photos are those that scikit-learn ships, `china.jpg` (roofs and trees) and `flower.jpg`. An
image is a square of the first, and inside two random ellipses a square of the second; the mask says
which pixel is of which. Both are grey and have the same mean and contrast, so that a single pixel
says nothing: the network must see texture. Training squares are from the left halves of the photos,
test squares from the right halves.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_image

from bnnzoo.data.palette import mask_png

__all__ = ["write_composites"]

CLASSES = ("china", "flower")
MEAN, CONTRAST = 128, 45


def write_composites(folder: Path, side: int, train: int, test: int) -> str:
    """Writes `images` and `masks`, each with `train` and `test`; returns the name of the data set.

    Args:
        folder: Where to.
        side: Height and width of an image.
        train: Number of training images.
        test: Number of test images.
    """
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(load_sample_image(f"{name}.jpg")).convert("L") for name in CLASSES]
    for split, count in (("train", train), ("test", test)):
        for kind in ("images", "masks"):
            (folder / kind / split).mkdir(parents=True)
        for i in range(count):
            outside, inside = (_square(rng, np.asarray(p), side, split == "test") for p in photos)
            mask = _ellipses(rng, side)
            image = np.where(mask, inside, outside).clip(0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / "images" / split / f"{i:03}.png")
            (folder / "masks" / split / f"{i:03}.png").write_bytes(mask_png(mask.astype(np.uint8)))
        (folder / "masks" / split / "classes.txt").write_text("\n".join(CLASSES))
    return f"folder:{folder}/images,{folder}/masks"


def _square(
    rng: np.random.Generator, photo: NDArray[np.uint8], side: int, right: bool
) -> NDArray[np.float64]:
    height, width = photo.shape
    top = rng.integers(0, height - side)
    left = rng.integers(0, width // 2 - side) + right * (width // 2)
    part = photo[top : top + side, left : left + side].astype(float)
    return CONTRAST * (part - part.mean()) / (part.std() + 1e-3) + MEAN


def _ellipses(rng: np.random.Generator, side: int) -> NDArray[np.bool_]:
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    inside = np.zeros((side, side), bool)
    for _ in range(2):
        (cy, cx), (a, b) = rng.uniform(0.15, 0.85, 2), rng.uniform(0.15, 0.35, 2)
        angle = rng.uniform(0, np.pi)
        u = (y - cy) * np.cos(angle) + (x - cx) * np.sin(angle)
        v = (x - cx) * np.cos(angle) - (y - cy) * np.sin(angle)
        inside |= (u / a) ** 2 + (v / b) ** 2 < 1
    return inside
