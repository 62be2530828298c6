"""Inception's random crop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.preprocessing import Box

__all__ = ["Drawing", "random_box"]

ASPECTS = (3 / 4, 4 / 3)
ATTEMPTS = 10


class Drawing(NamedTuple):
    """Seed and settings of an epoch's random crops.

    Attributes:
        min_area: See `Augmentation`.
        seed: Seed of the recipe.
        epoch: Index of the epoch.
    """

    min_area: float
    seed: int
    epoch: int

    def box(self, index: int, height: int, width: int) -> Box:
        """Returns the crop of an image, which depends only on the arguments and the settings."""
        rng = np.random.default_rng([self.seed, self.epoch, 2, index])
        return random_box(height, width, self.min_area, rng.random((ATTEMPTS, 4)))


def random_box(height: int, width: int, min_area: float, uniform: NDArray[np.float64]) -> Box:
    """Returns the first of some random boxes that fits in the image: top, left, height, width.

    Its share of the image's area is uniform from `min_area` to 1, the logarithm of its aspect ratio
    (width / height) is uniform from 3/4 to 4/3, and so is its position. Sides are rounded. If no
    box fits, as in a narrow strip, it is the largest centred box of an allowed aspect ratio.

    Args:
        height: Height of the image.
        width: Width of the image.
        min_area: Smallest share of the area.
        uniform: A row of four numbers in [0, 1) for each attempt: area, aspect, top, left.

    Reference:
        Szegedy et al. 2014, Going Deeper with Convolutions, section 6,
        https://arxiv.org/abs/1409.4842
    """
    for area, aspect, top, left in uniform.tolist():
        pixels = height * width * (min_area + area * (1 - min_area))
        ratio = ASPECTS[0] * (ASPECTS[1] / ASPECTS[0]) ** aspect
        h, w = round((pixels / ratio) ** 0.5), round((pixels * ratio) ** 0.5)
        if 0 < h <= height and 0 < w <= width:
            return (int(top * (height - h + 1)), int(left * (width - w + 1)), h, w)
    h = min(height, max(round(width / ASPECTS[0]), 1))
    w = min(width, max(round(height * ASPECTS[1]), 1))
    return ((height - h) // 2, (width - w) // 2, h, w)
