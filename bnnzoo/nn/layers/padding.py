"""Padding with -1, 0 or +1, by a rule of Keras or by explicit widths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops

__all__ = ["PaddedLayer", "check_pad_values", "check_padding", "keras_rule"]

Sides = tuple[tuple[int, int], ...]


def check_pad_values(pad_values: float) -> float:
    """Returns `pad_values` as a float.

    Raises:
        ValueError: `pad_values` is not -1, 0 or +1.
    """
    if pad_values not in (-1, 0, 1):
        raise ValueError(
            f"pad_values must be -1, 0 or 1, got {pad_values!r}. "
            "Use keras.layers.ZeroPadding2D or keras.ops.pad for other values."
        )
    return float(pad_values)


def check_padding(padding: Any, rank: int) -> str | Sides:
    """Returns the name of a rule unchanged, and other padding as pairs (before, after) per axis.

    Args:
        padding: A name, one integer for all sides, one integer per axis, or a pair per axis. For
            one axis, two integers are its pair, as in `keras.layers.ZeroPadding1D`.
        rank: Number of spatial axes.

    Raises:
        ValueError: `padding` is none of these, or an integer is negative.
    """
    if isinstance(padding, str):
        return padding
    sides = [padding] * rank if isinstance(padding, int) else padding
    if rank == 1 and _is_pair(sides):
        sides = [sides]
    if isinstance(sides, (list, tuple)) and len(sides) == rank:
        pairs = tuple((s, s) if isinstance(s, int) else s for s in sides)
        if all(_is_pair(pair) for pair in pairs):
            return tuple((int(pair[0]), int(pair[1])) for pair in pairs)
    example = ", ".join(["(1, 1)"] * rank)
    raise ValueError(
        "padding must be the name of a rule, an integer of at least 0, or one or two of them per "
        f"axis, got {padding!r}. Pass ({example}) for a border of one pixel."
    )


def _is_pair(value: Any) -> bool:
    """Returns whether a value is a pair of widths."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(side, int) and side >= 0 for side in value)
    )


def keras_rule(padding: Any) -> str:
    """Returns the padding for Keras's layer, which supports only rules."""
    return padding if isinstance(padding, str) else "valid"


class PaddedLayer:
    """Mixin before a Keras convolution: `pad_values` at the border of the quantized input.

    Every padding and both data formats are supported; with "valid" there is no border and
    `pad_values` has no effect. The values keep the input's dtype. `padding` is the name of a rule
    or pairs (before, after) per axis.
    """

    pad_values: float
    padding: str | Sides

    def set_padding(self, padding: Any, pad_values: float) -> None:
        """Sets the padding of `__init__`. Keras's own `__init__` supports only names."""
        self.padding = check_padding(padding, self.rank)
        self.pad_values = check_pad_values(pad_values)

    def padded(self, inputs: Any) -> tuple[Any, str]:
        """Returns the padded inputs and the padding that Keras has to apply."""
        if self.padding == "valid" or (self.padding == "same" and self.pad_values == 0):
            return inputs, self.padding
        first = self._first_axis
        sizes = ops.shape(inputs)[first : first + self.rank]
        borders: list[Any] = [(0, 0)] * len(inputs.shape)
        borders[first : first + self.rank] = self._borders(sizes)
        return ops.pad(inputs, borders, constant_values=self.pad_values), "valid"

    @property
    def _first_axis(self) -> int:
        return 1 if self.data_format == "channels_last" else 2

    def _borders(self, sizes: Sequence[Any]) -> list[tuple[Any, Any]]:
        """Returns the width of the border before and after each spatial axis."""
        if not isinstance(self.padding, str):
            return list(self.padding)
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

    def compute_output_shape(self, input_shape):
        """Returns the shape of the output. Keras computes it only for its own rules."""
        if isinstance(self.padding, str):
            return super().compute_output_shape(input_shape)
        shape, first = list(input_shape), self._first_axis
        channels = -1 if self.data_format == "channels_last" else 1
        filters = getattr(self, "filters", None) or self.depth_multiplier * shape[channels]
        for axis, (size, sides) in enumerate(zip(shape[first:], self.padding, strict=False)):
            if size is not None:
                reach = (self.kernel_size[axis] - 1) * self.dilation_rate[axis]
                shape[first + axis] = (size + sum(sides) - reach - 1) // self.strides[axis] + 1
        if min(size for size in shape[1:] if size is not None) < 1:
            raise ValueError(
                f"The padded input of {self.name} must be at least as large as its kernel, got "
                f"{tuple(input_shape)} and padding {self.padding}. Use more padding."
            )
        shape[channels] = filters
        return tuple(shape)

    def get_config(self):
        """Returns Keras's config and `pad_values`."""
        return {**super().get_config(), "pad_values": self.pad_values}
