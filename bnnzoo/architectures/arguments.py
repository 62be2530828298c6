"""Rules about builder arguments that the architectures of several papers share."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SMALL_INPUT_PIXELS", "takes_small_stem"]

SMALL_INPUT_PIXELS = 64
"""Below this height or width the residual and dense networks take a stem of full resolution."""


def takes_small_stem(input_shape: Sequence[int]) -> bool:
    """Whether the stem is a 3 x 3 convolution of stride 1 without pooling, as for CIFAR images."""
    return min(input_shape[:2]) < SMALL_INPUT_PIXELS
