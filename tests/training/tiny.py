"""A recipe that trains in a second: 64 random images of 8 x 8, a network of 8 units a layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bnnzoo.training import Augmentation, Phase, Recipe


def write_images(folder: Path, n: int = 64) -> Path:
    """Writes images whose brighter half is their class, so that there is something to learn."""
    rng = np.random.default_rng(3)
    arrays = {}
    for split in ("train", "test"):
        y = rng.integers(0, 2, n)
        x = rng.integers(0, 128, (n, 8, 8, 1))
        x[np.arange(n), :4] += 100 * y[:, None, None, None]
        x[np.arange(n), 4:] += 100 * (1 - y)[:, None, None, None]
        arrays |= {f"x_{split}": x.astype(np.uint8), f"y_{split}": y}
    path = folder / "tiny.npz"
    np.savez(path, **arrays)
    return path


def tiny_recipe(folder: Path, *phases: Phase, **changes: Any) -> Recipe:
    path = folder / "tiny.npz"
    if not path.exists():
        write_images(folder)
    recipe = Recipe(
        name="tiny",
        network="binarynet_mlp",
        data=f"{path}:train",
        test_data=f"{path}:test",
        phases=phases or (Phase(epochs=3, learning_rate=0.01),),
        arguments={"width": 8},
        augmentation=Augmentation(pad=1, flip=True),
        batch_size=16,
    )
    return dataclasses.replace(recipe, **changes)


def write_photos(folder: Path, n: int = 48, broken: int | None = None) -> Path:
    """Writes JPEGs of many sizes into `train` and `val`, a folder per class; bright ones are 1.

    Args:
        folder: Where to.
        n: Number of training images; a third as many are for the test.
        broken: This training image is cut off in its middle.
    """
    rng = np.random.default_rng(4)
    for split, count in (("train", n), ("val", n // 3)):
        for i in range(count):
            height, width = rng.integers(20, 60, 2)
            pixels = rng.integers(0, 128, (height, width, 3)) + 100 * (i % 2)
            path = folder / split / ("dark", "light")[i % 2] / f"{i:03}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)
            if broken == i and split == "train":
                path.write_bytes(path.read_bytes()[:-200])
    return folder


def photo_recipe(folder: Path, *phases: Phase, **changes: Any) -> Recipe:
    """Returns a recipe that takes random parts of the JPEGs in a folder, as one of ImageNet."""
    recipe = Recipe(
        name="photos",
        network="binarynet_mlp",
        arguments={"width": 8},
        data=str(folder / "train"),
        test_data=str(folder / "val"),
        phases=phases or (Phase(epochs=2, learning_rate=0.01),),
        preprocessing="larq_in1k",
        augmentation=Augmentation(flip=True, min_area=0.08),
        batch_size=8,
    )
    return dataclasses.replace(recipe, **changes)
