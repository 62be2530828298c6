"""The engine's windows: offsets between taps, and the offset of the first tap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bnnzoo.graph.ir import Node
from bnnzoo.runtime.extension import engine
from bnnzoo.runtime.memory import View

__all__ = ["native", "pool_window", "runs_of", "taps_of"]


def native(view: View) -> Any:
    """Returns the engine's object for a view."""
    return engine().View(view.offset, view.row, view.pixel, view.plane)


def taps_of(node: Node, kernel_shape: Sequence[int], view: View) -> tuple[Any, View]:
    """Returns the offsets of a window's taps from the first tap, and the view of the first tap."""
    strides, dilation = node.attributes["strides"], node.attributes["dilation"]
    top, _, left, _ = node.attributes["padding"]
    rows = np.arange(kernel_shape[1]) * dilation[0] * view.row
    columns = np.arange(kernel_shape[2]) * dilation[1] * view.pixel
    offset = view.offset - top * view.row - left * view.pixel
    moved = View(offset, strides[0] * view.row, strides[1] * view.pixel, view.plane)
    return rows[:, None] + columns, moved


def runs_of(node: Node, kernel_shape: Sequence[int], place: View) -> tuple[Any, Any, int]:
    """Returns the first tap of a real convolution, and its runs of adjacent inputs."""
    taps, view = taps_of(node, kernel_shape, place)
    offsets, run = taps.reshape(-1), kernel_shape[3]
    if place.pixel == run and node.attributes["dilation"][1] == 1:
        offsets, run = taps[:, 0], kernel_shape[2] * run  # the pixels of a kernel row are adjacent
    return native(view), np.ascontiguousarray(offsets, np.int64), run


def pool_window(node: Node, shape: Sequence[int]) -> Any:
    """Returns the engine's window of a pooling; a global pooling covers the whole map."""
    height, width, _ = shape
    if node.op.startswith("global"):
        return engine().Window(height, width, height, width, 1, 1, 0, 0)
    top, _, left, _ = node.attributes["padding"]
    pool, strides = node.attributes["pool"], node.attributes["strides"]
    return engine().Window(height, width, *pool, *strides, top, left)
