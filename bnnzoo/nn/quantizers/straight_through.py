"""Straight-through gradients, and the base class of all quantizers."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras import ops

__all__ = [
    "Quantizer",
    "check_clip_value",
    "clip",
    "clipped_identity",
    "filter_mean",
    "sign",
    "straight_through",
]


class Quantizer:
    """Base of the quantizers: a stateless function with settings.

    A subclass sets `bits` and defines `__call__` with `keras.ops`. As a frozen dataclass it needs
    no `get_config`. Any other callable can be a quantizer too; without an attribute `bits` it
    counts as full precision.
    """

    bits: int = 32

    def __call__(self, x: Any) -> Any:
        """Returns the quantized `x`, of the same shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__.")

    @property
    def vanishing_gradient(self) -> bool:
        """Whether the gradient vanishes for large |x|, so that latent weights stop changing."""
        return getattr(self, "clip_value", None) is not None

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the quantizer."""
        return dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Quantizer:
        """Returns the quantizer of a config of `get_config`."""
        return cls(**config)


def sign(x: Any) -> Any:
    """Returns -1 where x < 0 and +1 elsewhere, including zeros of either sign.

    TensorFlow and JAX flush subnormals on a CPU: a float32 below 1.2e-38 in magnitude becomes zero.
    """
    one = ops.ones_like(x)
    return ops.where(ops.less(x, 0), -one, one)


def straight_through(value: Any, surrogate: Any, slope: Any = None) -> Any:
    """Returns exactly `value`, with the gradient of `surrogate` (times the constant `slope`).

    The difference `surrogate - stop_gradient(surrogate)` must be computed first and must be exactly
    zero. Two problems are avoided:

    1. `inf - inf` is NaN. The functions below replace infinite values by zero.
    2. A compiler may contract `a * b - c` to a fused operation without the rounding of `a * b`.
       `surrogate` is therefore always the result of a `where`, never of a product; a varying
       slope multiplies the difference instead.

    NaN in `surrogate` makes the result NaN, so that divergence is visible.
    """
    difference = ops.subtract(surrogate, ops.stop_gradient(surrogate))
    if slope is not None:
        difference = ops.multiply(ops.stop_gradient(slope), difference)
    return ops.add(ops.stop_gradient(value), difference)


def clipped_identity(x: Any, clip_value: float | None) -> Any:
    """Returns x where |x| <= clip_value (where x is finite if that is None), elsewhere 0.

    Uses `where` instead of `clip`, whose gradient at the edges differs between backends.
    """
    magnitude = ops.absolute(x)
    outside = ops.isinf(x) if clip_value is None else ops.greater(magnitude, clip_value)
    return ops.where(outside, ops.zeros_like(x), x)


def clip(x: Any, low: float, high: float) -> Any:
    """Returns x clipped to [low, high], with gradient 1 on the closed interval, else 0."""
    one = ops.ones_like(x)
    return ops.where(ops.less(x, low), low * one, ops.where(ops.greater(x, high), high * one, x))


def filter_mean(x: Any) -> Any:
    """Returns the mean over every axis but the last, with the axes kept."""
    axes = tuple(range(len(x.shape) - 1))
    return ops.mean(x, axis=axes, keepdims=True) if axes else x


def check_clip_value(clip_value: float | None) -> None:
    """Checks `clip_value`.

    Raises:
        ValueError: `clip_value` is neither None nor a positive number.
    """
    if clip_value is not None and not clip_value > 0:
        raise ValueError(
            f"clip_value must be positive or None, got {clip_value!r}. "
            "Pass None for a gradient that is never clipped."
        )
