"""Makes a network's input in NumPy, from codes or from pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.training.images.image_arrays import ImageArrays
from bnnzoo.training.images.run_data import RunImages

__all__ = ["Batch", "HostImages"]


class Batch(NamedTuple):
    """Images for a network.

    Attributes:
        images: float32 `(n, h, w, c)`, preprocessed.
        labels: int32 `(n,)`.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int32]


class HostImages:
    """The same as the layers of `device_images`, for an engine that is not Keras.

    Args:
        images: The images of a run.
        preprocessing: Id of the preprocessing whose mean and deviation are applied.
        pad: Zeros on every side, before a window is cut out.
    """

    def __init__(self, images: RunImages, preprocessing: str, pad: int) -> None:
        known = preprocessings.get(preprocessing)
        self.images = images
        self.pad = pad
        self.mean = np.array(known.mean, dtype=np.float32)
        self.std = np.array(known.std, dtype=np.float32)

    def batches(self, fed: dict[str, Any], size: int) -> Iterator[Batch]:
        """Yields the batches of what `images.feed` yields.

        Args:
            fed: The codes and labels of all images, or batches of pixels and labels.
            size: Images per batch of codes; the last batch may have fewer.
        """
        if "y" not in fed:
            for pixels, labels in fed["x"]:
                yield Batch(self._scaled(pixels), labels)
            return
        for first in range(0, len(fed["x"]), size):
            part = slice(first, first + size)
            yield Batch(self._scaled(self._windows(fed["x"][part])), fed["y"][part])

    def _windows(self, codes: NDArray[np.int32]) -> NDArray[Any]:
        """Returns pixels of the windows of some codes."""
        assert isinstance(self.images, ImageArrays)
        pixels, pad = self.images.pixels, self.pad
        height, width, _ = self.images.shape
        framed = np.pad(pixels[codes[:, 0]], ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        windows = np.empty((len(codes), *self.images.shape), pixels.dtype)
        for window, frame, (_, top, left, flip) in zip(
            windows, framed, codes.tolist(), strict=True
        ):
            cut = frame[top : top + height, left : left + width]
            window[:] = cut[:, ::-1] if flip else cut
        return windows

    def _scaled(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        scaled: NDArray[np.float32] = (pixels.astype(np.float32) - self.mean) / self.std
        return np.ascontiguousarray(scaled)
