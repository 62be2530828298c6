"""Values with a gradient that is not theirs, and the base class of every quantizer."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras import ops

__all__ = [
    "Quantizer",
    "check_clip_value",
    "clip",
    "clipped_identity",
    "sign",
    "straight_through",
]


class Quantizer:
    """Base of the quantizers: a stateless function with settings.

    A subclass sets `bits` and defines `__call__` from `keras.ops`; as a frozen dataclass it needs
    no `get_config`. Any other callable works as a quantizer too; without an attribute `bits` it
    counts as full precision.
    """

    bits: int = 32

    def __call__(self, x: Any) -> Any:
        """Returns the quantized `x`, of the same shape and dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__.")

    @property
    def vanishing_gradient(self) -> bool:
        """Whether the gradient is (as good as) zero for large |x|, where latent weights starve."""
        return getattr(self, "clip_value", None) is not None

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make an equal quantizer."""
        return dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Quantizer:
        """Returns the quantizer that `get_config` described."""
        return cls(**config)


def sign(x: Any) -> Any:
    """Returns -1 where x < 0 and +1 elsewhere, zeros of either sign included.

    TensorFlow and JAX flush subnormals on a CPU: a float32 below 1.2e-38 in magnitude is a zero.
    """
    one = ops.ones_like(x)
    return ops.where(ops.less(x, 0), -one, one)


def straight_through(value: Any, surrogate: Any, slope: Any = None) -> Any:
    """Returns exactly `value`, with the gradient of `surrogate` (times the constant `slope`).

    The difference `surrogate - stop_gradient(surrogate)` has to be formed first and has to be
    exactly zero. Two things could spoil it, and neither can happen here:

    1. `inf - inf` is NaN. The functions below replace infinite values by zero.
    2. A compiler may contract `a * b - c` to one fused operation that keeps the rounding error
       of `a * b`. `surrogate` is therefore always the result of a `where`, never of a product;
       a varying slope multiplies the difference instead.

    NaN in `surrogate` makes the result NaN, so that a diverged network shows.
    """
    difference = ops.subtract(surrogate, ops.stop_gradient(surrogate))
    if slope is not None:
        difference = ops.multiply(ops.stop_gradient(slope), difference)
    return ops.add(ops.stop_gradient(value), difference)


def clipped_identity(x: Any, clip_value: float | None) -> Any:
    """Returns x where |x| <= clip_value (where x is finite if that is None), elsewhere 0.

    `where` and not `clip`, because backends disagree on the gradient of `clip` at its edges.
    """
    magnitude = ops.absolute(x)
    outside = ops.isinf(x) if clip_value is None else ops.greater(magnitude, clip_value)
    return ops.where(outside, ops.zeros_like(x), x)


def clip(x: Any, low: float, high: float) -> Any:
    """Returns x limited to [low, high], with gradient 1 on the closed interval, else 0."""
    one = ops.ones_like(x)
    return ops.where(ops.less(x, low), low * one, ops.where(ops.greater(x, high), high * one, x))


def check_clip_value(clip_value: float | None) -> None:
    """Checks that `clip_value` can bound a gradient.

    Raises:
        ValueError: It is neither None nor a positive number.
    """
    if clip_value is not None and not clip_value > 0:
        raise ValueError(
            f"clip_value must be positive or None, got {clip_value!r}. "
            "Pass None for a gradient that is never clipped."
        )
