"""Rules about builder arguments that the architectures of several papers share."""

from __future__ import annotations

from collections.abc import Sequence

from bnnzoo.errors import ArgumentError

__all__ = ["SMALL_INPUT_PIXELS", "check_positive", "takes_small_stem"]

SMALL_INPUT_PIXELS = 64
"""Below this height or width the residual and dense networks take a stem of full resolution."""


def takes_small_stem(input_shape: Sequence[int]) -> bool:
    """Whether the stem is a 3 x 3 convolution of stride 1 without pooling, as for CIFAR images."""
    return min(input_shape[:2]) < SMALL_INPUT_PIXELS


def check_positive(value: int, name: str) -> None:
    """Raises an error unless the argument `name` is a positive integer.

    Raises:
        ArgumentError: It is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{name} must be a positive integer, got {value!r}. Use 1 or more.")
