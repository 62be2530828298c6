"""Layers that make the network's input on the device, from codes or from pixels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from bnnzoo.data import preprocessing as preprocessings
from bnnzoo.training.images.image_arrays import ImageArrays
from bnnzoo.training.images.run_data import RunImages

__all__ = ["DeviceImages", "Scaling", "input_layer"]


class Scaling(keras.layers.Layer):  # type: ignore[misc]
    """Scales raw pixels `(n, h, w, c)` of any type for the network, on the device.

    Args:
        preprocessing: Id of the preprocessing whose mean and deviation are applied.
    """

    def __init__(self, preprocessing: str) -> None:
        super().__init__(dtype="float32", autocast=False, trainable=False, name="scaling")
        known = preprocessings.get(preprocessing)
        self.mean = np.array(known.mean, dtype=np.float32)
        self.std = np.array(known.std, dtype=np.float32)
        self.built = True

    def call(self, pixels: Any) -> Any:
        """Returns float32 images."""
        return (ops.cast(pixels, "float32") - self.mean) / self.std


class DeviceImages(keras.layers.Layer):  # type: ignore[misc]
    """All images of a run, on the device; turns codes `(n, 4)` into images `(n, h, w, c)`.

    A code is the index of an image, the row and column where its window begins in the image padded
    with `pad` zeros on every side, and whether it is mirrored. Only codes are sent to the device
    during training.

    Args:
        images: The images; uint8 pixels are converted one batch at a time.
        preprocessing: Id of the preprocessing whose mean and deviation are applied.
        pad: Zeros on every side.
    """

    def __init__(self, images: ImageArrays, preprocessing: str, pad: int) -> None:
        super().__init__(dtype="float32", trainable=False, name="images")
        self.image_shape = images.shape
        self.pad = pad
        self.scaling = Scaling(preprocessing)
        rows = images.pixels.reshape(-1, images.shape[2])
        self.pixels = self.add_weight(
            shape=rows.shape,
            dtype=str(rows.dtype),
            initializer=lambda shape, dtype: ops.convert_to_tensor(rows, dtype),
            trainable=False,
            name="pixels",
        )
        self.built = True

    def call(self, codes: Any) -> Any:
        """Returns the preprocessed images."""
        height, width, _ = self.image_shape
        row = codes[:, 1:2] - self.pad + ops.arange(height, dtype="int32")
        column = ops.arange(width, dtype="int32")
        mirrored = codes[:, 3:4] == 1
        column = codes[:, 2:3] - self.pad + ops.where(mirrored, width - 1 - column, column)
        inside = _within(row, height)[:, :, None] & _within(column, width)[:, None, :]
        row, column = ops.clip(row, 0, height - 1), ops.clip(column, 0, width - 1)
        index = (codes[:, 0:1] * height + row)[:, :, None] * width + column[:, None, :]
        taken = ops.cast(ops.take(self.pixels, index, axis=0), "float32")
        return self.scaling(ops.where(inside[..., None], taken, 0.0))


def input_layer(images: RunImages, preprocessing: str, pad: int) -> Any:
    """Returns the layer that makes the network's input from the output of `images.feed`."""
    if isinstance(images, ImageArrays):
        return DeviceImages(images, preprocessing, pad)
    return Scaling(preprocessing)


def _within(index: Any, size: int) -> Any:
    return ops.logical_and(index >= 0, index < size)
