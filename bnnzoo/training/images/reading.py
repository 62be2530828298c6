"""Where the images of a run are: in memory, or in their files."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TypeAlias

from bnnzoo.data.source import Source
from bnnzoo.training.images.image_arrays import ImageArrays, fitting_of, load_arrays
from bnnzoo.training.images.image_files import ImageFiles, open_files
from bnnzoo.training.recipes.recipe import Recipe

__all__ = ["RunImages", "image_reader"]

# 2 GiB where they have to be resized and are float32, 0.5 GiB as bytes.
MAX_VALUES_IN_MEMORY = 2**29

Shape: TypeAlias = tuple[int, int, int]
RunImages: TypeAlias = ImageArrays | ImageFiles


def image_reader(
    recipe: Recipe, source: Source, input_shape: Shape | None
) -> Callable[[Source, Shape | None], RunImages]:
    """Returns what reads the training images of a recipe, and its test images in the same way.

    Args:
        recipe: Its `images` decides; `auto` keeps few images in memory, unless training takes
            random parts of them.
        source: The training images.
        input_shape: `(h, w, c)` of the network; None where the images decide.
    """
    where = recipe.images
    if where == "auto":
        few = recipe.augmentation.min_area >= 1 and _values(recipe, source, input_shape)
        where = "memory" if few and few <= MAX_VALUES_IN_MEMORY else "files"
    if where == "memory":
        return functools.partial(_load, recipe.preprocessing)
    return functools.partial(_open, recipe.preprocessing, recipe.augmentation.pad)


def _values(recipe: Recipe, source: Source, input_shape: Shape | None) -> int:
    fitting = fitting_of(source, recipe.preprocessing, input_shape)
    assert fitting.size is not None and fitting.channels is not None
    return len(source) * math.prod(fitting.size) * fitting.channels


def _load(preprocessing: str, source: Source, shape: Shape | None) -> ImageArrays:
    return load_arrays(source, preprocessing, shape)


def _open(preprocessing: str, pad: int, source: Source, shape: Shape | None) -> ImageFiles:
    return open_files(source, preprocessing, shape, pad)
