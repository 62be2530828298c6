"""Thresholds of sums, rounded to the type of the sum.

A sign is -1 where direction * x < direction * threshold. For float32 or integer x, this is exact
with the least number of that type at or above direction * threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bnnzoo.graph.ir import Graph, Node

__all__ = ["above_float32", "above_integer", "directed"]

Vector = NDArray[Any]

_INT32 = np.iinfo(np.int32)


def directed(graph: Graph, sign: Node, channels: int) -> tuple[Vector, Vector]:
    """Returns direction * threshold and direction of a sign, by default 0 and +1."""
    threshold, direction = graph.tensor(sign, "threshold"), graph.tensor(sign, "direction")
    if threshold is None or direction is None:
        return np.zeros(channels), np.ones(channels)
    signs = np.where(np.asarray(direction) < 0, -1.0, 1.0)
    return signs * np.asarray(threshold, np.float64), signs


def above_float32(threshold: Vector) -> NDArray[np.float32]:
    """Returns the least float32 at or above each number."""
    with np.errstate(over="ignore"):
        nearest = threshold.astype(np.float32)
        higher = np.nextafter(nearest, np.float32(np.inf))
    return np.where(nearest < threshold, higher, nearest)


def above_integer(threshold: Vector, unit: int) -> NDArray[np.int32]:
    """Returns the least integer s with s / unit at or above each number, divided in float64.

    It is clipped to 32-bit integers, which no sum exceeds.
    """
    limited = np.clip(threshold, _INT32.min / unit, _INT32.max / unit)
    least = np.ceil(limited * unit)
    least = np.where((least - 1) / unit >= limited, least - 1, least)
    least = np.where(least / unit < limited, least + 1, least)
    return np.asarray(np.clip(least, _INT32.min, _INT32.max), np.int32)
