"""Max pooling with explicit padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from bnnzoo.nn.layers.padding import check_padding, keras_rule

__all__ = ["MaxPooling2D"]


@keras.saving.register_keras_serializable(package="bnnzoo")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """Keras's `MaxPooling2D` with explicit padding as another option.

    Args:
        pool_size: Height and width of the window.
        strides: Strides of the window. Default: `pool_size`.
        padding: "valid", "same", one width for all sides, `(vertical, horizontal)`, or
            `((top, bottom), (left, right))`. `padding=1` is the same as in PyTorch. Padding never
            becomes the maximum.
        kwargs: Passed to `keras.layers.MaxPooling2D`; `data_format`, ...

    Input shape:
        `(n, h, w, c)`, float.
    Output shape:
        `(n, h_out, w_out, c)`, float.

    Raises:
        ValueError: `padding` is invalid, or not smaller than the window.
    """

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str | int | Sequence[Any] = "valid",
        **kwargs: Any,
    ) -> None:
        super().__init__(pool_size, strides, keras_rule(padding), **kwargs)
        self.padding = check_padding(padding, rank=2)
        for size, sides in zip(self.pool_size, self._sides, strict=True):
            if max(sides) >= size:
                raise ValueError(
                    f"padding must be smaller than the window {self.pool_size}, got {padding!r}. "
                    "Use keras.layers.ZeroPadding2D for a wider border."
                )

    @property
    def _sides(self) -> Sequence[tuple[int, int]]:
        return ((0, 0), (0, 0)) if isinstance(self.padding, str) else self.padding

    def call(self, inputs: Any) -> Any:
        """Returns the maxima."""
        if isinstance(self.padding, str):
            return super().call(inputs)
        first = 1 if self.data_format == "channels_last" else 2
        borders: list[tuple[int, int]] = [(0, 0)] * 4
        borders[first : first + 2] = self._sides
        padded = ops.pad(inputs, borders, constant_values=-math.inf)
        return ops.max_pool(padded, self.pool_size, self.strides, "valid", self.data_format)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the output. Keras computes it only for its own rules."""
        if isinstance(self.padding, str):
            return super().compute_output_shape(input_shape)
        shape, first = list(input_shape), 1 if self.data_format == "channels_last" else 2
        for axis, sides in enumerate(self._sides):
            if shape[first + axis] is not None:
                free = shape[first + axis] + sum(sides) - self.pool_size[axis]
                shape[first + axis] = free // self.strides[axis] + 1
        return tuple(shape)
