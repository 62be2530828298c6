"""Metrics for the training of binary weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

__all__ = ["FlipRatio"]


@keras.saving.register_keras_serializable(package="bnnzoo")
class FlipRatio(keras.metrics.Metric):
    """The fraction of binary weights whose sign changed since the last update.

    result = mean over updates t of mean over i of [sign(w[t, i]) != sign(w[t - 1, i])],
    with sign(0) = sign(-0.0) = +1, so that latent and binary weights give the same result.

        flips = FlipRatio()
        flips.update_state([1.0, 1.0])  # first update
        flips.update_state([0.5, -1.0])  # 1 of 2
        flips.update_state([-1.0, -1.0])  # 1 of 2
        flips.result()  # 0.5

    `reset_state` resets the mean but keeps the signs: the first update of an epoch is compared with
    the last update of the previous epoch. In a compiled function, call `build` first.

    Args:
        name: Name of the metric.
        dtype: Data type of the mean.
    """

    def __init__(self, name: str = "flip_ratio", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", dtype=self.dtype, name="total")
        self.count = self.add_variable((), "zeros", dtype=self.dtype, name="count")
        # 0 before the first update, then -1 or +1.
        self.signs: keras.Variable | None = None

    def build(self, shape: Sequence[int]) -> None:
        """Creates the variable for the signs of a tensor of this shape."""
        self.signs = self.add_variable(tuple(shape), "zeros", dtype="int8", name="signs")

    def update_state(self, values: Any) -> None:
        """Compares the signs of `values` with those of the last call.

        Raises:
            ValueError: The shape differs from that of the last call.
        """
        values = ops.convert_to_tensor(values)
        if self.signs is None:
            self.build(values.shape)
        if tuple(values.shape) != tuple(self.signs.shape):
            raise ValueError(
                f"values must have the shape {tuple(self.signs.shape)} of the first update, got "
                f"{tuple(values.shape)}. Use one FlipRatio for each tensor."
            )
        signs = ops.cast(ops.where(ops.less(values, 0), -1, 1), "int8")
        known = ops.cast(ops.any(ops.not_equal(self.signs, 0)), self.dtype)
        flipped = ops.mean(ops.cast(ops.not_equal(signs, self.signs), self.dtype))
        self.total.assign(ops.add(self.total, ops.multiply(known, flipped)))
        self.count.assign(ops.add(self.count, known))
        self.signs.assign(signs)

    def result(self) -> Any:
        """Returns the mean since the last reset; 0 before the second update."""
        return ops.divide_no_nan(self.total, self.count)

    def reset_state(self) -> None:
        """Resets the mean and keeps the signs."""
        self.total.assign(0)
        self.count.assign(0)
