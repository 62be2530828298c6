"""Images in memory, and the order and crops of each epoch."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.data.preprocessing import Preprocessing
from bnnzoo.data.source import Source
from bnnzoo.errors import ArgumentError, DataError
from bnnzoo.training.images.crops import Drawing
from bnnzoo.training.recipes.schema import Augmentation

__all__ = [
    "ImageArrays",
    "calibration_indices",
    "evaluation_codes",
    "fitting_of",
    "load_arrays",
    "split_codes",
    "training_codes",
    "with_axis",
]

# Indices of pixels are int32 on the device.
MAX_PIXELS = 2**31 - 1
PEEKED = 16


@dataclass(frozen=True)
class ImageArrays:
    """Images of one size, with labels.

    Attributes:
        pixels: `(n, h, w, c)` uint8, or float32 pixel values if images had to be resized.
        labels: int32 `(n,)`.
    """

    on_device: ClassVar[bool] = True

    pixels: NDArray[np.uint8] | NDArray[np.float32]
    labels: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(h, w, c)`."""
        return tuple(self.pixels.shape[1:])

    def followed_by(self, other: ImageArrays) -> ImageArrays:
        """Returns these images and then the others."""
        pixels = np.concatenate([self.pixels, other.pixels])
        return ImageArrays(pixels, np.concatenate([self.labels, other.labels]))

    def some(self, indices: NDArray[np.int64]) -> NDArray[np.uint8] | NDArray[np.float32]:
        """Returns the pixels of some images."""
        return self.pixels[indices]

    @contextlib.contextmanager
    def feed(
        self, codes: NDArray[np.int32], batch_size: int, drawing: Drawing | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields the arguments of Keras's `fit` and `evaluate` for these images in this order.

        They are the codes themselves: the pixels are already on the device.

        Args:
            codes: Codes as `training_codes` returns them.
            batch_size: Images per batch; the last batch may have fewer.
            drawing: Unused, as whole images are in memory.
        """
        labels = self.labels[codes[:, 0]]
        yield {"x": codes, "y": labels, "batch_size": batch_size}


def load_arrays(
    source: Source, preprocessing: str, input_shape: tuple[int, int, int] | None = None
) -> ImageArrays:
    """Reads a data set into memory, as raw pixels in the network's size; see `fitting_of`.

    Raises:
        DataError: The images differ in size, or there are too many.
    """
    fitting = fitting_of(source, preprocessing, input_shape)
    pixels: list[np.ndarray] = []
    labels = []
    for image, label, _ in source:  # each is fitted when it is read: originals may be far larger
        image = with_axis(image)
        pixels.append(image if fitting.keeps(image) else fitting([image])[0])
        labels.append(label)
    stacked = np.stack(pixels)
    if stacked[..., 0].size > MAX_PIXELS:
        raise DataError(
            f"{source.name} is too large to train from memory: {stacked.shape}. Set images=files."
        )
    return ImageArrays(stacked, np.array(labels, dtype=np.int32))


def fitting_of(
    source: Source, preprocessing: str, input_shape: tuple[int, int, int] | None = None
) -> Preprocessing:
    """Returns the preprocessing that fits images of a data set to the network, in pixel values.

    Args:
        source: The data set.
        preprocessing: Id of the preprocessing, which also defines how images are resized.
        input_shape: `(h, w, c)`; None takes that of the preprocessing, or of the first images.

    Raises:
        DataError: The first images differ in size and the preprocessing has none.
    """
    fitting = preprocessings.get(preprocessing, input_shape)
    if fitting.size is None or fitting.channels is None:
        fitting = preprocessings.get(preprocessing, _first_shape(source, fitting))
    return fitting.unscaled()


def _first_shape(source: Source, fitting: Preprocessing) -> tuple[int, int, int]:
    first = itertools.islice(source.items, PEEKED)
    shapes = {with_axis(item.read()).shape for item in first}
    sizes = {shape[:2] for shape in shapes}
    if fitting.size is None and len(sizes) > 1:
        raise DataError(
            f"{source.name}: images must have one size for preprocessing '{fitting.id}', got "
            f"{sorted(sizes)[:2]}. Resize them, or set preprocessing=larq_in1k."
        )
    channels = max(shape[2] for shape in shapes)
    return (*(fitting.size or sizes.pop()), fitting.channels or channels)


def with_axis(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns an image as `(h, w, c)`."""
    return image if image.ndim == 3 else image[..., None]


def training_codes(
    indices: NDArray[np.int64], augmentation: Augmentation, seed: int, epoch: int
) -> NDArray[np.int32]:
    """Returns codes of the images of an epoch, in order: `(n, 4)`, index, top, left and flip.

    They depend only on seed, epoch and index, so that a resumed run uses the same order and
    windows.

    Args:
        indices: Indices of the training images.
        augmentation: The augmentation; `top` and `left` are from 0 to twice its `pad`.
        seed: Seed of the recipe.
        epoch: Index of the epoch.
    """
    order = np.random.default_rng([seed, epoch, 0]).permutation(len(indices))
    rng = np.random.default_rng([seed, epoch, 1])
    codes = np.zeros((len(indices), 4), dtype=np.int32)
    codes[:, 0] = indices
    codes[:, 1:3] = rng.integers(0, 2 * augmentation.pad + 1, (len(indices), 2))
    if augmentation.flip:
        codes[:, 3] = rng.integers(0, 2, len(indices))
    return codes[order]


def evaluation_codes(indices: NDArray[np.int64], augmentation: Augmentation) -> NDArray[np.int32]:
    """Returns codes of unchanged images, in order."""
    codes = np.zeros((len(indices), 4), dtype=np.int32)
    codes[:, 0] = indices
    codes[:, 1:3] = augmentation.pad
    return codes


def split_codes(
    train: int, test: int, held_out: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns the indices of the images for training and of those for validation.

    Test images follow the training images. With `held_out`, that many random training images are
    used for validation; without it, the test images are.

    Raises:
        ArgumentError: There are too few training images.
    """
    if held_out >= train:
        raise ArgumentError(f"held_out must be below {train}, the training images, got {held_out}.")
    if not held_out:
        return np.arange(train), np.arange(train, train + test)
    chosen = np.random.default_rng([seed, 2**32 - 1]).permutation(train)
    return np.sort(chosen[held_out:]), np.sort(chosen[:held_out])


def calibration_indices(train: NDArray[np.int64], n: int, seed: int) -> NDArray[np.int64]:
    """Returns at most `n` training images, drawn at random because files may be sorted by class."""
    return train[np.random.default_rng([seed, 2**32 - 2]).permutation(len(train))[:n]]
