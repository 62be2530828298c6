"""Padding with -1, 0 or +1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

__all__ = ["PaddedLayer", "check_pad_values"]


def check_pad_values(pad_values: float) -> float:
    """Returns `pad_values` as a float.

    Raises:
        ValueError: It is not -1, 0 or +1.
    """
    if pad_values not in (-1, 0, 1):
        raise ValueError(
            f"pad_values must be -1, 0 or 1, got {pad_values!r}. "
            "Use keras.layers.ZeroPadding2D or keras.ops.pad for other values."
        )
    return float(pad_values)


class PaddedLayer:
    """Mixin before a Keras convolution: `pad_values` at the border of the quantized input.

    Every padding and both data formats are supported; with "valid" there is no border and
    `pad_values` has no effect. The values keep the input's dtype.
    """

    pad_values: float

    def padded(self, inputs: Any) -> tuple[Any, str]:
        """Returns the padded inputs and the padding that is left for Keras to apply."""
        if self.padding == "valid" or (self.padding == "same" and self.pad_values == 0):
            return inputs, self.padding
        first = 1 if self.data_format == "channels_last" else 2
        sizes = ops.shape(inputs)[first : first + self.rank]
        borders: list[Any] = [(0, 0)] * len(inputs.shape)
        borders[first : first + self.rank] = self._borders(sizes)
        return ops.pad(inputs, borders, constant_values=self.pad_values), "valid"

    def _borders(self, sizes: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Returns the width of the border before and after each spatial axis."""
        borders = []
        for size, kernel, stride, dilation in zip(
            sizes, self.kernel_size, self.strides, self.dilation_rate, strict=True
        ):
            reach = (kernel - 1) * dilation
            if self.padding == "causal":
                borders.append((reach, 0))
            elif stride == 1:
                borders.append((reach // 2, reach - reach // 2))
            else:
                # The outputs are ceil(size / stride); the last one ends at (n - 1) stride + reach.
                total = (size - 1) // stride * stride + reach + 1 - size
                total = max(total, 0) if isinstance(size, int) else ops.maximum(total, 0)
                borders.append((total // 2, total - total // 2))
        return borders

    def get_config(self):
        """Returns Keras's config and `pad_values`."""
        return {**super().get_config(), "pad_values": self.pad_values}
