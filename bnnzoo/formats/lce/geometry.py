"""Padding: SAME and VALID are rules in TensorFlow Lite and numbers in a graph."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["SAME", "VALID", "explicit", "extent", "named"]

SAME, VALID = 0, 1


def extent(taps: int, rate: int) -> int:
    """Returns how many pixels a window of so many taps covers."""
    return (taps - 1) * rate + 1


def explicit(
    padding: int, size: Sequence[int], extents: Sequence[int], strides: Sequence[int]
) -> tuple[int, int, int, int]:
    """Returns (top, bottom, left, right) of a rule.

    Args:
        padding: `SAME` or `VALID`.
        size: Height and width of the map.
        extents: Pixels that the window covers, down and right.
        strides: From one window to the next, down and right.
    """
    sides = []
    for pixels, covered, stride in zip(size, extents, strides, strict=True):
        places = -(-pixels // stride)
        missing = max((places - 1) * stride + covered - pixels, 0) if padding == SAME else 0
        sides += [missing // 2, missing - missing // 2]
    top, bottom, left, right = sides
    return top, bottom, left, right


def named(
    pads: Sequence[int], size: Sequence[int], extents: Sequence[int], strides: Sequence[int]
) -> int | None:
    """Returns the rule that gives these pads, None where neither does."""
    if not any(pads):
        return VALID
    return SAME if explicit(SAME, size, extents, strides) == tuple(pads) else None
