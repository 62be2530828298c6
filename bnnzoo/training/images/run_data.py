"""The training and test images of a recipe."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.source import Source
from bnnzoo.data.sources import open_source
from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.training.images.image_arrays import ImageArrays, fitting_of, load_arrays, split_codes
from bnnzoo.training.images.image_files import ImageFiles, open_files
from bnnzoo.training.recipes.schema import Recipe

__all__ = ["RunData", "RunImages", "image_reader", "open_data"]

# 2 GiB if images have to be resized and are float32, 0.5 GiB as bytes.
MAX_VALUES_IN_MEMORY = 2**29
DIGESTED = 256

Shape: TypeAlias = tuple[int, int, int]
RunImages: TypeAlias = ImageArrays | ImageFiles


class RunData(NamedTuple):
    """The training and test images of a run.

    Attributes:
        images: The training images, followed by the test images.
        train: Indices of the images for training.
        validation: Indices of the images for validation after each epoch.
        test: Images for the final evaluation.
        num_classes: Number of classes.
        class_names: Their names, if the data set has them.
        digest: Differs if images or labels do.
    """

    images: RunImages
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: Source
    num_classes: int
    class_names: tuple[str, ...] | None
    digest: str


def open_data(recipe: Recipe, input_shape: Shape | None) -> RunData:
    """Returns the images of a recipe.

    Args:
        recipe: The recipe.
        input_shape: `(h, w, c)` of the network; None if the images decide.

    Raises:
        ArgumentError: The batch size or padding of the recipe is too large for the images.
        DataError: The images cannot be read, or are of one class.
    """
    source = open_source(recipe.data)
    if recipe.split:
        source, test = source.parted(recipe.split, recipe.seed)
    else:
        test = open_source(recipe.test_data)
    num_classes = source.count_classes()
    if num_classes < 2:
        raise DataError(
            f"{source.name} must have images of two classes or more, got {num_classes}. Add images "
            "of another class."
        )
    if source.has_masks != test.has_masks:
        raise DataError(
            f"{source.name} and {test.name} must both have masks, or labels, got masks for one of "
            "them. Choose other test images."
        )
    source = source.within(num_classes)
    test = test.labelled_as(source.class_names).within(num_classes)
    read = image_reader(recipe, source, input_shape)
    images: Any = read(source, input_shape=input_shape)
    test_images = read(test, input_shape=images.shape)
    train, validation = split_codes(len(images), len(test), recipe.held_out, recipe.seed)
    _check_fits(recipe, images.shape, len(train))
    digest = _digest(source, images) + _digest(test, test_images)
    both = images.followed_by(test_images)
    return RunData(both, train, validation, test, num_classes, source.class_names, digest)


def image_reader(
    recipe: Recipe, source: Source, input_shape: Shape | None
) -> Callable[..., RunImages]:
    """Returns `load_arrays` or `open_files`, as `images` of the recipe says.

    With `auto`, images are kept in memory if they are few, have no masks, and training does not use
    random parts of them.
    """
    where = recipe.images
    if source.has_masks and where == "memory":
        raise ArgumentError(
            "images must be files or auto for images with masks, got 'memory'. Set images=files."
        )
    if source.has_masks:
        where = "files"
    if where == "auto":
        few = recipe.augmentation.min_area >= 1 and _values(recipe, source, input_shape)
        where = "memory" if few and few <= MAX_VALUES_IN_MEMORY else "files"
    if where == "memory":
        return functools.partial(load_arrays, preprocessing=recipe.preprocessing)
    pad = recipe.augmentation.pad
    return functools.partial(open_files, preprocessing=recipe.preprocessing, pad=pad)


def _values(recipe: Recipe, source: Source, input_shape: Shape | None) -> int:
    fitting = fitting_of(source, recipe.preprocessing, input_shape)
    assert fitting.size is not None and fitting.channels is not None
    return len(source) * math.prod(fitting.size) * fitting.channels


def _check_fits(recipe: Recipe, shape: Shape, count: int) -> None:
    """Refuses a batch size or padding that is too large for `count` images of `shape`."""
    if count < recipe.batch_size:
        raise ArgumentError(
            f"batch_size must be at most {count}, the number of training images, got "
            f"{recipe.batch_size}."
        )
    side = min(shape[:2])
    if recipe.augmentation.pad > side:
        raise ArgumentError(
            f"augmentation.pad must be at most {side}, as images are {shape}, got "
            f"{recipe.augmentation.pad}."
        )


def _digest(source: Source, images: RunImages) -> str:
    """Returns a sha256 that differs if the images or their labels do.

    It covers every pixel and label of images that are in memory as bytes. Others are too many, or
    are resized, which processors round differently. Of those it covers number, class names and
    shape, and of 256 random ones the name, the label and the pixels in the file.
    """
    state = hashlib.sha256(repr((len(images), images.shape, source.class_names)).encode())
    if isinstance(images, ImageArrays) and images.pixels.dtype == np.uint8:
        state.update(np.ascontiguousarray(images.pixels).data)
        state.update(np.ascontiguousarray(images.labels).data)
        return state.hexdigest()
    items: Any = source.items
    for index in np.random.default_rng(0).permutation(len(source))[:DIGESTED].tolist():
        item = items[index]
        pixels, mask = item.read_both()
        state.update(repr((item.id, int(item.label), pixels.shape)).encode())
        for array in (pixels,) if mask is None else (pixels, mask):
            state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()
