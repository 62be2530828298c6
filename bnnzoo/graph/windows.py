"""Sliding windows: receptive extent, output size and padding.

Pairs are (vertical, horizontal). A border is (top, bottom, left, right). Keras and TensorFlow Lite
define it by a rule: "same" has a window for every stride of the image, "valid" has no border, and
with "causal", no window sees later inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ONE_BY_ONE",
    "Padding",
    "classes_of",
    "count",
    "extent",
    "padding_of",
    "rule_of",
    "span",
]

Padding = tuple[int, int, int, int]

# Attributes of a 1 x 1 convolution.
ONE_BY_ONE: Mapping[str, Any] = {
    "strides": (1, 1), "dilation": (1, 1), "padding": (0, 0, 0, 0), "groups": 1,
}  # fmt: skip


def extent(taps: int, dilation: int) -> int:
    """Returns the number of pixels that a window of `taps` covers."""
    return (taps - 1) * dilation + 1


def span(windows: int, extent: int, stride: int) -> int:
    """Returns the number of pixels that `windows` cover together."""
    return (windows - 1) * stride + extent


def count(pixels: int, extent: int, stride: int) -> int:
    """Returns the number of windows that fit into `pixels`, which include the border."""
    return (pixels - extent) // stride + 1


def padding_of(
    rule: str,
    size: Sequence[int],
    taps: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> Padding:
    """Returns the border that a rule gives to an image of a size."""
    (top, bottom), (left, right) = map(_sides, (rule, rule), size, taps, strides, dilation)
    return top, bottom, left, right


def _sides(rule: str, pixels: int, taps: int, stride: int, dilation: int) -> tuple[int, int]:
    covered = extent(taps, dilation)
    if rule == "causal":
        return covered - 1, 0
    missing = max(span(-(-pixels // stride), covered, stride) - pixels, 0)
    return (missing // 2, missing - missing // 2) if rule == "same" else (0, 0)


def rule_of(
    padding: Sequence[int],
    size: Sequence[int],
    taps: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int] = (1, 1),
) -> str | None:
    """Returns the rule, "valid" or "same", that gives this border; None if neither does."""
    if not any(padding):
        return "valid"
    same = padding_of("same", size, taps, strides, dilation)
    return "same" if same == tuple(padding) else None


def classes_of(
    window: Mapping[str, Any], size: Sequence[int], outputs: Sequence[int], taps: Sequence[int]
) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Returns the classes of rows and those of columns by which taps are inside the image.

    Args:
        window: Strides, dilation and padding.
        size: Rows and columns of the image.
        outputs: Rows and columns of the output.
        taps: Rows and columns of the kernel.

    Returns:
        For either axis `(classes, taps)`, whether a tap is inside, and the class of each output.
    """
    found = []
    for axis in (0, 1):
        begin = np.arange(outputs[axis])[:, None] * window["strides"][axis]
        place = begin + np.arange(taps[axis]) * window["dilation"][axis]
        place = place - window["padding"][2 * axis]
        inside = (place >= 0) & (place < size[axis])
        of_output = [tuple(taps_inside) for taps_inside in inside.tolist()]
        classes = sorted(set(of_output))  # np.unique along an axis takes ten times as long
        number = {taps_inside: i for i, taps_inside in enumerate(classes)}
        found.append((np.array(classes), np.array([number[t] for t in of_output])))
    return found
