"""A recipe that trains in a second: 64 random images of 8 x 8, a network of 8 units a layer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

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
