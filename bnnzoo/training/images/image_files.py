"""Images that do not fit in memory: decoded again in each epoch, ahead of the steps."""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data.prefetch import Prefetcher, default_workers
from bnnzoo.data.preprocessing import Box, Preprocessing, nearest
from bnnzoo.data.source import IGNORED, Item, Source
from bnnzoo.errors import DataError
from bnnzoo.training.images.crops import Drawing
from bnnzoo.training.images.image_arrays import fitting_of, with_axis

__all__ = ["ImageFiles", "open_files"]

PART = 8  # images that one thread decodes at a time
BATCHES_AHEAD = 2

Filled = tuple[NDArray[Any], NDArray[np.int32]]
Label = int | NDArray[np.uint8]


@dataclass(frozen=True)
class ImageFiles:
    """Images with labels or masks that are read from their files whenever a step needs them.

    Attributes:
        items: The images, not decoded.
        fitting: Fits an image to the network's size, in pixel values.
        pad: Zeros on every side before a window is cut out.
        workers: Number of threads that decode.
        has_masks: Whether labels are masks `(h, w)`.
    """

    on_device: ClassVar[bool] = False

    items: Sequence[Item]
    fitting: Preprocessing
    pad: int = 0
    workers: int = 1
    has_masks: bool = False

    def __len__(self) -> int:
        return len(self.items)

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(h, w, c)`."""
        assert self.fitting.size is not None and self.fitting.channels is not None
        return (*self.fitting.size, self.fitting.channels)

    def followed_by(self, other: ImageFiles) -> ImageFiles:
        """Returns these images and then the others."""
        return replace(self, items=_Chain(self.items, other.items))

    def some(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Returns the pixels of some images."""
        fitted = (self.fitting([self.items[index].read()])[0] for index in indices)
        return self.fitting.stack(list(fitted))

    @contextlib.contextmanager
    def feed(
        self, codes: NDArray[np.int32], batch_size: int, drawing: Drawing | None = None
    ) -> Iterator[dict[str, Any]]:
        """Yields the arguments of Keras's `fit` and `evaluate` for these images in this order.

        They are batches of pixels and labels, made ahead in threads: uint8 crops for training,
        or without `drawing`, float32 images for evaluation.

        Args:
            codes: Codes as `training_codes` returns them: `(n, 4)`, index, top, left and flip.
            batch_size: Images per batch; the last batch may have fewer.
            drawing: Draws a random part of each image.

        Raises:
            DataError: An image cannot be decoded.
        """
        broken: list[DataError] = []
        with (
            contextlib.closing(_Batches(self, codes, batch_size, drawing)) as batches,
            warnings.catch_warnings(),
        ):
            # Keras warns at the end of every generator, since generators have no length.
            warnings.filterwarnings("ignore", "Your input ran out of data")
            first = next(batches)
            yield {"x": _until_broken(itertools.chain([first], batches), broken)}
        if broken:
            raise broken[0]

    def pixels(self, code: NDArray[np.int32], drawing: Drawing | None) -> tuple[Any, Label]:
        """Returns the pixels and the label or the mask of one code."""
        index, top, left, flip = code.tolist()
        item = self.items[index]
        image, mask = item.read_both()
        image = with_axis(image)
        box = None
        if drawing is not None and drawing.min_area < 1:
            box = drawing.box(index, *image.shape[:2])
        fitted = self.fitting([image])[0] if box is None else self.fitting.part(image, box)
        label: Label = item.label if mask is None else self._fit_mask(mask, box)
        if drawing is None:
            return fitted, label
        window = _Window(self.pad, top, left, bool(flip))
        fitted = window.cut(fitted, 0)
        if isinstance(label, np.ndarray):
            label = window.cut(label, IGNORED)
        return np.clip(np.rint(fitted), 0, 255), label

    def _fit_mask(self, mask: NDArray[np.uint8], box: Box | None) -> NDArray[np.uint8]:
        if box is None:
            return self.fitting.fit_mask(mask)
        return nearest(mask, box, *self.shape[:2])


class _Window(NamedTuple):
    """A window of the size of an image, in the image with a border, and mirrored if `flip`."""

    pad: int
    top: int
    left: int
    flip: bool

    def cut(self, image: NDArray[Any], border: int) -> NDArray[Any]:
        """Returns the window of an image or a mask."""
        if self.pad:
            sides = ((self.pad, self.pad), (self.pad, self.pad), (0, 0))[: image.ndim]
            height, width = image.shape[:2]
            padded = np.pad(image, sides, constant_values=border)
            image = padded[self.top : self.top + height, self.left : self.left + width]
        return image[:, :: -1 if self.flip else 1]


def open_files(
    source: Source,
    preprocessing: str,
    input_shape: tuple[int, int, int] | None = None,
    pad: int = 0,
) -> ImageFiles:
    """Returns the images of a data set, to be read from their files; see `fitting_of`.

    Training images are padded with `pad` zeros on every side.
    """
    items: Any = source.items
    fitting = fitting_of(source, preprocessing, input_shape)
    return ImageFiles(items, fitting, pad, default_workers(), source.has_masks)


@dataclass(frozen=True)
class _Chain(Sequence[Item]):
    before: Sequence[Item]
    behind: Sequence[Item]

    def __len__(self) -> int:
        return len(self.before) + len(self.behind)

    def __getitem__(self, index: Any) -> Any:
        n = len(self.before)
        return self.before[index] if index < n else self.behind[index - n]


class _Part(NamedTuple):
    """Some images of a batch, and where their pixels and labels go."""

    codes: NDArray[np.int32]
    pixels: NDArray[Any]
    labels: NDArray[np.int32]
    whole: Filled | None  # the batch, if these are its last images


class _Batches(Iterator[Filled]):
    """Batches of pixels and labels, prefetched.

    Threads write parts of a batch into its arrays. Memory is bounded: the current batch,
    `BATCHES_AHEAD` more, and the images that the threads are decoding.
    """

    def __init__(
        self,
        images: ImageFiles,
        codes: NDArray[np.int32],
        batch_size: int,
        drawing: Drawing | None,
    ) -> None:
        self.images = images
        self.dtype = np.float32 if drawing is None else np.uint8
        depth = images.workers + BATCHES_AHEAD * -(-batch_size // PART)
        self._parts = Prefetcher(
            functools.partial(_fill, images, drawing),
            self._tasks(codes, batch_size),
            images.workers,
            depth,
        )

    def _tasks(self, codes: NDArray[np.int32], batch_size: int) -> Iterator[_Part]:
        for begin in range(0, len(codes), batch_size):
            rows = codes[begin : begin + batch_size]
            pixels = np.empty((len(rows), *self.images.shape), self.dtype)
            sides = self.images.shape[:2] if self.images.has_masks else ()
            labels = np.empty((len(rows), *sides), np.int32)
            for start in range(0, len(rows), PART):
                part = slice(start, start + PART)
                whole = (pixels, labels) if start + PART >= len(rows) else None
                yield _Part(rows[part], pixels[part], labels[part], whole)

    def __next__(self) -> Filled:
        while (whole := next(self._parts).whole) is None:
            pass
        return whole

    def close(self) -> None:
        self._parts.close()


def _fill(images: ImageFiles, drawing: Drawing | None, part: _Part) -> _Part:
    for row, code in enumerate(part.codes):
        part.pixels[row], part.labels[row] = images.pixels(code, drawing)
    return part


def _until_broken(
    batches: Iterator[Filled], broken: list[DataError]
) -> Generator[Filled, None, None]:
    """Yields batches until an image is broken: Keras on TensorFlow would wrap the exception."""
    try:
        yield from batches
    except DataError as error:
        broken.append(error)
