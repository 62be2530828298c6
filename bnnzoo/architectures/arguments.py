"""Rules for builder arguments, shared by the architectures of several papers."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SMALL_INPUT_PIXELS", "takes_small_stem"]

SMALL_INPUT_PIXELS = 64
"""Below this height or width the residual and dense networks take a stem of full resolution."""


def takes_small_stem(input_shape: Sequence[int]) -> bool:
    """Returns whether the stem keeps the resolution, with stride 1 and without pooling."""
    return min(input_shape[:2]) < SMALL_INPUT_PIXELS
