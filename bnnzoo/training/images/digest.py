"""A digest of the images of a run, so that it goes on with the same ones or not at all."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from bnnzoo.data.source import Source
from bnnzoo.training.images.image_arrays import ImageArrays
from bnnzoo.training.images.reading import RunImages

__all__ = ["image_digest"]

SAMPLE = 256


def image_digest(source: Source, images: RunImages) -> str:
    """Returns a sha256 that differs where the images or their labels do.

    Of pixels in memory as bytes it covers every one. Others are too many, or are rounded as the
    processor does: of those it covers number, class names and shape, and of 256 drawn at random the
    name, the label and the original size.
    """
    state = hashlib.sha256(repr((len(images), images.shape, source.class_names)).encode())
    if isinstance(images, ImageArrays) and images.pixels.dtype == np.uint8:
        state.update(np.ascontiguousarray(images.pixels).data)
        state.update(np.ascontiguousarray(images.labels).data)
        return state.hexdigest()
    items: Any = source.items
    drawn = np.random.default_rng(0).permutation(len(source))[:SAMPLE]
    for index in drawn.tolist():
        item = items[index]
        state.update(repr((item.id, int(item.label), item.read().shape)).encode())
    return state.hexdigest()
